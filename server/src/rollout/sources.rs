//! One source beside the others of the org: what it says about itself, and what is found in it.

use std::sync::Arc;

use lictor_dsl::diagnostics::{Report, Severity};
use lictor_dsl::hir::PolicySet;
use lictor_dsl::{Library, Source, check, load};
use uuid::Uuid;

use super::kept::{off_the_request_path, with_kept};
use super::{Kept, RolloutError};
use crate::policies::{Policies, Policy};

/// What a source says about itself.
#[derive(Debug, Clone)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Whether it says `mode = "shadow"`.
    pub shadow: bool,
}

/// Checks a source beside the others of the org, of which it may replace one, and finds the name in its header. The set
/// is of those of the others that take part, and this one.
pub(super) async fn read_header(
    kept: &mut Kept,
    policies: &Policies,
    replaces: Option<Uuid>,
    source: String,
) -> Result<(Header, PolicySet), RolloutError> {
    let others = all_but(policies, replaces);
    with_kept(kept, move |kept| header_of(&mut kept.library, &others, source)).await
}

/// What is found in a source beside the others of the org that stops nothing.
pub(super) async fn reports_on(
    policies: &Policies,
    replaces: Option<Uuid>,
    source: String,
) -> Result<Vec<Report>, RolloutError> {
    let others = all_but(policies, replaces);
    let found = move || {
        let reports = check(beside(&others, source)).reports();
        Ok(reports.into_iter().filter(|report| report.file == NEW).collect())
    };
    off_the_request_path(found).await
}

fn all_but(policies: &Policies, replaced: Option<Uuid>) -> Vec<Arc<Policy>> {
    policies.iter().filter(|policy| Some(policy.id) != replaced).cloned().collect()
}

/// What a source is called while its name is not known.
const NEW: &str = "policy";

/// A source behind those of the others that take part.
fn beside(others: &[Arc<Policy>], source: String) -> Vec<Source> {
    let active = others.iter().filter(|other| other.enabled);
    let active = active.map(|other| Source::new(other.name.clone(), other.source.to_string()));
    active.chain([Source::new(NEW, source)]).collect()
}

fn header_of(
    library: &mut Library,
    others: &[Arc<Policy>],
    source: String,
) -> Result<(Header, PolicySet), RolloutError> {
    let is_taken = |name: &str| others.iter().any(|other| other.name == name);
    let set = match library.load(beside(others, source.clone())) {
        Ok(set) => set,
        Err(checked) => {
            let alone = load(vec![Source::new(NEW, source)]);
            return match alone.set.policies.first() {
                Some(policy) if !alone.has_errors() && is_taken(&policy.name) => {
                    Err(RolloutError::NameTaken(policy.name.clone()))
                }
                _ => Err(rejected(checked.reports(), Some(NEW))),
            };
        }
    };
    // The set is in the order of its sources.
    match set.policies.last() {
        Some(policy) if is_taken(&policy.name) => Err(RolloutError::NameTaken(policy.name.clone())),
        Some(policy) => {
            let (name, title) = (policy.name.clone(), policy.title.clone());
            let header = Header { name, title, shadow: policy.shadow };
            Ok((header, set))
        }
        None => Err(RolloutError::Rejected(Vec::new())),
    }
}

/// Everything about the source that was given, and of the others only what stops the set.
pub(super) fn rejected(reports: Vec<Report>, about: Option<&str>) -> RolloutError {
    let matters = |report: &Report| Some(report.file.as_str()) == about || report.severity == Severity::Error;
    RolloutError::Rejected(reports.into_iter().filter(matters).collect())
}
