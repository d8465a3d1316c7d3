//! Durations, counted without locks and in fixed memory.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Two for each power of two of a nanosecond.
const BUCKETS: usize = 128;
/// How long one half of the window lasts.
const HALF: u64 = 60;

/// How long something took: since the start as number and sum, and its spread over the last one to
/// two minutes.
///
/// A record is a few relaxed additions. Two that fall on the change of a minute may be lost for the
/// spread, never for number and sum.
pub(crate) struct Summary {
    count: AtomicU64,
    /// In nanoseconds.
    sum: AtomicU64,
    base: Instant,
    /// Which minute the newer half is of.
    epoch: AtomicU64,
    halves: [Half; 2],
}

struct Half {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

/// What a [`Summary`] says. Times in milliseconds, as OpenBao gives them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub count: u64,
    pub sum: f64,
    /// Of the last one to two minutes. None: nothing happened.
    pub recent: Option<Recent>,
}

/// The spread.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recent {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub stddev: f64,
    /// At 0.5, 0.9 and 0.99: no more than half above the truth.
    pub quantiles: [f64; 3],
}

/// The quantiles of [`Recent`].
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

impl Default for Half {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Half {
    fn clear(&self) {
        self.count.store(0, Relaxed);
        self.sum.store(0, Relaxed);
        self.min.store(u64::MAX, Relaxed);
        self.max.store(0, Relaxed);
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }
}

impl Summary {
    /// Nothing yet; minutes count from `base`.
    pub(crate) fn new(base: Instant) -> Self {
        Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            base,
            epoch: AtomicU64::new(0),
            halves: [Half::default(), Half::default()],
        }
    }

    /// Counts what began at `began` and ended at `now`.
    pub(crate) fn record(&self, began: Instant, now: Instant) {
        self.add(now.saturating_duration_since(began), now);
    }

    fn add(&self, took: Duration, now: Instant) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
        let epoch = self.turn(now);
        let half = &self.halves[usize::from(epoch % 2 == 1)];
        half.count.fetch_add(1, Relaxed);
        half.sum.fetch_add(nanos, Relaxed);
        half.min.fetch_min(nanos, Relaxed);
        half.max.fetch_max(nanos, Relaxed);
        half.buckets[bucket_of(nanos)].fetch_add(1, Relaxed);
    }

    /// Clears what is older than the window; returns the present minute.
    fn turn(&self, now: Instant) -> u64 {
        let epoch = now.saturating_duration_since(self.base).as_secs() / HALF;
        let old = self.epoch.load(Relaxed);
        if epoch > old && self.epoch.compare_exchange(old, epoch, Relaxed, Relaxed).is_ok() {
            self.halves[usize::from(epoch % 2 == 1)].clear();
            if epoch - old > 1 {
                self.halves[usize::from(epoch.is_multiple_of(2))].clear();
            }
        }
        epoch
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        self.turn(now);
        let count = self.count.load(Relaxed);
        Snapshot { count, sum: millis(self.sum.load(Relaxed)), recent: self.recent() }
    }

    fn recent(&self) -> Option<Recent> {
        let both =
            |pick: fn(&Half) -> &AtomicU64| self.halves.each_ref().map(|h| pick(h).load(Relaxed));
        let buckets: Vec<u64> = (0..BUCKETS)
            .map(|at| self.halves.iter().map(|h| u64::from(h.buckets[at].load(Relaxed))).sum())
            .collect();
        let count: u64 = buckets.iter().sum();
        if count == 0 {
            return None;
        }
        let sum = millis(both(|half| &half.sum).iter().sum());
        #[expect(clippy::cast_precision_loss, reason = "a statistic")]
        let (number, mean) = (count as f64, sum / count as f64);
        let mut squares = 0.0;
        for (at, found) in buckets.iter().enumerate() {
            let off = millis(upper_bound(at)) - mean;
            #[expect(clippy::cast_precision_loss, reason = "a statistic")]
            let weight = *found as f64;
            squares += weight * off * off;
        }
        let max = both(|half| &half.max).into_iter().max().unwrap_or(0);
        let quantiles = QUANTILES.map(|quantile| {
            let mut seen = 0.0;
            for (at, found) in buckets.iter().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "a statistic")]
                let weight = *found as f64;
                seen += weight;
                if seen >= quantile * number {
                    return millis(upper_bound(at).min(max));
                }
            }
            millis(max)
        });
        Some(Recent {
            count,
            sum,
            min: millis(both(|half| &half.min).into_iter().min().unwrap_or(0)),
            max: millis(max),
            stddev: (squares / number).sqrt(),
            quantiles,
        })
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < 2 {
        return usize::from(nanos == 1);
    }
    let power = 63 - nanos.leading_zeros() as usize;
    let upper_half = usize::from((nanos >> (power - 1)) & 1 == 1);
    2 * power + upper_half
}

/// The greatest number of nanoseconds in a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (power, upper_half) = (bucket / 2, bucket % 2);
    if power == 0 {
        return upper_half as u64;
    }
    let begin = 1_u64 << power;
    match upper_half {
        0 => begin + begin / 2 - 1,
        _ => 2 * (begin - 1) + 1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_lies_below_its_bound() {
        for nanos in [0, 1, 2, 3, 5, 7, 8, 1_000, 1_499_999, u64::MAX / 3, u64::MAX] {
            let bucket = bucket_of(nanos);
            assert!(bucket < BUCKETS, "{nanos}");
            assert!(nanos <= upper_bound(bucket), "{nanos} in {bucket}");
            assert!(bucket == 0 || nanos > upper_bound(bucket - 1), "{nanos} in {bucket}");
        }
    }

    #[test]
    fn the_spread_is_of_the_last_minutes_and_the_sum_of_all() {
        let base = Instant::now();
        let at = |seconds| base + Duration::from_secs(seconds);
        let summary = Summary::new(base);
        for _ in 0..99 {
            summary.add(Duration::from_millis(1), at(1));
        }
        summary.add(Duration::from_millis(100), at(2));
        let Snapshot { count, sum, recent } = summary.snapshot(at(3));
        assert_eq!((count, sum), (100, 199.0));
        let recent = recent.unwrap();
        assert_eq!((recent.count, recent.min, recent.max), (100, 1.0, 100.0));
        assert!((1.0..1.5).contains(&recent.quantiles[0]), "{recent:?}");
        assert!((1.0..1.5).contains(&recent.quantiles[2]), "{recent:?}");

        summary.add(Duration::from_millis(2), at(70));
        assert_eq!(summary.snapshot(at(71)).recent.unwrap().count, 101);
        assert_eq!(summary.snapshot(at(121)).recent.unwrap().count, 1);
        let later = summary.snapshot(at(1_000));
        assert_eq!((later.count, later.recent), (101, None));
    }
}
