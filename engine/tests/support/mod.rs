//! Generates policies and events from a stream of choices, so that a failing case shrinks to fewer of them.

pub(crate) mod memory;

use std::fmt::Write;

use lictor_dsl::Source;
use lictor_dsl::diagnostics::Severity;
use lictor_dsl::hir::PolicySet;

/// How many times as many cases as usual: `make fuzz` asks for ten.
pub(crate) fn factor() -> u32 {
    std::env::var("LICTOR_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Generated policies are well typed; an `allow` that could be unknown is refused, and left out.
pub(crate) fn checked(text: &str) -> PolicySet {
    let checked = lictor_dsl::check(vec![Source::new("generated", text)]);
    for diagnostic in checked.diagnostics.iter().filter(|d| d.severity == Severity::Error) {
        assert!(diagnostic.code.starts_with("L04"), "{}: {} in\n{text}", diagnostic.code, diagnostic.message);
    }
    checked.set
}

/// A stream of choices. When it ends, every choice is the first, which is the simplest.
pub(crate) struct Choices<'c> {
    data: &'c [u16],
    at: usize,
}

impl<'c> Choices<'c> {
    pub(crate) fn new(data: &'c [u16]) -> Choices<'c> {
        Choices { data, at: 0 }
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        let choice = self.data.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) * count / (usize::from(u16::MAX) + 1)
    }

    /// Whether every choice from here on is the first.
    pub(crate) fn spent(&self) -> bool {
        self.at >= self.data.len()
    }

    pub(crate) fn one<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }
}

const TEXTS: [&str; 8] =
    ["refund", "payout", "a", "", "Straße", "bank.example", "pay https://evil.example/x now", "x{{y}}"];
const NUMBERS: [&str; 9] =
    ["0", "1", "10", "0.1", "0.000000001", "1_000", "7.5", "99999999999999999999", "3"];

/// A policy over intents and actions.
pub(crate) fn policy(choices: &mut Choices) -> String {
    let mut text = String::from(
        "policy generated {}\nparam cap: number = 10 in 0..1_000\nlist hosts: domain = [\"bank.example\", \"192.0.2.1\"]\n",
    );
    text.push_str(
        "list nets: cidr = [\"192.0.2.0/24\"]\nlist names: glob = [\"re*\", \"?\"]\ndef big(x) = x > cap\n",
    );
    for kind in ["intent", "action"] {
        if choices.chance(60) {
            let effect = choices.one(&["allow", "deny", "warn", "require approval"]);
            writeln!(text, "default on {kind} {effect}").expect("strings take writes");
        }
    }
    for number in 0..2 + choices.below(9) {
        rule(choices, number, &mut text);
    }
    if choices.chance(20) {
        writeln!(text, "exempt r0 for agent.id == \"a-1\" until 2026-06-01 because \"trial\"")
            .expect("strings take writes");
    }
    text
}

fn rule(choices: &mut Choices, number: usize, text: &mut String) {
    let kind = choices.one(&["intent", "action"]);
    let mut writer = Writer { choices, kind, variables: Vec::new(), risk: true };
    let scored = writer.choices.chance(30);
    writer.risk = !scored;
    let when = writer.condition(3);
    let unless = writer.choices.chance(30).then(|| writer.condition(2));
    let because = if writer.choices.chance(50) { writer.text(1) } else { "\"said\"".to_owned() };
    write!(text, "rule r{number} on {kind} {{ when {when}").expect("strings take writes");
    if let Some(unless) = unless {
        write!(text, " unless {unless}").expect("strings take writes");
    }
    text.push_str(choices.one(&[
        " deny",
        " require approval from \"ops\" by 2 within 60m",
        " warn",
        " allow",
        " require approval within 30m",
    ]));
    if scored {
        text.push_str(choices.one(&[" score +0.35", " score -0.2", " score +1"]));
    }
    if choices.chance(30) {
        text.push_str(choices.one(&[
            " incident high",
            " incident low per agent.id, org within 1h title \"{agent.name} {agent.owner}\"",
        ]));
    }
    if choices.chance(20) {
        text.push_str(choices.one(&[
            " do pause",
            " do notify \"ops\"",
            " mode shadow",
            " applies from 2026-01-01 until 2026-07-01",
        ]));
    }
    if because.starts_with('"') {
        write!(text, " because {because}").expect("strings take writes");
    }
    text.push_str(" }\n");
}

