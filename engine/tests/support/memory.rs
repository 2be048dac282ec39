//! Generates policies that look back, and the events they look back on.

use std::fmt::Write;

use super::Choices;

/// A policy whose rules ask memories of every operator, with every kind of key and window.
pub(crate) fn policy(choices: &mut Choices) -> String {
    let mut text = String::from(
        "policy generated {}\nparam window: duration = 30m in 1m..2h\nparam most: number = 3 in 1..6\nparam word: string = \"a\"\n\
         list hosts: domain = [\"bank.example\"]\ndef fine(x) = x != \"bad\"\n\
         default on intent allow\ndefault on action allow\n",
    );
    for number in 0..2 + choices.below(5) {
        let kind = choices.one(&["intent", "action"]);
        let mut writer = Writer { choices, on_intent: kind == "intent" };
        let mut when = writer.test();
        for _ in 0..writer.choices.below(3) {
            let joined = writer.choices.one(&[" and ", " or ", " and not "]);
            let test = writer.test();
            write!(when, "{joined}{test}").expect("strings take writes");
        }
        let effect = choices.one(&["deny", "require approval", "warn", "score +0.25", "allow"]);
        writeln!(text, "rule r{number} on {kind} {{ when {when} {effect} }}").expect("strings take writes");
    }
    text
}

struct Writer<'w, 'c> {
    choices: &'w mut Choices<'c>,
    on_intent: bool,
}

/// Keys, and where they can be asked from.
enum Asked {
    Anywhere(&'static str),
    /// From this kind alone.
    From(bool, &'static str),
}

impl Writer<'_, '_> {
    fn compare(&mut self) -> &'static str {
        self.choices.one(&["<", "<=", ">", ">=", "==", "!="])
    }

    /// The kinds of event that are remembered, and a condition on them.
    fn source(&mut self, value: bool) -> (String, bool) {
        let became = self.choices.one(&["", "", "attempted ", "denied "]);
        let intent = self.choices.chance(50);
        let both = !value && self.choices.chance(15);
        let kinds = match (both, intent) {
            (true, _) => "intent|action",
            (false, true) => "intent",
            (false, false) => "action",
        };
        (format!("{became}{kinds}"), intent && !both)
    }

    fn filter(&mut self, intent: bool) -> String {
        let shared = [
            "agent.id == \"a-1\"",
            "task != \"\"",
            "agent.owner == \"x\"",
            "agent.tags has \"a\"",
            "at.hour < 13",
        ];
        let own: &[&str] = if intent {
            &[
                "action == \"refund\"",
                "action in [\"refund\", word]",
                "amount > 5",
                "amount? > 5",
                "payload.n >= 2",
                "payload.s == \"a\"",
                "has payload.s and payload.s != \"b\"",
                "any v in payload.list: v == \"a\"",
                "fine(action)",
                "not (payload.n? == 1)",
                "(payload.n else 0) > most",
            ]
        } else {
            &[
                "tool == \"a\"",
                "tool startswith \"re\"",
                "target in hosts",
                "metadata.n > 1",
                "metadata.s == word",
                "metadata.n? > 1 or tool == \"b\"",
                "fine(tool)",
            ]
        };
        match self.choices.below(5) {
            0 => String::new(),
            1 => format!(" where {}", self.choices.one(&shared)),
            2 => format!(" where {} and {}", self.choices.one(own), self.choices.one(&shared)),
            _ => format!(" where {}", self.choices.one(own)),
        }
    }

    /// A part of a sequence, or what comes behind `since`, of a known kind.
    fn part(&mut self) -> String {
        let (source, intent) = self.source(true);
        format!("{source}{}", self.filter(intent))
    }

    fn keys(&mut self, intent: bool) -> &'static str {
        let all = [
            Asked::Anywhere(""),
            Asked::Anywhere(" per org"),
            Asked::Anywhere(" per task"),
            Asked::Anywhere(" per agent.id, task"),
            Asked::Anywhere(" per agent.owner"),
            Asked::From(true, if intent { " per action" } else { " per tool = action" }),
            Asked::From(true, if intent { " per org, payload.s" } else { " per metadata.s = payload.s" }),
            Asked::From(false, if intent { " per action = tool" } else { " per agent.id, tool" }),
            Asked::From(false, if intent { " per task, payload.n = metadata.n" } else { " per metadata.s" }),
            Asked::From(
                true,
                if intent {
                    " per each payload.list = payload.s"
                } else {
                    " per task, each metadata.list = action"
                },
            ),
        ];
        let usable: Vec<&'static str> = all
            .iter()
            .filter_map(|keys| match keys {
                Asked::Anywhere(text) => Some(*text),
                Asked::From(on_intent, text) => (*on_intent == self.on_intent).then_some(*text),
            })
            .collect();
        usable[self.choices.below(usable.len())]
    }

