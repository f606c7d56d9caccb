//! Prints the trail as a table.

use audit_diesel::AuditLog;
use comfy_table::{ContentArrangement, Table, presets};

/// How wide the table gets where the terminal does not say.
const WIDTH: u16 = 110;

pub(crate) fn table(records: &[AuditLog]) {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(["time (UTC)", "who", "from", "did what", "what changed"]);
    for record in records {
        table.add_row([
            record.occurred_at.format("%H:%M:%S%.3f").to_string(),
            who(record),
            joined(" ", [&record.source, &record.ip]),
            did_what(record),
            what_changed(record),
        ]);
    }
    println!("{table}");
}

fn who(record: &AuditLog) -> String {
    joined(" ", [&record.actor_type, &record.actor_id])
}

fn did_what(record: &AuditLog) -> String {
    let resource = joined(" ", [&record.resource_type, &record.resource_id]);
    match record.outcome.as_str() {
        "success" => format!("{} {resource}", record.action),
        outcome => format!("{} {resource} ({outcome})", record.action),
    }
}

/// `role: "member" → "admin"`, a line a field.
fn what_changed(record: &AuditLog) -> String {
    let fields = record
        .changes
        .as_ref()
        .and_then(|changes| changes.as_object());
    let lines = fields.into_iter().flatten().map(|(field, change)| {
        let side = |name| change.get(name).map(ToString::to_string);
        let change = match (side("old"), side("new")) {
            (Some(old), Some(new)) => format!("{old} → {new}"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => "redacted".to_owned(),
        };
        format!("{field}: {change}")
    });
    let extra = record.extra.iter().map(ToString::to_string);
    lines.chain(extra).collect::<Vec<_>>().join("\n")
}

fn joined<const N: usize>(separator: &str, parts: [&Option<String>; N]) -> String {
    let given = parts.into_iter().flatten().filter(|part| !part.is_empty());
    given
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(separator)
}
