//! The members of a JSON object as their own texts: no tree, no numbers changed, no duplicate unnoticed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use lictor_dsl::number::Number;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Members of one object at most.
const MAX_MEMBERS: usize = 20_000;

/// The members of an object, in order. A name that comes twice is an error, and so are too many of them.
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
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom(format!("more than {MAX_MEMBERS} fields")));
                    }
                    members.push((name, map.next_value::<&RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The items of a list, in order; nothing if there are more than so many, which are not all held at once.
pub fn items(list: &RawValue, most: usize) -> serde_json::Result<Option<Vec<&RawValue>>> {
    struct Collect(usize);
    impl<'de> Visitor<'de> for Collect {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == self.0 {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                items.push(item);
            }
            Ok(Some(items))
        }
    }
    serde_json::Deserializer::from_str(list.get()).deserialize_seq(Collect(most))
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// JSON in one spelling: members by name, exact numbers, no white space. Two texts of one request become the same.
pub fn canonical(json: &RawValue) -> serde_json::Result<String> {
    let text = json.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let mut members = members(json)?;
            members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let member = |(name, value): (Cow<'_, str>, &RawValue)| {
                Ok(format!("{}:{}", serde_json::to_string(&name)?, canonical(value)?))
            };
            let members = members.into_iter().map(member).collect::<serde_json::Result<Vec<_>>>()?;
            Ok(format!("{{{}}}", members.join(",")))
        }
        Some(b'[') => {
            let items = serde_json::from_str::<Vec<&RawValue>>(text)?;
            let items = items.into_iter().map(canonical).collect::<serde_json::Result<Vec<_>>>()?;
            Ok(format!("[{}]", items.join(",")))
        }
        Some(b'"') => serde_json::to_string(&serde_json::from_str::<Cow<'_, str>>(text)?),
        Some(b'-' | b'0'..=b'9') => {
            Ok(text.parse::<Number>().map_or_else(|_| text.to_owned(), |number| number.to_string()))
        }
        _ => Ok(text.to_owned()),
    }
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
    fn two_spellings_of_one_request_are_the_same() {
        let spelled = |json: &str| canonical(serde_json::from_str::<&RawValue>(json).unwrap()).unwrap();
        let want = r#"{"a b\" ":[1,2,{"x":"é"}],"b":null,"c":1.5}"#;
        assert_eq!(spelled(r#"{ "c": 1.50, "a b\" " : [1.0,\n 2e0, {"x": "\u00e9"} ], "b":null }"#.replace("\\n", "\n").as_str()), want);
        assert_eq!(spelled(want), want);
        assert_eq!(spelled("1e999"), "1e999");
    }
}
