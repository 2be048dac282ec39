//! The rules and events that all engines get; everything follows from a number, so their texts can't drift apart.

use std::fmt::Write;

/// Two shapes of rules: with an equality that an index can use, and without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `tool == X and amount > K and (host suffix, 3 % a path's regex, 3 % a network) and tags has any of 3`
    Indexable,
    /// `amount > K and trust < T and tags has any of 3 and (path contains F, 3 % a path's regex, 3 % a network)`
    NoIndex,
}

impl Shape {
    pub const ALL: [Shape; 2] = [Shape::Indexable, Shape::NoIndex];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Indexable => "indexable",
            Shape::NoIndex => "noindex",
        }
    }
}

/// A rule that forbids, as plain values. Every engine writes its own text of it.
#[derive(Debug)]
pub struct Rule {
    /// `p3.r3042`: a thousand rules are a policy.
    pub name: String,
    /// The tool that it is about, of indexable rules.
    pub tool: Option<String>,
    /// Larger amounts only.
    pub amount: i64,
    /// In hundredths: agents of less trust only, of rules without an index.
    pub trust: Option<i64>,
    /// At least one of these must be among the agent's tags.
    pub tags: [String; 3],
    pub place: Place,
}

/// What a rule asks of where the event goes.
#[derive(Debug)]
pub enum Place {
    /// `target` ends so.
    Suffix(String),
    /// `metadata.path` has this in it.
    Contains(String),
    /// `metadata.path` matches `^prefix.*suffix$`.
    Regex { prefix: String, suffix: String },
    /// `metadata.ip` lies in `a.b.c.0/24`; here are `a.b.c.`
    Network(String),
}

/// How many tools, folders and networks there are among so many rules: eight rules share one.
fn pool(rules: usize) -> u64 {
    (rules as u64 / 8).max(1)
}

pub fn rules(shape: Shape, rules: usize) -> Vec<Rule> {
    (0..rules as u64)
        .map(|number| {
            let mut dice = Dice(number);
            let shared = number % pool(rules);
            let kind = dice.below(100);
            Rule {
                name: format!("p{}.r{number}", number / 1_000),
                tool: (shape == Shape::Indexable).then(|| format!("tool_{shared}")),
                amount: dice.below(1_000) as i64,
                trust: (shape == Shape::NoIndex).then(|| 1 + dice.below(99) as i64),
                tags: [dice.below(7), 7 + dice.below(7), 14 + dice.below(6)].map(|tag| format!("t{tag}")),
                place: match (kind, shape) {
                    (0..3, _) => Place::Regex {
                        prefix: format!("/srv/d{shared}/"),
                        suffix: ENDINGS[dice.below(2) as usize].to_owned(),
                    },
                    (3..6, _) => Place::Network(network(shared)),
                    (_, Shape::Indexable) => Place::Suffix(format!(".h{}.example:443", dice.below(4))),
                    (_, Shape::NoIndex) => Place::Contains(format!("/d{shared}/")),
                },
            }
        })
        .collect()
}

const ENDINGS: [&str; 2] = [".csv", ".pdf"];

fn network(place: u64) -> String {
    format!("10.{}.{}.", place / 250, place % 250)
}

/// Events as JSON, about 590 bytes each: most match 0 to 3 rules. Half of them stay in their tool's folder and network.
pub fn events(rules: usize, events: usize) -> Vec<Vec<u8>> {
    (0..events as u64)
        .map(|number| {
            let mut dice = Dice(number ^ 0x00c0_ffee);
            let tool = dice.below(pool(rules));
            let place = if dice.below(2) == 0 { tool } else { dice.below(pool(rules)) };
            let port = if dice.below(10) == 0 { 8443 } else { 443 };
            let first = dice.below(6);
            let mut json = String::new();
            write!(
                json,
                concat!(
                    r#"{{"event":"action","at":"2026-03-01T09:30:00.123Z","org":"acme","task":"task-{}","agent":{{"id":"agent-{}","#,
                    r#""name":"Refund bot","type":"autonomous","status":"active","tags":["t{}","t{}","t{}"],"trust":0.{:02},"#,
                    r#""environment":"production","registered_at":"2026-01-01T00:00:00Z"}},"kind":"http","tool":"tool_{}","#,
                    r#""target":"api.h{}.example:{}","publisher":"acme","metadata":{{"amount":{},"#,
                    r#""path":"/srv/d{}/reports/2026/q{}{}","ip":"{}{}","order_id":"o-{}","#,
                    r#""items":[{{"sku":"A-1","count":2}},{{"sku":"B-7","count":1}}],"note":"second delivery, customer waited for an answer since Monday noon"}}}}"#
                ),
                dice.below(10_000),
                number,
                first,
                first + 7,
                12 + dice.below(8),
                dice.below(100),
                tool,
                dice.below(4),
                port,
                dice.below(1_000),
                place,
                1 + dice.below(4),
                ENDINGS[dice.below(2) as usize],
                network(place),
                dice.below(256),
                dice.below(1_000_000),
            )
            .expect("strings take writes");
            json.into_bytes()
        })
        .collect()
}

/// SplitMix64: the same throws for the same number, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
