//! The body of an answer: whole, or text that comes as it comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::activity::ActiveRequest;
use crate::wire::Messages;

/// How long a reader may take to take in a piece.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pieces that wait for the reader.
const WAITING: usize = 16;

/// What hyper writes.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// Piece by piece, to the end of the channel.
    Pieces(mpsc::Receiver<Bytes>),
}

impl AnswerBody {
    /// A body of `lines`, and what has to run for it: until there are no more, the reader goes or
    /// takes nothing in, or the server stops. Until then the connection counts as `active`.
    pub(super) fn of_lines(
        mut lines: Box<dyn Messages>,
        active: ActiveRequest,
        stopping: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, pieces) = mpsc::channel(WAITING);
        let write = async move {
            let _active = active;
            loop {
                let line = tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = sender.closed() => return,
                    line = lines.next() => line,
                };
                let Ok(line) = line else { return };
                let sent = sender.send_timeout(Bytes::from(line), PATIENCE).await;
                if sent.is_err() {
                    return;
                }
            }
        };
        (Self::Pieces(pieces), write)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Pieces(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use http_body_util::BodyExt as _;

    use super::super::activity::Activity;
    use super::*;
    use crate::wire::Ended;

    /// So many lines; it counts those that were taken.
    struct Count(usize, Arc<AtomicUsize>);

    #[async_trait]
    impl Messages for Count {
        async fn next(&mut self) -> Result<String, Ended> {
            let taken = self.1.fetch_add(1, Ordering::Relaxed);
            match taken < self.0 {
                true => Ok(format!("{taken};")),
                false => Err(Ended { code: 1000, reason: "done" }),
            }
        }
    }

    fn start(lines: usize) -> (AnswerBody, tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
        let taken = Arc::<AtomicUsize>::default();
        let lines = Box::new(Count(lines, Arc::clone(&taken)));
        let active = Activity::new().request();
        let (body, write) = AnswerBody::of_lines(lines, active, CancellationToken::new());
        (body, tokio::spawn(write), taken)
    }

    #[tokio::test]
    async fn a_reader_gets_everything_and_then_the_end() {
        let (body, write, _) = start(40);
        let text = body.collect().await.unwrap().to_bytes();
        let want: String = (0..40).map(|line| format!("{line};")).collect();
        assert_eq!(text, want);
        write.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_in_is_cut_off() {
        let (body, write, taken) = start(40);
        let begun = tokio::time::Instant::now();
        write.await.unwrap();
        assert_eq!(begun.elapsed(), PATIENCE);
        // Those that wait, and the one that there was no room for.
        assert_eq!(taken.load(Ordering::Relaxed), WAITING + 1);
        drop(body);
    }

    #[tokio::test]
    async fn nothing_is_made_for_a_reader_that_is_gone() {
        let (body, write, _) = start(usize::MAX);
        drop(body);
        write.await.unwrap();
    }
}
