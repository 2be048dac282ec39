//! A new policy set: checked and planned off the request path, put in force between two events, or refused whole.
//!
//! Changes of one org's policies go one after the other. What was in force stays in force until the new set is
//! planned, its memories are filled from the ledger, and its entry is durable. Where filling takes long, the set is
//! put in force before that, with the rules that wait in shadow; that they decide is an entry of its own. Where machine
//! code takes long, the interpreter answers until it is there: it joins the set, so that no other can be put in its place.
//!
//! What was found in a source that stops nothing is worked out last, when the set is in force.

mod kept;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lictor_dsl::diagnostics::Report;
use lictor_dsl::hir::PolicySet;
use lictor_dsl::{Library, Source};
use lictor_engine::generation::{Generation, NoCode};
use lictor_engine::plan::{PlanError, Planner};
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::Org;
use crate::db::Change;
use crate::draft::{PolicyChange, Refused};
use crate::memory::fill::{FillError, fill, fill_and_activate};
use crate::policies::{InForce, Policies, Policy};
use crate::retries::Keep;
use crate::sequencer::Unavailable;
pub use kept::Kept;
use kept::{off_the_request_path, with_kept};
pub use sources::Header;
use sources::{read_header, rejected, reports_on};

/// How long a change waits for machine code.
const CODE_FIRST: Duration = Duration::from_millis(10);

/// How long a change waits for its memories to be filled.
const FILL_FIRST: Duration = Duration::from_secs(2);

/// Why a change of the policies was not made. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The sources have errors.
    #[error("the policy set has errors")]
    Rejected(Vec<Report>),
    /// Another policy has that name.
    #[error("there is a policy `{0}` already")]
    NameTaken(String),
    /// There is no such policy.
    #[error("there is no such policy")]
    NotFound,
    /// It was changed meanwhile.
    #[error("the policy is at revision {0}")]
    Stale(i64),
    /// It can't be made to decide.
    #[error(
        "the header of `{0}` says `mode = \"shadow\"`: only a source without it can decide; `shadow` lets this one report"
    )]
    ShadowByHeader(String),
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] PlanError),
    /// The sequencer refused it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The compiling thread died.
    #[error("the compiler stopped")]
    Crashed,
}

/// What to do with a policy.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Take this source from now on.
    Source(String),
    /// Let it decide.
    Enable,
    /// Leave it out.
    Disable,
    /// Let it report and decide nothing.
    Shadow,
}

impl Edit {
    fn what(&self) -> &'static str {
        match self {
            Edit::Source(_) => "updated",
            Edit::Enable => "enabled",
            Edit::Disable => "disabled",
            Edit::Shadow => "shadowed",
        }
    }
}

/// A change that was made, and what was found that did not stop it.
#[derive(Debug)]
pub struct Done {
    /// The policy as it is now.
    pub policy: Arc<Policy>,
    /// What is in force with it.
    pub in_force: Arc<InForce>,
    /// Warnings and notes about its source.
    pub reports: Vec<Report>,
}

/// Adds a policy and puts it in force, or lets it only report.
pub async fn create(
    org: &Arc<Org>,
    source: String,
    shadow: bool,
    actor: String,
    now_us: i64,
    keep: Option<Keep<Done>>,
) -> Result<Done, RolloutError> {
    let org = Arc::clone(org);
    to_the_end(async move {
        let mut kept = org.rollout.lock().await;
        let policies = org.view.policies();
        let (header, set) = read_header(&mut kept, &policies, None, source.clone()).await?;
        let policy = Arc::new(Policy {
            id: Uuid::now_v7(),
            name: header.name,
            title: header.title,
            enabled: true,
            shadow,
            shadow_by_header: header.shadow,
            version: 1,
            revision: 1,
            source: Arc::from(source),
            created_at_us: now_us,
            updated_at_us: now_us,
        });
        let change = Change::Policy { policy: Arc::clone(&policy), new_source_by: Some(actor.clone()) };
        let name = policy.name.clone();
        let new =
            NewSet { what: "created", name, policies: with(&policies, &policy), checked: Some(set), change };
        roll_out_with(&org, kept, policies, new, policy, actor, keep).await
    })
    .await
}

