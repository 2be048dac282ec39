//! Threads of their own for sequencers: a batch waits for its database a few times, and must not wait each time behind
//! the requests of everybody else as well.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::{Parts, Queue, start};
use crate::draft::Memory;

/// The threads that sequencers run on.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// As many as there are processors.
    pub fn new() -> io::Result<Threads> {
        Ok(Threads(Some(Builder::new_multi_thread().thread_name("sequencer").enable_all().build()?)))
    }

    /// Starts a sequencer here, as [`start`] does.
    pub fn start(&self, parts: Parts, memory: Memory) -> (Queue, JoinHandle<Option<Memory>>) {
        let _here = self.0.as_ref().map(Runtime::enter);
        start(parts, memory)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Who drops it may be a task, which can't wait for threads to end.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
