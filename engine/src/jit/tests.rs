//! Where code can't be generated the interpreter answers, whatever was generated before.

use std::cell::Cell;
use std::fmt::Write;

use lictor_dsl::Source;

use super::CompileError;
use crate::event::{Event, Origin};
use crate::generation::{Generation, NoCode};

thread_local! {
    static FAILS: Cell<bool> = const { Cell::new(false) };
}

/// Fails where a test wants that.
pub(super) fn failure() -> Result<(), CompileError> {
    if FAILS.get() { Err(CompileError::Machine("a test says so".to_owned())) } else { Ok(()) }
}

#[test]
fn a_machine_without_code_is_interpreted() {
    let mut text = String::from("policy p {}\ndefault on intent allow\n");
    for number in 0..130 {
        writeln!(text, "rule r{number} on intent {{ when amount > {number} deny }}")
            .expect("strings take writes");
    }
    let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
    let json = br#"{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{"id":"a"},"action":"x","amount":65}"#;
    let event = Event::decode(json, Origin::Event).expect("valid");
    let compiled = Generation::compile(&set).expect("plans");
    assert!(compiled.no_code().is_none());
    let decision = compiled.judge(&event);
    assert_eq!(decision.rules.len(), 65);
    FAILS.set(true);
    let failed = Generation::compile(&set).expect("plans");
    FAILS.set(false);
    assert!(matches!(failed.no_code(), Some(NoCode::Failed(CompileError::Machine(_)))));
    assert_eq!(failed.judge(&event), decision);
    assert_eq!(failed.digest(), compiled.digest());
    let again = Generation::replacing(&set, Some(&failed)).expect("plans");
    assert!(again.no_code().is_none());
    assert_eq!(again.judge(&event), decision);
}
