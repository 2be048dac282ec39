//! The power is cut under load, at every sync and at any other moment: whatever was acknowledged is there afterwards.
//!
//! A server runs on a disk that keeps what happened to it, with every answer in its place. Cuts are made in that: what a
//! disk could hold at that moment is opened again. The next load runs on what one of the cuts left.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::answers::{Answered, Ask, Caller};
use crate::cuts::Platter;
use crate::disk::{Disk, Files, Happened};
use crate::on_disk::{check, start};
use crate::random::Random;

/// Cuts, unless `LICTOR_CUTS` says otherwise.
const CUTS: usize = 1_000;
/// Loads that they are made in.
const LOADS: usize = 2;
/// Callers of a load.
const CALLERS: usize = 6;
/// What each of them asks at least.
const ASKS: usize = 40;
/// Times that a whole server is started on what a cut left.
const STARTS: usize = 6;
/// Cuts that are looked at at the same time.
const AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_power_is_cut_nothing_acknowledged_is_lost() {
    let (cuts, mut random) = (setting("LICTOR_CUTS", CUTS), Random(seed()));
    let (begun, mut files, mut told) = (Instant::now(), Files::new(), Vec::new());
    let (mut caller, mut made) = (None, 0);
    for _ in 0..LOADS {
        let load = Load::run(files, true, told, &mut caller).await;
        assert!(load.folds > 0, "the log was never folded into the file");
        let moments = load.moments(cuts / LOADS, &mut random);
        made += moments.len();
        load.expect_whole(&moments, &mut random).await;
        // The next load goes on from a cut late in this one.
        let last = load.happened.len();
        let cut = load.cut(last - random.below(last / 4), &mut random);
        (files, told) = (cut.files, cut.told);
    }
    note(&format!("{made} cuts in {:?}, {} answers, none lost", begun.elapsed(), told.len()));
}

/// With commits that are not synced, some are lost: if this found none, the test above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_loss_is_found() {
    let mut random = Random(seed());
    let load = Load::run(Files::new(), false, Vec::new(), &mut None).await;
    let moments = load.moments(60, &mut random);
    let count = moments.len();
    let mut lost = 0;
    for moment in moments {
        let Cut { files, told } = load.cut(moment, &mut random);
        match check(&Disk::holding(files), &told).await {
            Err(broken) if broken.starts_with("lost: ") => lost += 1,
            // The file stays whole and the chain a chain: only its end is missing.
            checked => drop(checked.unwrap()),
        }
    }
    note(&format!("{lost} of {count} cuts lose something"));
    assert!(lost > count / 10, "{lost} of {count}");
}

/// A disk that says that it synced and did not is found by the same check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_is_found() {
    use crate::disk::{Call, Fault, Wrong};
    let disk = Disk::empty();
    let app = start(&disk, true).await;
    let caller = Caller::new(&app).await;
    let of = |call| matches!(call, Call::Write | Call::Sync | Call::Truncate);
    disk.set(Fault { of, wrong: Wrong::Lies, after: 0, times: u64::MAX });
    let asked = caller.ask(Ask::Decision, "pay", 1).await;
    assert!(asked.allows);
    let happened = disk.happened();
    let mut platter = Platter::new(Files::new(), &happened);
    let mut random = Random(seed());
    platter.go_to(happened.len(), &mut random);
    let left = Disk::holding(platter.cut(&mut random));
    let found = check(&left, &asked.answered).await.unwrap_err();
    assert!(found.starts_with("lost: "), "{found}");
}

/// What a load left, and what callers had been told before.
struct Load {
    /// What the disk held before it.
    files: Files,
    /// What callers knew before it.
    told: Vec<Answered>,
    happened: Vec<Happened>,
    /// How often the log was folded into the file.
    folds: usize,
}

/// What is there after a cut, and what callers had been told until then.
struct Cut {
    files: Files,
    told: Vec<Answered>,
}

