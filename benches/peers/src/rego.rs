//! Rego by regorus, twice: its interpreter, and its virtual machine. One partial rule collects the names.

use anyhow::{Result, anyhow};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};

use crate::peer::{Peer, Verdict};
use crate::workload::{Place, Rule};

const RULE: &str = "data.bench.deny";

pub struct Interpreter(Engine);

impl Peer for Interpreter {
    const NAME: &'static str = "Rego, interpreter";
    const CRATE: &'static str = "regorus";
    type Event<'json> = Value;
    type Answer<'peer> = Value;

    fn text(rules: &[Rule]) -> Vec<String> {
        text(rules)
    }

    fn load(text: Vec<String>, _: &[Rule]) -> Result<Interpreter> {
        let mut engine = engine(text)?;
        // The first question makes it ready for all others.
        engine.set_input(Value::new_object());
        engine.eval_rule(RULE.to_owned())?;
        Ok(Interpreter(engine))
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Value> {
        Value::from_json_str(std::str::from_utf8(json)?)
    }

    fn decide<'peer>(&'peer mut self, event: &Value) -> Result<Value> {
        self.0.set_input(event.clone());
        self.0.eval_rule(RULE.to_owned())
    }

    fn verdict(answer: Value) -> Verdict {
        verdict(&answer)
    }
}

pub struct Machine(RegoVM);

impl Peer for Machine {
    const NAME: &'static str = "Rego, virtual machine";
    const CRATE: &'static str = "regorus";
    type Event<'json> = Value;
    type Answer<'peer> = Value;

    fn text(rules: &[Rule]) -> Vec<String> {
        text(rules)
    }

    fn load(text: Vec<String>, _: &[Rule]) -> Result<Machine> {
        let policy = engine(text)?.compile_with_entrypoint(&RULE.into())?;
        let program = Compiler::compile_from_policy(&policy, &[RULE]).map_err(|error| anyhow!("{error}"))?;
        let mut machine = RegoVM::new_with_policy(policy);
        machine.load_program(program);
        Ok(Machine(machine))
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Value> {
        Value::from_json_str(std::str::from_utf8(json)?)
    }

    fn decide<'peer>(&'peer mut self, event: &Value) -> Result<Value> {
        self.0.set_input(event.clone());
        self.0.execute().map_err(|error| anyhow!("{error}"))
    }

    fn verdict(answer: Value) -> Verdict {
        verdict(&answer)
    }
}

fn engine(text: Vec<String>) -> Result<Engine> {
    let mut engine = Engine::new();
    for (number, text) in text.into_iter().enumerate() {
        engine.add_policy(format!("p{number}.rego"), text)?;
    }
    Ok(engine)
}

fn verdict(answer: &Value) -> Verdict {
    let names = answer.as_set().expect("a partial rule is a set");
    let matched: Vec<String> =
        names.iter().map(|name| name.as_string().expect("names are texts").to_string()).collect();
    Verdict { allowed: matched.is_empty(), matched }
}

/// One module for a thousand rules: a file may have 20,000 lines.
fn text(rules: &[Rule]) -> Vec<String> {
    rules
        .chunks(1_000)
        .map(|rules| {
            let rules: Vec<String> = rules.iter().map(rego).collect();
            format!("package bench\n\nimport rego.v1\n\n{}", rules.join(""))
        })
        .collect()
}

fn rego(rule: &Rule) -> String {
    let tool = rule.tool.as_ref().map_or(String::new(), |tool| format!("  input.tool == \"{tool}\"\n"));
    let trust = rule.trust.map_or(String::new(), |trust| format!("  input.agent.trust < 0.{trust:02}\n"));
    let place = match &rule.place {
        Place::Suffix(suffix) => format!("endswith(input.target, \"{suffix}\")"),
        Place::Contains(part) => format!("contains(input.metadata.path, \"{part}\")"),
        Place::Regex { prefix, suffix } => {
            format!("regex.match(`^{prefix}.*{}$`, input.metadata.path)", suffix.replace('.', "\\."))
        }
        Place::Network(network) => format!("net.cidr_contains(\"{network}0/24\", input.metadata.ip)"),
    };
    let [first, second, third] = &rule.tags;
    format!(
        "deny contains \"{}\" if {{\n{tool}  input.metadata.amount > {}\n{trust}  {place}\n  \
         some tag in input.agent.tags\n  tag in {{\"{first}\", \"{second}\", \"{third}\"}}\n}}\n",
        rule.name, rule.amount
    )
}
