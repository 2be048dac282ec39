//! CEL: an expression a rule. Its `matches` builds the regex on every call and it has no networks: texts' ends stand in.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use cel::{Context, Env, Program, Value};

use crate::peer::{Fields, Matched, Peer, Verdict, verdict_of};
use crate::workload::{Place, Rule};

pub struct Cel {
    env: Arc<Env>,
    rules: Vec<(String, Program)>,
}

impl Peer for Cel {
    const NAME: &'static str = "CEL";
    const CRATE: &'static str = "cel";
    type Event<'json> = Context<'static, 'static>;
    type Answer<'peer> = Matched<'peer>;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(expression).collect()
    }

    fn load(text: Vec<String>, rules: &[Rule]) -> Result<Cel> {
        let env = Env::stdlib();
        let rules = rules
            .iter()
            .zip(text)
            .map(|(rule, text)| {
                let program = env.compile(&text).map_err(|errors| anyhow!("{text}: {errors}"))?;
                Ok((rule.name.clone(), program))
            })
            .collect::<Result<_>>()?;
        Ok(Cel { env: Arc::new(env), rules })
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Context<'static, 'static>> {
        let fields = Fields::read(json)?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value("tool", fields.tool);
        context.add_variable_from_value("target", fields.target);
        context.add_variable_from_value("path", fields.metadata.path);
        context.add_variable_from_value("ip", fields.metadata.ip);
        context.add_variable_from_value("amount", fields.metadata.amount);
        context.add_variable_from_value("trust", fields.agent.trust());
        context.add_variable_from_value("tags", fields.agent.tags.to_vec());
        Ok(context)
    }

    fn decide<'peer>(&'peer mut self, event: &Context<'static, 'static>) -> Result<Matched<'peer>> {
        let mut matched = Matched::new();
        for (name, program) in &self.rules {
            match program.execute(event) {
                Ok(Value::Bool(true)) => matched.push(name),
                Ok(Value::Bool(false)) => {}
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
    let tool = rule.tool.as_ref().map_or(String::new(), |tool| format!("tool == '{tool}' && "));
    let trust = rule.trust.map_or(String::new(), |trust| format!(" && trust < {trust}"));
    let place = match &rule.place {
        Place::Suffix(suffix) => format!("target.endsWith('{suffix}')"),
        Place::Contains(part) => format!("path.contains('{part}')"),
        Place::Regex { prefix, suffix } => {
            format!("path.startsWith('{prefix}') && path.endsWith('{suffix}')")
        }
        Place::Network(network) => format!("ip.startsWith('{network}')"),
    };
    let [first, second, third] = &rule.tags;
    format!(
        "{tool}amount > {}{trust} && {place} && tags.exists(tag, tag in ['{first}', '{second}', '{third}'])",
        rule.amount
    )
}
