//! The load: so many connections, each with one request under way, for so long.
//!
//! One thread does it all, so that it takes as little as it can of the processors that it shares
//! with the server, and the same for every server.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::Answer;
use super::process::Process;

/// Requests under way at once, in every workload.
pub(super) const CONNECTIONS: usize = 16;
/// Not counted: connections are made, caches fill.
const WARM_UP: Duration = Duration::from_millis(500);

/// Where the load goes.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// None: plain HTTP.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// Whose processor time is counted.
    pub(super) process: Process,
}

/// Writes the request with this number into an empty buffer.
pub(super) type Render<'a> = dyn Fn(usize, &mut Vec<u8>) + 'a;

/// What a round of load came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Requests a second.
    pub(super) rate: f64,
    /// Half of all answers took no longer, in milliseconds.
    pub(super) p50: f64,
    /// 99 of 100 answers took no longer, in milliseconds.
    pub(super) p99: f64,
    /// The server's processor time for one request, user and system, in microseconds.
    pub(super) cpu: f64,
}

/// When a load ends.
enum Limit {
    Time(Duration),
    Count(usize),
}

/// Puts load on `target` for `duration`, after a short warm-up.
///
/// # Errors
/// The server hangs up, or answers with anything but success.
pub(super) fn run(target: &Target, duration: Duration, render: &Render<'_>) -> Result<Round> {
    let mut done = drive(target, CONNECTIONS, &Limit::Time(duration), render)?;
    ensure!(!done.latencies.is_empty(), "not one request was answered in {duration:?}");
    done.latencies.sort_unstable();
    let count = done.latencies.len() as f64;
    let percentile = |share: f64| f64::from(done.latencies[(count * share) as usize]) / 1000.0;
    Ok(Round {
        rate: count / done.elapsed.as_secs_f64(),
        p50: percentile(0.50),
        p99: percentile(0.99),
        cpu: done.cpu.as_secs_f64() * 1e6 / count,
    })
}

/// Sends the requests 0 to `count`, each once. Gives how long it took.
///
/// # Errors
/// As [`run`].
pub(super) fn all(
    target: &Target,
    connections: usize,
    count: usize,
    render: &Render<'_>,
) -> Result<Duration> {
    Ok(drive(target, connections, &Limit::Count(count), render)?.elapsed)
}

struct Done {
    /// In microseconds.
    latencies: Vec<u32>,
    elapsed: Duration,
    cpu: Duration,
}

/// What the connections share.
struct Shared {
    next: Cell<usize>,
    end: Cell<usize>,
    /// Whether answers count.
    counting: Cell<bool>,
    latencies: RefCell<Vec<u32>>,
}

fn drive(target: &Target, connections: usize, limit: &Limit, render: &Render<'_>) -> Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = match limit {
        Limit::Time(_) => usize::MAX,
        Limit::Count(count) => *count,
    };
    let shared = Shared {
        next: Cell::new(0),
        end: Cell::new(end),
        counting: Cell::new(matches!(limit, Limit::Count(_))),
        latencies: RefCell::default(),
    };
    runtime.block_on(async {
        let all = (0..connections).map(|_| connection(target, &shared, render));
        let connections = all.collect::<FuturesUnordered<_>>().try_collect::<()>();
        let watch = async {
            let Limit::Time(duration) = limit else { return Ok((Instant::now(), None)) };
            tokio::time::sleep(WARM_UP).await;
            shared.counting.set(true);
            let (start, cpu) = (Instant::now(), target.process.cpu()?);
            tokio::time::sleep(*duration).await;
            shared.counting.set(false);
            shared.end.set(0);
            anyhow::Ok((start, Some((start.elapsed(), target.process.cpu()? - cpu))))
        };
        let start = Instant::now();
        let (_, (_, measured)) = tokio::try_join!(connections, watch)?;
        let (elapsed, cpu) = measured.unwrap_or((start.elapsed(), Duration::ZERO));
        Ok(Done { latencies: shared.latencies.take(), elapsed, cpu })
    })
}

async fn connection(target: &Target, shared: &Shared, render: &Render<'_>) -> Result<()> {
    let stream = TcpStream::connect(target.address).await.context("connect")?;
    stream.set_nodelay(true)?;
    match &target.tls {
        None => requests(stream, shared, render).await,
        Some(config) => {
            let name = ServerName::from(target.address.ip());
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await.context("connect with TLS")?;
            requests(stream, shared, render).await
        }
    }
}

async fn requests<S>(mut stream: S, shared: &Shared, render: &Render<'_>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut request, mut answer) = (Vec::new(), Vec::with_capacity(16 * 1024));
    while shared.next.get() < shared.end.get() {
        let number = shared.next.get();
        shared.next.set(number + 1);
        request.clear();
        render(number, &mut request);
        let counted = shared.counting.get();
        let start = Instant::now();
        stream.write_all(&request).await.context("send a request")?;
        stream.flush().await?;
        answer.clear();
        let status = loop {
            let count = stream.read_buf(&mut answer).await.context("read an answer")?;
            ensure!(count > 0, "the server hung up");
            if let Some(head) = Answer::parse(&answer)?
                && head.is_complete(&answer)
            {
                break head.status;
            }
        };
        if !(200..300).contains(&status) {
            anyhow::bail!("answer {status}: {}", String::from_utf8_lossy(&answer));
        }
        if counted && shared.counting.get() {
            let latency = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
            shared.latencies.borrow_mut().push(latency);
        }
    }
    Ok(())
}