impl Load {
    async fn run(files: Files, is_synced: bool, told: Vec<Answered>, known: &mut Option<Caller>) -> Load {
        let disk = Disk::holding(files.clone());
        let app = start(&disk, is_synced).await;
        let caller = match known.take() {
            Some(caller) => caller.at(&app.base),
            None => Caller::new(&app).await,
        };
        *known = Some(caller.clone());
        let begun = disk.happened().len();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(ask_on(Arc::clone(&disk), caller.clone(), number));
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        let ended = disk.happened().len();
        // To end well writes as well.
        app.stop().await;
        let happened = disk.happened();
        let is_fold =
            |happened: &&Happened| matches!(happened, Happened::Sync { file } if &**file == "lictor.db");
        let folds = happened[begun..ended].iter().filter(is_fold).count();
        Load { files, told, happened, folds }
    }

    /// Moments right before and after syncs, and others, in order: about so many.
    fn moments(&self, count: usize, random: &mut Random) -> Vec<usize> {
        let is_sync = |(_, happened): &(usize, &Happened)| matches!(happened, Happened::Sync { .. });
        let syncs = self.happened.iter().enumerate().filter(is_sync);
        let mut moments: Vec<_> = syncs.flat_map(|(at, _)| [at, at + 1]).collect();
        while moments.len() > count / 2 {
            moments.swap_remove(random.below(moments.len()));
        }
        while moments.len() < count {
            moments.push(random.below(self.happened.len() + 1));
        }
        moments.sort_unstable();
        moments
    }

    fn cut(&self, moment: usize, random: &mut Random) -> Cut {
        let mut platter = Platter::new(self.files.clone(), &self.happened);
        platter.go_to(moment, random);
        Cut { files: platter.cut(random), told: self.told_until(moment) }
    }

    fn told_until(&self, moment: usize) -> Vec<Answered> {
        let answers = self.happened[..moment].iter().filter_map(|happened| match happened {
            Happened::Answered(answer) => Some(answer.clone()),
            _ => None,
        });
        self.told.iter().cloned().chain(answers).collect()
    }

    /// Cuts the power at these moments: each time everything is there. Now and then a server starts on it and decides.
    async fn expect_whole(&self, moments: &[usize], random: &mut Random) {
        let mut platter = Platter::new(self.files.clone(), &self.happened);
        let mut looked_at = JoinSet::new();
        let rare = (moments.len() / (STARTS / LOADS)).max(1);
        for (number, moment) in moments.iter().copied().enumerate() {
            platter.go_to(moment, random);
            let (files, told) = (platter.cut(random), self.told_until(moment));
            let starts = number % rare == rare - 1;
            looked_at.spawn(async move {
                let disk = Disk::holding(files);
                let checked = check(&disk, &told).await;
                checked.unwrap_or_else(|broken| panic!("cut {number} at {moment}: {broken}"));
                if starts {
                    goes_on(&disk).await;
                }
            });
            if looked_at.len() >= AT_ONCE {
                looked_at.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(done) = looked_at.join_next().await {
            done.unwrap();
        }
    }
}

/// A server starts on what is there, and decides.
async fn goes_on(disk: &Arc<Disk>) {
    let app = start(disk, true).await;
    let event = serde_json::json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": 1});
    app.post("/api/v1/decisions", event).await.expect(200);
    app.stop().await;
}

/// Asks one thing after the other, and notes each answer.
async fn ask_on(disk: Arc<Disk>, caller: Caller, number: usize) {
    for turn in 0..ASKS {
        let ask = match number {
            0 | 1 => Ask::Decision,
            2 => Ask::Batch,
            3 => Ask::LogStep,
            4 => Ask::Intent,
            _ if turn % 8 == 0 => Ask::Key,
            _ => Ask::ByPerson,
        };
        let amount = if turn % 2 == 0 { 5 } else { 500 };
        let asked = caller.ask(ask, &format!("t-{number}"), amount).await;
        assert_eq!(asked.code, None);
        asked.answered.into_iter().for_each(|answer| disk.answered(answer));
    }
}

fn seed() -> u64 {
    let seed = setting("LICTOR_SEED", std::process::id() as usize);
    note(&format!("LICTOR_SEED={seed}"));
    seed as u64
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure, the figures are what was measured")]
fn note(text: &str) {
    eprintln!("{text}");
}