/// Changes a policy. With `if_revision`, only if it is still at that revision.
pub async fn edit(
    org: &Arc<Org>,
    id: Uuid,
    edit: Edit,
    if_revision: Option<i64>,
    actor: String,
    now_us: i64,
    keep: Option<Keep<Done>>,
) -> Result<Done, RolloutError> {
    let org = Arc::clone(org);
    to_the_end(async move { apply(&org, id, edit, if_revision, actor, now_us, keep).await }).await
}

async fn apply(
    org: &Org,
    id: Uuid,
    edit: Edit,
    if_revision: Option<i64>,
    actor: String,
    now_us: i64,
    keep: Option<Keep<Done>>,
) -> Result<Done, RolloutError> {
    let mut kept = org.rollout.lock().await;
    let policies = org.view.policies();
    let before = find(&policies, id, if_revision)?;
    let what = edit.what();
    let mut policy = Policy { revision: before.revision + 1, updated_at_us: now_us, ..Policy::clone(before) };
    let (mut new_source_by, mut checked) = (None, None);
    match edit {
        Edit::Source(source) => {
            let (header, set) = read_header(&mut kept, &policies, Some(id), source.clone()).await?;
            // Of one that does not take part, its source was checked beside the others all the same.
            checked = policy.enabled.then_some(set);
            policy = Policy {
                name: header.name,
                title: header.title,
                shadow_by_header: header.shadow,
                source: Arc::from(source),
                ..policy
            };
            policy.version += 1;
            new_source_by = Some(actor.clone());
        }
        Edit::Enable if policy.shadow_by_header => return Err(RolloutError::ShadowByHeader(policy.name)),
        Edit::Enable => (policy.enabled, policy.shadow) = (true, false),
        Edit::Disable => policy.enabled = false,
        Edit::Shadow => (policy.enabled, policy.shadow) = (true, true),
    }
    let policy = Arc::new(policy);
    let change = Change::Policy { policy: Arc::clone(&policy), new_source_by };
    let new = NewSet { what, name: policy.name.clone(), policies: with(&policies, &policy), checked, change };
    roll_out_with(org, kept, policies, new, policy, actor, keep).await
}

/// Removes a policy.
pub async fn remove(
    org: &Arc<Org>,
    id: Uuid,
    if_revision: Option<i64>,
    actor: String,
) -> Result<(), RolloutError> {
    let org = Arc::clone(org);
    to_the_end(async move {
        let mut kept = org.rollout.lock().await;
        let policies = org.view.policies();
        let policy = Arc::clone(find(&policies, id, if_revision)?);
        let rest = Arc::new(policies.iter().filter(|other| other.id != id).cloned().collect());
        let (name, change) = (policy.name.clone(), Change::PolicyRemoved(id));
        let new = NewSet { what: "removed", name, policies: rest, checked: None, change };
        roll_out(&org, &mut kept, policies, new, actor, None).await?;
        Ok(())
    })
    .await
}

/// What a source would be, beside the policies that the org has, and what is found in it that would not stop it.
pub async fn inspect(policies: &Policies, source: String) -> Result<(Header, Vec<Report>), RolloutError> {
    // Nothing is changed, so what is kept stays that of the last change.
    let kept = &mut Kept::default();
    let (header, replaces) = match read_header(kept, policies, None, source.clone()).await {
        // To check a policy that is there already is fine.
        Err(RolloutError::NameTaken(name)) => {
            let same = policies.iter().find(|policy| policy.name == name).map(|policy| policy.id);
            (read_header(kept, policies, same, source.clone()).await?.0, same)
        }
        result => (result?.0, None),
    };
    Ok((header, reports_on(policies, replaces, source).await?))
}