struct Writer<'w, 'c> {
    choices: &'w mut Choices<'c>,
    kind: &'w str,
    variables: Vec<String>,
    risk: bool,
}

impl Writer<'_, '_> {
    fn on_intent(&self) -> bool {
        self.kind == "intent"
    }

    fn json(&mut self, depth: usize) -> String {
        let root = if self.on_intent() {
            self.choices.one(&["payload", "target", "agent.metadata"])
        } else {
            self.choices.one(&["metadata", "agent.metadata"])
        };
        if let (true, Some(variable)) = (self.choices.chance(30), self.variables.last()) {
            return if self.choices.chance(50) { variable.clone() } else { format!("{variable}.n") };
        }
        match self.choices.below(6) {
            0 => root.to_owned(),
            1 => format!("{root}.n"),
            2 => format!("{root}.s"),
            3 => format!("{root}.list"),
            4 => format!(
                "{root}[\"list\"][{}]",
                if depth > 0 && self.choices.chance(20) { self.number(depth - 1) } else { "1".to_owned() }
            ),
            _ => format!("{root}.o.deep"),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let leaf = depth == 0;
        match self.choices.below(if leaf { 8 } else { 14 }) {
            0 => self.choices.one(&NUMBERS).to_owned(),
            1 if self.on_intent() => "amount".to_owned(),
            1 | 2 => "agent.trust".to_owned(),
            3 => "cap".to_owned(),
            4 if self.risk => "risk".to_owned(),
            4 | 5 => "at.hour".to_owned(),
            6 => {
                format!("(at in tz \"{}\").hour", self.choices.one(&["Europe/Amsterdam", "America/New_York"]))
            }
            7 => format!("({} else {})", self.json(0), self.choices.one(&NUMBERS)),
            8 | 9 => format!(
                "({} {} {})",
                self.number(depth - 1),
                self.choices.one(&["+", "-", "*", "/", "%"]),
                self.number(depth - 1)
            ),
            10 => format!("-{}", self.number(depth - 1)),
            11 => format!("len({})", self.text(depth - 1)),
            12 => format!(
                "(if {} then {} else {})",
                self.condition(depth - 1),
                self.number(depth - 1),
                self.number(depth - 1)
            ),
            _ => self.quantified("count", depth),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let leaf = depth == 0;
        match self.choices.below(if leaf { 6 } else { 11 }) {
            0 => format!("\"{}\"", self.choices.one(&TEXTS)),
            1 if self.on_intent() => self.choices.one(&["action", "currency"]).to_owned(),
            1 => self.choices.one(&["tool", "target", "kind"]).to_owned(),
            2 => self.choices.one(&["agent.id", "agent.owner", "agent.purpose", "task"]).to_owned(),
            3 => "at.weekday".to_owned(),
            4 => format!("({} else \"{}\")", self.json(0), self.choices.one(&TEXTS)),
            5 => "agent.environment".to_owned(),
            6 => format!("lower({})", self.text(depth - 1)),
            7 => format!("host({})", self.text(depth - 1)),
            8 => format!("text({})", self.json(depth - 1)),
            9 => format!(
                "\"{{{}}} and {{{}}}\"",
                self.choices.one(&["agent.trust", "agent.owner", "at"]),
                self.choices.one(&["agent.tags", "task"])
            ),
            _ => format!(
                "(if {} then {} else {})",
                self.condition(depth - 1),
                self.text(depth - 1),
                self.text(depth - 1)
            ),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        match self.choices.below(5) {
            0 => "agent.tags".to_owned(),
            1 => format!("[\"{}\", \"{}\"]", self.choices.one(&TEXTS), self.choices.one(&TEXTS)),
            2 => format!("keys({})", self.json(depth)),
            3 => format!("values({})", self.json(depth)),
            _ => self.json(depth),
        }
    }

    fn quantified(&mut self, word: &str, depth: usize) -> String {
        let list = self.list(0);
        let variable = format!("v{}", self.variables.len());
        self.variables.push(variable.clone());
        let body = if self.choices.chance(50) {
            format!(
                "{variable} {} {}",
                self.choices.one(&["==", "!="]),
                if list == "agent.tags" || list.starts_with('[') || list.starts_with("keys") {
                    "\"a\""
                } else {
                    "1"
                }
            )
        } else {
            self.variables.pop();
            let body = self.condition(depth - 1);
            self.variables.push(variable.clone());
            body
        };
        self.variables.pop();
        format!("({word} {variable} in {list}: {body})")
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.test(0);
        }
        match self.choices.below(8) {
            0 | 1 => self.test(depth - 1),
            2 | 3 => format!("({} and {})", self.condition(depth - 1), self.condition(depth - 1)),
            4 => format!("({} or {})", self.condition(depth - 1), self.condition(depth - 1)),
            5 => format!("not {}", self.condition(depth - 1)),
            6 => format!("({} and {} and {})", self.test(0), self.test(0), self.condition(depth - 1)),
            _ => format!(
                "(if {} then {} else {})",
                self.condition(depth - 1),
                self.condition(depth - 1),
                self.condition(depth - 1)
            ),
        }
    }

    fn lenient(&mut self) -> &'static str {
        if self.choices.chance(25) { "?" } else { "" }
    }

    fn test(&mut self, depth: usize) -> String {
        let comparison = self.choices.one(&["==", "!=", "<", "<=", ">", ">="]);
        let soft = self.lenient();
        match self.choices.below(19) {
            0 => self.choices.one(&["agent.paused", "agent.declared", "agent.paused == false"]).to_owned(),
            1 if self.on_intent() => format!("amount{soft} {comparison} {}", self.choices.one(&NUMBERS)),
            1 | 2 => format!("{} {comparison} cap", self.choices.one(&["agent.trust", "at.hour"])),
            3 if self.on_intent() => format!("action in [\"refund\", \"{}\"]", self.choices.one(&TEXTS)),
            3 => format!("tool == \"{}\"", self.choices.one(&TEXTS)),
            4 => format!(
                "agent.owner{soft} {} \"{}\"",
                self.choices.one(&["==", "!=", "~="]),
                self.choices.one(&TEXTS)
            ),
            5 => format!("{} {comparison} {}", self.number(depth), self.number(depth)),
            6 => format!("{} {comparison} {}", self.text(depth), self.text(depth)),
            7 => format!("({}){soft} == {}", self.json(depth), self.json(0)),
            8 => format!("({}){soft} {comparison} {}", self.json(depth), self.number(0)),
            9 => format!(
                "{} in {}..{}",
                self.number(depth),
                self.choices.one(&NUMBERS),
                self.choices.one(&NUMBERS)
            ),
            10 => format!(
                "({}){soft} in {}",
                self.text(depth),
                self.choices.one(&[
                    "hosts",
                    "names",
                    "nets",
                    "agent.tags",
                    "agent.manifest.destinations as domain"
                ])
            ),
            11 => format!(
                "{} {} {}",
                self.text(depth),
                self.choices.one(&["startswith", "endswith", "contains", "contains word"]),
                self.text(0)
            ),
            12 => format!(
                "{} {}",
                self.text(depth),
                self.choices.one(&["like \"re*\"", "matches /^[a-z]+$/", "matches /EVIL/i"])
            ),
            13 => format!(
                "{} {} [\"a\", \"refund\"]",
                self.list(depth),
                self.choices.one(&["has any", "has all"])
            ),
            14 => format!("agent.tags has {}", self.text(0)),
            15 => format!(
                "has {}",
                self.choices.one(if self.kind == "intent" {
                    &["amount", "payload", "payload.n", "payload.o.deep", "currency"]
                } else {
                    &["metadata", "metadata.list[1]", "agent.owner"]
                })
            ),
            16 => {
                let word = self.choices.one(&["any", "all"]);
                self.quantified(word, depth.max(1))
            }
            17 => format!("big({})", self.number(depth)),
            _ => format!("at - agent.registered_at {comparison} {}", self.choices.one(&["7d", "1h", "0s"])),
        }
    }
}

/// An event as JSON text: fields come and go, and json holds values of any type.
pub(crate) fn event(choices: &mut Choices) -> String {
    let mut text = String::new();
    let intent = choices.chance(60);
    let at = choices.one(&["2026-01-31T23:59:59.5Z", "2025-07-01T12:00:00Z", "2026-07-15T06:30:00+02:00"]);
    let agent = agent(choices);
    write!(text, "{{\"at\":\"{at}\",\"org\":\"o\",\"agent\":{agent}").expect("strings take writes");
    let mut member =
        |name: &str, value: String| write!(text, ",\"{name}\":{value}").expect("strings take writes");
    let quoted = |text: &str| serde_json::to_string(text).expect("texts are JSON");
    if intent {
        member("event", quoted("intent"));
        member("action", quoted(choices.one(&TEXTS)));
        if choices.chance(60) {
            member(
                "amount",
                choices.one(&["0", "5", "10", "10.000000001", "-3", "1e3", "1e28", "null"]).to_owned(),
            );
        }
        if choices.chance(40) {
            member("currency", quoted(choices.one(&["EUR", "a"])));
        }
        for name in ["payload", "target"] {
            if choices.chance(60) {
                member(name, json(choices, 3));
            }
        }
    } else {
        member("event", quoted("action"));
        member("kind", quoted(choices.one(&["file", "mail"])));
        member("tool", quoted(choices.one(&TEXTS)));
        let targets = [
            "bank.example:443",
            "https://x.bank.example/p",
            "0xC0000201",
            "no host",
            "",
            "evil.example",
            "[::ffff:192.0.2.1]:80",
        ];
        member("target", quoted(choices.one(&targets)));
        if choices.chance(60) {
            member("metadata", json(choices, 3));
        }
    }
    if choices.chance(30) {
        member("task", quoted("t-1"));
    }
    text.push('}');
    text
}

fn agent(choices: &mut Choices) -> String {
    let mut text = format!("{{\"id\":\"{}\"", choices.one(&["a-1", "a-2"]));
    for (name, values) in [
        ("owner", ["\"refund\"", "\"ＲＥＦＵＮＤ\"", "null"]),
        ("purpose", ["\"a\"", "\"\"", "null"]),
        ("environment", ["\"production\"", "\"a\"", "null"]),
        ("tags", ["[]", "[\"a\"]", "[\"a\",\"refund\"]"]),
        ("paused", ["true", "false", "false"]),
        ("declared", ["true", "false", "true"]),
        ("trust", ["0", "0.5", "1"]),
        (
            "manifest",
            [
                "{}",
                "{\"destinations\":[\"bank.example\"]}",
                "{\"destinations\":[\"not a host\",\"evil.example\"]}",
            ],
        ),
        ("metadata", ["{\"n\":1,\"list\":[1,\"a\"]}", "[\"a\"]", "null"]),
    ] {
        if choices.chance(60) {
            write!(text, ",\"{name}\":{}", choices.one(&values)).expect("strings take writes");
        }
    }
    text.push('}');
    text
}

fn json(choices: &mut Choices, depth: usize) -> String {
    if depth == 0 || choices.chance(20) {
        return choices
            .one(&["1", "10", "\"a\"", "\"refund\"", "true", "null", "1e99", "\"\"", "[]", "{}"])
            .to_owned();
    }
    if choices.chance(30) {
        let items: Vec<String> = (0..choices.below(4)).map(|_| json(choices, depth - 1)).collect();
        return format!("[{}]", items.join(","));
    }
    let mut members = Vec::new();
    for name in ["n", "s", "list", "o", "deep"] {
        if choices.chance(50) {
            let value = match name {
                "n" if choices.chance(70) => choices.one(&["0", "10", "11.5"]).to_owned(),
                "s" if choices.chance(70) => choices.one(&["\"a\"", "\"x@evil.example\""]).to_owned(),
                _ => json(choices, depth - 1),
            };
            members.push(format!("\"{name}\":{value}"));
        }
    }
    format!("{{{}}}", members.join(","))
}
