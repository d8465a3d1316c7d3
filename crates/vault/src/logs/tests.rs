use tracing::{debug, enabled, info};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

#[test]
fn no_level_makes_libraries_talk() {
    for level in [Level::INFO, Level::DEBUG, Level::TRACE] {
        let lines = tracing_subscriber::fmt::layer().with_filter(filter(level, &BTreeMap::new()));
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            assert!(enabled!(target: "holdfast_vault::core", Level::INFO));
            assert!(enabled!(target: "holdfast_engines::database", Level::INFO));
            assert_eq!(
                enabled!(target: "holdfast_vault::core", Level::TRACE),
                level == Level::TRACE
            );
            assert!(!enabled!(target: "tokio_postgres::query", Level::DEBUG));
            assert!(!enabled!(target: "tokio_postgres::prepare", Level::INFO));
            assert!(!enabled!(target: "hyper::proto", Level::INFO));
            assert!(enabled!(target: "tokio_postgres::connection", Level::WARN));
        });
    }
}

#[test]
fn every_module_has_one_name() {
    for (target, want) in [
        ("holdfast_vault::core", "core"),
        ("holdfast_vault::core::pipeline", "core"),
        ("holdfast_vault::core_of_the_earth", "holdfast_vault::core_of_the_earth"),
        ("holdfast_vault::leases::reaper", "expiration"),
        ("holdfast_engines::database::postgres", "secrets"),
        ("tokio_postgres::connection", "tokio_postgres::connection"),
    ] {
        assert_eq!(subsystem::of(target), want);
    }
    let modules: Vec<_> = SUBSYSTEMS.iter().flat_map(|(_, modules)| *modules).collect();
    for module in &modules {
        let inside = modules.iter().filter(|other| other.starts_with(&format!("{module}::")));
        assert_eq!(inside.count(), 0, "{module}");
    }
}

#[test]
fn a_level_of_its_own_holds_for_one_part_and_none_for_unknown_ones() {
    let logs = Logs::detached();
    assert!(logs.set(Some("audit"), Some(Level::TRACE)));
    assert!(!logs.set(Some("nope"), Some(Level::TRACE)));
    let levels = logs.levels();
    assert_eq!((levels["audit"], levels["core"]), (Level::TRACE, Level::INFO));
    assert!(logs.set(None, Some(Level::ERROR)));
    assert!(logs.levels().values().all(|level| *level == Level::ERROR));
    assert!(logs.set(Some("core"), None));
    assert_eq!(logs.levels()["core"], Level::INFO);
}

#[test]
fn readers_are_bounded_and_hear_the_level_of_the_most_curious() {
    let logs = Logs::detached();
    let mut places: Vec<_> = (0..READERS).map(|_| logs.listen(Level::WARN).unwrap()).collect();
    assert!(logs.listen(Level::WARN).is_none());
    places.pop();
    places.push(logs.listen(Level::DEBUG).unwrap());
    assert_eq!(logs.lock().heard(), filter(Level::DEBUG, &BTreeMap::new()));
    drop(places);
    assert_eq!(logs.lock().heard(), silence());
}

#[tokio::test]
async fn readers_get_lines_and_those_too_slow_are_told_so() {
    let sender = broadcast::Sender::new(2);
    let clock = Arc::new(holdfast_testkit::FakeClock::at(0));
    let lines =
        Lines::new(sender.clone(), clock).with_filter(filter(Level::DEBUG, &BTreeMap::new()));
    let mut reader = sender.subscribe();
    let speak = |lines: usize| {
        for line in 0..lines {
            info!(target: "holdfast_vault::core", line, "said");
            debug!(target: "hyper::proto", "not for readers");
        }
    };
    let subscriber = Registry::default().with(lines);
    tracing::subscriber::with_default(subscriber, || {
        speak(2);
        assert_eq!(
            reader.try_recv().unwrap().write(LogFormat::Standard),
            "1970-01-01T00:00:00.000Z [INFO]  core: said: line=0\n"
        );
        speak(3);
        assert!(matches!(reader.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    });
}
