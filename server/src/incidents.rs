//! Incidents: hits of one rule with one key, folded into one record while they keep coming.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_engine::decision::{Decision, Outcome, Severity};
use uuid::Uuid;

/// How long a hit waits for the next one when no rule says, in seconds.
pub const DEFAULT_FOLD_S: u64 = 24 * 60 * 60;
/// Entries kept as witnesses of one incident; the first and the latest are the ones that tell most.
const MAX_WITNESSES: usize = 50;
/// Earlier entries that are kept of those that its rule rests on, likewise.
const MAX_EARLIER: usize = 100;

/// Where an incident is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nobody looked at it.
    Open,
    /// Somebody is looking at it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// It does not matter.
    Ignored,
}

impl Status {
    /// The word in the database and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Acknowledged => "acknowledged",
            Status::Resolved => "resolved",
            Status::Ignored => "ignored",
        }
    }

    /// The status with this name.
    pub fn named(name: &str) -> Option<Status> {
        [Status::Open, Status::Acknowledged, Status::Resolved, Status::Ignored]
            .into_iter()
            .find(|s| s.name() == name)
    }

    /// Whether an incident may go from this status to that one. Going where it is changes nothing and is allowed.
    pub fn may_become(self, next: Status) -> bool {
        match next {
            Status::Acknowledged => matches!(self, Status::Open | Status::Acknowledged),
            Status::Resolved | Status::Ignored => {
                self == next || matches!(self, Status::Open | Status::Acknowledged)
            }
            Status::Open => true,
        }
    }

    fn takes_hits(self) -> bool {
        matches!(self, Status::Open | Status::Acknowledged)
    }
}

/// The severity with this name.
pub fn severity_named(name: &str) -> Option<Severity> {
    [Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
        .into_iter()
        .find(|s| s.name() == name)
}

/// One incident.
#[derive(Debug, Clone)]
pub struct Incident {
    /// Its id.
    pub id: Uuid,
    /// The rule that opened it.
    pub rule: String,
    /// What its hits have in common.
    pub key: Vec<String>,
    /// The worst of its hits.
    pub severity: Severity,
    /// Where it is on its way.
    pub status: Status,
    /// The agent of its first hit.
    pub agent: Uuid,
    /// The task of its first hit.
    pub task: String,
    /// The title of its latest hit.
    pub title: String,
    /// How many hits it has.
    pub count: i64,
    /// When the first hit was.
    pub first_seen_us: i64,
    /// When the latest hit was.
    pub last_seen_us: i64,
    /// Until when another hit still adds to it.
    pub fold_until_us: i64,
    /// The ledger entries of its hits.
    pub witnesses: Vec<Uuid>,
    /// The numbers of the earlier entries that its rule rests on, in order.
    pub earlier: Vec<i64>,
}

/// An incident as one decision touched it.
#[derive(Debug, Clone)]
pub struct Touched {
    /// The incident after the hit.
    pub incident: Arc<Incident>,
    /// Whether the hit opened it.
    pub new: bool,
    /// The numbers of the earlier entries that the hit rests on.
    pub rests_on: Vec<i64>,
}

/// A hit that a decision asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    rule: String,
    key: Vec<String>,
    severity: Severity,
    title: String,
    fold_s: u64,
    rests_on: Vec<i64>,
}

/// The hit that says that memory was too small for all that should be remembered.
pub fn lost_keys(held: usize) -> Hit {
    let title = format!(
        "memory is full with {held} keys: some that could still matter are forgotten, and rules that ask for them take them \
         for unknown"
    );
    of_itself("engine.memory", Severity::Critical, title)
}

/// That the machine's clock was moved this far while the server ran.
pub fn clock_moved(moved_us: i64) -> Hit {
    let title = format!(
        "the machine's clock was moved by {} s: the ledger goes on by the time from before, until the server is started again",
        moved_us / 1_000_000
    );
    of_itself("server.clock", Severity::High, title)
}

/// The hit that says that the ledger could not be written for a while.
pub fn outage(batches: u64) -> Hit {
    let title = format!(
        "the ledger could not be written {batches} time(s) in a row: what was asked then was not decided"
    );
    of_itself("engine.ledger", Severity::High, title)
}

/// What the server reports of itself, without a rule that asks for it.
fn of_itself(rule: &str, severity: Severity, title: String) -> Hit {
    let (rule, fold_s) = (rule.to_owned(), DEFAULT_FOLD_S);
    Hit { rule, key: Vec::new(), severity, title, fold_s, rests_on: Vec::new() }
}

