//! Random rule sets over a few fields, and grids of events that cover all that their rules can tell apart.

use std::collections::BTreeMap;

use lictor_engine::event::{Event, Origin};

/// A stream of choices from a seed.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % count as u64) as usize
    }

    pub(crate) fn one<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Something that rules test, and the values that cover what they can tell apart.
pub(crate) struct Dimension {
    /// The member of the event that it is.
    pub path: &'static str,
    tests: &'static [&'static str],
    /// As JSON; an empty text for absence.
    pub values: &'static [&'static str],
    /// The lint sees all there is to see.
    exact: bool,
}

const fn exact(
    path: &'static str,
    tests: &'static [&'static str],
    values: &'static [&'static str],
) -> Dimension {
    Dimension { path, tests, values, exact: true }
}

const fn loose(
    path: &'static str,
    tests: &'static [&'static str],
    values: &'static [&'static str],
) -> Dimension {
    Dimension { path, tests, values, exact: false }
}

pub(crate) static DIMENSIONS: [Dimension; 13] = [
    exact(
        "action",
        &[
            "action == \"a\"",
            "action != \"b\"",
            "action in [\"a\", \"c\"]",
            "action in [\"b\", \"c\"]",
            "action < \"b\"",
            "not (action in [\"a\", \"b\", \"c\"])",
        ],
        &["\"a\"", "\"b\"", "\"c\"", "\"aa\"", "\"bb\"", "\"d\"", "\"\""],
    ),
    exact(
        "amount",
        &[
            "amount > 10",
            "amount? > 5",
            "amount < 5",
            "amount in 5..10",
            "amount == 10",
            "amount != 5",
            "has amount",
            "(amount else 7) >= 7",
            "amount in [5, 7]",
            "not (amount? <= 10)",
            "5 < amount",
        ],
        &["", "4", "5", "6", "7", "8", "10", "11", "null"],
    ),
    exact(
        "agent.trust",
        &[
            "agent.trust < 0.5",
            "agent.trust >= 0.5",
            "agent.trust > 1",
            "agent.trust >= 0",
            "agent.trust == 1",
        ],
        &["0", "0.25", "0.5", "0.75", "1"],
    ),
    exact(
        "agent.tags",
        &[
            "agent.tags has \"x\"",
            "agent.tags has any [\"x\", \"y\"]",
            "agent.tags has all [\"x\", \"y\"]",
            "\"y\" in agent.tags",
            "not (agent.tags has \"y\")",
        ],
        &["[]", "[\"x\"]", "[\"y\"]", "[\"x\",\"y\"]"],
    ),
    exact(
        "agent.environment",
        &[
            "agent.environment == \"prod\"",
            "agent.environment? == \"prod\"",
            "agent.environment != \"test\"",
            "agent.environment in [\"prod\", \"test\"]",
            "has agent.environment",
            "(agent.environment else \"test\") == \"test\"",
        ],
        &["", "\"prod\"", "\"test\"", "\"other\""],
    ),
    exact(
        "payload",
        &[
            "payload.x > 3",
            "payload.x? > 2",
            "payload.x == \"a\"",
            "payload.x? != \"a\"",
            "has payload.x",
            "payload.x == true",
            "(payload.x else 9) > 3",
            "not (payload.x in [1, 2])",
        ],
        &[
            "",
            "7",
            "{}",
            "{\"x\":null}",
            "{\"x\":1}",
            "{\"x\":2}",
            "{\"x\":2.5}",
            "{\"x\":3}",
            "{\"x\":4}",
            "{\"x\":\"a\"}",
            "{\"x\":\"b\"}",
            "{\"x\":true}",
            "{\"x\":false}",
            "{\"x\":[]}",
            "{\"x\":0}",
        ],
    ),
    exact(
        "agent.paused",
        &["agent.paused", "agent.paused == false", "not agent.paused", "agent.paused != true"],
        &["true", "false"],
    ),
    exact(
        "at",
        &[
            "at.hour in 9..17",
            "at.hour > 23",
            "at.hour >= 0",
            "at.weekday in [\"sat\", \"sun\"]",
            "at.weekday == \"monday\"",
            "at.hour < 9",
        ],
        &[
            "\"2026-03-02T08:00:00Z\"",
            "\"2026-03-02T09:00:00Z\"",
            "\"2026-03-02T18:00:00Z\"",
            "\"2026-03-07T08:00:00Z\"",
            "\"2026-03-07T12:00:00Z\"",
            "\"2026-03-08T18:00:00Z\"",
            "\"2026-03-08T12:00:00Z\"",
            "\"2026-03-07T23:00:00Z\"",
            "\"2026-03-03T12:00:00Z\"",
        ],
    ),
    loose(
        "currency",
        &[
            "currency startswith \"a\"",
            "currency == \"ab\"",
            "currency? like \"*b\"",
            "currency matches /^a+$/",
            "currency in names",
            "currency in hosts",
            "currency? in hosts",
            "len(currency) > 1",
            "lower(currency) == \"ab\"",
            "currency ~= \"AB\"",
            "currency in [\"ab\", \"cb\"]",
            "currency != action",
        ],
        &["", "\"ab\"", "\"AB\"", "\"cb\"", "\"aa\"", "\"\"", "\"c\"", "\"bank.example\"", "\"not a host\""],
    ),
    loose(
        "agent.purpose",
        &[
            "agent.purpose == agent.id",
            "agent.id == agent.purpose",
            "agent.purpose < agent.id",
            "agent.purpose? >= agent.id",
            "agent.id == agent.id",
            "agent.purpose != agent.purpose",
        ],
        &["", "\"a\"", "\"agent\"", "\"b\""],
    ),
    loose(
        "target",
        &[
            "target > cap",
            "target < cap",
            "target <= cap",
            "target == cap",
            "target > 20",
            "target in cap..30",
            "target? > free",
            "target < free",
            "cap > 25",
            "cap in 10..20",
        ],
        &["", "9", "10", "15", "20", "25", "\"x\""],
    ),
    loose(
        "payload",
        &[
            "any r in payload.list: r == \"a\"",
            "all r in payload.list: r? == \"a\"",
            "(count r in payload.list: r == \"a\") >= 1",
            "(count r in payload.list: r == \"a\") < 1",
            "(count r in payload.list: r == \"a\") == 2",
            "(count r in payload.list: r == \"a\") in 1..2",
            "payload.list has \"a\"",
            "payload.list? has any [\"a\", \"b\"]",
            "payload.list[0] == \"a\"",
            "has payload.list[1]",
            "len(payload.list) > 1",
            "(payload.list[0] else \"a\") == \"a\"",
        ],
        &[
            "",
            "{}",
            "{\"list\":[]}",
            "{\"list\":[\"a\"]}",
            "{\"list\":[\"a\",\"a\"]}",
            "{\"list\":[\"b\"]}",
            "{\"list\":[1]}",
            "{\"list\":[1,\"a\"]}",
            "{\"list\":[null,\"b\"]}",
            "{\"list\":\"a\"}",
        ],
    ),
    loose(
        "agent.status",
        &[
            "(if agent.paused then amount > 10 else amount < 5)",
            "(if amount > 5 then agent.paused else agent.paused)",
            "risk > 0.5",
            "risk <= 1",
            "agent.trust * 2 > 1",
            "agent.status == \"active\"",
            "amount / agent.trust > 10",
        ],
        &["\"active\"", "\"stopped\""],
    ),
];

