//! Who acts, from where: a context in force for a scope of code, a closure or a future.

mod actor;
mod attach;
mod captured;
mod scope;
mod wrap;

pub use actor::{Actor, Source};
pub use attach::Attached;
pub use captured::CapturedContext;
pub use scope::{ContextGuard, ScopeOutput};
pub use wrap::Wrap;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::secret::{Extra, mask_text, mask_word};
use crate::storable::{self, is_recorded_id, is_recorded_kind, recorded_id, recorded_kind, short};

/// Who makes the changes, and from where.
///
/// A context is in force for a scope ([`scope`](Self::scope)), a closure in another thread
/// ([`wrap`](Self::wrap)) or an async task ([`attach_to`](Self::attach_to)). Scopes nest: what the
/// inner one sets is used, and the rest comes from the outer one.
///
/// ```
/// use audit_core::{Actor, AuditContext, Source};
///
/// let request = AuditContext::new(Actor::user("42")).organization("acme").source(Source::Api);
/// request.scope(|| {
///     AuditContext::default().project("p1").scope(|| {
///         let now = AuditContext::current();
///         assert_eq!(now.actor_ref().unwrap().id(), "42");
///         assert_eq!(now.project_ref(), Some("p1"));
///     });
///     assert_eq!(AuditContext::current().project_ref(), None);
/// });
/// assert!(AuditContext::current().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditContext {
    fields: Arc<Fields>,
}

/// Kept behind an `Arc`, so that entering a scope and reading the context copy a pointer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth_client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Extra::is_empty")]
    extra: Extra,
    #[serde(skip)]
    number: captured::Number,
}

impl Fields {
    /// The texts that are ids, but for the actor's.
    fn ids(&self) -> [Option<&String>; 5] {
        [
            self.organization.as_ref(),
            self.project.as_ref(),
            self.api_key_id.as_ref(),
            self.oauth_client_id.as_ref(),
            self.request_id.as_ref(),
        ]
    }

    fn ids_mut(&mut self) -> [Option<&mut String>; 5] {
        [
            self.organization.as_mut(),
            self.project.as_mut(),
            self.api_key_id.as_mut(),
            self.oauth_client_id.as_mut(),
            self.request_id.as_mut(),
        ]
    }

    fn has_storable_texts(&self) -> bool {
        let of_actor = |it: &Actor| is_recorded_kind(it.kind()) && is_recorded_id(it.id());
        self.actor.as_ref().is_none_or(of_actor)
            && self
                .source
                .as_ref()
                .is_none_or(|it| is_recorded_kind(it.as_str()))
            && self
                .ids()
                .into_iter()
                .flatten()
                .all(|id| is_recorded_id(id))
    }
}

/// A text that is no IP address; see [`AuditContext::ip_text`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no IP address; pass it without port, such as \"192.0.2.7\" or \"2001:db8::7\""
)]
pub struct InvalidIp {
    /// What was given.
    pub text: String,
}

macro_rules! text_fields {
    ($($(#[$doc:meta])* $field:ident / $getter:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, value: impl Into<String>) -> Self {
            Arc::make_mut(&mut self.fields).$field = Some(mask_text(value.into()));
            self
        }

        #[doc = concat!("What [`", stringify!($field), "`](Self::", stringify!($field), ") set.")]
        pub fn $getter(&self) -> Option<&str> {
            self.fields.$field.as_deref()
        }
    )*};
}

impl AuditContext {
    /// A context of this actor. `AuditContext::default()` has no actor: use it for an inner scope
    /// that adds to the outer one.
    pub fn new(actor: Actor) -> Self {
        Self::default().actor(actor)
    }

