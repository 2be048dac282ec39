//! Each rule about what an event is, as a table.

use std::net::IpAddr;

use lictor_dsl::events::{FIELDS, fields_of};
use lictor_dsl::number::Number;
use lictor_dsl::text::moment;
use proptest::prelude::*;

use super::*;
use crate::json::parse;

const ENVELOPE: &str = r#""at":"2026-01-01T12:00:00Z","org":"acme","agent":{"id":"a-1"}"#;

/// An event of its own with the smallest envelope.
fn with(members: &str) -> String {
    format!("{{{ENVELOPE},{members}}}")
}

fn own(json: &str) -> Event {
    Event::decode(json.as_bytes(), Origin::Event).unwrap_or_else(|e| panic!("{json}: {:?}", e.errors))
}

fn faults(json: &str, origin: Origin<'_>) -> Vec<String> {
    match Event::decode(json.as_bytes(), origin) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.errors.into_iter().map(|e| format!("{}: {}", e.field, e.message)).collect(),
    }
}

fn value<'a>(event: &'a Event, name: &str) -> Option<&'a FieldValue> {
    event.get(events::field(event.kind(), name).unwrap_or_else(|| panic!("no field {name}")))
}

fn text(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Text(text.to_owned()))
}

fn json(text: &str) -> Option<FieldValue> {
    FieldValue::read_json(events::field(EventKind::Intent, "payload").expect("a field").def(), text)
        .expect(text)
}

