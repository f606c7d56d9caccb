//! The context in which something was built, for what runs later and on another thread.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{AuditContext, ContextGuard, Fields};

/// The context that was in force where a statement or an event was built.
///
/// It is `Copy`, as Diesel's inserts are: so it is only a number, and the context itself is kept in
/// a table of this process. It is there for as long as anything else holds that context (a scope, a
/// future, a wrapped closure, a variable), and afterwards until many thousand further ones have
/// been captured.
///
/// ```
/// use audit_core::{Actor, AuditContext, CapturedContext};
///
/// let built = AuditContext::new(Actor::user("42")).scope(CapturedContext::here);
/// let _guard = built.enter();
/// assert_eq!(AuditContext::current().actor_ref().unwrap().id(), "42");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapturedContext {
    /// 0 where no context was in force.
    number: u64,
}

impl CapturedContext {
    /// Captures the context in force.
    pub fn here() -> Self {
        let number = super::scope::with_in_force(AuditContext::number);
        Self {
            number: number.unwrap_or_default(),
        }
    }

    /// This one, or the context in force where this is none. Where only the one in force says who
    /// acts, it is that one, completed by this.
    #[must_use]
    pub fn or_here(self) -> Self {
        let here = Self::here();
        if self.number == 0 || here == self {
            return here;
        }
        let here_says_who = super::scope::with_in_force(AuditContext::says_who) == Some(true);
        let captured = here_says_who.then(|| kept().get(self.number)).flatten();
        match captured {
            Some(captured) if !captured.says_who() => Self {
                number: AuditContext::current().within(&captured).number(),
            },
            _ => self,
        }
    }

    /// Puts it in force until the guard is dropped, unless the one that is in force says who acts.
    /// One that does not, because it names no actor or an [unknown](crate::Actor::is_unknown) one, is
    /// completed by this one: to know nothing must not hide what is known.
    pub fn enter(self) -> Option<ContextGuard> {
        if self.number == 0 || super::scope::with_in_force(AuditContext::says_who) == Some(true) {
            return None;
        }
        let captured = kept().get(self.number)?;
        let mut here = AuditContext::current();
        if captured.says_who() && here.actor_ref().is_some() {
            here = here.without_actor();
        }
        Some(here.within(&captured).enter_alone())
    }
}

impl AuditContext {
    /// Its number among the captured ones; 0 where there is nothing in it.
    fn number(&self) -> u64 {
        match self.fields.number.0.load(Ordering::Acquire) {
            0 if self.is_empty() => 0,
            0 => keep(self),
            number => number,
        }
    }
}

/// The number that a context was captured under, 0 before. A changed copy is another context.
#[derive(Debug, Default)]
pub(super) struct Number(AtomicU64);

impl Clone for Number {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What a context says does not depend on it.
impl PartialEq for Number {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// How many contexts that nothing else holds any more are kept, and how large they may be together.
/// A statement that waits for longer, without a context of its own where it runs, has no actor.
const MAX_CONTEXTS: usize = 65_536;
const MAX_BYTES: usize = 32 << 20;

static KEPT: LazyLock<Mutex<Kept>> =
    LazyLock::new(|| Mutex::new(Kept::new(MAX_CONTEXTS, MAX_BYTES)));

fn kept() -> MutexGuard<'static, Kept> {
    // What panics in here leaves nothing half done.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(context: &AuditContext) -> u64 {
    let bytes = context.fields.approximate_bytes();
    let mut kept = kept();
    // Another thread may have captured the same one meanwhile.
    let number = match context.fields.number.0.load(Ordering::Acquire) {
        0 => kept.add(context.clone(), bytes),
        number => number,
    };
    context.fields.number.0.store(number, Ordering::Release);
    number
}

/// The captured contexts.
#[derive(Debug)]
struct Kept {
    contexts: HashMap<u64, Captured>,
    /// In which order to look for what can go.
    order: VecDeque<u64>,
    last: u64,
    bytes: usize,
    max_contexts: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Captured {
    context: AuditContext,
    bytes: usize,
}

impl Kept {
    fn new(max_contexts: usize, max_bytes: usize) -> Self {
        Self {
            contexts: HashMap::new(),
            order: VecDeque::new(),
            last: 0,
            bytes: 0,
            max_contexts,
            max_bytes,
        }
    }

