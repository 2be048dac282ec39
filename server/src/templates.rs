//! Policy templates: those that come with the server, and what an org made of them.
//!
//! An applied template is a policy like any other, and nothing beside it is kept: its source is the template's text with the
//! values that were asked for in the place of the defaults (`docs/decisions/0017`). So everything that holds for policies holds for it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use lictor_dsl::hir::{self, Const, Param};
use lictor_dsl::params::with_values;
use lictor_dsl::{Source, load};

use crate::policies::{Policies, Policy};

/// Their texts.
const TEXTS: [(&str, &str); 3] = [
    ("outbound_data", include_str!("../../policy-templates/outbound_data.lictor")),
    ("owasp_agentic", include_str!("../../policy-templates/owasp_agentic.lictor")),
    ("payment_controls", include_str!("../../policy-templates/payment_controls.lictor")),
];
/// Other names of templates, as published clients call them.
const ALIASES: [(&str, &str); 1] = [("owasp_agentic_default", "owasp_agentic")];

/// Values of parameters, by name.
pub type Values = BTreeMap<String, Const>;

/// A template that comes with the server.
#[derive(Debug)]
pub struct Template {
    /// Its text.
    pub text: &'static str,
    /// What the text says.
    pub policy: Arc<hir::Policy>,
    /// Where its rules come from.
    pub origin: hir::Template,
}

/// A template that an org applied.
#[derive(Debug)]
pub struct Applied {
    /// The policy that it became.
    pub policy: Arc<Policy>,
    /// The version of the template that it was made from.
    pub version: String,
    /// The parameters of that version, with the values in force.
    pub params: Vec<Param>,
}

/// All of them, by name.
pub fn all() -> &'static [Template] {
    static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| {
        let checked = load(TEXTS.map(|(name, text)| Source::new(name, text)).into());
        let texts = TEXTS.iter().map(|(_, text)| *text);
        let templates = checked.set.policies.into_iter().zip(texts);
        // A test sees to it that all of them are there.
        templates
            .filter_map(|(policy, text)| Some(Template { text, origin: policy.template.clone()?, policy }))
            .collect()
    });
    &ALL
}

/// The template of this name.
pub fn named(name: &str) -> Option<&'static Template> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    all().iter().find(|template| template.policy.name == name)
}

impl Template {
    /// The source of a policy that is this template with these values.
    pub fn with(&self, values: &Values) -> String {
        with_values(&Source::new(self.policy.name.clone(), self.text), values)
    }

    /// Whether an applied template is the text of a version that was released, but for the values of its parameters.
    pub fn is_released(&self, applied: &Applied) -> bool {
        let values = applied.params.iter().map(|param| (param.name.clone(), param.value.clone())).collect();
        // Of other versions there is no text to compare with.
        applied.version == self.origin.version && applied.with(&values) == self.with(&values)
    }

    /// What the org made of it. Slow: not for threads that serve requests.
    pub fn applied(&self, policies: &Policies) -> Option<Applied> {
        let name = &self.policy.name;
        let policy = policies.iter().find(|policy| policy.name == *name)?;
        // What it extends is not needed to read it.
        let read = load(vec![Source::new(name.clone(), policy.source.to_string())]);
        let read = read.set.policies.first()?;
        let origin = read.template.as_ref()?;
        let (version, params) = (origin.version.clone(), read.params.clone());
        Some(Applied { policy: Arc::clone(policy), version, params })
    }
}

impl Applied {
    /// Its source with these values, and all others as they are.
    pub fn with(&self, values: &Values) -> String {
        with_values(&Source::new(self.policy.name.clone(), self.policy.source.to_string()), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_there_and_is_found_by_its_names() {
        let names: Vec<_> = all().iter().map(|template| template.policy.name.as_str()).collect();
        assert_eq!(names, TEXTS.map(|(name, _)| name));
        for (alias, name) in ALIASES {
            assert_eq!(named(alias).unwrap().policy.name, name);
        }
        assert!(named("nobody's").is_none());
    }

    #[test]
    fn the_folder_has_no_template_that_the_server_lacks() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../policy-templates");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|ending| ending == "lictor"))
            .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, TEXTS.map(|(name, _)| name));
    }

    #[test]
    fn without_values_the_text_is_the_template_and_with_any_it_says_them() {
        for template in all() {
            assert_eq!(template.with(&Values::new()), template.text);
            let values: Values = template
                .policy
                .params
                .iter()
                .map(|param| (param.name.clone(), param.value.clone()))
                .collect();
            let again = load(vec![Source::new("again", template.with(&values))]);
            let params = &again.set.policies[0].params;
            assert!(
                params.iter().all(|param| values[&param.name] == param.value),
                "{}",
                template.policy.name
            );
            assert_eq!(params.len(), values.len());
        }
    }
}