/// The policies as they would decide with this source as one of them, which may replace one. Nothing changes.
pub async fn would_be(
    policies: &Policies,
    replaces: Option<Uuid>,
    source: String,
) -> Result<Generation, RolloutError> {
    let kept = &mut Kept::default();
    let (_, set) = read_header(kept, policies, replaces, source).await?;
    let others: Vec<_> = policies.iter().filter(|other| Some(other.id) != replaces).cloned().collect();
    with_kept(kept, move |kept| plan(&mut kept.planner, set, &others)).await
}

/// Does what reads whole policies off the request path, where no more than a few such things are done at once.
pub async fn slowly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RolloutError> {
    kept::off_the_request_path(move || Ok(work())).await
}

/// What was found in the source of a policy that is in its place. To find nothing undoes no change.
async fn warnings(policies: &Policies, policy: &Policy) -> Vec<Report> {
    let found = reports_on(policies, Some(policy.id), policy.source.to_string()).await;
    found.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a source can't be looked through");
        Vec::new()
    })
}

/// Checks the policies that take part. Slow: not for threads that serve requests.
fn checked(library: &mut Library, policies: &[Arc<Policy>]) -> Result<PolicySet, RolloutError> {
    let active = policies.iter().filter(|policy| policy.enabled);
    let sources = active.map(|policy| Source::new(policy.name.clone(), policy.source.to_string()));
    library.load(sources.collect()).map_err(|checked| rejected(checked.reports(), None))
}

/// Plans those that take part, in the order of their names: the interpreter can answer. Slow as well.
fn plan(
    planner: &mut Planner,
    mut set: PolicySet,
    policies: &[Arc<Policy>],
) -> Result<Generation, RolloutError> {
    set.policies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let shadowed: HashSet<&str> =
        policies.iter().filter(|ours| ours.shadow).map(|ours| ours.name.as_str()).collect();
    for policy in &mut set.policies {
        if !policy.shadow && shadowed.contains(policy.name.as_str()) {
            Arc::make_mut(policy).shadow = true;
        }
    }
    Ok(Generation::interpreted_by(planner, &set)?)
}

/// Lets machine code answer for a generation, from when it is there. Slow as well.
fn make_code(generation: &Generation, previous: Option<&Generation>) {
    generation.make_code(previous);
    if let Some(NoCode::Failed(error)) = generation.no_code() {
        tracing::error!(error = error as &dyn std::error::Error, "no machine code: the interpreter answers");
    }
}

/// Compiles the policies that take part.
pub fn compile(policies: &[Arc<Policy>]) -> Result<Generation, RolloutError> {
    let Kept { library, planner } = &mut Kept::default();
    let generation = plan(planner, checked(library, policies)?, policies)?;
    make_code(&generation, None);
    Ok(generation)
}

/// Does it whole even if its caller leaves, so that the next change starts from what this one made.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, RolloutError>> + Send + 'static,
) -> Result<T, RolloutError> {
    tokio::spawn(change).await.unwrap_or(Err(RolloutError::Crashed))
}

/// The policies as they are to be.
struct NewSet {
    what: &'static str,
    /// The policy that is changed.
    name: String,
    policies: Policies,
    /// Those that take part, checked, if that was done.
    checked: Option<PolicySet>,
    change: Change,
}

/// Puts a set in force in which this policy is new or changed, and looks through its source if that is new.
async fn roll_out_with(
    org: &Org,
    mut kept: MutexGuard<'_, Kept>,
    based_on: Policies,
    new: NewSet,
    policy: Arc<Policy>,
    actor: String,
    keep: Option<Keep<Done>>,
) -> Result<Done, RolloutError> {
    let has_new_source = matches!(new.change, Change::Policy { new_source_by: Some(_), .. });
    // An answer that is kept is kept whole, so all of it has to be known first.
    let reports = match (has_new_source, &keep) {
        (false, _) => Some(Vec::new()),
        (true, Some(_)) => Some(warnings(&new.policies, &policy).await),
        (true, None) => None,
    };
    let keep = keep.map(|keep| {
        let (policy, reports) = (Arc::clone(&policy), reports.clone().unwrap_or_default());
        keep.of(|changed: &Result<Arc<InForce>, Refused>| {
            let in_force = Arc::clone(changed.as_ref().ok()?);
            Some(Done { policy, in_force, reports })
        })
    });
    let in_force = roll_out(org, &mut kept, based_on, new, actor, keep).await?;
    drop(kept);
    let reports = match reports {
        Some(reports) => reports,
        None => warnings(&in_force.policies, &policy).await,
    };
    Ok(Done { policy, in_force, reports })
}

