//! Globs: `*` is anything (also `/`), `?` one character; the whole text, case-sensitive.

use regex::{Regex, RegexBuilder};

use super::COMPILED_LIMIT;

/// A compiled glob; matching takes linear time.
#[derive(Debug, Clone)]
pub struct Glob {
    regex: Regex,
}

impl Glob {
    /// Compiles a glob; the error says why it can't be.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        let regex = RegexBuilder::new(&as_regex(pattern)).size_limit(COMPILED_LIMIT).build();
        regex.map(|regex| Glob { regex }).map_err(|_| "the glob is too long".to_owned())
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Whether a pattern matches more than itself.
pub(crate) fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The same pattern in the words of the regex crate.
pub(crate) fn as_regex(pattern: &str) -> String {
    let mut regex = String::from(r"(?s)\A");
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?']) {
        let (literal, wild) = rest.split_at(at);
        regex.push_str(&regex::escape(literal));
        if let Some(after) = wild.strip_prefix('?') {
            regex.push('.');
            rest = after;
        } else {
            regex.push_str(".*");
            rest = wild.trim_start_matches('*');
        }
    }
    regex.push_str(&regex::escape(rest));
    regex.push_str(r"\z");
    regex
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("a*", "b a", false),
            ("*.rs", "src/main.rs", true),
            ("*.rs", "src/main_rs", false),
            ("?", "", false),
            ("?", "é", true),
            ("?", "\n", true),
            ("??", "é", false),
            ("A*", "abc", false),
            ("a**c", "ac", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
            ("a.b$", "a.b$", true),
            ("a\\*", "a\\x", true),
            ("(?i)a", "(xi)a", true),
        ] {
            assert_eq!(Glob::new(pattern).map(|glob| glob.is_match(text)), Ok(want), "{pattern} {text:?}");
        }
    }

    #[test]
    fn a_glob_without_bound_is_refused() {
        assert!(Glob::new(&"?".repeat(100_000)).is_err());
        let stars = Glob::new(&"*a".repeat(200)).unwrap_or_else(|e| panic!("{e}"));
        assert!(!stars.is_match(&"a".repeat(199)));
    }

    proptest! {
        #[test]
        fn a_text_matches_itself(text in "[^*?]{0,20}") {
            prop_assert_eq!(Glob::new(&text).map(|glob| glob.is_match(&text)), Ok(true));
        }
    }
}
