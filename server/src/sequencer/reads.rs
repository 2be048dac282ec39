//! Questions to a sequencer that leave nothing: what would be decided, and what a policy set would have to remember.

use std::sync::Arc;
use std::time::Duration;

use lictor_engine::decision::Decision;
use lictor_engine::event::Event;
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Sequencer;
use super::queue::{QUEUE_TIMEOUT, Unavailable};
use crate::clock::ledger_time;
use crate::draft::judge;

/// Questions that may wait for one org.
pub(super) const QUEUE: usize = 1_024;
/// How long questions may hold up what is waiting to be decided.
const SLICE: Duration = Duration::from_millis(1);

/// A question. Each is short: an event, not a list of them.
pub(super) enum Read {
    Judge(Box<Event>, Option<i64>, oneshot::Sender<Decision>),
    Aside(Arc<Generation>, oneshot::Sender<Option<Memories>>),
}

pub(super) async fn would_decide(
    reads: &mpsc::Sender<Read>,
    events: Vec<(Event, Option<i64>)>,
) -> Result<Vec<Decision>, Unavailable> {
    let deadline = Instant::now() + QUEUE_TIMEOUT;
    let mut answers = Vec::with_capacity(events.len());
    for (event, at_us) in events {
        let (reply, answer) = oneshot::channel();
        send(reads, Read::Judge(Box::new(event), at_us, reply), deadline).await?;
        answers.push(answer);
    }
    let mut decisions = Vec::with_capacity(answers.len());
    for answer in answers {
        decisions.push(within(answer, deadline).await?);
    }
    Ok(decisions)
}

pub(super) async fn aside(
    reads: &mpsc::Sender<Read>,
    generation: &Arc<Generation>,
) -> Result<Option<Memories>, Unavailable> {
    let deadline = Instant::now() + QUEUE_TIMEOUT;
    let (reply, answer) = oneshot::channel();
    send(reads, Read::Aside(Arc::clone(generation), reply), deadline).await?;
    within(answer, deadline).await
}

async fn send(reads: &mpsc::Sender<Read>, read: Read, deadline: Instant) -> Result<(), Unavailable> {
    match timeout_at(deadline, reads.send(read)).await {
        Ok(sent) => sent.map_err(|_| Unavailable::Stopping),
        Err(_) => Err(Unavailable::Busy),
    }
}

async fn within<T>(answer: oneshot::Receiver<T>, deadline: Instant) -> Result<T, Unavailable> {
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer.map_err(|_| Unavailable::Stopping),
        Err(_) => Err(Unavailable::Busy),
    }
}

impl Sequencer {
    /// Answers one question, from what is committed.
    pub(super) fn answer(&self, read: Read) {
        // Who asked may have left.
        match read {
            Read::Judge(mut event, at_us, reply) if !reply.is_closed() => {
                if let Some(at_us) = at_us {
                    event.set_at(ledger_time(self.memory.head.at_us, at_us));
                }
                let in_force = self.parts.view.in_force();
                let _ = reply.send(judge(&in_force, &self.memory.memories, &event));
            }
            Read::Aside(generation, reply) => {
                let memories = &self.memory.memories;
                let lacks = !memories.lacks(&generation).is_empty();
                let _ = reply.send(lacks.then(|| memories.aside(&generation)));
            }
            Read::Judge(..) => {}
        }
    }

    /// Answers questions for a short while.
    pub(super) fn answer_some(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < SLICE {
            let Ok(read) = self.waiting.reads.try_recv() else { return };
            self.answer(read);
        }
    }
}
