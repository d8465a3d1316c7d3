//! Keeps the agent's process as it was ordered to be, beside everything else that the agent does.

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::child::{Child, Grace, Guard};
use super::launch::Starter;
use super::orders::{Order, Ordered};
use crate::config::ExecConfig;

/// What became of the process.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    /// It runs.
    Running {
        /// Its process id.
        pid: i32,
        /// That of the order.
        revision: u64,
    },
    /// It could not be started, and why.
    NotStarted(String),
    /// It ended by itself, with this code.
    Ended(u8),
}

/// Obeys until there are no more orders; then the process is ended. What an agent before this one
/// left is ended first.
pub async fn supervise(
    config: ExecConfig,
    guard: Guard,
    mut orders: Ordered,
    reports: mpsc::Sender<Report>,
) {
    let grace = Grace::of(&config);
    guard.former.end(grace).await;
    let starter = match Starter::new() {
        Ok(starter) => starter,
        Err(error) => {
            let _ = reports.send(Report::NotStarted(format!("start a thread: {error}"))).await;
            return;
        }
    };
    let mut child: Option<Child> = None;
    loop {
        let ended = async {
            match &mut child {
                Some(child) => child.wait().await,
                None => std::future::pending().await,
            }
        };
        let order = tokio::select! {
            ended = ended => {
                child = None;
                guard.former.forget();
                info!(code = ended.code(), "the process ended");
                let _ = reports.send(Report::Ended(ended.code())).await;
                continue;
            }
            order = orders.next() => order,
        };
        match order {
            None => break,
            Some(Order::Signal(signal)) => {
                if let Some(child) = &child {
                    child.signal(signal);
                }
            }
            Some(Order::Run { variables, revision }) => {
                if let Some(mut old) = child.take() {
                    info!(pid = old.pid(), "a secret changed: the process is started anew");
                    old.stop(grace).await;
                }
                let (with, by) = (config.clone(), guard.clone());
                let started = starter.run(move || Child::start(&with, &variables, &by)).await;
                // Nothing on the thread panics.
                let Some(started) = started else { return };
                let report = match started {
                    Ok(new) => {
                        let pid = new.pid();
                        info!(pid, "the process runs");
                        if let Err(error) = guard.former.remember(pid) {
                            warn!(%error, "write down which process runs");
                        }
                        child = Some(new);
                        Report::Running { pid, revision }
                    }
                    Err(error) => {
                        warn!(%error, "the process does not run");
                        Report::NotStarted(error.to_string())
                    }
                };
                let _ = reports.send(report).await;
            }
        }
    }
    if let Some(mut child) = child {
        child.stop(grace).await;
    }
    guard.former.forget();
}

#[cfg(test)]
mod tests {
    use holdfast_types::SecretString;
    use nix::sys::signal::Signal;

    use super::*;
    use crate::config::RestartOn;
    use crate::consumer::{Former, orders};

    #[tokio::test]
    async fn the_process_is_as_it_was_ordered() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        // Not SIGHUP: a shell cannot trap what was ignored when it began, as under nohup.
        let line = "trap 'echo told' USR2; trap 'exit 5' USR1; echo \"$A\"; \
                    while :; do sleep 0.02; done";
        let config = ExecConfig {
            command: vec![line.into()],
            restart_on_secret_changes: RestartOn::Always,
            restart_stop_signal: Signal::SIGTERM,
            reload_signal: None,
            acknowledge: None,
            core_dumps: false,
            stdout: Some(output.clone()),
            stderr: None,
        };
        let (order, ordered) = orders();
        let (report, mut reports) = mpsc::channel(4);
        let guard = Guard { launcher: None, former: Former::of(folder.path()), ready: None };
        let task = tokio::spawn(supervise(config, guard, ordered, report));
        let says = async |text: &str| {
            let start = std::time::Instant::now();
            while !std::fs::read_to_string(&output).is_ok_and(|said| said.contains(text)) {
                assert!(start.elapsed().as_secs() < 20, "it does not say {text:?}");
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let run = |value: &str, revision| {
            let variables = vec![("A".to_owned(), SecretString::from(value))];
            Order::Run { variables, revision }
        };
        order.give(run("one", 1));
        let Some(Report::Running { pid: first, revision: 1 }) = reports.recv().await else {
            panic!("it runs")
        };
        says("one").await;
        order.give(Order::Signal(Signal::SIGUSR2));
        says("told").await;
        order.give(run("two", 2));
        let Some(Report::Running { pid: second, revision: 2 }) = reports.recv().await else {
            panic!("it runs again")
        };
        assert_ne!(first, second);
        says("two").await;
        order.give(Order::Signal(Signal::SIGUSR1));
        assert!(matches!(reports.recv().await, Some(Report::Ended(_))));
        drop(order);
        task.await.unwrap();
    }
}
