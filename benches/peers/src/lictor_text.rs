//! The rules as Lictor's policies, a thousand in each.

use std::fmt::Write;

use crate::workload::{Place, Rule};

pub fn policies(rules: &[Rule]) -> Vec<String> {
    rules
        .chunks(1_000)
        .map(|rules| {
            let policy = rules.first().and_then(|rule| rule.name.split_once('.')).map_or("p", |name| name.0);
            let mut text = format!("policy {policy} {{}}\ndefault on action allow\n");
            for rule in rules {
                write_rule(&mut text, rule).expect("strings take writes");
            }
            text
        })
        .collect()
}

fn write_rule(text: &mut String, rule: &Rule) -> std::fmt::Result {
    let name = rule.name.split_once('.').map_or(rule.name.as_str(), |name| name.1);
    if let Place::Network(network) = &rule.place {
        writeln!(text, "list net_{name}: cidr = [\"{network}0/24\"]")?;
    }
    write!(text, "rule {name} on action {{ when ")?;
    if let Some(tool) = &rule.tool {
        write!(text, "tool == \"{tool}\" and ")?;
    }
    write!(text, "metadata.amount > {}", rule.amount)?;
    if let Some(trust) = rule.trust {
        write!(text, " and agent.trust < 0.{trust:02}")?;
    }
    match &rule.place {
        Place::Suffix(suffix) => write!(text, " and target endswith \"{suffix}\"")?,
        Place::Contains(part) => write!(text, " and metadata.path contains \"{part}\"")?,
        Place::Regex { prefix, suffix } => {
            let (prefix, suffix) = (prefix.replace('/', "\\/"), suffix.replace('.', "\\."));
            write!(text, " and metadata.path matches /^{prefix}.*{suffix}$/")?;
        }
        Place::Network(_) => write!(text, " and metadata.ip in net_{name}")?,
    }
    let [first, second, third] = &rule.tags;
    writeln!(text, " and agent.tags has any [\"{first}\", \"{second}\", \"{third}\"] deny }}")
}
