//! Reads the schema file, and the files of its modules.

use std::fs;
use std::path::{Path, PathBuf};

use diesel_table_macro_syntax::TableDecl;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::{Attribute, Expr, ExprLit, Ident, Item, ItemMacro, ItemMod, Lit, LitStr, Meta};

use crate::errors::Errors;
use crate::schema::table::Table;

/// Collects the tables of a file.
pub(crate) struct Reader {
    /// What paths are relative to.
    root: PathBuf,
    /// Where a mistake in a file is shown: the compiler knows no place in it.
    span: Span,
    complete: bool,
    /// The files that were read, as they are named.
    pub(crate) files: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

/// The place in the files where the reader is.
struct Place<'a> {
    /// The file, as it is named.
    file: &'a str,
    /// The folder in which a module's own file is looked for.
    folder: PathBuf,
    modules: Vec<Ident>,
    cfgs: Vec<Attribute>,
}

impl Reader {
    pub(crate) fn new(root: PathBuf, span: Span) -> Self {
        Self {
            root,
            span,
            complete: true,
            files: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Whether all there is could be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn read(&mut self, file: &str, errors: &mut Errors) {
        self.read_file(file, vec![], vec![], errors);
    }

    fn fail(&mut self, message: String, errors: &mut Errors) {
        self.complete = false;
        errors.at(self.span, message);
    }

    fn read_file(
        &mut self,
        file: &str,
        modules: Vec<Ident>,
        cfgs: Vec<Attribute>,
        errors: &mut Errors,
    ) {
        let text = match fs::read_to_string(self.root.join(file)) {
            Ok(text) => text,
            Err(error) => {
                let message = format!(
                    "{file} cannot be read ({}): the path starts at the folder of the crate's Cargo.toml",
                    reason(&error)
                );
                return self.fail(message, errors);
            }
        };
        self.files.push(file.to_owned());
        match syn::parse_file(&text) {
            Ok(content) => {
                let folder = module_folder(file);
                let place = Place {
                    file,
                    folder,
                    modules,
                    cfgs,
                };
                self.items(content.items, &place, errors);
            }
            Err(error) => self.fail(format!("{file} is no valid Rust: {error}"), errors),
        }
    }

    fn items(&mut self, items: Vec<Item>, place: &Place<'_>, errors: &mut Errors) {
        for item in items {
            match item {
                Item::Mod(module) => self.module(module, place, errors),
                Item::Macro(item) => self.macro_call(&item, place, errors),
                _ => {}
            }
        }
    }

    fn module(&mut self, module: ItemMod, place: &Place<'_>, errors: &mut Errors) {
        let mut modules = place.modules.clone();
        modules.push(module.ident.clone());
        let cfgs = with_cfgs(place, &module.attrs);
        let name = module.ident.unraw().to_string();
        match module.content {
            Some((_, items)) => {
                let inner = Place {
                    file: place.file,
                    folder: place.folder.join(name),
                    modules,
                    cfgs,
                };
                self.items(items, &inner, errors);
            }
            None => match self.file_of(&name, &module.attrs, place) {
                Some(file) => self.read_file(&file, modules, cfgs, errors),
                None => self.no_file(&name, place, errors),
            },
        }
    }

    /// The file of `mod name;`.
    fn file_of(&self, name: &str, attrs: &[Attribute], place: &Place<'_>) -> Option<String> {
        let candidates = match path_attribute(attrs) {
            Some(path) => vec![beside(place.file).join(path)],
            None => vec![
                place.folder.join(format!("{name}.rs")),
                place.folder.join(name).join("mod.rs"),
            ],
        };
        let found = candidates
            .iter()
            .find(|file| self.root.join(file).is_file());
        found.map(|file| shown(file))
    }

    fn no_file(&mut self, name: &str, place: &Place<'_>, errors: &mut Errors) {
        let (file, folder) = (place.file, shown(&place.folder));
        let message = format!(
            "`mod {name};` of {file} has no file: neither {folder}/{name}.rs nor {folder}/{name}/mod.rs is there"
        );
        self.fail(message, errors);
    }

    fn macro_call(&mut self, item: &ItemMacro, place: &Place<'_>, errors: &mut Errors) {
        let name = item.mac.path.segments.last();
        match name.map(|name| name.ident.to_string()).as_deref() {
            Some("table") => self.table(item, place, false, errors),
            Some("view") => self.table(item, place, true, errors),
            Some("include") => self.include(item, place, errors),
            Some(name) if writes_tables(item.mac.tokens.clone()) => {
                let name = item
                    .ident
                    .as_ref()
                    .map_or(name.to_owned(), Ident::to_string);
                let message = format!(
                    "the macro `{name}!` of {} writes tables, which cannot be seen from outside: \
                     write each `diesel::table!` out there",
                    place.file
                );
                self.fail(message, errors);
            }
            _ => {}
        }
    }

    fn table(&mut self, item: &ItemMacro, place: &Place<'_>, is_view: bool, errors: &mut Errors) {
        match item.mac.parse_body::<TableDecl>() {
            Ok(decl) => {
                let mut table = Table::new(decl, &place.modules, is_view);
                table.cfgs = with_cfgs(place, &item.attrs);
                self.tables.push(table);
            }
            Err(error) => {
                let head: Vec<_> = item.mac.tokens.clone().into_iter().take(6).collect();
                let head: TokenStream = head.into_iter().collect();
                let message = format!(
                    "a table of {} cannot be read: {error} in `table! {{ {head} … }}`",
                    place.file
                );
                self.fail(message, errors);
            }
        }
    }

    fn include(&mut self, item: &ItemMacro, place: &Place<'_>, errors: &mut Errors) {
        match item.mac.parse_body::<LitStr>() {
            Ok(path) => {
                let file = shown(&beside(place.file).join(path.value()));
                let cfgs = with_cfgs(place, &item.attrs);
                self.read_file(&file, place.modules.clone(), cfgs, errors);
            }
            Err(_) => {
                let message = format!(
                    "an `include!` of {} names no file that can be seen from here: name that file \
                     as the schema, or write a path in quotes there",
                    place.file
                );
                self.fail(message, errors);
            }
        }
    }
}

fn with_cfgs(place: &Place<'_>, attrs: &[Attribute]) -> Vec<Attribute> {
    let own = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    place.cfgs.iter().chain(own).cloned().collect()
}

/// Whether `table!` or `view!` is called anywhere within.
fn writes_tables(tokens: TokenStream) -> bool {
    let mut after_table = false;
    tokens.into_iter().any(|token| {
        let found = match &token {
            TokenTree::Group(group) => writes_tables(group.stream()),
            TokenTree::Punct(punct) => after_table && punct.as_char() == '!',
            _ => false,
        };
        after_table = matches!(&token, TokenTree::Ident(i) if i == "table" || i == "view");
        found
    })
}

/// What `#[path = "…"]` says.
fn path_attribute(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(path),
                ..
            }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

fn beside(file: &str) -> PathBuf {
    Path::new(file)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Where the files of a file's modules are: beside `mod.rs`, and else in a folder of its name.
fn module_folder(file: &str) -> PathBuf {
    let path = Path::new(file);
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => beside(file),
        Some(stem) => beside(file).join(stem),
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Why a file cannot be read, in the same words on every system.
fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;

    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