/// A policy over a few dimensions, and those.
pub(crate) fn policy(dice: &mut Dice, only_exact: bool) -> (String, Vec<&'static Dimension>) {
    let known: Vec<&Dimension> =
        DIMENSIONS.iter().filter(|dimension| dimension.exact || !only_exact).collect();
    let mut dimensions: Vec<&Dimension> = Vec::new();
    for _ in 0..3 {
        let next = known[dice.below(known.len())];
        if dimensions.iter().all(|dimension| dimension.path != next.path) {
            dimensions.push(next);
        }
    }
    let mut text = String::from(
        "policy p {}\nparam cap: number = 15 in 10..20\nparam free: number = 15\nlist names: glob = [\"a*\", \"c?\"]\nlist hosts: domain = [\"bank.example\", \"ab\"]\n",
    );
    text.push_str(dice.one(&["", "default on intent allow\n", "default on intent deny\n"]));
    for number in 0..2 + dice.below(5) {
        let condition = condition(dice, &dimensions, 2);
        text.push_str(&format!("rule r{number} on intent {{ when {condition}"));
        if dice.chance(20) {
            text.push_str(&format!(" unless {}", test(dice, &dimensions)));
        }
        text.push_str(dice.one(&[
            " deny",
            " deny",
            " require approval",
            " require approval from \"ops\" by 2",
            " warn",
            " allow",
            " allow",
            " score +0.2",
        ]));
        text.push_str(
            dice.one(&[
                "",
                "",
                "",
                "",
                "",
                " score +0.1",
                " incident low",
                " mode shadow",
                " applies from 2026-03-03",
                " applies from 2026-03-01 until 2026-03-08",
                " controls = [\"SOC2:CC6.1\"]",
            ])
            .replace(" score +0.1", if text.ends_with("+0.2") { "" } else { " score +0.1" })
            .as_str(),
        );
        text.push_str(" }\n");
    }
    if dice.chance(30) {
        let until = dice.one(&["2026-03-01", "2026-03-05", "2027-01-01"]);
        let condition = condition(dice, &dimensions, 1);
        text.push_str(&format!("exempt r0 for {condition} until {until} because \"trial\"\n"));
    }
    (text, dimensions)
}

