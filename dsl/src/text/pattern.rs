//! Regexes as policies write them: linear time, bounded in size, `.` matches a newline, classes are Unicode's.

use regex::{Error, Regex, RegexBuilder};

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
