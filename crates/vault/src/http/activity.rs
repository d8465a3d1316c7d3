//! When a connection last did something, for closing those that do nothing.
//!
//! hyper's own header timeout also runs while a kept-alive connection rests between two requests,
//! so it cannot be both short enough against slow headers and long enough for clients' pools. This
//! counts below hyper, on the bytes, and above it, on the requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection may stay in each state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request to the end of its head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then, at the latest.
    Wait(Instant),
    /// It has been idle for long enough: say goodbye.
    Retire,
    /// It sends its head too slowly: hang up.
    HangUp,
}

/// The state of one connection, shared by its stream, its requests and its watchdog.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Milliseconds after `opened` at which the present state began.
    since: AtomicU64,
    requests: AtomicUsize,
    /// A request's head is awaited: the first one from the start, those after it from their first
    /// byte on. Whoever connects and says nothing takes the place of others.
    reading_head: AtomicBool,
    /// HTTP/2 frames come between requests too, so they say nothing about a head.
    http2: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            since: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            reading_head: AtomicBool::new(true),
            http2: AtomicBool::new(false),
        })
    }

    /// Counts a request until what it returns is dropped.
    pub(super) fn request(self: &Arc<Self>) -> ActiveRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.reading_head.store(false, Ordering::Relaxed);
        ActiveRequest(Arc::clone(self))
    }

    pub(super) fn verdict(&self, patience: Patience) -> Verdict {
        let now = Instant::now();
        // A state may begin and run out between two looks, but never by more than this.
        let again = now + patience.head;
        if self.requests.load(Ordering::Relaxed) > 0 {
            return Verdict::Wait(again);
        }
        let since = self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed));
        let head = self.reading_head.load(Ordering::Relaxed);
        let deadline = since + if head { patience.head } else { patience.idle };
        match (deadline <= now, head) {
            (false, _) => Verdict::Wait(deadline.min(again)),
            (true, true) => Verdict::HangUp,
            (true, false) => Verdict::Retire,
        }
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(elapsed, Ordering::Relaxed);
    }

    fn bytes_read(&self, bytes: &[u8]) {
        if self.requests.load(Ordering::Relaxed) > 0 || self.http2.load(Ordering::Relaxed) {
            return;
        }
        if bytes.starts_with(b"PRI * HTTP/2") {
            self.http2.store(true, Ordering::Relaxed);
            return;
        }
        if !self.reading_head.swap(true, Ordering::Relaxed) {
            self.touch();
        }
    }
}

/// One request that is being read or answered.
#[derive(Debug)]
pub(super) struct ActiveRequest(Arc<Activity>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that reports what arrives on it.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let arrived = &buffer.filled()[before..];
        if !arrived.is_empty() {
            self.activity.bytes_read(arrived);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(10), idle: Duration::from_secs(300) };

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_cut_off_and_a_resting_connection_is_not() {
        let silent = Activity::new();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(matches!(silent.verdict(PATIENCE), Verdict::Wait(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(silent.verdict(PATIENCE), Verdict::HangUp);

        let activity = Activity::new();
        drop(activity.request());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(matches!(activity.verdict(PATIENCE), Verdict::Wait(_)));

        activity.bytes_read(b"GET /");
        tokio::time::advance(Duration::from_secs(9)).await;
        activity.bytes_read(b"v1/");
        assert!(matches!(activity.verdict(PATIENCE), Verdict::Wait(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::HangUp);

        let request = activity.request();
        tokio::time::advance(Duration::from_secs(900)).await;
        assert!(matches!(activity.verdict(PATIENCE), Verdict::Wait(_)));
        drop(request);
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(matches!(activity.verdict(PATIENCE), Verdict::Wait(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Retire);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_between_requests_are_no_head() {
        let activity = Activity::new();
        activity.bytes_read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        drop(activity.request());
        activity.bytes_read(b"frame");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(matches!(activity.verdict(PATIENCE), Verdict::Wait(_)));
    }
}