fn test(dice: &mut Dice, dimensions: &[&Dimension]) -> String {
    let dimension = dimensions[dice.below(dimensions.len())];
    dice.one(dimension.tests).to_owned()
}

fn condition(dice: &mut Dice, dimensions: &[&Dimension], depth: usize) -> String {
    if depth == 0 || dice.chance(20) {
        return test(dice, dimensions);
    }
    let word = dice.one(&[" and ", " and ", " or "]);
    let parts: Vec<String> =
        (0..2 + dice.below(2)).map(|_| format!("({})", condition(dice, dimensions, depth - 1))).collect();
    let joined = parts.join(word);
    if dice.chance(10) { format!("not ({joined})") } else { joined }
}

/// Events with every combination of values; those of fields that are not of these dimensions are at rest, or vary a
/// little where tests read them beside their own.
pub(crate) fn grid(dimensions: &[&Dimension], text: &str) -> Vec<Event> {
    let mut axes: Vec<(&str, Vec<&str>)> =
        dimensions.iter().map(|dimension| (dimension.path, dimension.values.to_vec())).collect();
    for (path, reads, values) in [
        ("amount", "amount", vec!["", "4", "5", "6", "11"]),
        ("agent.paused", "agent.paused", vec!["true", "false"]),
        ("agent.trust", "agent.trust", vec!["0", "0.25", "1"]),
        ("action", "action", vec!["\"ab\"", "\"z\""]),
    ] {
        if text.contains(reads) && axes.iter().all(|(axis, _)| *axis != path) {
            axes.push((path, values));
        }
    }
    if text.contains("applies") && axes.iter().all(|(axis, _)| *axis != "at") {
        let days = vec!["\"2026-02-01T00:00:00Z\"", "\"2026-03-04T12:00:00Z\"", "\"2026-06-01T00:00:00Z\""];
        axes.push(("at", days));
    }
    let mut rows: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new()];
    for (path, values) in axes {
        rows = rows
            .into_iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.insert(path, value);
                    row
                })
            })
            .collect();
    }
    rows.iter().map(|row| event(row)).collect()
}

pub(crate) fn event(row: &BTreeMap<&str, &str>) -> Event {
    let mut top = vec!["\"event\":\"intent\"".to_owned(), "\"org\":\"o\"".to_owned()];
    let mut agent = vec!["\"id\":\"agent\"".to_owned()];
    for (path, default) in [("at", "\"2026-03-04T12:00:00Z\""), ("action", "\"z\"")] {
        if !row.contains_key(path) {
            top.push(format!("\"{path}\":{default}"));
        }
    }
    for (path, value) in row.iter().filter(|(_, value)| !value.is_empty()) {
        match path.strip_prefix("agent.") {
            Some(name) => agent.push(format!("\"{name}\":{value}")),
            None => top.push(format!("\"{path}\":{value}")),
        }
    }
    top.push(format!("\"agent\":{{{}}}", agent.join(",")));
    let json = format!("{{{}}}", top.join(","));
    Event::decode(json.as_bytes(), Origin::Event)
        .unwrap_or_else(|error| panic!("{:?} in {json}", error.errors))
}
