//! A stream whose reader may be slow but not absent: writes that get nowhere for too long, or hardly anywhere, end it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream that gives up a write once its reader took too little for some time.
#[derive(Debug)]
pub struct Progress<S> {
    stream: S,
    patience: Duration,
    /// What has to be written within that time, unless all is written before.
    least: usize,
    written: usize,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Progress<S> {
    /// Around this stream.
    pub fn new(stream: S, patience: Duration, least: usize) -> Progress<S> {
        Progress { stream, patience, least, written: 0, waiting: None }
    }

    /// Enough was written: the next wait has all the time again.
    fn start_anew(&mut self) {
        (self.written, self.waiting) = (0, None);
    }

    /// What a write says, or that it waited too long.
    fn within<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            return write;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        waiting.as_mut().poll(context).map(|()| Err(io::Error::from(ErrorKind::TimedOut)))
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = write {
            self.written += bytes;
            if self.written >= self.least {
                self.start_anew();
            }
        }
        self.within(context, write)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        // Whoever writes flushes when nothing is left to be written.
        if flush.is_ready() {
            self.start_anew();
        }
        self.within(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within(context, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Reads four bytes at a time, so often and so far apart.
    async fn read(far: &mut DuplexStream, times: usize, pause_ms: u64) {
        let mut bytes = [0; 4];
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            far.read_exact(&mut bytes).await.unwrap();
        }
    }

    fn pair() -> (Progress<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4);
        (Progress::new(near, Duration::from_millis(200), 8), far)
    }

    #[tokio::test]
    async fn a_reader_may_be_slow_but_not_absent() {
        let (mut stream, mut far) = pair();
        let reader = tokio::spawn(async move {
            read(&mut far, 10, 50).await;
            far
        });
        stream.write_all(&[1; 40]).await.unwrap();
        let _absent = reader.await.unwrap();
        let error = stream.write_all(&[1; 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_little_now_and_then_is_absent() {
        let (mut stream, mut far) = pair();
        let reader = tokio::spawn(async move { read(&mut far, 3, 150).await });
        let error = stream.write_all(&[1; 40]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        reader.abort();
    }

    #[tokio::test]
    async fn what_is_flushed_counts_no_longer() {
        let (mut stream, mut far) = pair();
        for _ in 0..3 {
            let (written, ()) = tokio::join!(stream.write_all(&[1; 8]), read(&mut far, 2, 75));
            written.unwrap();
            stream.flush().await.unwrap();
        }
    }
}
