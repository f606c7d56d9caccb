//! Settings of a Redis server by which it could lose what it has taken.

use audit_core::Warning;

/// What the server says about itself.
pub(super) struct Server {
    /// The answer to INFO.
    pub(super) info: String,
    /// When it writes snapshots; `None` where it does not tell.
    pub(super) save: Option<String>,
}

impl Server {
    pub(super) fn warnings(&self, subject: &str) -> Vec<Warning> {
        let found = [self.persistence(), self.eviction(), self.dangling_multi()];
        let found = found.into_iter().flatten();
        found
            .map(|(problem, advice)| Warning::new(subject, problem, advice))
            .collect()
    }

    fn persistence(&self) -> Option<(&'static str, &'static str)> {
        const ADVICE: &str = "set `appendonly yes` there, or let a journal with `.confirm_in(…)` \
                              deliver again what it loses";
        if self.field("aof_enabled") != "0" {
            return None;
        }
        match self.save.as_deref() {
            Some("") => Some((
                "keeps nothing on disk: when it restarts, the records that wait in it are gone",
                ADVICE,
            )),
            _ => Some((
                "has no append-only file: when it crashes, what came after its last snapshot is \
                 gone",
                ADVICE,
            )),
        }
    }

    /// The list has no time to live, so that the policies `volatile-…` spare it.
    fn eviction(&self) -> Option<(&'static str, &'static str)> {
        let evicts = self.field("maxmemory_policy").starts_with("allkeys");
        evicts.then_some((
            "may evict the list when it is short of memory: its maxmemory-policy is of the kind \
             `allkeys`",
            "set `maxmemory-policy noeviction`, and leave caches to another Redis",
        ))
    }

    fn dangling_multi(&self) -> Option<(&'static str, &'static str)> {
        let has_defect = self.field("redis_version").starts_with("7.0.");
        (has_defect && self.field("aof_enabled") == "1").then_some((
            "is a Redis 7.0 with an append-only file: a power cut in the middle of a transaction \
             or script of another client that writes twice leaves a MULTI without EXEC in the \
             file, and what is written after the restart is gone with the next one (audit-diesel \
             writes once in each script)",
            "use Redis 7.2 or later, or run `redis-check-aof --fix` on the newest file in \
             `appendonlydir` after a power cut, before Redis starts",
        ))
    }

    fn field(&self, name: &str) -> &str {
        let value = |line: &'_ str| -> Option<usize> {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(':').then_some(name.len() + 1)
        };
        let found = self
            .info
            .lines()
            .find_map(|line| value(line).map(|at| line[at..].trim()));
        found.unwrap_or_default()
    }
}