/// The hits of a decision. A denied log step that no incident covers is one of severity medium: it happened.
pub fn hits(decision: &Decision, is_log: bool, agent: Uuid) -> Vec<Hit> {
    let asked = decision.incidents.iter().filter(|incident| !incident.shadow);
    let mut hits: Vec<Hit> = asked
        .map(|incident| Hit {
            rule: incident.rule.to_string(),
            key: incident.key.clone(),
            severity: incident.severity,
            title: incident.title.clone(),
            fold_s: incident.fold_s,
            rests_on: incident.witnesses.iter().filter_map(|seq| i64::try_from(*seq).ok()).collect(),
        })
        .collect();
    if hits.is_empty() && is_log && decision.decision == Outcome::Deny {
        let denying = decision.rules.iter().find(|rule| rule.effect == Some(Outcome::Deny));
        let rule = denying.map_or_else(|| decision.class.name().to_owned(), |rule| rule.rule.to_string());
        let title =
            decision.reason.clone().unwrap_or_else(|| format!("{rule} denies a step that was logged"));
        hits.push(Hit {
            rule,
            key: vec![agent.to_string()],
            severity: Severity::Medium,
            title,
            fold_s: DEFAULT_FOLD_S,
            rests_on: Vec::new(),
        });
    }
    hits
}

/// The incidents that may still change: those that take hits, and those that somebody is changing.
#[derive(Debug, Clone, Default)]
pub struct Open {
    by_id: HashMap<Uuid, Arc<Incident>>,
    folds: HashMap<(String, Vec<String>), Uuid>,
}

impl Open {
    /// The incident with this id, if it is at hand.
    pub fn get(&self, id: Uuid) -> Option<&Arc<Incident>> {
        self.by_id.get(&id)
    }

    /// The incident that a hit with this rule and key would add to at this time.
    fn folding(&self, hit: &Hit, at_us: i64) -> Option<&Arc<Incident>> {
        let id = self.folds.get(&(hit.rule.clone(), hit.key.clone()))?;
        self.by_id.get(id).filter(|incident| incident.status.takes_hits() && at_us < incident.fold_until_us)
    }

    /// Adds or replaces an incident.
    pub fn put(&mut self, incident: Arc<Incident>) {
        // One whose key was erased takes no hits of that key any more.
        if let Some(before) = self.by_id.get(&incident.id).filter(|before| before.key != incident.key) {
            self.folds.remove(&(before.rule.clone(), before.key.clone()));
        }
        if incident.status.takes_hits() {
            let (by_id, key) = (&self.by_id, (incident.rule.clone(), incident.key.clone()));
            let folding = self.folds.entry(key).or_insert(incident.id);
            // Of several with the same key, the one that waits longest takes the hits.
            if by_id.get(folding).is_none_or(|other| {
                other.fold_until_us <= incident.fold_until_us || !other.status.takes_hits()
            }) {
                *folding = incident.id;
            }
        }
        self.by_id.insert(incident.id, incident);
    }

    /// Forgets what takes no more hits at this time. It stays in the database.
    pub fn forget_finished(&mut self, at_us: i64) {
        self.by_id.retain(|_, incident| incident.status.takes_hits() && at_us < incident.fold_until_us);
        let by_id = &self.by_id;
        self.folds.retain(|_, id| by_id.contains_key(id));
    }

    /// Keeps only so many: those that wait longest for their next hit. A hit on a forgotten one opens another.
    pub fn keep_latest(&mut self, count: usize) {
        if self.by_id.len() > count {
            let mut by_time: Vec<_> =
                self.by_id.values().map(|incident| (incident.fold_until_us, incident.id)).collect();
            by_time.sort_unstable_by(|a, b| b.cmp(a));
            for (_, id) in by_time.into_iter().skip(count) {
                self.by_id.remove(&id);
            }
            let by_id = &self.by_id;
            self.folds.retain(|_, id| by_id.contains_key(id));
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are more than this many.
    pub fn exceeds(&self, count: usize) -> bool {
        self.by_id.len() > count
    }

    /// Every incident.
    pub fn drain(&mut self) -> impl Iterator<Item = Arc<Incident>> + '_ {
        self.folds.clear();
        self.by_id.drain().map(|(_, incident)| incident)
    }
}

/// What a hit comes with.
#[derive(Debug, Clone, Copy)]
pub struct Witness<'a> {
    /// The ledger entry of the decision.
    pub entry: Uuid,
    /// Its time.
    pub at_us: i64,
    /// Its agent.
    pub agent: Uuid,
    /// Its task.
    pub task: &'a str,
}

/// The incident that a hit adds to: looked up in `draft`, then in `committed`.
fn earlier<'o>(draft: &'o Open, committed: &'o Open, hit: &Hit, at_us: i64) -> Option<&'o Arc<Incident>> {
    draft.folding(hit, at_us).or_else(|| {
        let found = committed.folding(hit, at_us)?;
        // The draft knows it better, and there it takes no more hits.
        draft.get(found.id).is_none().then_some(found)
    })
}

/// Whether a hit would add to an incident that there is.
pub fn is_open(draft: &Open, committed: &Open, hit: &Hit, at_us: i64) -> bool {
    earlier(draft, committed, hit, at_us).is_some()
}

