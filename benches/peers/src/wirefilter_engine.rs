//! wirefilter: a filter a rule. It has no lists and no ends of texts: tags are one text between bars, and so ends the target.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow};
use wirefilter::{ExecutionContext, Filter, LhsValue, Scheme};

use crate::peer::{Fields, Matched, Peer, Verdict, verdict_of};
use crate::workload::{Place, Rule};

pub struct Wirefilter {
    scheme: &'static Scheme,
    rules: Vec<(String, Filter<'static>)>,
}

impl Peer for Wirefilter {
    const NAME: &'static str = "wirefilter";
    const CRATE: &'static str = "wirefilter-engine";
    type Event<'json> = ExecutionContext<'static>;
    type Answer<'peer> = Matched<'peer>;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(filter).collect()
    }

    fn load(text: Vec<String>, rules: &[Rule]) -> Result<Wirefilter> {
        // Filters borrow the scheme for as long as they live; it is small, and there is one a load.
        let scheme: &'static Scheme = Box::leak(Box::new(wirefilter::Scheme! {
            tool: Bytes, target: Bytes, path: Bytes, ip: Ip, amount: Int, trust: Int, tags: Bytes
        }));
        let rules = rules
            .iter()
            .zip(&text)
            .map(|(rule, text)| {
                let filter = scheme.parse(text).map_err(|error| anyhow!("{text}: {error}"))?.compile();
                Ok((rule.name.clone(), filter))
            })
            .collect::<Result<_>>()?;
        Ok(Wirefilter { scheme, rules })
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<ExecutionContext<'static>> {
        let fields = Fields::read(json)?;
        let ip: IpAddr = fields.metadata.ip.parse().context("no address")?;
        let mut context = ExecutionContext::new(self.scheme);
        let texts = [
            fields.tool.to_owned(),
            format!("{}|", fields.target),
            fields.metadata.path.to_owned(),
            format!("|{}|", fields.agent.tags.join("|")),
        ];
        // A filter takes only values that live as long as it does, and it lives to the end of the bench.
        let [tool, target, path, tags] = texts.map(|text| LhsValue::Bytes(text.leak().as_bytes()));
        let mut set = |name, value| context.set_field_value(name, value).map_err(|error| anyhow!("{error}"));
        set("tool", tool)?;
        set("target", target)?;
        set("path", path)?;
        set("tags", tags)?;
        set("ip", LhsValue::Ip(ip))?;
        set("amount", LhsValue::Int(i32::try_from(fields.metadata.amount)?))?;
        set("trust", LhsValue::Int(i32::try_from(fields.agent.trust())?))?;
        Ok(context)
    }

    fn decide<'peer>(&'peer mut self, event: &ExecutionContext<'static>) -> Result<Matched<'peer>> {
        let mut matched = Matched::new();
        for (name, filter) in &self.rules {
            if filter.execute(event).map_err(|error| anyhow!("{name}: {error}"))? {
                matched.push(name);
            }
        }
        Ok(matched)
    }

    fn verdict(answer: Matched<'_>) -> Verdict {
        verdict_of(answer)
    }
}

fn filter(rule: &Rule) -> String {
    let tool = rule.tool.as_ref().map_or(String::new(), |tool| format!("tool == \"{tool}\" && "));
    let trust = rule.trust.map_or(String::new(), |trust| format!(" && trust < {trust}"));
    let place = match &rule.place {
        Place::Suffix(suffix) => format!("target contains \"{suffix}|\""),
        Place::Contains(part) => format!("path contains \"{part}\""),
        Place::Regex { prefix, suffix } => {
            format!("path matches \"^{prefix}.*{}$\"", suffix.replace('.', "\\."))
        }
        Place::Network(network) => format!("ip in {{{network}0/24}}"),
    };
    let [first, second, third] = &rule.tags;
    format!(
        "{tool}amount > {}{trust} && {place} && \
         (tags contains \"|{first}|\" || tags contains \"|{second}|\" || tags contains \"|{third}|\")",
        rule.amount
    )
}