    /// Who acts.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        Arc::make_mut(&mut self.fields).actor = Some(actor);
        self
    }

    /// The actor, if one is set.
    pub fn actor_ref(&self) -> Option<&Actor> {
        self.fields.actor.as_ref()
    }

    /// Whether it names an actor who is known.
    fn says_who(&self) -> bool {
        self.actor_ref().is_some_and(|actor| !actor.is_unknown())
    }

    fn without_actor(mut self) -> Self {
        Arc::make_mut(&mut self.fields).actor = None;
        self
    }

    text_fields! {
        /// The organization (tenant, account) that the change belongs to.
        organization / organization_ref;
        /// The project within the organization.
        project / project_ref;
        /// The API key that the request was made with: its id, never the key.
        api_key_id / api_key_id_ref;
        /// The OAuth client that the request came through.
        oauth_client_id / oauth_client_id_ref;
        /// The request's id, to find it in other logs.
        request_id / request_id_ref;
    }

    /// Where the request came from.
    #[must_use]
    pub fn ip(mut self, ip: impl Into<IpAddr>) -> Self {
        Arc::make_mut(&mut self.fields).ip = Some(ip.into());
        self
    }

    /// Where the request came from, as text.
    ///
    /// # Errors
    ///
    /// [`InvalidIp`] when the text is no IPv4 or IPv6 address.
    pub fn ip_text(self, ip: &str) -> Result<Self, InvalidIp> {
        match ip.parse::<IpAddr>() {
            Ok(ip) => Ok(self.ip(ip)),
            Err(_) => Err(InvalidIp { text: ip.into() }),
        }
    }

    /// The IP address, if one is set.
    pub fn ip_ref(&self) -> Option<IpAddr> {
        self.fields.ip
    }

    /// Which part of the system the change came through.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        let source = match source {
            Source::Other(name) => Source::Other(mask_word(name)),
            known => known,
        };
        Arc::make_mut(&mut self.fields).source = Some(source);
        self
    }

    /// The source, if one is set.
    pub fn source_ref(&self) -> Option<&Source> {
        self.fields.source.as_ref()
    }

    /// Anything else worth keeping, such as the endpoint. It is stored as JSON in `extra`, and
    /// secrets are masked here and now.
    ///
    /// `{"redacted":true}` stands for a value whose key says secret, as
    /// [`names_secret`](crate::names_secret) tells with the words of
    /// [`EXTRA_SECRET_WORDS`](crate::EXTRA_SECRET_WORDS) beside its own, and for a text that
    /// [`looks_secret`](crate::looks_secret) whatever its key. Objects and lists are looked through,
    /// and so are lists of names and values, such as `["cookie", "a=b"]`, `[["cookie", "a=b"]]` and
    /// `[{"name": "cookie", "value": "a=b"}]`: what stands behind a name that says secret is masked,
    /// unless the list's own key says that names are all it has, as `fields` does. Within another text, `[redacted]` stands for a value
    /// behind such a name: `/reset?token=[redacted]`.
    ///
    /// ```
    /// use audit_core::AuditContext;
    /// use serde_json::json;
    ///
    /// let context = AuditContext::default()
    ///     .with("headers", json!({"host": "example.org", "cookie": "id=1"}))
    ///     .with("error", "no answer from postgres://app:hunter2@db")
    ///     .with("endpoint", "/reset?token=5f2a&page=2");
    /// assert_eq!(
    ///     json!(context.extra()),
    ///     json!({
    ///         "headers": {"host": "example.org", "cookie": {"redacted": true}},
    ///         "error": {"redacted": true},
    ///         "endpoint": "/reset?token=[redacted]&page=2",
    ///     })
    /// );
    /// ```
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.fields).extra.add(key, value);
        self
    }

    /// What [`with`](Self::with) added.
    pub fn extra(&self) -> &Map<String, Value> {
        &self.fields.extra.0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self.fields == Fields::default()
    }

    /// This context, with every text in it as it can be stored: as a rule, the very one.
    pub(crate) fn storable(&self) -> Cow<'_, Self> {
        let extra = storable::extra(self.extra());
        if matches!(extra, Cow::Borrowed(_)) && self.fields.has_storable_texts() {
            return Cow::Borrowed(self);
        }
        let extra = extra.into_owned();
        let kind = |kind: &str| recorded_kind(kind).into_owned();
        Cow::Owned(self.with_texts(kind, |id| recorded_id(id).into_owned(), extra))
    }

    /// This context, with texts that are as short as they can be.
    pub(crate) fn shortest(&self) -> Self {
        self.with_texts(short, short, self.extra().clone())
    }

    fn with_texts(
        &self,
        kind: impl Fn(&str) -> String,
        id: impl Fn(&str) -> String,
        extra: Map<String, Value>,
    ) -> Self {
        let mut fields = (*self.fields).clone();
        if let Some(actor) = &mut fields.actor {
            *actor = Actor::new(kind(actor.kind()), id(actor.id()));
        }
        if let Some(source) = &mut fields.source {
            *source = Source::from(Cow::Owned(kind(source.as_str())));
        }
        for text in fields.ids_mut().into_iter().flatten() {
            *text = id(text);
        }
        fields.extra = Extra(extra);
        Self {
            fields: Arc::new(fields),
        }
    }

    /// This context, with the size of `extra` in its place where that is more than `max_bytes`.
    pub(crate) fn with_extra_within(mut self, max_bytes: usize) -> Self {
        let bytes = serde_json::to_vec(self.extra()).map_or(0, |json| json.len());
        if bytes > max_bytes {
            storable::fit(&mut Arc::make_mut(&mut self.fields).extra.0, max_bytes);
        }
        self
    }

    /// Masks the values of `extra` whose keys have one of these words.
    pub(crate) fn mask_extra(&mut self, words: &[&str]) {
        // Contexts are shared, and most have nothing to mask.
        if self.fields.extra.names(words) {
            Arc::make_mut(&mut self.fields).extra.mask(words);
        }
    }

    /// This context, completed by `outer` where it says nothing.
    fn within(&self, outer: &Self) -> Self {
        if outer.is_empty() {
            return self.clone();
        }
        let mut fields = (*self.fields).clone();
        let outer = &outer.fields;
        fields.actor = fields.actor.or_else(|| outer.actor.clone());
        fields.organization = fields.organization.or_else(|| outer.organization.clone());
        fields.project = fields.project.or_else(|| outer.project.clone());
        fields.ip = fields.ip.or(outer.ip);
        fields.source = fields.source.or_else(|| outer.source.clone());
        fields.api_key_id = fields.api_key_id.or_else(|| outer.api_key_id.clone());
        fields.oauth_client_id = fields
            .oauth_client_id
            .or_else(|| outer.oauth_client_id.clone());
        fields.request_id = fields.request_id.or_else(|| outer.request_id.clone());
        for (key, value) in &outer.extra.0 {
            if !fields.extra.0.contains_key(key) {
                fields.extra.0.insert(key.clone(), value.clone());
            }
        }
        Self {
            fields: Arc::new(fields),
        }
    }
}

impl Serialize for AuditContext {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AuditContext {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields::deserialize(deserializer).map(|fields| Self {
            fields: Arc::new(fields),
        })
    }
}
