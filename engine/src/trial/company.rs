//! Which policies a test runs with.
//!
//! Whoever applies a template does not know which others are active beside it, and neither do its tests: they run
//! with it alone. The tests of other policies run with all policies that are no templates. Both also get what
//! the policy extends, exempts from, or names in its tests.

use std::collections::BTreeSet;

use lictor_dsl::hir::{Expect, Policy, PolicySet};

/// The policies of a set that the tests of one of them run with, by number, itself included.
pub(super) fn company(set: &PolicySet, number: usize) -> Vec<usize> {
    let Some(own) = set.policies.get(number) else { return Vec::new() };
    let find = |name: &str| set.policies.iter().position(|policy| policy.name == name);
    let mut company = BTreeSet::from([number]);
    if own.template.is_none() {
        let plain = set.policies.iter().enumerate().filter(|(_, policy)| policy.template.is_none());
        company.extend(plain.map(|(number, _)| number));
    }
    company.extend(named(own).filter_map(find));
    let mut open: Vec<usize> = company.iter().copied().collect();
    while let Some(policy) = open.pop().and_then(|number| set.policies.get(number)) {
        let base = policy.extends.as_deref().and_then(find);
        open.extend(base.filter(|base| company.insert(*base)));
    }
    company.into_iter().collect()
}

/// The policies whose rules a policy speaks of.
fn named(policy: &Policy) -> impl Iterator<Item = &str> {
    let exempted = policy.exemptions.iter().map(|exemption| &exemption.rule);
    let expected = policy.tests.iter().flat_map(|test| &test.expects).flat_map(|expect| match expect {
        Expect::Decision { by: names, .. } | Expect::Shadow(names) | Expect::Exempted(names) => {
            names.as_slice()
        }
        _ => &[],
    });
    exempted.chain(expected).filter_map(|rule| rule.split_once('.')).map(|(policy, _)| policy)
}
