//! How fast requests may go out, and how long to wait before one is tried again. Pure: time and
//! randomness are passed in.
//!
//! S3 serves about 3,500 writes and 5,500 reads a second and prefix, which a new prefix gains only
//! gradually. A pace starts lower, grows while it is used without complaint, and halves when the
//! service says that it is too fast.

use std::time::Duration;

/// Requests a second that a pace starts with.
pub(super) const RATE_START: f64 = 1000.0;
/// Most reads a second.
pub(super) const READ_RATE_MAX: f64 = 5500.0;
/// Most writes a second.
pub(super) const WRITE_RATE_MAX: f64 = 3500.0;
/// Least requests a second, so that a service which throttles for a while is still asked.
const RATE_MIN: f64 = 5.0;
/// Growth after a second that used at least half of the rate: 1,000 reach 3,500 in 7 such seconds.
const GROWTH: f64 = 1.2;
/// Time that may be made up for at once: 50 requests at 1,000 a second.
const BURST: Duration = Duration::from_millis(50);
/// The rate grows or halves once in this time: requests that were sent together are throttled
/// together.
const STEP: Duration = Duration::from_secs(1);

/// The pace of one kind of requests.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: f64,
    rate_max: f64,
    /// When the next request may go out.
    next: Duration,
    /// Since when `sent` counts.
    step_began: Duration,
    sent: u32,
    slowed: Option<Duration>,
}

impl Pace {
    pub(super) fn new(rate_max: f64) -> Self {
        Self {
            rate: RATE_START.min(rate_max),
            rate_max,
            next: Duration::ZERO,
            step_began: Duration::ZERO,
            sent: 0,
            slowed: None,
        }
    }

    /// Books a request; returns how long to wait before it is sent.
    pub(super) fn book(&mut self, now: Duration) -> Duration {
        self.grow(now);
        let at = self.next.max(now.saturating_sub(BURST));
        self.next = at + Duration::from_secs_f64(1.0 / self.rate);
        self.sent = self.sent.saturating_add(1);
        at.saturating_sub(now)
    }

    /// The service said that requests come too fast.
    pub(super) fn throttled(&mut self, now: Duration) {
        if self.slowed.is_some_and(|slowed| now < slowed + STEP) {
            return;
        }
        self.rate = (self.rate / 2.0).max(RATE_MIN);
        self.slowed = Some(now);
        self.begin_step(now);
    }

    fn grow(&mut self, now: Duration) {
        let lasted = now.saturating_sub(self.step_began);
        if lasted < STEP {
            return;
        }
        // A rate that is not used teaches the service nothing.
        if f64::from(self.sent) >= self.rate / 2.0 * lasted.as_secs_f64() {
            self.rate = (self.rate * GROWTH).min(self.rate_max);
        }
        self.begin_step(now);
    }

    fn begin_step(&mut self, now: Duration) {
        self.step_began = now;
        self.sent = 0;
    }
}

/// How many requests may be tried again, all of a store together: when a service is down, those who
/// find out do not keep it down.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    /// When the next retry may go out.
    next: Duration,
}

impl Budget {
    /// 20 retries a second.
    const EVERY: Duration = Duration::from_millis(50);
    /// Time that may be made up for at once: 5 s = 100 retries.
    const BURST: Duration = Duration::from_secs(5);

    /// Books a retry; returns how long to wait beside its backoff. With 32 requests at one time at
    /// most 32 x 50 ms = 1.6 s.
    pub(super) fn book(&mut self, now: Duration) -> Duration {
        let at = self.next.max(now.saturating_sub(Self::BURST));
        self.next = at + Self::EVERY;
        at.saturating_sub(now)
    }
}

/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The first wait is this many times longer where the service asked for slowness.
const THROTTLED_FACTOR: u32 = 10;

