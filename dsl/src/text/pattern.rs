//! Regexes as policies write them: linear time, bounded in size, `.` matches a newline, classes are Unicode's.

use regex::{Error, Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

use super::COMPILED_LIMIT;

/// How deep groups may nest.
const NESTING_LIMIT: u32 = 128;

/// Compiles a regex that searches; the error is one line for the author.
pub fn regex(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_LIMIT)
        .nest_limit(NESTING_LIMIT)
        .build()
        .map_err(|error| reason(&error))
}

/// A text that stands in everything that a regex matches, the longest one that is plain to see.
pub fn required(pattern: &str) -> Option<String> {
    let hir = ParserBuilder::new()
        .dot_matches_new_line(true)
        .nest_limit(NESTING_LIMIT)
        .build()
        .parse(pattern)
        .ok()?;
    longest(&hir).map(str::to_owned)
}

/// Of what must follow one another each has to be there; of a choice nothing is sure.
fn longest(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok(),
        HirKind::Capture(capture) => longest(&capture.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => longest(&repeated.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(longest).max_by_key(|part| part.len()),
        _ => None,
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::CompiledTooBig(limit) => {
            format!("the regex takes more than {} KiB when compiled", limit / 1024)
        }
        // The crate draws the pattern with a caret; its last line is the reason.
        Error::Syntax(drawing) => {
            let last = drawing.lines().next_back().unwrap_or("it is malformed");
            last.trim_start_matches("error: ").to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regexes_search() {
        for (pattern, ignore_case, text, want) in [
            ("b", false, "abc", true),
            ("^b", false, "abc", false),
            ("^b$", false, "a\nb\nc", false),
            ("a.c", false, "a\nc", true),
            ("ABC", true, "xabcx", true),
            ("ABC", false, "abc", false),
            ("straße", true, "STRAẞE", true),
            (r"^\d$", false, "٣", true),
            (r"^\w+$", false, "naïve", true),
            (r"\bcat\b", false, "concat", false),
            ("", false, "", true),
        ] {
            let regex = regex(pattern, ignore_case).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(regex.is_match(text), want, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_a_regex_needs_is_found() {
        for (pattern, want) in [
            (r"^\/srv\/d7\/.*\.csv$", Some("/srv/d7/")),
            ("(ab)+c", Some("ab")),
            ("(ab)*c", Some("c")),
            ("(ab)?", None),
            ("abc|abd", None),
            ("abc|xyz", None),
            ("(?i)abc", None),
            ("a(?i:b)cde", Some("cde")),
            ("é{2}", Some("é")),
            (r"\d+", None),
            ("", None),
            ("(", None),
        ] {
            assert_eq!(required(pattern).as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn a_bad_regex_gets_a_readable_reason() {
        for (pattern, want) in [
            ("a(", "unclosed group"),
            ("a{2,1}", "invalid repetition count range, the start must be <= the end"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            (r"\w{5000}", "the regex takes more than 1024 KiB when compiled"),
            (r"(?-u)\xff", "pattern can match invalid UTF-8"),
        ] {
            assert_eq!(regex(pattern, false).err().as_deref(), Some(want), "{pattern}");
        }
        assert!(regex(&"(".repeat(1_000), false).is_err());
        assert!(regex(&format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000)), false).is_err());
    }
}
