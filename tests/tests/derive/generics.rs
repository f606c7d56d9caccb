//! Models with parameters.

use super::support::*;

/// Two parameters with defaults: the table's model is the struct with the defaults.
#[derive(Auditable)]
#[diesel(table_name = documents)]
struct Document<T = Value, S = Token, const N: usize = 2>
where
    T: Clone,
{
    id: i32,
    body: Option<T>,
    #[audit(with = "usize_of")]
    note: Tagged<N>,
    #[audit(redact)]
    secret: S,
}

#[derive(PartialEq)]
struct Tagged<const N: usize>;

fn usize_of<const N: usize>(_: &Tagged<N>) -> usize {
    N
}

#[test]
fn a_generic_model_asks_of_its_parameters_what_its_fields_need() {
    let document = |body: &'static str| Document::<_, _, 4> {
        id: 1,
        body: Some(body),
        note: Tagged,
        secret: Token("x"),
    };
    assert_eq!(
        update(&document("a"), &document("b")),
        json!({"body": {"old": "a", "new": "b"}})
    );
    assert_eq!(insert(&document("a"))["note"], json!({"new": 4}));
    let _: fn(documents::table) -> &'static str = model_of::<_, Document<Value, Token, 2>>;
    assert!(model_of(documents::table).ends_with("Document"));
}

mod without_defaults {
    use super::*;

    diesel::table! {
        envelopes (id) {
            id -> Integer,
            body -> Jsonb,
            sender -> Text,
        }
    }

    /// A lifetime in bounds, a parameter without a default, and one that no field is of.
    #[derive(Auditable)]
    #[diesel(table_name = envelopes)]
    pub(crate) struct Envelope<'a, 'b: 'a, T: Holds<'a> + 'b>
    where
        Sender<'a, 'b>: Holds<'b>,
    {
        pub(crate) id: i32,
        #[audit(display)]
        pub(crate) body: Option<T>,
        pub(crate) sender: Sender<'a, 'b>,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Sender<'a, 'b>(pub(crate) &'a str, pub(crate) PhantomData<&'b str>);

    pub(crate) trait Holds<'a> {}
    impl Holds<'_> for i32 {}
    impl Holds<'_> for Sender<'_, '_> {}

    /// Which of them the table means is said by hand, as the documentation of `AuditedBy` shows.
    impl AuditedBy<Envelope<'static, 'static, i32>> for envelopes::table {}
}

mod generic_embedding {
    use super::*;

    diesel::table! {
        parcels (id) {
            id -> Integer,
            weight -> Integer,
            label -> Text,
            code -> Text,
        }
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Weight<T> {
        pub(crate) weight: T,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Label {
        pub(crate) label: std::borrow::Cow<'static, str>,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Code {
        #[allow(dead_code)]
        pub(crate) code: Panics,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    pub(crate) struct Parcel<T, L = Label, C = Code> {
        #[audit(skip)]
        pub(crate) id: i32,
        #[diesel(embed)]
        pub(crate) weight: Weight<T>,
        #[diesel(embed)]
        pub(crate) label: Option<L>,
        #[diesel(embed)]
        #[audit(skip)]
        #[allow(dead_code)]
        pub(crate) code: C,
    }
}

#[test]
fn a_parameter_may_be_what_is_embedded_and_a_skipped_key_is_the_id() {
    use generic_embedding::{Code, Label, Parcel, Weight};
    let parcel = Parcel {
        id: 1,
        weight: Weight { weight: 2 },
        label: Some(Label { label: "l".into() }),
        code: Code { code: Panics },
    };
    assert_eq!(
        insert(&parcel),
        json!({"weight": {"new": 2}, "label": {"new": "l"}})
    );
    assert_eq!(parcel.resource_id(), "1");
    assert_eq!(
        columns_of::<Parcel<i32>>(),
        ["id", "weight", "label", "code"]
    );
    assert_eq!(key_of::<Parcel<i32>>(), ["id"]);
}

#[test]
fn a_model_with_parameters_without_defaults_is_named_by_hand() {
    use without_defaults::{Envelope, Sender, envelopes};
    let envelope = |body| Envelope {
        id: 1,
        body,
        sender: Sender("s", PhantomData),
    };
    assert_eq!(
        update(&envelope(None), &envelope(Some(5))),
        json!({"body": {"old": null, "new": "5"}})
    );
    assert!(model_of(envelopes::table).contains("Envelope"));
}
