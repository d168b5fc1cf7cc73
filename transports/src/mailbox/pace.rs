//! How often mail is looked for and when a coordinator is given up. Pure: whoever sleeps says for how long.

use std::time::Duration;

use super::Pulse;

/// Between a letter and the first look for the next one.
const LETTER_WAIT_MIN: Duration = Duration::from_millis(20);
/// The longest wait between two looks: 3,600 requests an hour and link.
pub const LETTER_WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two looks at the coordinator's sign of life while it writes nothing.
const PULSE_LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a coordinator may show no sign of life: six of them are missing.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Waits between looks: short after a letter, then ever longer.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(LETTER_WAIT_MIN)
    }

    /// A letter was there.
    pub(super) fn found(&mut self) {
        self.0 = LETTER_WAIT_MIN;
    }

    /// None was there: how long to wait now.
    pub(super) fn missed(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (self.0 * 3 / 2).min(LETTER_WAIT_MAX);
        wait
    }
}

/// What is known of the coordinator's life.
#[derive(Debug)]
pub(super) struct Vigil {
    epoch: u64,
    last: Option<Pulse>,
    /// Waited since the last look.
    unlooked: Duration,
    /// Waited since the last sign of life.
    silent: Duration,
}

impl Vigil {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: None,
            unlooked: Duration::ZERO,
            silent: Duration::ZERO,
        }
    }

    /// The coordinator wrote.
    pub(super) fn wrote(&mut self) {
        self.unlooked = Duration::ZERO;
        self.silent = Duration::ZERO;
    }

    /// It was waited in vain for a letter; true when it is time to look for a sign of life.
    pub(super) fn waited(&mut self, time: Duration) -> bool {
        self.unlooked += time;
        self.silent += time;
        self.unlooked >= PULSE_LOOK_EVERY
    }

    /// What a look has shown; an error when the coordinator is gone.
    pub(super) fn looked(&mut self, pulse: Option<Pulse>) -> Result<(), &'static str> {
        self.unlooked = Duration::ZERO;
        if let Some(pulse) = pulse {
            if pulse.epoch > self.epoch {
                return Err("the coordinator was started again");
            }
            // An older sign that somebody has put back is none.
            if pulse.epoch == self.epoch && self.last.is_none_or(|last| pulse > last) {
                self.last = Some(pulse);
                self.silent = Duration::ZERO;
            }
        }
        if self.silent >= SILENCE_MAX {
            return Err("the coordinator shows no sign of life");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_while_nothing_comes() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..40).map(|_| backoff.missed()).collect();
        assert!(waits.is_sorted() && waits[0] == LETTER_WAIT_MIN && waits[39] == LETTER_WAIT_MAX);
        // 10 s of silence cost some 20 looks.
        let mut sum = Duration::ZERO;
        let looks = waits.iter().take_while(|&&wait| {
            sum += wait;
            sum < Duration::from_secs(10)
        });
        assert!(looks.count() < 22);
        backoff.found();
        assert_eq!(backoff.missed(), LETTER_WAIT_MIN);
    }

    #[test]
    fn a_coordinator_is_given_up_when_it_shows_no_life_or_another_does() {
        let second = Duration::from_secs(1);
        let pulse = |epoch, beat| Some(Pulse { epoch, beat });
        // Looks after 5 s each; a coordinator that shows life is never given up.
        let mut vigil = Vigil::new(7);
        for beat in 0..100 {
            assert!(!(0..4).any(|_| vigil.waited(second)) && vigil.waited(second));
            assert_eq!(vigil.looked(pulse(7, beat)), Ok(()));
        }
        // An older sign, one of an older epoch or none at all are no life.
        let signs = [
            pulse(7, 99),
            pulse(7, 5),
            pulse(6, 900),
            None,
            None,
            pulse(7, 99),
        ];
        for (look, sign) in signs.into_iter().enumerate() {
            vigil.waited(5 * second);
            assert_eq!(vigil.looked(sign).is_err(), look == 5, "look {look}");
        }
        // A letter is life.
        let mut vigil = Vigil::new(7);
        for _ in 0..20 {
            vigil.waited(5 * second);
            vigil.wrote();
            assert_eq!(vigil.looked(None), Ok(()));
        }
        assert!(vigil.looked(pulse(8, 0)).is_err(), "another epoch");
    }
}
