//! Where callers wait for what comes of their work, and what is kept of it for those who ask again.

use std::pin::Pin;

use tokio::sync::oneshot;

use super::queue::{Queue, Unavailable, Work};
use crate::draft::Draft;
use crate::retries::{Claim, Keep};

/// Told to a caller once the batch is durable, or failed.
pub(super) type Told = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

/// Where a caller waits.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, Unavailable>>,
    keep: Option<Keep<T>>,
}

impl<T: Send + 'static> Reply<T> {
    /// Tells the caller what came of the work, which left the entries from this one on. Where the same may be asked
    /// again, the answer becomes part of the batch.
    pub(super) fn told(self, draft: &mut Draft<'_>, first: i64, value: T) -> Told {
        let Reply { to, keep } = self;
        if let Some(Keep { claim, show }) = keep
            && let Some(answer) = show(&value)
        {
            draft.keep(claim, answer, first);
        }
        Box::new(move |durable| {
            // A caller that left does not hear it.
            let _ = to.send(durable.map(|()| value));
        })
    }

    /// Tells the caller that nothing was done.
    pub(super) fn refused(self, why: Unavailable) -> Told {
        Box::new(move |durable| {
            let _ = self.to.send(durable.and(Err(why)));
        })
    }

    /// Whether the caller waits no more.
    pub(super) fn has_left(&self) -> bool {
        self.to.is_closed()
    }

    /// The request, if it may be sent again.
    pub(super) fn claim(&self) -> Option<&Claim> {
        self.keep.as_ref().map(|keep| &keep.claim)
    }
}

/// What makes work of the place where its caller waits.
type Make<T> = Box<dyn FnOnce(Reply<T>) -> Work + Send>;

/// Work that goes to the sequencer when it is awaited.
#[must_use = "nothing is done before it is awaited"]
pub struct Asked<'q, T> {
    queue: &'q Queue,
    make: Make<T>,
    keep: Option<Keep<T>>,
}

impl<'q, T: Send + 'static> Asked<'q, T> {
    pub(super) fn new(
        queue: &'q Queue,
        make: impl FnOnce(Reply<T>) -> Work + Send + 'static,
    ) -> Asked<'q, T> {
        Asked { queue, make: Box::new(make), keep: None }
    }

    /// With its answer kept, if the same may be asked again.
    pub fn keeping(self, keep: Option<Keep<T>>) -> Asked<'q, T> {
        Asked { keep, ..self }
    }
}

impl<'q, T: Send + 'static> IntoFuture for Asked<'q, T> {
    type Output = Result<T, Unavailable>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'q>>;

    fn into_future(self) -> Self::IntoFuture {
        let Asked { queue, make, keep } = self;
        let (to, answer) = oneshot::channel();
        Box::pin(queue.submit(make(Reply { to, keep }), answer))
    }
}