    fn get(&self, number: u64) -> Option<AuditContext> {
        self.contexts.get(&number).map(|it| it.context.clone())
    }

    fn add(&mut self, context: AuditContext, bytes: usize) -> u64 {
        self.last += 1;
        self.contexts.insert(self.last, Captured { context, bytes });
        self.order.push_back(self.last);
        self.bytes += bytes;
        // Two for each that comes: so the table shrinks again after many were held at once.
        for _ in 0..2 {
            self.drop_oldest_if_too_many();
        }
        self.last
    }

    /// Drops the oldest one, unless something else holds it: then it has its turn again later.
    fn drop_oldest_if_too_many(&mut self) {
        if self.contexts.len() <= self.max_contexts && self.bytes <= self.max_bytes {
            return;
        }
        let Some(oldest) = self.order.pop_front() else {
            return;
        };
        let is_held = |captured: &Captured| Arc::strong_count(&captured.context.fields) > 1;
        if self.contexts.get(&oldest).is_some_and(is_held) {
            self.order.push_back(oldest);
        } else if let Some(dropped) = self.contexts.remove(&oldest) {
            self.bytes -= dropped.bytes;
        }
    }
}

impl Fields {
    /// About how much memory it takes. Keys and values may come from a request, and be large.
    fn approximate_bytes(&self) -> usize {
        let actor = self
            .actor
            .as_ref()
            .map_or(0, |it| it.kind().len() + it.id().len());
        let texts: usize = self.ids().into_iter().flatten().map(String::len).sum();
        let extra = self
            .extra
            .0
            .iter()
            .map(|(key, value)| key.len() + approximate_bytes(value));
        size_of::<Self>() + actor + texts + extra.sum::<usize>()
    }
}

fn approximate_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(approximate_bytes).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| key.len() + approximate_bytes(value))
            .sum(),
        _ => 0,
    };
    size_of::<Value>() + inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Actor;

    fn user(id: u64) -> AuditContext {
        AuditContext::new(Actor::user(id.to_string()))
    }

    #[test]
    fn a_context_is_captured_once_and_a_changed_one_anew() {
        let context = user(1);
        let captured = context.scope(CapturedContext::here);
        assert_eq!(context.scope(CapturedContext::here), captured);
        assert_eq!(context.clone().scope(CapturedContext::here), captured);
        let changed = context.clone().project("p1");
        assert_ne!(changed.scope(CapturedContext::here), captured);
        assert_eq!(kept().get(captured.number), Some(context));
    }

    #[test]
    fn where_nothing_is_in_force_nothing_is_captured() {
        assert_eq!(CapturedContext::here(), CapturedContext::default());
        let empty = AuditContext::default().scope(CapturedContext::here);
        assert_eq!(empty, CapturedContext::default());
        assert!(empty.enter().is_none());
    }

    #[test]
    fn no_more_are_kept_than_allowed_and_none_goes_that_is_held() {
        let mut kept = Kept::new(10, 1_000);
        let held = user(0);
        let number = kept.add(held.clone(), 1);
        for id in 1..100 {
            kept.add(user(id), 1);
            assert!(kept.contexts.len() <= 11);
        }
        assert_eq!(kept.get(number), Some(held.clone()));
        assert_eq!(kept.get(kept.last), Some(user(99)));
        drop(held);
        for id in 100..120 {
            kept.add(user(id), 1);
        }
        assert_eq!(kept.get(number), None);
        assert_eq!(kept.contexts.len(), kept.order.len());
    }

    #[test]
    fn large_ones_are_kept_for_a_shorter_time() {
        let mut kept = Kept::new(1_000, 1_000);
        for id in 0..100 {
            kept.add(user(id), 400);
            assert!(kept.bytes <= 1_000 && kept.contexts.len() <= 2);
        }
        let large = AuditContext::default().with("body", vec!["x".repeat(1_000); 10]);
        assert!(large.fields.approximate_bytes() > 10_000);
    }

    #[test]
    fn after_many_at_once_the_table_shrinks_again() {
        let mut kept = Kept::new(10, usize::MAX);
        let held: Vec<_> = (0..1_000).map(user).collect();
        for context in &held {
            kept.add(context.clone(), 1);
        }
        assert_eq!(kept.contexts.len(), 1_000);
        drop(held);
        for id in 0..1_000 {
            kept.add(user(id), 1);
        }
        assert_eq!(kept.contexts.len(), 10);
    }
}
