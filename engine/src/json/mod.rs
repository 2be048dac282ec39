//! JSON as events carry it: strict (RFC 8259, no key twice, no lone surrogates), with exact numbers.

mod cursor;
mod fault;
mod number;
mod scan;
mod steps;

use std::collections::HashMap;
use std::fmt;

use lictor_dsl::number::Number;

pub(crate) use cursor::Key;
pub use cursor::{Cursor, DEPTH_LIMIT, Kind};
pub(crate) use fault::Fault;
pub(crate) use number::number;
pub(crate) use scan::{Head, unescaped};

/// A JSON value.
#[derive(Debug, Clone)]
pub enum Json {
    /// `null`, which means the same as absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; none if its magnitude does not fit, so that its value is unknown.
    Number(Option<Number>),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object; its members in the order of the text, no key twice.
    Object(Vec<(String, Json)>),
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The byte where it went wrong.
    pub offset: usize,
    /// The keys and item numbers that lead there, with dots between; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.offset)
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON text.
pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let mut cursor = Cursor::new(bytes)?;
    let value = value(&mut cursor)?;
    cursor.end()?;
    Ok(value)
}

/// Recursion is bounded by the cursor's [`DEPTH_LIMIT`].
fn value(cursor: &mut Cursor<'_>) -> Result<Json, JsonError> {
    Ok(match cursor.kind()? {
        Kind::Null => {
            cursor.null()?;
            Json::Null
        }
        Kind::Bool => Json::Bool(cursor.boolean()?),
        Kind::Number => Json::Number(number(cursor.number()?).ok()),
        Kind::Text => Json::Text(cursor.string()?.into_owned()),
        Kind::List => {
            let mut items = Vec::new();
            cursor.open_list()?;
            while cursor.next_item()? {
                items.push(value(cursor)?);
            }
            Json::List(items)
        }
        Kind::Object => {
            let mut members = Vec::new();
            cursor.open_object()?;
            while let Some(key) = cursor.next_key()? {
                members.push((key.into_owned(), value(cursor)?));
            }
            Json::Object(members)
        }
    })
}

/// Objects with more members than this are compared by hash.
const FEW_MEMBERS: usize = 16;

impl Json {
    /// The member of this key; none where this is no object, and for `null`, which is absent everywhere.
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// How many members an object has.
    pub(crate) fn breadth(&self) -> usize {
        match self {
            Json::Object(members) => members.len(),
            _ => 0,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    /// Deep equality: numbers by value, objects whatever the order of their members, a `null` member as an absent
    /// one. Unknown where only a number that does not fit could tell.
    pub fn same(&self, other: &Json) -> Option<bool> {
        match (self, other) {
            (Json::Null, Json::Null) => Some(true),
            (Json::Bool(a), Json::Bool(b)) => Some(a == b),
            (Json::Number(a), Json::Number(b)) => Some((*a)? == (*b)?),
            (Json::Text(a), Json::Text(b)) => Some(a == b),
            (Json::List(a), Json::List(b)) if a.len() == b.len() => {
                all(a.iter().zip(b).map(|(a, b)| a.same(b)))
            }
            (Json::Object(a), Json::Object(b)) => same_members(a, b),
            _ => Some(false),
        }
    }
}

/// Certain equality.
impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.same(other) == Some(true)
    }
}

fn same_members(a: &[(String, Json)], b: &[(String, Json)]) -> Option<bool> {
    let present = |members: &[(String, Json)]| members.iter().filter(|(_, value)| !value.is_null()).count();
    if present(a) != present(b) {
        return Some(false);
    }
    let a = a.iter().filter(|(_, value)| !value.is_null());
    if b.len() <= FEW_MEMBERS {
        let find = |key: &String| b.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        return all(a.map(|(key, value)| find(key).map_or(Some(false), |other| value.same(other))));
    }
    let b: HashMap<&String, &Json> = b.iter().map(|(key, value)| (key, value)).collect();
    all(a.map(|(key, value)| b.get(key).map_or(Some(false), |other| value.same(other))))
}