    fn window(&mut self, events: bool) -> &'static str {
        if events && self.choices.chance(30) {
            return self.choices.one(&[" within 3 events", " within 1 events", " within 20 events"]);
        }
        self.choices.one(&["", " within 10m", " within 1h", " within window", " within 25m"])
    }

    fn number(&mut self) -> &'static str {
        self.choices.one(&["0", "1", "2", "3", "most", "5.5"])
    }

    /// An operator over a number of the earlier events.
    fn amount(&mut self, operator: &str) -> String {
        let (source, intent) = self.source(true);
        let field = if intent {
            self.choices.one(&["amount", "payload.n", "payload.list[0]"])
        } else {
            self.choices.one(&["metadata.n", "agent.trust"])
        };
        let (filter, keys, window) = (self.filter(intent), self.keys(intent), self.window(true));
        format!("{operator}({source}.{field}{filter}{keys}{window})")
    }

    fn plain(&mut self, operator: &str, events: bool) -> String {
        let (source, intent) = self.source(false);
        let value_of = source.ends_with("intent|action");
        let filter = if value_of {
            self.choices.one(&["", " where task == \"t-1\"", " where agent.owner == \"x\""]).to_owned()
        } else {
            self.filter(intent)
        };
        let keys =
            if value_of { self.choices.one(&["", " per org", " per task"]) } else { self.keys(intent) };
        let window = self.window(events);
        format!("{operator}({source}{filter}{keys}{window})")
    }

    /// The latest value of a field, and the field.
    fn last(&mut self) -> (String, &'static str) {
        let (source, intent) = self.source(true);
        let field = if intent {
            self.choices.one(&["payload.s", "amount", "payload", "payload.list", "action"])
        } else {
            self.choices.one(&["metadata.s", "metadata", "tool", "metadata.n"])
        };
        let (filter, keys, window) = (self.filter(intent), self.keys(intent), self.window(true));
        (format!("last({source}.{field}{filter}{keys}{window})"), field)
    }

    fn test(&mut self) -> String {
        let comparison = self.compare();
        match self.choices.below(17) {
            0 | 1 => format!("{} {comparison} {}", self.plain("count", true), self.number()),
            2 => format!("{} + 1 {comparison} {}", self.plain("count", false), self.number()),
            3 => {
                format!("{} {comparison} {}", self.amount("sum"), self.choices.one(&["0", "5", "10", "20.5"]))
            }
            4 => format!("{} {comparison} {}", self.amount("max"), self.number()),
            5 => format!("{} {comparison} {}", self.amount("min"), self.number()),
            6 => {
                let (source, intent) = self.source(true);
                let field = if intent {
                    self.choices.one(&["payload.s", "action", "payload.n", "task"])
                } else {
                    self.choices.one(&["tool", "metadata.s", "metadata.list"])
                };
                let (filter, keys, window) = (self.filter(intent), self.keys(intent), self.window(true));
                format!(
                    "distinct({source}.{field}{filter}{keys}{window}) {comparison} {}",
                    self.choices.one(&["1", "2", "3", "most"])
                )
            }
            7 => self.plain("seen", true),
            8 => {
                let (first, end) = (self.part(), self.part());
                let keys = self.choices.one(&["", " per org", " per task"]);
                let window = self.window(false);
                format!("seen({first} since {end}{keys}{window})")
            }
            9 | 10 => {
                let mut text = format!("sequence({} then {}", self.part(), self.part());
                if self.choices.chance(40) {
                    write!(text, " then {}", self.part()).expect("strings take writes");
                }
                text.push_str(self.choices.one(&["", " per org", " per task"]));
                text.push_str(self.window(false));
                if self.choices.chance(40) {
                    write!(text, " until {}", self.part()).expect("strings take writes");
                }
                text + ")"
            }
            11 => {
                let (source, intent) = self.source(true);
                let filter = loop {
                    let filter = self.filter(intent);
                    if !filter.is_empty() {
                        break filter;
                    }
                    if self.choices.spent() {
                        break " where task == \"t-1\"".to_owned();
                    }
                };
                let keys = self.keys(intent);
                format!("streak({source}{filter}{keys}) {comparison} {}", self.number())
            }
            12 => {
                format!("{} {comparison} {}", self.plain("age", true), self.choices.one(&["5m", "20m", "1h"]))
            }
            13 if self.choices.chance(50) => format!("has {}", self.last().0),
            13 => format!("has {}", self.plain("age", true)),
            14 => {
                let (last, field) = self.last();
                match field {
                    "amount" | "metadata.n" => format!("{last} {comparison} {}", self.number()),
                    "payload" | "metadata" => format!("{last}.n == 2"),
                    _ => format!("{last} == {}", self.choices.one(&["\"a\"", "\"refund\""])),
                }
            }
            15 if self.on_intent => format!(
                "(any v in payload.list: {}seen(intent{} per agent.id, each payload.list = v{}))",
                self.choices.one(&["", "not "]),
                self.filter(true),
                self.window(true)
            ),
            _ => self
                .choices
                .one(if self.on_intent {
                    &["amount > 5", "action == \"refund\"", "agent.id == \"a-1\"", "payload.n > 1"]
                } else {
                    &["tool == \"a\"", "metadata.n > 1", "agent.id == \"a-2\""]
                })
                .to_owned(),
        }
    }
}

