//! Streams that say what is a caller's, again whenever it changes.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use holdfast_types::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::caller::Caller;
use super::core::{Core, View};
use super::seen::LOOK_AGAIN;

/// How long to wait after a failure that may pass.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The stream of answers that a call returns.
pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Which part of a view a stream tells.
pub(super) struct Kind<T> {
    pub(super) with_svids: bool,
    pub(super) answer: fn(&View) -> Result<T, Status>,
    /// Whether the answer for one view is that for the other, too.
    pub(super) is_same: fn(&View, &View) -> bool,
}

/// Opens a stream. The first answer comes at once.
///
/// One answer waits for a slow reader; what changes meanwhile it gets in the next one.
pub(super) fn follow<T: Send + 'static>(
    core: &Arc<Core>,
    caller: &Arc<Caller>,
    kind: Kind<T>,
) -> Result<Answers<T>, Status> {
    let place = core.open_stream(caller)?;
    let (sender, receiver) = mpsc::channel(1);
    let (core, caller) = (core.clone(), caller.clone());
    tokio::spawn(async move {
        let _place = place;
        let failed = sender.clone();
        let work = tell(&core, &caller, &kind, sender);
        tokio::select! {
            biased;
            // Nobody is there to read.
            () = caller.ended() => {}
            () = failed.closed() => {}
            Err(status) = work => {
                let _ = failed.send(Err(status)).await;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

async fn tell<T>(
    core: &Core,
    caller: &Caller,
    kind: &Kind<T>,
    sender: mpsc::Sender<Result<T, Status>>,
) -> Result<(), Status> {
    core.registry().await?;
    let process = core.process(caller)?;
    let mut changes = core.registry.clone();
    // All streams of a caller share what is seen of it, but for what was seen before they began.
    let mut since = Instant::now();
    let mut sent: Option<View> = None;
    loop {
        let Some(registry) = changes.borrow_and_update().clone() else {
            return Err(Status::unavailable("the agent has not heard from its server yet"));
        };
        let work = async {
            let attested = caller.seen.lock().await.since(since, core, process, &registry).await?;
            let entries = core.entries(&registry, &attested)?;
            let view = core.view(&registry, &entries, kind.with_svids).await?;
            if sent.as_ref().is_some_and(|sent| (kind.is_same)(sent, &view)) {
                return Ok(Next::Same(view.next));
            }
            // The last look: what leaves is for the program that was seen.
            if !core.is_still(caller, &attested) {
                return Ok(Next::Executed);
            }
            Ok(Next::Answer((kind.answer)(&view)?, view))
        };
        let next: Result<_, Status> = match &sent {
            Some(_) => in_turn(&core.turns, work).await,
            // The first answer waits for nobody.
            None => work.await,
        };
        let wait = match next {
            Ok(Next::Same(next)) => until(core.clock.now(), next),
            Ok(Next::Answer(answer, view)) => {
                let wait = until(core.clock.now(), view.next);
                if sender.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
                sent = Some(view);
                wait
            }
            Ok(Next::Executed) => {
                since = Instant::now();
                continue;
            }
            // Who has an answer keeps it, and hears when there is another.
            Err(status) if sent.is_some() && status.code() == Code::Unavailable => RETRY,
            Err(status) => return Err(status),
        };
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return Err(Status::unavailable("the agent ends"));
                }
            }
            () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {}
        }
    }
}

/// What there is to say.
enum Next<T> {
    /// Nothing new, until that moment.
    Same(Option<Timestamp>),
    /// This, which is of that view.
    Answer(T, View),
    /// Nothing yet: the caller executes another program than the one that was seen.
    Executed,
}

/// Does work that has nothing to wait for when its turn comes. Work that does have to wait loses the
/// turn: nobody waits for what one caller waits for.
async fn in_turn<T>(turns: &Semaphore, work: impl Future<Output = T>) -> T {
    let turn = turns.acquire().await;
    let mut work = pin!(work);
    match futures_util::poll!(work.as_mut()) {
        Poll::Ready(done) => done,
        Poll::Pending => {
            drop(turn);
            work.await
        }
    }
}

pub(super) fn until(now: Timestamp, next: Option<Timestamp>) -> Duration {
    let Some(next) = next else { return LOOK_AGAIN };
    let milliseconds = next.as_millisecond().saturating_sub(now.as_millisecond());
    // A millisecond more, so that it is not a little too early.
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0) + 1)
}