/// Kleene's "and": one certain no decides, else one unknown does.
fn all(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut so_far = Some(true);
    for truth in truths {
        match truth {
            Some(false) => return Some(false),
            Some(true) => {}
            None => so_far = None,
        }
    }
    so_far
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Json {
        parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn values_are_read_exactly() {
        let number = |text: &str| Json::Number(text.parse().ok());
        for (text, want) in [
            (" true\r\n\t", Json::Bool(true)),
            ("0.1", number("0.1")),
            ("9007199254740993", number("9007199254740993")),
            ("-0", number("0")),
            ("1E+2", number("100")),
            ("\"\"", Json::Text(String::new())),
            (r#""\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t""#, Json::Text("é😀\"\\/\u{8}\u{c}\n\r\t".to_owned())),
            ("\"é\u{7f}😀\"", Json::Text("é\u{7f}😀".to_owned())),
            ("[]", Json::List(vec![])),
            ("[1,[2]]", Json::List(vec![number("1"), Json::List(vec![number("2")])])),
            (
                r#"{"a":{"b":"c"}}"#,
                Json::Object(vec![(
                    "a".to_owned(),
                    Json::Object(vec![("b".to_owned(), Json::Text("c".to_owned()))]),
                )]),
            ),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
        assert!(matches!(read("1e30"), Json::Number(None)));
        assert!(matches!(read("1e999999999999"), Json::Number(None)));
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_goes_wrong() {
        for (text, path, message) in [
            ("", "", "the text ends too early (at byte 0)"),
            ("{", "", "a key in double quotes should stand here (at byte 1)"),
            (r#"{"a"#, "", "the text ends inside a string (at byte 3)"),
            (r#"{"a":"#, "a", "the text ends too early (at byte 5)"),
            (r#"{"a" 1}"#, "a", "a colon should stand here (at byte 5)"),
            (r#"{"a":1,}"#, "a", "a key in double quotes should stand here (at byte 7)"),
            (r#"{"a":1 "b":2}"#, "a", "a comma or `}` should stand here (at byte 7)"),
            ("{a:1}", "", "a key in double quotes should stand here (at byte 1)"),
            ("[1,]", "1", "a value should stand here (at byte 3)"),
            ("[,1]", "0", "a value should stand here (at byte 1)"),
            ("[1 2]", "0", "a comma or `]` should stand here (at byte 3)"),
            ("[1}", "0", "a comma or `]` should stand here (at byte 2)"),
            ("1 2", "", "something follows the value (at byte 2)"),
            ("{}\0", "", "something follows the value (at byte 2)"),
            ("\u{feff}1", "", "a value should stand here (at byte 0)"),
            ("01", "", "a number does not begin with a nought (at byte 1)"),
            ("-", "", "a digit should stand here (at byte 1)"),
            ("1.", "", "a digit should stand here (at byte 2)"),
            ("1e", "", "a digit should stand here (at byte 2)"),
            (".5", "", "a value should stand here (at byte 0)"),
            ("+1", "", "a value should stand here (at byte 0)"),
            ("NaN", "", "a value should stand here (at byte 0)"),
            ("nul", "", "a value should stand here (at byte 0)"),
            ("truE", "", "a value should stand here (at byte 0)"),
            ("'a'", "", "a value should stand here (at byte 0)"),
            ("// x\n1", "", "a value should stand here (at byte 0)"),
            ("\"a\nb\"", "", "a control character stands bare in a string (at byte 2)"),
            (r#""\x41""#, "", "a string has an unknown escape (at byte 1)"),
            (r#""\u12g4""#, "", "a `\\u` needs four hexadecimal digits (at byte 1)"),
            (r#""\u+123""#, "", "a `\\u` needs four hexadecimal digits (at byte 1)"),
            (r#""\ud800""#, "", "a string has half a surrogate pair (at byte 1)"),
            (r#""\udc00\ud800""#, "", "a string has half a surrogate pair (at byte 1)"),
            (r#""\ud800\u0041""#, "", "a string has half a surrogate pair (at byte 1)"),
            (r#""\ud800\ud800""#, "", "a string has half a surrogate pair (at byte 1)"),
            (r#"{"a":1,"a":1}"#, "a", "the object has this key twice (at byte 7)"),
            (r#"{"a":1,"\u0061":1}"#, "a", "the object has this key twice (at byte 7)"),
            (r#"{"x":[0,{"b":{},"c":1,"b":2}]}"#, "x.1.b", "the object has this key twice (at byte 22)"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!((error.path.as_str(), error.to_string().as_str()), (path, message), "{text}");
        }
        assert_eq!(
            parse(b"\"\xff\"").map_err(|e| e.to_string()),
            Err("the text is not UTF-8 (at byte 1)".to_owned())
        );
        assert!(parse(b"\"\xed\xa0\x80\"").is_err());
    }

    #[test]
    fn keys_of_large_objects_are_new_too() {
        let members: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(parse(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
        for twice in ["k0", "k15", "k16", "k17", "k19999"] {
            let text = format!("{{{},\"{twice}\":0}}", members.join(","));
            assert_eq!(parse(text.as_bytes()).map_err(|e| e.path), Err(twice.to_owned()), "{twice}");
        }
        // The same key in neighbours and in parents is fine.
        read(r#"[{"a":{"a":{"a":1}}},{"a":2}]"#);
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(nested(DEPTH_LIMIT).as_bytes()).is_ok());
            assert!(parse(nested(DEPTH_LIMIT + 1).as_bytes()).is_err());
            assert!(parse(open.repeat(100_000).as_bytes()).is_err());
            assert!(Cursor::over(&open.repeat(100_000)).skip().is_err());
        }
    }

    #[test]
    fn equality_is_deep_and_knows_what_it_does_not_know() {
        for (a, b, want) in [
            ("1", "1.0", Some(true)),
            ("1", "1e0", Some(true)),
            ("1", "\"1\"", Some(false)),
            ("true", "1", Some(false)),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#, Some(true)),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, Some(false)),
            (r#"{"a":1,"b":null}"#, r#"{"a":1}"#, Some(true)),
            (r#"{"a":null,"b":1}"#, r#"{"a":1,"b":null}"#, Some(false)),
            ("[1,2]", "[2,1]", Some(false)),
            ("[1]", "[1,null]", Some(false)),
            ("null", "null", Some(true)),
            ("1e30", "1e30", None),
            ("1e30", "1", None),
            ("[1e30,1]", "[1,2]", Some(false)),
            ("[1e30,1]", "[1,1]", None),
            (r#"{"a":1e30}"#, r#"{"a":"x"}"#, Some(false)),
        ] {
            assert_eq!(read(a).same(&read(b)), want, "{a} {b}");
            assert_eq!(read(b).same(&read(a)), want, "{b} {a}");
        }
        let large = |order: &mut dyn Iterator<Item = i32>| {
            read(&format!("{{{}}}", order.map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(",")))
        };
        assert_eq!(large(&mut (0..50)), large(&mut (0..50).rev()));
        assert_ne!(large(&mut (0..50)), large(&mut (1..51)));
    }

    #[test]
    fn null_members_are_absent() {
        let object = read(r#"{"a":null,"b":false}"#);
        assert_eq!(object.get("a"), None);
        assert_eq!(object.get("b"), Some(&Json::Bool(false)));
        assert_eq!(read("[1]").get("a"), None);
    }

    #[test]
    fn a_skipped_value_tells_where_it_stands() {
        let text = r#" { "a" : [ 1 , {"b":"\n"} ] , "c" : -1.5e3 } "#;
        let mut cursor = Cursor::over(text);
        let mut found = Vec::new();
        cursor.open_object().expect("an object");
        while let Some(key) = cursor.next_key().expect("a key") {
            let range = cursor.skip().expect("a value");
            found.push((key.into_owned(), text.get(range)));
        }
        cursor.end().expect("the end");
        assert_eq!(
            found,
            [("a".to_owned(), Some(r#"[ 1 , {"b":"\n"} ]"#)), ("c".to_owned(), Some("-1.5e3"))]
        );
    }

    fn agrees(ours: &Json, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Json::Null, serde_json::Value::Null) => true,
            (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
            (Json::Text(a), serde_json::Value::String(b)) => a == b,
            (Json::Number(a), serde_json::Value::Number(b)) => match (a, b.as_i64()) {
                (Some(a), Some(b)) => *a == Number::whole(b),
                (Some(a), None) => {
                    b.as_f64().is_some_and(|b| (a.to_f64() - b).abs() <= b.abs() * 1e-12 + 1e-9)
                }
                (None, _) => b.as_f64().is_some_and(|b| b.abs() > 1.7e29),
            },
            (Json::List(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agrees(a, b))
            }
            (Json::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| b.get(key).is_some_and(|b| agrees(value, b)))
            }
            _ => false,
        }
    }

    /// Compares with serde_json, which lets keys come twice and holds numbers to those of a float.
    fn compare(text: &[u8]) {
        let shown = String::from_utf8_lossy(text);
        match (parse(text), serde_json::from_slice::<serde_json::Value>(text)) {
            (Ok(ours), Ok(theirs)) => assert!(agrees(&ours, &theirs), "{shown}: {ours:?} {theirs}"),
            (Ok(ours), Err(theirs)) => {
                assert!(theirs.to_string().contains("number out of range"), "{shown}: {ours:?} {theirs}");
            }
            (Err(ours), Ok(theirs)) => assert!(ours.message.contains("twice"), "{shown}: {ours} {theirs}"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn every_place_of_a_string_is_looked_at() {
        let odd = [
            "\"", "\\", "\\\\", "\\\"", "\\u0041", "\\ud800", "\u{1f}", "\0", "\u{7f}", "\u{80}", "é",
            "\u{ffff}", "😀", " ",
        ];
        for (len, odd) in (0..20).flat_map(|len| odd.map(|odd| (len, odd))) {
            for at in 0..=len {
                let text = format!("{}{odd}{}", "x".repeat(at), "~".repeat(len - at));
                for text in [format!("\"{text}\""), format!("{{\"{text}\":1,\"y\":2}}"), format!("[\"{text}")]
                {
                    compare(text.as_bytes());
                }
                compare(
                    format!("{{\"{text}\":[{{\"{text}\":1}}],\"\\u0078{text}\":1,\"x{text}\":1}}").as_bytes(),
                );
            }
        }
    }

    /// Texts that are almost JSON: its own tokens in any order.
    fn tokens() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\":",
            "\"\\u0061\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud800\"",
            "1",
            "-0",
            "1.5e-3",
            "1e400",
            "0",
            ".",
            "e",
            "null",
            "true",
            "false",
            " ",
            "\n",
            "\"",
            "\\",
            "é",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    /// JSON text of some value.
    fn document() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?",
            any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let member = (any::<String>(), inner.clone())
                .prop_map(|(key, value)| format!("{} : {value}", serde_json::Value::from(key)));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(" ,"))),
                prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn it_reads_what_serde_json_reads(text in document()) {
            compare(text.as_bytes());
        }

        #[test]
        fn it_refuses_what_serde_json_refuses(text in tokens()) {
            compare(text.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            compare(&bytes);
        }

        #[test]
        fn a_changed_byte_changes_both_alike(text in document(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            compare(&bytes);
        }

        #[test]
        fn skipping_checks_what_reading_checks(text in prop_oneof![tokens(), document()]) {
            let mut cursor = Cursor::over(&text);
            let skipped = cursor.skip().and_then(|_| cursor.end());
            prop_assert_eq!(skipped, parse(text.as_bytes()).map(|_| ()));
        }
    }
}
