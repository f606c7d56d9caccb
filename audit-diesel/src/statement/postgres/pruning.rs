//! Whether a filter can stand in a statement twice.
//!
//! An update of a partitioned table reads its old rows by the filter, and finds them again by their key.
//! PostgreSQL leaves partitions out that no row can come from, and does so for the second look only
//! where the filter stands there as well. That must not change which rows are found: so the filter may
//! compare columns with values, and neither call a function, which may answer otherwise the second time
//! (`random()`), nor look into tables (`… IN (SELECT … LIMIT 1 FOR UPDATE SKIP LOCKED)`).

const WORDS: [&str; 21] = [
    "where",
    "and",
    "or",
    "not",
    "in",
    "any",
    "all",
    "is",
    "null",
    "true",
    "false",
    "unknown",
    "like",
    "ilike",
    "between",
    "symmetric",
    "distinct",
    "from",
    "similar",
    "to",
    "escape",
];

/// Whether this WHERE clause, as Diesel has written it, finds the same rows each time, and holds as a
/// whole with another condition behind ` AND `.
pub(super) fn can_stand_twice(clause: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = clause;
    let mut after_name = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => match after_quoted(rest, first) {
                Some(length) => length,
                None => return false,
            },
            '$' => {
                let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return false;
                }
                1 + digits
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let word = rest
                    .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
                    .map_or(rest, |end| &rest[..end]);
                let is = |known: &str| word.eq_ignore_ascii_case(known);
                let is_number = first.is_ascii_digit();
                if !is_number && !WORDS.iter().any(|known| is(known)) || depth == 0 && is("or") {
                    return false;
                }
                word.len()
            }
            _ if rest.starts_with("--") || rest.starts_with("/*") => return false,
            // A name before a parenthesis is a function's.
            '(' if after_name => return false,
            '(' => {
                depth += 1;
                1
            }
            ')' if depth == 0 => return false,
            ')' => {
                depth -= 1;
                1
            }
            ';' => return false,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            after_name = first == '"';
        }
        rest = &rest[length..];
    }
    depth == 0
}

/// How long the quoted name or text is that it begins with.
fn after_quoted(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::can_stand_twice;

    #[test]
    fn comparisons_can_stand_twice() {
        for clause in [
            "",
            r#" WHERE ("t"."id" = $1)"#,
            r#" WHERE (("t"."id" = $1) AND ("auth"."t"."day" >= $2))"#,
            r#" WHERE (("t"."id" = $1) OR ("t"."id" IS NULL)) AND ("t"."x" = ANY($12))"#,
            r#" WHERE "t"."id" IN ($1, $2) AND NOT ("t"."name" LIKE 'it''s (not) now()')"#,
            r#" WHERE ("t"."a ""( b" IS DISTINCT FROM $1) AND ("t"."n" BETWEEN 1 AND 2.5)"#,
            r#" WHERE ("t"."tags" @> $1)"#,
        ] {
            assert!(can_stand_twice(clause), "{clause}");
        }
    }

    #[test]
    fn what_may_answer_otherwise_cannot() {
        for clause in [
            r#" WHERE ("t"."id" = random())"#,
            r#" WHERE ("t"."id" = "my"."volatile"($1))"#,
            r#" WHERE ("t"."id" = "volatile" ($1))"#,
            r#" WHERE ("t"."id" = ANY(SELECT "jobs"."id" FROM "jobs" LIMIT 1))"#,
            r#" WHERE ("t"."id" IN (TABLE x))"#,
            r#" WHERE ("t"."id" IN (VALUES (1)))"#,
            r#" WHERE "t"."id" = $1 -- AND"#,
            r#" WHERE "t"."id" = $$a$$"#,
            r#" WHERE "t"."at" < current_timestamp"#,
            r#" WHERE "t"."at" = 'open"#,
            r#" WHERE ("t"."id" = $1; DELETE"#,
        ] {
            assert!(!can_stand_twice(clause), "{clause}");
        }
    }

    #[test]
    fn what_another_condition_would_tear_apart_cannot() {
        assert!(!can_stand_twice(r#" WHERE "t"."id" = 1 OR "t"."id" = 2"#));
        assert!(!can_stand_twice(r#" WHERE "t"."id" = 1) OR ("t"."id" = 2"#));
    }
}
