//! What a Rust programmer would write for these rules: a hash on the tool, or one automaton over the required texts.

use std::net::Ipv4Addr;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use anyhow::{Context, Result, bail, ensure};
use hashbrown::HashMap;

use crate::peer::{Fields, Matched, Peer, Verdict, verdict_of};
use crate::workload::{Place, Rule};

pub struct ByHand {
    /// Tags by their bit.
    tags: HashMap<String, u64>,
    by_tool: HashMap<String, Vec<Hand>>,
    /// Of rules without a tool: those that need a text in the path, by the number of that text.
    texts: Option<AhoCorasick>,
    by_text: Vec<Vec<Hand>>,
    by_network: HashMap<u32, Vec<Hand>>,
}

struct Hand {
    name: String,
    amount: i64,
    trust: i64,
    tags: u64,
    place: Test,
}

enum Test {
    Suffix(String),
    /// Found by the automaton already.
    Contains,
    Regex {
        prefix: String,
        suffix: String,
    },
    Network(u32),
}

/// The fields that the rules read, tags as bits.
pub struct Event<'a> {
    tool: &'a str,
    target: &'a str,
    path: &'a str,
    network: u32,
    amount: i64,
    trust: i64,
    tags: u64,
}

impl Peer for ByHand {
    const NAME: &'static str = "by hand";
    const CRATE: &'static str = "aho-corasick";
    type Event<'json> = Event<'json>;
    type Answer<'peer> = Matched<'peer>;

    fn text(_: &[Rule]) -> Vec<String> {
        Vec::new()
    }

    fn load(_: Vec<String>, rules: &[Rule]) -> Result<ByHand> {
        let mut hand = ByHand {
            tags: HashMap::new(),
            by_tool: HashMap::new(),
            texts: None,
            by_text: Vec::new(),
            by_network: HashMap::new(),
        };
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut texts: Vec<&str> = Vec::new();
        for rule in rules {
            let compiled = hand.compile(rule)?;
            let group = match (&rule.tool, &rule.place, &compiled.place) {
                (Some(tool), _, _) => hand.by_tool.entry_ref(tool.as_str()).or_default(),
                (None, _, Test::Network(network)) => hand.by_network.entry(*network).or_default(),
                (None, Place::Contains(text) | Place::Regex { prefix: text, .. }, _) => {
                    let number = *numbers.entry(text).or_insert_with(|| {
                        texts.push(text);
                        hand.by_text.push(Vec::new());
                        texts.len() - 1
                    });
                    &mut hand.by_text[number]
                }
                (None, Place::Suffix(_) | Place::Network(_), _) => bail!("nothing finds {}", rule.name),
            };
            group.push(compiled);
        }
        if !texts.is_empty() {
            let mut builder = AhoCorasick::builder();
            hand.texts = Some(builder.kind(Some(AhoCorasickKind::DFA)).build(&texts)?);
        }
        Ok(hand)
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Event<'json>> {
        let fields = Fields::read(json)?;
        Ok(Event {
            tool: fields.tool,
            target: fields.target,
            path: fields.metadata.path,
            network: network_of(fields.metadata.ip)?,
            amount: fields.metadata.amount,
            trust: fields.agent.trust(),
            tags: fields
                .agent
                .tags
                .iter()
                .filter_map(|tag| self.tags.get(*tag))
                .fold(0, |all, tag| all | tag),
        })
    }

    fn decide<'peer>(&'peer mut self, event: &Event<'_>) -> Result<Matched<'peer>> {
        Ok(self.judge(event))
    }

    fn verdict(answer: Matched<'_>) -> Verdict {
        verdict_of(answer)
    }
}

impl ByHand {
    /// The rules that match; all of them forbid.
    pub fn judge(&self, event: &Event<'_>) -> Matched<'_> {
        let mut matched = Matched::new();
        try_all(self.by_tool.get(event.tool), event, &mut matched);
        if let Some(texts) = &self.texts {
            for found in texts.find_overlapping_iter(event.path) {
                try_all(self.by_text.get(found.pattern().as_usize()), event, &mut matched);
            }
            try_all(self.by_network.get(&event.network), event, &mut matched);
        }
        matched
    }

    fn compile(&mut self, rule: &Rule) -> Result<Hand> {
        let mut tags = 0;
        for tag in &rule.tags {
            let next = self.tags.len();
            ensure!(next < 64, "a bit for each tag");
            tags |= *self.tags.entry_ref(tag.as_str()).or_insert(1 << next);
        }
        let place = match &rule.place {
            Place::Suffix(suffix) => Test::Suffix(suffix.clone()),
            Place::Contains(_) => Test::Contains,
            Place::Regex { prefix, suffix } => Test::Regex { prefix: prefix.clone(), suffix: suffix.clone() },
            Place::Network(network) => Test::Network(network_of(&format!("{network}0"))?),
        };
        let trust = rule.trust.unwrap_or(i64::MAX);
        Ok(Hand { name: rule.name.clone(), amount: rule.amount, trust, tags, place })
    }
}

fn try_all<'peer>(rules: Option<&'peer Vec<Hand>>, event: &Event<'_>, matched: &mut Matched<'peer>) {
    for rule in rules.into_iter().flatten() {
        if event.amount > rule.amount
            && event.trust < rule.trust
            && event.tags & rule.tags != 0
            && rule.place.holds(event)
            // A path may have the same text in it twice.
            && !matched.contains(&rule.name.as_str())
        {
            matched.push(&rule.name);
        }
    }
}

impl Test {
    fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Test::Suffix(suffix) => event.target.ends_with(suffix),
            Test::Contains => true,
            Test::Regex { prefix, suffix } => {
                event.path.len() >= prefix.len() + suffix.len()
                    && event.path.starts_with(prefix)
                    && event.path.ends_with(suffix)
            }
            Test::Network(network) => event.network == *network,
        }
    }
}

fn network_of(ip: &str) -> Result<u32> {
    let ip: Ipv4Addr = ip.parse().with_context(|| format!("{ip} is no address"))?;
    Ok(ip.to_bits() >> 8)
}
