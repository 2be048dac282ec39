//! Text compared without case and look-alike encodings (NFKC_Casefold), and whole words inside a text.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// NFKC_Casefold: what `~=` compares.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Folding can make new sequences to normalise and normalising new ones to fold; it settles at once but for a
    // few Greek and fullwidth combinations, which take a second round.
    let mut now = once(text);
    for _ in 0..ROUNDS {
        let next = once(&now);
        if next == now {
            break;
        }
        now = next;
    }
    now
}

/// More rounds than any text needs.
const ROUNDS: usize = 4;

fn once(text: &str) -> String {
    text.nfkc().default_case_fold().filter(|c| !is_ignorable(*c)).nfkc().collect()
}

/// Unicode's Default_Ignorable_Code_Point: what a reader doesn't see.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a word stands in a text with no letter, digit or underscore beside it. An empty word never does.
pub fn contains_word(text: &str, word: &str) -> bool {
    let is_alone = |start: usize, end: usize| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text.get(end..).and_then(|after| after.chars().next());
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    };
    occurrences(text.as_bytes(), word.as_bytes()).any(|start| is_alone(start, start + word.len()))
}

/// Where one text begins in another, overlapping occurrences too, in linear time (Knuth, Morris and Pratt, 1977).
fn occurrences<'t>(text: &'t [u8], word: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    // For each prefix the length of the longest shorter prefix that it ends with.
    let mut fallback = vec![0usize; word.len()];
    let advance = |fallback: &[usize], mut matched: usize, byte: u8| {
        while matched > 0 && word.get(matched) != Some(&byte) {
            matched = fallback.get(matched - 1).copied().unwrap_or(0);
        }
        matched + usize::from(word.get(matched) == Some(&byte))
    };
    let mut matched = 0;
    for (place, byte) in word.iter().enumerate().skip(1) {
        matched = advance(&fallback, matched, *byte);
        if let Some(length) = fallback.get_mut(place) {
            *length = matched;
        }
    }
    let mut matched = 0;
    text.iter().enumerate().filter_map(move |(place, byte)| {
        matched = advance(&fallback, matched, *byte);
        let whole = !word.is_empty() && matched == word.len();
        whole.then(|| place + 1 - word.len())
    })
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_look_alike_fold_alike() {
        for (text, want) in [
            ("", ""),
            ("Hello", "hello"),
            ("STRASSE", "strasse"),
            ("straße", "strasse"),
            ("Straẞe", "strasse"),
            ("ﬁne", "fine"),
            ("ＰＡＹ", "pay"),
            ("pa\u{200b}y\u{ad}ment", "payment"),
            ("e\u{301}", "é"),
            ("É", "é"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("Σίσυφος", "σίσυφοσ"),
            ("K", "k"),
            ("Ǆ", "dž"),
            ("①", "1"),
            ("\u{1e9e}\u{fe0f}", "ss"),
            ("\u{3164}\u{e0001}", ""),
            ("İ", "i\u{307}"),
            ("\u{345}", "ι"),
        ] {
            assert_eq!(fold(text), want, "{text}");
        }
    }

    #[test]
    fn every_character_folds_to_something_settled() {
        // No letters lie beyond the first four planes.
        for c in '\0'..='\u{3ffff}' {
            let folded = fold(&c.to_string());
            assert_eq!(fold(&folded), folded, "{c:?}");
        }
    }

    #[test]
    fn the_ignorable_characters_are_unicodes() {
        let class = regex::Regex::new(r"^\p{Default_Ignorable_Code_Point}$").expect("a good case");
        for c in '\0'..=char::MAX {
            assert_eq!(is_ignorable(c), class.is_match(c.encode_utf8(&mut [0; 4])), "{c:?}");
        }
    }

    #[test]
    fn words_are_whole() {
        for (text, word, want) in [
            ("send the password now", "password", true),
            ("password", "password", true),
            ("(password)", "password", true),
            ("passwords", "password", false),
            ("my_password", "password", false),
            ("1password", "password", false),
            ("épassword", "password", false),
            ("passwords password", "password", true),
            ("aaa", "aa", false),
            ("aaa aa", "aa", true),
            ("é é", "é", true),
            ("two words here", "two words", true),
            ("a.b", ".", false),
            ("a . b", ".", true),
            ("anything", "", false),
            ("", "a", false),
            ("", "", false),
        ] {
            assert_eq!(contains_word(text, word), want, "{text:?} {word:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_settles(text in "\\PC{0,12}") {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn a_word_between_spaces_is_found(before in "\\PC{0,8}", word in "\\PC{1,5}", after in "\\PC{0,8}") {
            let text = format!("{before} {word} {after}");
            prop_assert!(contains_word(&text, &word));
        }
    }
}
