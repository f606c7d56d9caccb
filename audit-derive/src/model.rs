//! What the struct is: its table, its key and, for each field, its column and how it is recorded.

use proc_macro2::Span;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, ExprPath, GenericArgument, Generics, Ident, Index, LitStr, Member, Path,
    PathArguments, Type, parse_quote,
};

use crate::attr::{self, FieldAttrs, Mark, MarkKind, Serde};
use crate::errors::Errors;

pub(crate) struct Model<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) generics: &'a Generics,
    /// Where generated code finds `audit_diesel`.
    pub(crate) krate: Path,
    pub(crate) table: Path,
    pub(crate) resource: Option<LitStr>,
    /// The variant of `Delivery` that the struct chooses.
    pub(crate) delivery: Option<Ident>,
    /// Where the struct says that it is embedded in another one.
    pub(crate) embedded: Option<Span>,
    /// The key's columns, as `primary_key` names them.
    pub(crate) key: Option<Vec<Ident>>,
    /// The table's columns that have no field on purpose.
    pub(crate) left_out: Vec<Ident>,
    /// What serde is told about the whole struct.
    pub(crate) serde: Vec<Serde>,
    pub(crate) fields: Vec<Field<'a>>,
}

pub(crate) struct Field<'a> {
    pub(crate) member: Member,
    pub(crate) ty: &'a Type,
    pub(crate) span: Span,
    pub(crate) maps: Maps,
    /// The type that Diesel loads in the field's place, to be turned into the field's.
    pub(crate) deserialize_as: Option<Type>,
    pub(crate) marks: Vec<Mark>,
    /// Whether there are marks that could not be read.
    pub(crate) marks_unreadable: bool,
    /// What serde is told about the field.
    pub(crate) serde: Vec<Serde>,
}

/// What of the table a field holds.
pub(crate) enum Maps {
    Column(Ident),
    /// The columns of a struct with `#[audit(embedded)]`.
    Embed,
    /// Cannot be told; an error says so.
    Unknown,
}

/// How a field's values are recorded.
pub(crate) enum Treatment<'a> {
    Skipped,
    Redacted,
    Recorded { touch: bool, form: Form<'a> },
}

/// What of a value is serialised. `Option`s around the value stay as they are, and `null` with
/// them; the number says how many there are.
pub(crate) enum Form<'a> {
    Itself,
    With(&'a ExprPath),
    Display(Inner<'a>),
    Debug(Inner<'a>),
    Bytes(Inner<'a>),
}

pub(crate) struct Inner<'a> {
    pub(crate) options: usize,
    pub(crate) ty: &'a Type,
}

impl<'a> Model<'a> {
    pub(crate) fn read(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let attrs = attr::read_struct(&input.attrs, errors);
        Self {
            ident: &input.ident,
            generics: &input.generics,
            krate: attrs.krate.unwrap_or_else(|| parse_quote!(::audit_diesel)),
            table: attrs
                .table_name
                .unwrap_or_else(|| default_table(&input.ident)),
            resource: attrs.resource,
            delivery: attrs.delivery,
            embedded: attrs.embedded,
            key: attrs.primary_key,
            left_out: attrs.leave_out.unwrap_or_default(),
            serde: attrs.serde,
            fields: read_fields(input, errors),
        }
    }

    /// The key's columns; `id` where nothing else is said.
    pub(crate) fn key_columns(&self) -> Vec<Ident> {
        let default = || vec![Ident::new("id", self.ident.span())];
        self.key.clone().unwrap_or_else(default)
    }

    /// Whether the column is of the key.
    pub(crate) fn is_key(&self, column: &Ident) -> bool {
        let mut key = self.key_columns().into_iter();
        self.embedded.is_none() && key.any(|key| key.unraw() == column.unraw())
    }

    /// The fields of the key's columns, as far as there are any.
    pub(crate) fn key_fields(&self) -> impl Iterator<Item = &Field<'a>> {
        let columns = self.key_columns().into_iter();
        columns.filter_map(|column| self.field_of_column(&column))
    }

    pub(crate) fn field_of_column(&self, column: &Ident) -> Option<&Field<'a>> {
        self.fields
            .iter()
            .find(|field| matches!(&field.maps, Maps::Column(c) if c.unraw() == column.unraw()))
    }
}