/// How long to wait after `failed` failed tries: doubled each time, the later half of it random.
///
/// With 50 ms first and 12 tries: 0.05 + 0.1 + .. + 6.4 + 10 + 10 + 10 = at most 43 s, and at least
/// half of it; 86 s where it is throttled.
pub(super) fn backoff(first: Duration, failed: u32, throttled: bool, random: u64) -> Duration {
    let first = first * if throttled { THROTTLED_FACTOR } else { 1 };
    let doubled = 1u32 << failed.saturating_sub(1).min(20);
    let whole = first.saturating_mul(doubled).min(BACKOFF_MAX);
    let random = (random >> 11) as f64 / (1u64 << 53) as f64;
    whole.mul_f64(0.5 + 0.5 * random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends as fast as the pace allows for some seconds; returns how many went out in each.
    fn send_for(pace: &mut Pace, from: u64, seconds: u64) -> Vec<u32> {
        let mut sent = vec![0; seconds as usize];
        let mut now = Duration::from_secs(from);
        loop {
            now += pace.book(now);
            let second = now.as_secs() - from;
            match sent.get_mut(second as usize) {
                Some(count) => *count += 1,
                None => return sent,
            }
        }
    }

    #[test]
    fn a_pace_grows_while_it_is_used_and_ends_at_its_bound() {
        let mut pace = Pace::new(WRITE_RATE_MAX);
        let sent = send_for(&mut pace, 0, 12);
        assert!((950..=1060).contains(&sent[0]), "{sent:?}");
        assert!((1140..=1260).contains(&sent[1]), "{sent:?}");
        assert!(sent.windows(2).all(|two| two[1] + 60 >= two[0]), "{sent:?}");
        assert!((3440..=3560).contains(&sent[11]), "{sent:?}");
    }

    #[test]
    fn an_idle_pace_does_not_grow() {
        let mut pace = Pace::new(READ_RATE_MAX);
        for second in 0..100 {
            assert_eq!(pace.book(Duration::from_secs(second)), Duration::ZERO);
        }
        assert_eq!(pace.rate, RATE_START);
    }

    #[test]
    fn complaints_halve_it_once_a_second_down_to_a_few() {
        let mut pace = Pace::new(READ_RATE_MAX);
        for _ in 0..50 {
            pace.throttled(Duration::from_millis(10));
        }
        assert_eq!(pace.rate, RATE_START / 2.0);
        for second in 2..30 {
            pace.throttled(Duration::from_secs(second));
        }
        assert_eq!(pace.rate, RATE_MIN);
        let sent = send_for(&mut pace, 40, 3);
        assert!(sent[0] <= 7, "{sent:?}");
        assert!(sent[2] >= sent[0], "{sent:?}");
    }

    #[test]
    fn waits_double_up_to_a_bound_and_the_later_half_is_random() {
        let first = Duration::from_millis(50);
        for (failed, throttled, whole_ms) in [
            (1, false, 50),
            (2, false, 100),
            (8, false, 6_400),
            (9, false, 10_000),
            (1, true, 500),
            (4_000_000, true, 10_000),
        ] {
            let whole = Duration::from_millis(whole_ms);
            assert_eq!(backoff(first, failed, throttled, 0), whole / 2);
            let longest = backoff(first, failed, throttled, u64::MAX);
            assert!(longest <= whole && longest > whole.mul_f64(0.99));
        }
    }

    #[test]
    fn retries_come_from_one_budget() {
        let mut budget = Budget::default();
        let now = Duration::from_secs(60);
        let waits: Vec<_> = (0..140).map(|_| budget.book(now)).collect();
        // 100 at once, and the one that is due now; then 20 a second.
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 101);
        assert_eq!(waits[139], Duration::from_millis(39 * 50));
        assert_eq!(budget.book(now + Duration::from_secs(2)), Duration::ZERO);
    }

    proptest! {
        /// Whenever requests come and whatever is throttled, no second has more than the bound.
        #[test]
        fn no_window_has_more_than_the_bound(gaps in proptest::collection::vec((0u64..3_000, 0u8..50), 1..3000)) {
            let mut pace = Pace::new(WRITE_RATE_MAX);
            let mut now = Duration::ZERO;
            let mut times = Vec::new();
            for (gap, throttle) in gaps {
                now += Duration::from_micros(gap);
                times.push(now + pace.book(now));
                if throttle == 0 {
                    pace.throttled(now);
                }
                prop_assert!((RATE_MIN..=WRITE_RATE_MAX).contains(&pace.rate));
            }
            let bound = WRITE_RATE_MAX * (1.0 + BURST.as_secs_f64()) + 1.0;
            for (at, start) in times.iter().enumerate() {
                let within = times[at..].iter().take_while(|time| **time < *start + STEP).count();
                prop_assert!(within as f64 <= bound, "{within} in a second");
            }
        }
    }
}
