//! How long ago something was.

use holdfast_types::Timestamp;

/// The age of `then`, in its largest unit: `12s`, `3m`, `2h`, `5d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = (now - then).total(jiff::Unit::Second).unwrap_or(0.0).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `3m ago`; nothing for never.
pub(crate) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(String::new, |then| format!("{} ago", age(then, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, want) in
            [(-5, "0s"), (59, "59s"), (61, "1m"), (7300, "2h"), (100_000, "27h"), (172_800, "2d")]
        {
            assert_eq!(age(at(1_000_000), at(1_000_000 + seconds)), want);
        }
    }
}