#[test]
fn a_full_event_fills_its_slots() {
    let event =
        own(r#"{"amount":5000.10,"currency":"EUR","target":{"iban":"NL00"},"payload":[1],"action":"refund",
        "task":"t-1","agent":{"id":"a-1","name":"Ann","owner":"bo","type":"assistant","status":"paused",
        "environment":"prod","purpose":"refunds","risk_class":"high","tags":["x","\u0079"],
        "manifest":{"tools":["t"],"destinations":[]},"trust":1,"registered_at":"2025-01-01T00:00:00+01:00",
        "declared":true,"paused":true,"metadata":{"k":1}},"source":"api","org":"acme",
        "at":"2026-01-01T12:00:00Z","event":"intent"}"#);
    assert_eq!(event.kind(), EventKind::Intent);
    assert_eq!((event.org(), event.agent_id()), ("acme", "a-1"));
    assert_eq!(Some(event.at()), moment::rfc3339("2026-01-01T12:00:00Z"));
    for (name, want) in [
        ("action", text("refund")),
        ("amount", Some(FieldValue::Number("5000.1".parse().expect("a number")))),
        ("currency", text("EUR")),
        ("target", json(r#"{"iban":"NL00"}"#)),
        ("payload", json("[1]")),
        ("task", text("t-1")),
        ("source", text("api")),
        ("agent.name", text("Ann")),
        ("agent.owner", text("bo")),
        ("agent.type", text("assistant")),
        ("agent.status", text("paused")),
        ("agent.environment", text("prod")),
        ("agent.purpose", text("refunds")),
        ("agent.risk_class", text("high")),
        ("agent.tags", Some(FieldValue::Texts(vec!["x".to_owned(), "y".to_owned()]))),
        ("agent.manifest.tools", Some(FieldValue::Texts(vec!["t".to_owned()]))),
        ("agent.manifest.destinations", Some(FieldValue::Texts(vec![]))),
        ("agent.trust", Some(FieldValue::Number(Number::ONE))),
        ("agent.registered_at", moment::rfc3339("2024-12-31T23:00:00Z").map(FieldValue::Time)),
        ("agent.declared", Some(FieldValue::Bool(true))),
        ("agent.paused", Some(FieldValue::Bool(true))),
        ("agent.metadata", json(r#"{"k":1}"#)),
    ] {
        assert_eq!(value(&event, name), want.as_ref(), "{name}");
    }
}

#[test]
fn an_event_of_its_own_gets_neutral_values() {
    let event = own(&with(r#""event":"log","step_type":"step.resource""#));
    let at = moment::rfc3339("2026-01-01T12:00:00Z").map(FieldValue::Time);
    for (name, want) in [
        ("source", text("judge")),
        ("agent.name", text("a-1")),
        ("agent.type", text("autonomous")),
        ("agent.status", text("active")),
        ("agent.trust", Some(FieldValue::Number("0.5".parse().expect("a number")))),
        ("agent.registered_at", at),
        ("agent.tags", Some(FieldValue::Texts(vec![]))),
        ("agent.manifest.tools", Some(FieldValue::Texts(vec![]))),
        ("agent.declared", Some(FieldValue::Bool(false))),
        ("agent.paused", Some(FieldValue::Bool(false))),
        ("agent.owner", None),
        ("agent.metadata", None),
        ("task", text("")),
        ("name", text("")),
        ("verb", text("")),
        ("status", text("")),
        ("duration_ms", None),
        ("properties", None),
    ] {
        assert_eq!(value(&event, name), want.as_ref(), "{name}");
    }
}

#[test]
fn null_is_absent() {
    let event = own(&with(r#""event":"intent","action":"x","amount":null,"payload":null,"task":null"#));
    assert_eq!(value(&event, "amount"), None);
    assert_eq!(value(&event, "payload"), None);
    assert_eq!(event.text("task"), "");
    let request = with(
        r#""event":"request","action":"read","resource":"r","context":null,"grant":{"allowed":true,"via":"x"}"#,
    );
    assert_eq!(value(&own(&request), "context.ip"), None);
    assert_eq!(faults(&with(r#""event":"intent","action":null"#), Origin::Event), ["action: is required"]);
}

#[test]
fn every_fault_is_listed() {
    for (json, want) in [
        ("{}", &["event: is required", "at: is required", "org: is required", "agent.id: is required"][..]),
        (
            r#"{"event":"intent","at":"yesterday","org":7,"agent":{"id":""}}"#,
            &[
                "at: must be a time such as `2026-01-31T12:00:00Z` (RFC 3339)",
                "org: must be a string, not a number",
                "agent.id: must not be empty",
                "action: is required",
            ],
        ),
        (
            &with(r#""event":"intent","action":"x","amount":"5","currency":5,"source":[]"#),
            &[
                "source: must be a string, not a list",
                "amount: must be a number, not a string",
                "currency: must be a string, not a number",
            ],
        ),
        (
            r#"{"event":"intent","at":1,"org":"","agent":"a","action":"x"}"#,
            &[
                "agent: must be an object, not a string",
                "at: must be a time in a string, not a number",
                "org: must not be empty",
            ],
        ),
        (
            &with(r#""event":"Intent""#),
            &["event: must be one of registration, intent, action, log, request, submission"],
        ),
        (
            &with(r#""event":1"#),
            &["event: must be one of registration, intent, action, log, request, submission"],
        ),
        (
            &with(r#""event":"intent","action":"x","amount":1e30"#),
            &["amount: is larger than a number can be (about 1.7e29)"],
        ),
        (&with(r#""event":"intent","action":{}"#), &["action: must be a string, not an object"]),
        (
            &with(r#""event":"action","target":{}"#),
            &["kind: is required", "target: must be a string, not an object"],
        ),
        (&with(r#""event":"log""#), &["step_type: is required"]),
        (&with(r#""event":"registration""#), &["change: is required"]),
        (
            &with(r#""event":"submission","spend_cap":true"#),
            &["owner: is required", "fingerprint: is required", "spend_cap: must be a number, not a bool"],
        ),
        (
            &with(r#""event":"request","context":{"ip":"1.2.3"},"grant":{"allowed":"yes"}"#),
            &[
                "action: is required",
                "resource: is required",
                "context.ip: must be an IPv4 or IPv6 address",
                "grant.allowed: must be a bool, not a string",
                "grant.via: is required",
            ],
        ),
        (
            &with(r#""event":"request","action":"a","resource":"r","context":[],"grant":1"#),
            &["context: must be an object, not a list", "grant: must be an object, not a number"],
        ),
    ] {
        assert_eq!(faults(json, Origin::Event), want, "{json}");
    }
}

#[test]
fn an_agent_is_checked_too() {
    for (member, want) in [
        (r#""trust":1.000000001"#, "agent.trust: must be in 0..1"),
        (r#""trust":-0.1"#, "agent.trust: must be in 0..1"),
        (r#""trust":"high""#, "agent.trust: must be a number, not a string"),
        (r#""tags":"x""#, "agent.tags: must be a list of strings, not a string"),
        (r#""tags":["x",1]"#, "agent.tags: must be a list of strings, and its item 2 is a number"),
        (r#""tags":[null]"#, "agent.tags: must be a list of strings, and its item 1 is null"),
        (r#""manifest":[]"#, "agent.manifest: must be an object, not a list"),
        (r#""manifest":{"tools":{}}"#, "agent.manifest.tools: must be a list of strings, not an object"),
        (r#""declared":0"#, "agent.declared: must be a bool, not a number"),
        (
            r#""registered_at":"2026-01-01""#,
            "agent.registered_at: must be a time such as `2026-01-31T12:00:00Z` (RFC 3339)",
        ),
    ] {
        let json = format!(
            r#"{{"event":"intent","action":"x","at":"2026-01-01T12:00:00Z","org":"o","agent":{{"id":"a",{member}}}}}"#
        );
        assert_eq!(faults(&json, Origin::Event), [want], "{member}");
    }
}

#[test]
fn what_is_not_strict_json_is_no_event() {
    for (json, want) in [
        ("", ": an object should stand here (at byte 0)"),
        ("[]", ": an object should stand here (at byte 0)"),
        ("{\"event\":", "event: the text ends too early (at byte 9)"),
        ("{} {}", ": something follows the value (at byte 3)"),
        (r#"{"amount":1,"amount":2}"#, "amount: the object has this key twice (at byte 12)"),
        (r#"{"agent":{"id":"a","\u0069d":"b"}}"#, "agent.id: the object has this key twice (at byte 19)"),
        (r#"{"payload":{"x":[{"y":1,"y":1}]}}"#, "payload.x.0.y: the object has this key twice (at byte 24)"),
        (r#"{"unknown":{"y":1,"y":1}}"#, "unknown.y: the object has this key twice (at byte 18)"),
        (r#"{"unknown":"\ud800"}"#, "unknown: a string has half a surrogate pair (at byte 12)"),
    ] {
        assert_eq!(faults(json, Origin::Event), [want], "{json}");
        assert_eq!(faults(json, server(&AgentFacts::default())), [want], "{json}");
    }
}

#[test]
fn unknown_members_are_ignored() {
    let event =
        own(&with(r#""event":"intent","action":"x","agent.id":"b","tool":7,"context":5,"extra":{"a":[1]}"#));
    assert_eq!(event.agent_id(), "a-1");
    assert_eq!(event.text("tool"), "");
    assert_eq!(event.text("no such field"), "");
    assert_eq!(event.text("amount"), "");
}

#[test]
fn actions_name_what_they_touch() {
    for (members, want) in [
        (r#""kind":"tool_call""#, &["tool: must not be empty in an action of kind `tool_call`"][..]),
        (r#""kind":"tool_call","tool":"""#, &["tool: must not be empty in an action of kind `tool_call`"]),
        (r#""kind":"tool_call","tool":7"#, &["tool: must be a string, not a number"]),
        (r#""kind":"tool_call","tool":"t""#, &[]),
        (r#""kind":"http","tool":"t""#, &["target: must not be empty in an action of kind `http`"]),
        (r#""kind":"connect""#, &["target: must not be empty in an action of kind `connect`"]),
        (r#""kind":"connect","target":"a:1""#, &[]),
        (r#""kind":"file""#, &[]),
        (r#""kind":"""#, &[]),
    ] {
        assert_eq!(
            faults(&with(&format!(r#""event":"action",{members}"#)), Origin::Event),
            want,
            "{members}"
        );
    }
}

#[test]
fn json_is_kept_as_it_came_and_read_once() {
    let event = own(&with(r#""event":"intent","action":"x","payload": { "a" : 1.50, "b":null }  "#));
    let Some(FieldValue::Json(payload)) = value(&event, "payload") else { panic!("no payload") };
    assert_eq!(payload.text(), r#"{ "a" : 1.50, "b":null }"#);
    assert_eq!(*payload.value(), parse(br#"{"a":1.5}"#).expect("json"));
    assert!(std::ptr::eq(payload.value(), payload.value()));
}

#[test]
fn payloads_are_bounded() {
    let payload = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    let event = |size| with(&format!(r#""event":"intent","action":"x","payload":{}"#, payload(size)));
    assert_eq!(faults(&event(PAYLOAD_LIMIT), Origin::Event), [""; 0]);
    assert_eq!(faults(&event(PAYLOAD_LIMIT + 1), Origin::Event), ["payload: must not be larger than 64 KiB"]);
}

#[test]
fn names_are_bounded() {
    let event = |task: usize, tool: usize| {
        let (task, tool) = ("t".repeat(task), "x".repeat(tool));
        format!(
            r#"{{"event":"action","at":"2026-01-01T00:00:00Z","org":"o","agent":{{"id":"a"}},"kind":"file","task":"{task}","tool":"{tool}"}}"#
        )
    };
    assert_eq!(faults(&event(TASK_LIMIT, TEXT_LIMIT), Origin::Event), [""; 0]);
    assert_eq!(
        faults(&event(TASK_LIMIT + 1, TEXT_LIMIT + 1), Origin::Event),
        ["task: must not be longer than 255 bytes", "tool: must not be longer than 8192 bytes"]
    );
}

#[test]
fn mapped_addresses_are_ipv4() {
    let request = r#""event":"request","action":"a","resource":"r","grant":{"allowed":true,"via":"role"}"#;
    for (address, want) in
        [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:DB8::1", "2001:db8::1")]
    {
        let event = own(&with(&format!(r#"{request},"context":{{"ip":"{address}"}}"#)));
        let want: IpAddr = want.parse().expect("an address");
        assert_eq!(value(&event, "context.ip"), Some(&FieldValue::Ip(want)));
    }
}

fn server(agent: &AgentFacts) -> Origin<'_> {
    Origin::Server { org: "acme", source: "decisions", agent }
}

fn facts() -> AgentFacts {
    AgentFacts {
        id: "a-1".to_owned(),
        name: "Ann".to_owned(),
        kind: "assistant".to_owned(),
        status: "active".to_owned(),
        purpose: Some("refunds".to_owned()),
        tags: vec!["support".to_owned()],
        trust: "0.9".parse().expect("a number"),
        registered_at_us: 7,
        metadata: Some(r#" {"team":"x"} "#.to_owned()),
        ..AgentFacts::default()
    }
}

#[test]
fn the_server_vouches_for_attested_fields() {
    let lies = r#"{"event":"request","action":"read","resource":"r","task":"t","at":"whenever","org":7,"source":{},
        "agent":{"id":"boss","trust":99,"tags":["treasury"],"owner":"me","purpose":"p","metadata":{"a":1}},
        "context":{"ip":"nowhere","user_agent":"curl"},
        "grant":{"allowed":true,"via":"admin","reason":"because"}}"#;
    let facts = facts();
    let mut event = Event::decode(lies.as_bytes(), server(&facts)).expect("an event");
    for (name, want) in [
        ("at", Some(FieldValue::Time(0))),
        ("org", text("acme")),
        ("source", text("decisions")),
        ("agent.id", text("a-1")),
        ("agent.name", text("Ann")),
        ("agent.owner", None),
        ("agent.type", text("assistant")),
        ("agent.purpose", text("refunds")),
        ("agent.tags", Some(FieldValue::Texts(vec!["support".to_owned()]))),
        ("agent.trust", Some(FieldValue::Number("0.9".parse().expect("a number")))),
        ("agent.registered_at", Some(FieldValue::Time(7))),
        ("agent.metadata", json(r#"{"team":"x"}"#)),
        ("context.ip", None),
        ("context.user_agent", text("curl")),
        ("grant.allowed", Some(FieldValue::Bool(false))),
        ("grant.via", text("none")),
        ("grant.reason", None),
        ("task", text("t")),
        ("resource", text("r")),
    ] {
        assert_eq!(value(&event, name), want.as_ref(), "{name}");
    }
    event.set_at(5);
    assert_eq!(event.at(), 5);
}

#[test]
fn the_server_checks_what_is_claimed() {
    let facts = facts();
    for (json, want) in [
        ("{}", &["event: is required"][..]),
        (r#"{"event":"intent"}"#, &["action: is required"]),
        (r#"{"event":"intent","action":"x","agent":5,"org":null}"#, &[]),
        (r#"{"event":"intent","action":"x","task":5}"#, &["task: must be a string, not a number"]),
        (r#"{"event":"request","action":"a","resource":"r","grant":5}"#, &[]),
        (
            r#"{"event":"request","action":"a","resource":"r","context":5}"#,
            &["context: must be an object, not a number"],
        ),
        (r#"{"event":"action","kind":"http"}"#, &["target: must not be empty in an action of kind `http`"]),
    ] {
        assert_eq!(faults(json, server(&facts)), want, "{json}");
    }
    let broken = AgentFacts { metadata: Some("{".to_owned()), ..facts };
    let want = ["agent.metadata: a key in double quotes should stand here (at byte 1)"];
    assert_eq!(faults(r#"{"event":"log","step_type":"s"}"#, server(&broken)), want);
}

#[test]
fn every_required_field_of_every_kind_has_a_value() {
    let members = r#""action":"a","kind":"k","step_type":"s","resource":"r","grant":{"allowed":false,"via":"v"},
        "owner":"o","fingerprint":"f","change":"c""#;
    for kind in EventKind::ALL {
        let json = with(&format!(r#""event":"{}",{members}"#, kind.name()));
        let facts = facts();
        for origin in [Origin::Event, server(&facts)] {
            let event = Event::decode(json.as_bytes(), origin).expect("an event");
            for id in fields_of(kind).filter(|id| !id.def().optional) {
                assert!(event.get(id).is_some(), "{} {}", kind.name(), id.def().name);
            }
            for (number, field) in (0..).zip(FIELDS).filter(|(_, field)| !field.belongs_to(kind)) {
                assert!(event.get(FieldId(number)).is_none(), "{} {}", kind.name(), field.name);
            }
        }
    }
}

/// Any byte, and often one that JSON is built of.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"{}[],:\"\\09e".to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let facts = facts();
        prop_assert!(Event::decode(&bytes, Origin::Event).is_err());
        prop_assert!(Event::decode(&bytes, server(&facts)).is_err());
    }

    #[test]
    fn no_damaged_event_panics(
        kind in prop::sample::select(EventKind::ALL.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), byte(), 0..3), 1..5),
    ) {
        let mut bytes = with(&format!(
            r#""event":"{}","action":"a","kind":"http","target":"x","amount":1.5,"payload":{{"a":[1,"\u00e9",null]}},
            "resource":"r","grant":{{"allowed":true,"via":"v"}},"context":{{"ip":"::1"}},"step_type":"s""#,
            kind.name(),
        )).into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ => bytes.splice(at..=at, [byte]).for_each(drop),
            }
        }
        let facts = facts();
        for origin in [Origin::Event, server(&facts)] {
            match Event::decode(&bytes, origin) {
                Ok(event) => for id in fields_of(event.kind()) {
                    if let Some(FieldValue::Json(field)) = event.get(id) {
                        prop_assert!(parse(field.text().as_bytes()).is_ok_and(|value| !value.is_null()));
                    }
                },
                Err(invalid) => prop_assert!(!invalid.errors.is_empty()),
            }
        }
    }
}
