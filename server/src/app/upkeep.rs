//! What the server does from time to time beside its requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{App, LoadError, Org};
use crate::checkpoints::{CHECKPOINT_EVERY, CheckpointError};
use crate::incidents::clock_moved;
use crate::memory::fill::{fill, fill_and_activate};
use crate::memory::snapshots::SnapshotError;
use crate::retries::KEPT_US;

/// How often the last uses of keys are written down.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether the machine's clock was moved.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_millis(500);
/// How often the answers that were kept long enough are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether a snapshot of memory is due.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a snapshot of memory is made where something happened.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// After so many entries one is made before that.
const SNAPSHOT_ENTRIES: i64 = 50_000;
/// How often it is looked whether other servers wrote something.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// After this time a server fills what another began to fill.
const HELP_AFTER: Duration = Duration::from_secs(20);

impl App {
    /// Takes over what other servers write, for as long as it is polled.
    pub async fn follow_other_servers(self: Arc<App>) {
        while self.database.is_shared() {
            tokio::time::sleep(FOLLOW_EVERY).await;
            if let Err(error) = self.follow().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "what other servers wrote can't be seen");
            }
        }
    }

    async fn follow(&self) -> Result<(), LoadError> {
        for org in self.all() {
            org.help_with_filling().await;
        }
        for (id, next_seq) in self.database.heads().await? {
            match self.org(id) {
                Some(org) if org.view.next_seq() != next_seq => org.queue.follow(),
                Some(_) => {}
                None => {
                    // One that can't be served keeps nobody from following the others.
                    if let Err(error) = self.serve(id).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(org = %id, error, "an org that another server made can't be served");
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes snapshots of what is remembered from time to time, for as long as it is polled.
    pub async fn make_snapshots_now_and_then(self: Arc<App>) {
        let mut made = HashMap::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for org in self.all() {
                let Ok(behind) = org.snapshots.behind().await else { continue };
                let since = made.entry(org.view.id).or_insert_with(Instant::now);
                let is_due = behind >= SNAPSHOT_ENTRIES || (behind > 0 && since.elapsed() >= SNAPSHOT_EVERY);
                if is_due {
                    if let Err(error) = org.make_snapshot().await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(org = %org.view.id, error, "a snapshot of memory was not made");
                    }
                    made.insert(org.view.id, Instant::now());
                }
            }
        }
    }

    /// Signs every ledger from time to time, for as long as it is polled.
    pub async fn make_checkpoints_now_and_then(self: Arc<App>) {
        loop {
            self.make_checkpoints().await;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
        }
    }

    /// Signs every ledger in which something happened.
    pub async fn make_checkpoints(&self) {
        for org in self.all() {
            match org.checkpointer.advance().await {
                // It says so itself, louder.
                Ok(_) | Err(CheckpointError::Unsound(_)) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(org = %org.view.id, error, "a checkpoint was not made");
                }
            }
        }
    }

    /// Looks at the machine's clock, and reports in every org that it was moved, for as long as it is polled.
    pub async fn watch_the_clock(self: Arc<App>) {
        let mut was_off = false;
        loop {
            let moved_us = self.clock.moved_us();
            if self.clock.is_off() && !was_off {
                let moved_s = moved_us / 1_000_000;
                tracing::error!(moved_s, "the machine's clock was moved: start the server again");
                for org in self.all() {
                    if let Err(error) = org.queue.report(clock_moved(moved_us)).await {
                        tracing::warn!(org = %org.view.id, %error, "that the clock was moved is not recorded");
                    }
                }
            }
            was_off = self.clock.is_off();
            tokio::time::sleep(LOOK_AT_CLOCK_EVERY).await;
        }
    }

    /// Forgets the answers that were kept long enough, for as long as it is polled.
    pub async fn forget_answers_now_and_then(self: Arc<App>) {
        loop {
            if let Err(error) = self.database.forget_answers(self.clock.now_us() - KEPT_US).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "answers that were kept long enough could not be forgotten");
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    /// Writes the last uses of keys from time to time, for as long as it is polled.
    pub async fn flush_key_uses_now_and_then(self: Arc<App>) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            self.flush_key_uses().await;
        }
    }

    /// Writes the last uses of keys.
    pub async fn flush_key_uses(&self) {
        let keys = self.keys.all().into_iter();
        let mut used: Vec<_> = keys.filter_map(|key| Some((key.take_unsaved_use()?, key))).collect();
        if used.is_empty() {
            return;
        }
        used.sort_unstable_by_key(|(_, key)| (key.org, key.id));
        let uses: Vec<_> = used.iter().map(|(at_us, key)| (key.org, key.id, *at_us)).collect();
        if let Err(error) = self.database.save_key_uses(&uses).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the last uses of keys could not be written");
            // They are the next time.
            used.iter().for_each(|(_, key)| key.not_saved());
        }
    }
}

impl Org {
    /// Goes on with what another server began to fill a while ago: it may be gone.
    async fn help_with_filling(&self) {
        let in_force = self.view.in_force();
        let mut elsewhere = self.filled_elsewhere.lock().await;
        let is_filled_here = self.filling.lock().await.as_ref().is_some_and(|task| !task.is_finished());
        if in_force.filling.is_empty() || is_filled_here {
            *elsewhere = None;
            return;
        }
        match &*elsewhere {
            Some((generation, since)) if Arc::ptr_eq(generation, &in_force.generation) => {
                if since.elapsed() < HELP_AFTER {
                    return;
                }
            }
            _ => {
                *elsewhere = Some((Arc::clone(&in_force.generation), Instant::now()));
                return;
            }
        }
        *elsewhere = None;
        let generation = Arc::clone(&in_force.generation);
        let (past, queue, view) = (self.past.clone(), Arc::clone(&self.queue), Arc::clone(&self.view));
        let fill = async move {
            let begun = fill(&past, &queue, &generation).await;
            fill_and_activate(past, queue, view, generation, async { begun }).await;
        };
        self.replace_filling(Some(tokio::spawn(fill))).await;
    }

    async fn make_snapshot(&self) -> Result<(), SnapshotError> {
        let in_force = self.view.in_force();
        match in_force.generation.remembers() && in_force.filling.is_empty() {
            true => self.snapshots.advance(&in_force.generation).await,
            false => Ok(()),
        }
    }
}