/// Adds a hit to the incident that it folds into (looked up in `draft`, then in `committed`), or opens one.
pub fn fold(
    draft: &Open,
    committed: &Open,
    hit: Hit,
    witness: Witness<'_>,
    new_id: impl FnOnce() -> Uuid,
) -> Touched {
    let mut rests_on = Vec::new();
    add_earlier(&mut rests_on, &hit.rests_on);
    let earlier = earlier(draft, committed, &hit, witness.at_us);
    let fold_until_us =
        witness.at_us.saturating_add(i64::try_from(hit.fold_s).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    let mut incident = match earlier {
        Some(earlier) => {
            let mut incident = Incident::clone(earlier);
            incident.count += 1;
            incident.severity = incident.severity.max(hit.severity);
            incident.title = hit.title;
            incident.last_seen_us = witness.at_us;
            incident.fold_until_us = fold_until_us;
            add_witness(&mut incident.witnesses, witness.entry);
            incident
        }
        None => Incident {
            id: new_id(),
            rule: hit.rule,
            key: hit.key,
            severity: hit.severity,
            status: Status::Open,
            agent: witness.agent,
            task: witness.task.to_owned(),
            title: hit.title,
            count: 1,
            first_seen_us: witness.at_us,
            last_seen_us: witness.at_us,
            fold_until_us,
            witnesses: vec![witness.entry],
            earlier: Vec::new(),
        },
    };
    add_earlier(&mut incident.earlier, &rests_on);
    Touched { new: incident.count == 1, incident: Arc::new(incident), rests_on }
}

/// Of too many, the first and the latest stay.
pub(crate) fn add_witness(known: &mut Vec<Uuid>, entry: Uuid) {
    if known.len() >= MAX_WITNESSES {
        known.pop();
    }
    known.push(entry);
}

/// Of too many, those in the middle go.
pub(crate) fn add_earlier(known: &mut Vec<i64>, more: &[i64]) {
    known.extend(more);
    known.sort_unstable();
    known.dedup();
    let surplus = known.len().saturating_sub(MAX_EARLIER);
    let first = MAX_EARLIER / 2;
    if surplus > 0 {
        known.drain(first..first + surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(key: &str) -> Hit {
        let (rule, title) = ("p.r".to_owned(), "t".to_owned());
        Hit {
            rule,
            key: vec![key.to_owned()],
            severity: Severity::High,
            title,
            fold_s: 10,
            rests_on: Vec::new(),
        }
    }

    fn witness(at_s: i64) -> Witness<'static> {
        Witness {
            entry: Uuid::from_u128(at_s as u128),
            at_us: at_s * 1_000_000,
            agent: Uuid::nil(),
            task: "",
        }
    }

    #[test]
    fn hits_fold_for_as_long_as_they_keep_coming() {
        let (mut open, draft) = (Open::default(), Open::default());
        for (at_s, new, count) in [(1, true, 1), (10, false, 2), (19, false, 3), (29, true, 1)] {
            let touched = fold(&draft, &open, hit("a"), witness(at_s), || Uuid::from_u128(at_s as u128));
            assert_eq!((touched.new, touched.incident.count), (new, count), "at {at_s} s");
            open.put(touched.incident);
        }
        assert!(fold(&draft, &open, hit("b"), witness(30), || Uuid::from_u128(99)).new);
    }

    #[test]
    fn a_resolved_incident_takes_no_hits_even_if_only_the_draft_knows() {
        let (mut open, mut draft) = (Open::default(), Open::default());
        let first = fold(&draft, &open, hit("a"), witness(1), || Uuid::from_u128(1)).incident;
        open.put(Arc::clone(&first));
        draft.put(Arc::new(Incident { status: Status::Resolved, ..Incident::clone(&first) }));
        assert!(fold(&draft, &open, hit("a"), witness(2), || Uuid::from_u128(2)).new);
    }

    #[test]
    fn finished_incidents_are_forgotten() {
        let mut open = Open::default();
        open.put(fold(&Open::default(), &open, hit("a"), witness(1), || Uuid::from_u128(1)).incident);
        open.forget_finished(5_000_000);
        assert!(open.exceeds(0));
        open.forget_finished(11_000_000);
        assert!(!open.exceeds(0));
    }

    #[test]
    fn of_too_many_incidents_the_latest_are_kept() {
        let mut open = Open::default();
        for at_s in [3, 1, 2] {
            let new = || Uuid::from_u128(at_s as u128);
            open.put(fold(&Open::default(), &open, hit(&at_s.to_string()), witness(at_s), new).incident);
        }
        open.keep_latest(2);
        assert!(open.count() == 2 && open.get(Uuid::from_u128(1)).is_none());
        assert!(fold(&Open::default(), &open, hit("1"), witness(4), Uuid::nil).new);
        assert!(!fold(&Open::default(), &open, hit("2"), witness(4), Uuid::nil).new);
    }

    #[test]
    fn what_is_over_stays_over_until_it_is_reactivated() {
        assert!(Status::Open.may_become(Status::Resolved));
        assert!(!Status::Resolved.may_become(Status::Acknowledged));
        assert!(!Status::Ignored.may_become(Status::Resolved));
        assert!(Status::Ignored.may_become(Status::Open));
    }
}
