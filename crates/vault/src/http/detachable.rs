//! Work that goes on when nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in place, as part of whoever awaits it. Dropped before its end, it goes on by itself.
///
/// A task of its own from the start would do the same, but a request would then pass from one task
/// to another and back, mostly on two processors.
pub(super) struct Detachable<F: Future<Output: Send> + Send + 'static> {
    /// None at its end.
    work: Option<Pin<Box<F>>>,
}

impl<F: Future<Output: Send> + Send + 'static> Detachable<F> {
    pub(super) fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detachable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let done = std::task::ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(done)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detachable<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the work ends as if by a crash.
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_ends_where_it_is_awaited_or_by_itself() {
        assert_eq!(Detachable::new(async { 1 }).await, 1);

        let (go_on, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut work = Box::pin(Detachable::new(async {
            let _ = wait.await;
            let _ = done.send(2);
        }));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        drop(work);
        go_on.send(()).unwrap();
        assert_eq!(ended.await, Ok(2));

        let (done, ended) = oneshot::channel();
        drop(Detachable::new(async { done.send(3) }));
        assert_eq!(ended.await, Ok(3), "work that was never begun is done, too");
    }
}
