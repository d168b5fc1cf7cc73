//! Axes: where they end, where their ticks are, and what stands there.

use crate::options::ByteSize;
use crate::report::grouped;

/// Ticks that an axis has at most, about.
const TICKS: f64 = 5.0;
/// Distances of ticks before an axis gives up: more than any end is away from its step.
const TICKS_MAX: u32 = 20;

/// What an axis counts in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes, with ticks at whole numbers of this many.
    Bytes(u64),
    /// Seconds.
    Seconds,
    /// Times something.
    Times,
    /// Dollars.
    Dollars,
    /// A plain number.
    Number,
}

impl Unit {
    /// Bytes in the largest unit that the value has one of.
    pub(crate) fn of_bytes(most: f64) -> Self {
        let units = [1_u64 << 40, 1 << 30, 1 << 20, 1 << 10];
        let unit = units.into_iter().find(|unit| most >= *unit as f64);
        Self::Bytes(unit.unwrap_or(1))
    }

    fn scale(self) -> f64 {
        match self {
            Self::Bytes(unit) => unit as f64,
            _ => 1.0,
        }
    }

    /// A value as it stands at a tick.
    pub(crate) fn tick(self, value: f64) -> String {
        match self {
            Self::Count if value.fract() == 0.0 => grouped(value as u64),
            Self::Count | Self::Number => digits(value),
            Self::Bytes(_) => ByteSize(value.round() as u64).to_string(),
            Self::Seconds | Self::Times if value == 0.0 => "0".to_owned(),
            Self::Seconds if value < 0.001 => format!("{} us", digits(value * 1e6)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Times => format!("{}x", digits(value)),
            Self::Dollars => format!("${}", digits(value)),
        }
    }

    /// A value as it stands beside a mark: with three digits.
    pub(crate) fn value(self, value: f64) -> String {
        match self {
            Self::Seconds => crate::report::seconds(value),
            Self::Bytes(_) => self.tick(value),
            Self::Count | Self::Number if value >= 1000.0 => grouped(value.round() as u64),
            Self::Dollars if value >= 1.0 => format!("${value:.2}"),
            _ => self.tick(three_digits(value)),
        }
    }
}

/// A linear axis from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    step: f64,
    end: f64,
}

impl Axis {
    /// The axis whose last tick is at or above all values.
    pub(crate) fn up_to(most: f64, unit: Unit) -> Self {
        let most = if most.is_finite() && most > 0.0 {
            most
        } else {
            1.0
        };
        let mut step = step(most / unit.scale()) * unit.scale();
        if unit == Unit::Count {
            step = step.max(1.0);
        }
        // Sums of steps are not exact.
        let end = (most / step * 0.999_999).ceil() * step;
        Self { step, end }
    }

    /// The value at the axis' end.
    pub(crate) fn end(&self) -> f64 {
        self.end
    }

    /// How far along the axis a value is, from 0 to 1.
    pub(crate) fn share(&self, value: f64) -> f64 {
        value / self.end
    }

    /// Values with ticks, from 0 to the end.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, end) = (self.step, self.end);
        let ticks = (0..=TICKS_MAX).map(move |n| f64::from(n) * step);
        ticks.take_while(move |tick| *tick <= end * 1.000_001)
    }
}

/// The distance of ticks up to a value: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let rough = (most / TICKS).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let found = steps.into_iter().find(|step| *step >= rough * 0.999);
    found.unwrap_or(10.0 * power)
}

/// A number without the noise of its last bits, nor zeros behind its point.
fn digits(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

fn three_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let power = 10_f64.powf(2.0 - value.abs().log10().floor());
    (value * power).round() / power
}