impl Field<'_> {
    pub(crate) fn has(&self, word: &str) -> bool {
        self.marks.iter().any(|mark| mark.kind.word() == word)
    }

    pub(crate) fn rename(&self) -> Option<&LitStr> {
        self.marks.iter().find_map(|mark| match &mark.kind {
            MarkKind::Rename(name) => Some(name),
            _ => None,
        })
    }

    pub(crate) fn treatment(&self) -> Treatment<'_> {
        if self.has("skip") {
            Treatment::Skipped
        } else if self.has("redact") {
            Treatment::Redacted
        } else {
            let touch = self.has("touch") || (self.is_updated_at() && !self.has("plain"));
            let form = self.form();
            Treatment::Recorded { touch, form }
        }
    }

    pub(crate) fn form(&self) -> Form<'_> {
        let inner = Inner::of(self.ty);
        let said = self.marks.iter().find_map(|mark| match &mark.kind {
            MarkKind::With(path) => Some(Form::With(path)),
            MarkKind::Display => Some(Form::Display(Inner::of(self.ty))),
            MarkKind::Debug => Some(Form::Debug(Inner::of(self.ty))),
            _ => None,
        });
        match said {
            Some(form) => form,
            None if is_bytes(inner.ty) => Form::Bytes(inner),
            None => Form::Itself,
        }
    }

    fn is_updated_at(&self) -> bool {
        matches!(&self.maps, Maps::Column(column) if column == "updated_at")
    }
}

impl<'a> Inner<'a> {
    fn of(ty: &'a Type) -> Self {
        let mut inner = Self { options: 0, ty };
        while let Some(ty) = argument_of(inner.ty, "Option") {
            inner = Self {
                options: inner.options + 1,
                ty,
            };
        }
        inner
    }
}

/// The table that Diesel assumes: the struct's name in snake case with an `s`.
fn default_table(ident: &Ident) -> Path {
    let mut name = String::new();
    for letter in ident.unraw().to_string().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    format_ident!("{name}s", span = ident.span()).into()
}

fn read_fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Vec<Field<'a>> {
    let ident = &input.ident;
    let what = match &input.data {
        Data::Struct(data) if !data.fields.is_empty() => {
            let fields = data.fields.iter().enumerate();
            return fields
                .map(|(i, field)| read_field(i, field, errors))
                .collect();
        }
        Data::Struct(_) => "has no fields: give it the table's columns",
        Data::Enum(_) => {
            "is an enum, and a row is a struct: derive `PartialEq` and `serde::Serialize` for it, \
             and use it as a field of one"
        }
        Data::Union(_) => "is a union, and a row is a struct",
    };
    errors.at(ident.span(), format!("`{ident}` {what}"));
    Vec::new()
}

fn read_field<'a>(index: usize, field: &'a syn::Field, errors: &mut Errors) -> Field<'a> {
    let ty = plain_type(&field.ty);
    let (member, span) = match &field.ident {
        Some(ident) => (Member::Named(ident.clone()), ident.span()),
        None => (Member::Unnamed(Index::from(index)), ty.span()),
    };
    let attrs = attr::read_field(&field.attrs, errors);
    let maps = read_maps(&attrs, &field.ident, span, errors);
    Field {
        member,
        ty,
        span,
        maps,
        deserialize_as: attrs.deserialize_as,
        marks: attrs.marks,
        marks_unreadable: attrs.marks_unreadable,
        serde: attrs.serde,
    }
}

fn read_maps(attrs: &FieldAttrs, ident: &Option<Ident>, span: Span, errors: &mut Errors) -> Maps {
    match (&attrs.column_name, ident) {
        _ if attrs.embed => Maps::Embed,
        _ if attrs.column_unreadable => Maps::Unknown,
        (Some(column), _) => Maps::Column(column.clone()),
        (None, Some(ident)) => Maps::Column(ident.clone()),
        (None, None) => {
            errors.at(
                span,
                "which column is this? write `#[diesel(column_name = …)]` on each field of a tuple struct",
            );
            Maps::Unknown
        }
    }
}

/// The type without the invisible groups and parentheses that `macro_rules!` may leave.
fn plain_type(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// The last type argument of a path that ends in `name<…>`.
fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.last()? {
        GenericArgument::Type(ty) if segment.ident == name => Some(plain_type(ty)),
        _ => None,
    }
}

/// Whether the type holds bytes, as far as its spelling tells.
fn is_bytes(ty: &Type) -> bool {
    let is_slice = |ty: &Type| matches!(ty, Type::Slice(slice) if is_u8(&slice.elem));
    match ty {
        Type::Array(array) => is_u8(&array.elem),
        Type::Reference(reference) => is_slice(&reference.elem),
        _ => {
            argument_of(ty, "Vec").is_some_and(is_u8)
                || argument_of(ty, "Box").is_some_and(is_slice)
                || argument_of(ty, "Cow").is_some_and(is_slice)
        }
    }
}

fn is_u8(ty: &Type) -> bool {
    matches!(plain_type(ty), Type::Path(path) if path.path.is_ident("u8"))
}