async fn roll_out(
    org: &Org,
    kept: &mut Kept,
    based_on: Policies,
    new: NewSet,
    actor: String,
    keep: Option<Keep<Result<Arc<InForce>, Refused>>>,
) -> Result<Arc<InForce>, RolloutError> {
    let NewSet { what, name, policies, checked: set, change } = new;
    let all = Arc::clone(&policies);
    let planned = move |Kept { library, planner }: &mut Kept| {
        let set = set.map_or_else(|| checked(library, &all), Ok)?;
        plan(planner, set, &all)
    };
    let generation = Arc::new(with_kept(kept, planned).await?);
    let code = code_for(&generation, Arc::clone(&org.view.in_force().generation));
    // It goes on by itself where it takes longer.
    let _ = timeout(CODE_FIRST, code).await;
    let mut filling = Box::pin({
        let (past, queue, generation) = (org.past.clone(), Arc::clone(&org.queue), Arc::clone(&generation));
        async move { fill(&past, &queue, &generation).await }
    });
    let first = timeout(FILL_FIRST, &mut filling).await;
    let is_under_way = first.is_err();
    let filled = match first {
        Ok(Ok(filled)) => filled.map(|filled| *filled),
        Ok(Err(FillError::Unavailable(error))) => return Err(error.into()),
        Ok(Err(FillError::Past(error))) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(org = %org.view.id, error, "memories can't be filled: their rules stay in shadow");
            None
        }
        Err(_) => None,
    };
    let change =
        PolicyChange { what, name, based_on, policies, generation: Arc::clone(&generation), change, filled };
    let in_force = org.queue.change_policies(change, actor).keeping(keep).await??;
    let (past, queue, view) = (org.past.clone(), Arc::clone(&org.queue), Arc::clone(&org.view));
    let begun = async move {
        match is_under_way {
            true => filling.await,
            false => Ok(None),
        }
    };
    let more = (!in_force.filling.is_empty())
        .then(|| tokio::spawn(fill_and_activate(past, queue, view, generation, begun)));
    org.replace_filling(more).await;
    Ok(in_force)
}

/// The generation of these policies, with which the interpreter can answer.
pub async fn interpreted(kept: &mut Kept, policies: Policies) -> Result<Arc<Generation>, RolloutError> {
    let planned =
        move |Kept { library, planner }: &mut Kept| plan(planner, checked(library, &policies)?, &policies);
    Ok(Arc::new(with_kept(kept, planned).await?))
}

/// Compiles a generation on another thread, if anybody still holds it when its turn comes.
pub fn code_for(generation: &Arc<Generation>, previous: Arc<Generation>) -> JoinHandle<()> {
    let generation = Arc::clone(generation);
    tokio::spawn(async move {
        let work = move || {
            if Arc::strong_count(&generation) > 1 {
                make_code(&generation, Some(&previous));
            }
            Ok(())
        };
        if let Err(error) = off_the_request_path(work).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "no machine code: the interpreter answers");
        }
    })
}

fn find(policies: &Policies, id: Uuid, if_revision: Option<i64>) -> Result<&Arc<Policy>, RolloutError> {
    let policy = policies.iter().find(|policy| policy.id == id).ok_or(RolloutError::NotFound)?;
    match if_revision {
        Some(revision) if revision != policy.revision => Err(RolloutError::Stale(policy.revision)),
        _ => Ok(policy),
    }
}

/// The policies with this one added or replaced, by name.
fn with(policies: &Policies, policy: &Arc<Policy>) -> Policies {
    let mut all: Vec<_> = policies.iter().filter(|other| other.id != policy.id).cloned().collect();
    all.push(Arc::clone(policy));
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Arc::new(all)
}
