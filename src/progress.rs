//! How far a long run is: a line on standard error, if that is a terminal and the run takes longer than a moment.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Runs shorter than this show nothing.
const MOMENT: Duration = Duration::from_secs(1);
/// How often the line is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// What is known of the steps of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Steps {
    /// It is one step.
    One,
    /// There are some, nobody knows how many.
    Some,
    /// There are so many.
    Of(usize),
}

/// The progress of one run. The line goes away with it.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Shows the bar after a moment; ends early when the sender is dropped.
    shower: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Shows nothing, ever.
    pub(crate) fn none() -> Progress {
        Progress { bar: ProgressBar::hidden(), shower: None }
    }

    /// Begins.
    pub(crate) fn start(what: &'static str, steps: Steps) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress::none();
        }
        let (template, count) = match steps {
            Steps::One => ("{spinner} {msg}, {elapsed}", None),
            Steps::Some => ("{spinner} {msg}, {elapsed}: {pos}", None),
            Steps::Of(count) => ("{spinner} {msg} {wide_bar} {pos} of {len}", count.try_into().ok()),
        };
        let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        let (sender, ended) = mpsc::channel();
        let shown = bar.clone();
        let shower = thread::spawn(move || {
            if ended.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(TICK);
            }
        });
        Progress { bar, shower: Some((sender, shower)) }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, shower)) = self.shower.take() {
            drop(sender);
            // It only draws: if that failed there is nothing to clear up.
            let _ = shower.join();
        }
        self.bar.finish_and_clear();
    }
}
