//! The trail by itself: each old value is the new value before it.

use std::collections::HashMap;

use serde_json::Value;

use super::{Recorded, Verdict};

/// Follows each row through its versions. Where a version is missing, which is counted elsewhere,
/// nothing is known of the row until its fields are written again.
pub fn check(verdict: &mut Verdict, records: &[Recorded]) {
    let mut rows: HashMap<&str, Vec<(i64, &Value)>> = HashMap::new();
    for record in records {
        if let (Some(id), Some(changes)) = (&record.resource_id, &record.changes) {
            let version = version(changes);
            rows.entry(id).or_default().push((version, changes));
        }
    }
    for (id, mut history) in rows {
        history.sort_by_key(|(version, _)| *version);
        history.dedup_by_key(|(version, _)| *version);
        follow(verdict, id, &history);
    }
}

/// The place in the row's history; a deletion comes after all.
fn version(changes: &Value) -> i64 {
    changes["version"]["new"].as_i64().unwrap_or(i64::MAX)
}

fn follow(verdict: &mut Verdict, id: &str, history: &[(i64, &Value)]) {
    let mut fields: HashMap<&String, &Value> = HashMap::new();
    for (place, (version, changes)) in history.iter().enumerate() {
        let gap = place > 0 && *version != i64::MAX && history[place - 1].0 + 1 != *version;
        let deleted_after_gap = *version == i64::MAX
            && place > 0
            && changes["version"]["old"].as_i64() != Some(history[place - 1].0);
        if gap || deleted_after_gap {
            fields.clear();
        }
        for (field, sides) in changes.as_object().into_iter().flatten() {
            if let (Some(before), Some(old)) = (fields.get(field), sides.get("old"))
                && *before != old
            {
                verdict.wrong_old += 1;
                verdict.example(|| format!("row {id}: {field} was {before}, record says {old}"));
            }
            if let Some(new) = sides.get("new") {
                fields.insert(field, new);
            }
        }
    }
}