/// An event some time after the one before, as JSON; and its time in minutes since midnight.
pub(crate) fn event(choices: &mut Choices, minute: &mut usize) -> String {
    *minute += choices.one(&["0", "1", "4", "9", "10", "11", "25", "60"]).parse::<usize>().expect("a number");
    let (day, time) = (*minute / 1440, *minute % 1440);
    let at = format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + day, time / 60, time % 60);
    let agent = choices.one(&["a-1", "a-1", "a-2"]);
    let owner = choices.one(&["", ",\"owner\":\"x\"", ",\"owner\":\"y\""]);
    let tags = choices.one(&["", ",\"tags\":[\"a\"]"]);
    let task = choices.one(&["", ",\"task\":\"t-1\"", ",\"task\":\"t-1\"", ",\"task\":\"t-2\""]);
    let org = choices.one(&["o", "o", "o", "o", "p"]);
    let mut text =
        format!("{{\"at\":\"{at}\",\"org\":\"{org}\",\"agent\":{{\"id\":\"{agent}\"{owner}{tags}}}{task}");
    let n =
        choices.one(&["", ",\"n\":1", ",\"n\":2", ",\"n\":4.5", ",\"n\":-3", ",\"n\":\"x\"", ",\"n\":1e40"]);
    let s = choices.one(&["", ",\"s\":\"a\"", ",\"s\":\"b\"", ",\"s\":7", ",\"s\":\"refund\""]);
    let list = choices.one(&[
        "",
        ",\"list\":[]",
        ",\"list\":[\"a\"]",
        ",\"list\":[\"a\",\"b\",null]",
        ",\"list\":[2,1e40]",
        ",\"list\":\"a\"",
    ]);
    let object = format!("{{{}}}", format!("{n}{s}{list}").trim_start_matches(','));
    if choices.chance(55) {
        let action = choices.one(&["refund", "a", "b", "bad"]);
        let amount =
            choices.one(&["", ",\"amount\":1", ",\"amount\":6", ",\"amount\":10.25", ",\"amount\":-2"]);
        write!(text, ",\"event\":\"intent\",\"action\":\"{action}\"{amount}").expect("strings take writes");
        if choices.chance(75) {
            write!(text, ",\"payload\":{object}").expect("strings take writes");
        }
    } else {
        let (tool, target) = (
            choices.one(&["a", "b", "refund", "bad"]),
            choices.one(&["bank.example", "x.example", "no host"]),
        );
        write!(
            text,
            ",\"event\":\"action\",\"kind\":\"tool_call\",\"tool\":\"{tool}\",\"target\":\"{target}\""
        )
        .expect("strings take writes");
        if choices.chance(75) {
            write!(text, ",\"metadata\":{object}").expect("strings take writes");
        }
    }
    text + "}"
}
