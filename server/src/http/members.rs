//! The members of a JSON object as their own texts: no tree, no numbers changed, no duplicate unnoticed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object, in order. A name that comes twice is an error.
pub fn members(object: &RawValue) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str::<Members<'_>>(object.get()).map(|members| members.0)
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let (mut members, mut names) = (Vec::new(), HashSet::new());
                while let Some(Name(name)) = map.next_key()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    members.push((name, map.next_value::<&RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// JSON without the white space between its parts, so that two spellings of one request are the same text.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            out.push(character);
        }
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text_and_order() {
        let json = serde_json::from_str::<&RawValue>(r#" {"b": 1.50, "a\n": {"x" : 1}} "#).unwrap();
        let found: Vec<_> =
            members(json).unwrap().into_iter().map(|(n, v)| (n.into_owned(), v.get())).collect();
        assert_eq!(found, [("b".to_owned(), "1.50"), ("a\n".to_owned(), r#"{"x" : 1}"#)]);
    }

    #[test]
    fn duplicates_and_other_values_are_refused() {
        for json in [r#"{"a":1,"b":2,"a":3}"#, r#"{"a":1,"\u0061":3}"#, "[1]", "\"x\"", "null"] {
            assert!(members(serde_json::from_str::<&RawValue>(json).unwrap()).is_err(), "{json}");
        }
    }

    #[test]
    fn white_space_between_parts_goes() {
        assert_eq!(compact("{ \"a b\\\" \" : [1,\n 2.0 ] }"), r#"{"a b\" ":[1,2.0]}"#);
    }
}
