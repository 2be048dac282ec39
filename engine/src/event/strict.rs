//! Tests that an event is refused as JSON where any text is, and for the same reason: its own members are told apart
//! without the list that finds keys that come twice elsewhere.

use proptest::prelude::*;

use super::*;
use crate::json::parse;

/// What an event may be damaged with.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "\u{1}",
        "é",
        "0",
        "-",
        "1e5",
        "null",
        "\"kind\":1,",
        "\"\\u006bind\":1,",
        "\"agent\":{},",
        "\"id\":1,",
        "\"a\":1,",
        "\"d\":1,",
        "\"unknown\":1,",
        "\\ud800",
        "\\u0041",
        "\"a long unknown key\":1,",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events_are_json_as_any_text_is(
        changes in prop::collection::vec((any::<prop::sample::Index>(), piece(), 0..4usize), 0..4),
    ) {
        let mut bytes = concat!(
            r#"{"at":"2026-01-01T12:00:00Z","org":"acme","agent":{"id":"a-1","manifest":{}},"event":"action","kind":"http","#,
            r#""target":"x","metadata":{"a":[1,{"b":"\u00e9"}],"c":{}},"unknown":{"d":[]}}"#,
        ).as_bytes().to_vec();
        for (at, piece, cut) in changes {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..bytes.len().min(at + cut), piece.bytes()).for_each(drop);
        }
        let faults = Event::decode(&bytes, Origin::Event).map_or_else(|invalid| invalid.errors, |_| Vec::new());
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        match parse(&bytes) {
            Err(error) if is_object => {
                let message = error.to_string();
                prop_assert_eq!(faults, [FieldError { field: error.path, message }]);
            }
            Ok(_) if is_object => prop_assert!(faults.iter().all(|fault| !fault.message.contains("(at byte"))),
            _ => prop_assert!(!faults.is_empty()),
        }
    }
}
