//! The targets: what is done with one input, and what must hold of the outcome.

use lictor_dsl::Source;
use lictor_dsl::source::Span;
use lictor_engine::event::{Event, Origin};
use lictor_engine::trial::run_tests_with_coverage;
use lictor_engine::{Engine, Generation, Run};

use super::Steps;

/// The line between two sections of an input.
pub const SECTION: &str = "\n====\n";

/// The most tests of a policy that are run: each compiles the policy again for the ends of a parameter.
const TESTS: usize = 4;

/// The code of a text that can be read, and that the formatter still leaves alone.
const NOT_FORMATTED: &str = "L0113";

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Any text: to a tree and its one canonical form, or to diagnostics.
    Parse,
    /// Sections are policies that will be active together.
    Check,
    /// A policy, and in the second section events, one a line.
    Judge,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Target::Parse, Target::Check, Target::Judge];

    /// Its word in commands and the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Target::Parse => "parse",
            Target::Check => "check",
            Target::Judge => "judge",
        }
    }

    /// Does it all with one input, and panics if anything is wrong.
    pub(super) fn run(self, input: &[u8], steps: &mut Steps) {
        match (self, std::str::from_utf8(input)) {
            (Target::Parse, Ok(text)) => parse(text, steps),
            (Target::Check, Ok(text)) => check(text),
            (Target::Judge, _) => judge(input, steps),
            (_, Err(_)) => {}
        }
    }
}

fn parse(text: &str, steps: &mut Steps) {
    let formatted = match lictor_dsl::format(&Source::new("p.lictor", text)) {
        Ok(formatted) => formatted,
        Err(diagnostics) => {
            diagnostics.iter().for_each(|found| assert_place(text, found.span));
            assert!(
                diagnostics.iter().all(|found| found.code != NOT_FORMATTED),
                "the formatter meets its match"
            );
            return;
        }
    };
    steps.done();
    let again =
        lictor_dsl::format(&Source::new("p.lictor", &*formatted)).expect("what was formatted can be read");
    assert_eq!(formatted, again, "formatted twice is formatted once");
}

/// A place in a text that can be shown. What is missing at the end has a place one past it.
fn assert_place(text: &str, span: Span) {
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end, "a place ends before it begins: {start} to {end}");
    assert!(text.is_char_boundary(start) && end <= text.len() + 1, "no place in the text: {start} to {end}");
}

fn check(text: &str) {
    let sources: Vec<Source> = text
        .split(SECTION)
        .enumerate()
        .map(|(number, text)| Source::new(format!("p{number}"), text))
        .collect();
    let checked = lictor_dsl::check(sources);
    for diagnostic in &checked.diagnostics {
        let source =
            checked.sources.get(diagnostic.span.source as usize).expect("a diagnostic is about a source");
        assert_place(&source.text, diagnostic.span);
    }
    checked.reports();
}

fn judge(input: &[u8], steps: &mut Steps) {
    let middle = input.windows(SECTION.len()).position(|bytes| bytes == SECTION.as_bytes());
    let (policy, events) = match middle {
        Some(at) => (&input[..at], &input[at + SECTION.len()..]),
        None => (&[][..], input),
    };
    let lines: Vec<&[u8]> = events.split(|byte| *byte == b'\n').collect();
    let text = std::str::from_utf8(policy).unwrap_or_default();
    let Ok(set) = lictor_dsl::check(vec![Source::new("p.lictor", text)]).into_set() else {
        // Nothing judges them, but they are read.
        lines.iter().for_each(|line| drop(Event::decode(line, Origin::Event)));
        return;
    };
    let generation = Generation::compile(&set).expect("what the checker accepts compiles");
    assert!(generation.no_code().is_none(), "no machine code: {:?}", generation.no_code());
    generation.plan().to_json();
    steps.done();
    let mut compiled = Run::new(&generation, Engine::Jit);
    let mut explained = Run::new(&generation, Engine::Interpreter);
    for line in lines.iter().filter(|line| !line.is_empty()) {
        match (Event::decode(line, Origin::Event), approved(line)) {
            (Ok(event), _) => {
                let decision = compiled.judge(event.clone());
                assert_eq!(
                    decision,
                    explained.explain(event).decision,
                    "machine code against the interpreter"
                );
            }
            (Err(_), Some(number)) => {
                compiled.approve(number, 0);
                explained.approve(number, 0);
            }
            (Err(error), None) => {
                generation.invalid(error);
                compiled.skip();
                explained.skip();
            }
        }
    }
    if set.policies.iter().map(|policy| policy.tests.len()).sum::<usize>() <= TESTS {
        run_tests_with_coverage(&set).expect("what compiled once compiles again");
        // Each event was judged many times over, at every end of a parameter: no measure of one.
        steps.skip();
    }
}

/// `{"approve": 3}`: the number of an event that was waiting.
fn approved(line: &[u8]) -> Option<u64> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    line.get("approve")?.as_u64()
}
