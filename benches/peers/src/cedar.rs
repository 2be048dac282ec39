//! Cedar: the tool is the action, all else is context; trust in hundredths, since there are no fractions.

use anyhow::Result;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, Request, Response,
    RestrictedExpression as Value,
};

use crate::peer::{Fields, Peer, Verdict};
use crate::workload::{Place, Rule};

pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    agent: EntityUid,
    target: EntityUid,
}

impl Peer for Cedar {
    const NAME: &'static str = "Cedar";
    const CRATE: &'static str = "cedar-policy";
    type Event<'json> = Request;
    type Answer<'peer> = Response;

    fn text(rules: &[Rule]) -> Vec<String> {
        let mut text = vec!["permit(principal, action, resource);".to_owned()];
        text.extend(rules.iter().map(policy));
        text
    }

    fn load(text: Vec<String>, rules: &[Rule]) -> Result<Cedar> {
        let mut policies = PolicySet::new();
        let names = std::iter::once("allow").chain(rules.iter().map(|rule| rule.name.as_str()));
        for (name, text) in names.zip(text) {
            policies.add(Policy::parse(Some(PolicyId::new(name)), text)?)?;
        }
        Ok(Cedar {
            authorizer: Authorizer::new(),
            policies,
            entities: Entities::empty(),
            agent: "Agent::\"a\"".parse()?,
            target: "Target::\"t\"".parse()?,
        })
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Request> {
        let fields = Fields::read(json)?;
        let text = |text: &str| Value::new_string(text.to_owned());
        let context = Context::from_pairs([
            ("amount".to_owned(), Value::new_long(fields.metadata.amount)),
            ("trust".to_owned(), Value::new_long(fields.agent.trust())),
            ("tags".to_owned(), Value::new_set(fields.agent.tags.iter().map(|tag| text(tag)))),
            ("target".to_owned(), text(fields.target)),
            ("path".to_owned(), text(fields.metadata.path)),
            ("ip".to_owned(), Value::new_ip(fields.metadata.ip)),
        ])?;
        let action =
            EntityUid::from_type_name_and_id("Action".parse()?, cedar_policy::EntityId::new(fields.tool));
        Ok(Request::new(self.agent.clone(), action, self.target.clone(), context, None)?)
    }

    fn decide<'peer>(&'peer mut self, event: &Request) -> Result<Response> {
        Ok(self.authorizer.is_authorized(event, &self.policies, &self.entities))
    }

    fn verdict(answer: Response) -> Verdict {
        let errors: Vec<String> = answer.diagnostics().errors().map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let allowed = answer.decision() == Decision::Allow;
        // What allows is the one rule without conditions; it has no part in the others' answers.
        let matched = answer.diagnostics().reason().filter(|_| !allowed).map(|id| id.to_string()).collect();
        Verdict { allowed, matched }
    }
}

fn policy(rule: &Rule) -> String {
    let action =
        rule.tool.as_ref().map_or("action".to_owned(), |tool| format!("action == Action::\"{tool}\""));
    let trust = rule.trust.map_or(String::new(), |trust| format!(" && context.trust < {trust}"));
    let place = match &rule.place {
        Place::Suffix(suffix) => format!("context.target like \"*{suffix}\""),
        Place::Contains(part) => format!("context.path like \"*{part}*\""),
        Place::Regex { prefix, suffix } => format!("context.path like \"{prefix}*{suffix}\""),
        Place::Network(network) => format!("context.ip.isInRange(ip(\"{network}0/24\"))"),
    };
    let [first, second, third] = &rule.tags;
    format!(
        "forbid(principal, {action}, resource) when {{ context.amount > {}{trust} && {place} && \
         context.tags.containsAny([\"{first}\", \"{second}\", \"{third}\"]) }};",
        rule.amount
    )
}
