//! ZEN expressions: one a rule. `matches` builds the regex on every call and there are no networks: texts' ends stand in.

use anyhow::{Result, bail};
use zen_expression::expression::Standard;
use zen_expression::vm::VM;
use zen_expression::{Expression, Scope, Variable, compile_expression};

use crate::peer::{Matched, Peer, Verdict, verdict_of};
use crate::workload::{Place, Rule};

pub struct Zen {
    rules: Vec<(String, Expression<Standard>)>,
    machine: VM,
}

impl Peer for Zen {
    const NAME: &'static str = "ZEN";
    const CRATE: &'static str = "zen-expression";
    type Event<'json> = Scope;
    type Answer<'peer> = Matched<'peer>;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(expression).collect()
    }

    fn load(text: Vec<String>, rules: &[Rule]) -> Result<Zen> {
        let rules = rules
            .iter()
            .zip(text)
            .map(|(rule, text)| Ok((rule.name.clone(), compile_expression(&text)?)))
            .collect::<Result<_>>()?;
        Ok(Zen { rules, machine: VM::new() })
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Scope> {
        Ok(Scope::new(serde_json::from_slice::<Variable>(json)?))
    }

    fn decide<'peer>(&'peer mut self, event: &Scope) -> Result<Matched<'peer>> {
        let mut matched = Matched::new();
        for (name, expression) in &self.rules {
            match expression.evaluate_with_scope(event, &mut self.machine)? {
                Variable::Bool(true) => matched.push(name),
                Variable::Bool(false) => {}
                other => bail!("{name}: {other:?}"),
            }
        }
        Ok(matched)
    }

    fn verdict(answer: Matched<'_>) -> Verdict {
        verdict_of(answer)
    }
}

fn expression(rule: &Rule) -> String {
    let tool = rule.tool.as_ref().map_or(String::new(), |tool| format!("tool == '{tool}' and "));
    let trust = rule.trust.map_or(String::new(), |trust| format!(" and agent.trust < 0.{trust:02}"));
    let place = match &rule.place {
        Place::Suffix(suffix) => format!("endsWith(target, '{suffix}')"),
        Place::Contains(part) => format!("contains(metadata.path, '{part}')"),
        Place::Regex { prefix, suffix } => {
            format!("startsWith(metadata.path, '{prefix}') and endsWith(metadata.path, '{suffix}')")
        }
        Place::Network(network) => format!("startsWith(metadata.ip, '{network}')"),
    };
    let [first, second, third] = &rule.tags;
    format!(
        "{tool}metadata.amount > {}{trust} and {place} and some(agent.tags, # in ['{first}', '{second}', '{third}'])",
        rule.amount
    )
}
