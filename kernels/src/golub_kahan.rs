//! Singular values and vectors of an upper bidiagonal matrix by implicit QR steps, with shift zero where a shift would
//! cost digits of small values (Golub, Kahan 1965; Demmel, Kahan: Accurate singular values of bidiagonal matrices,
//! 1990; LAPACK's dbdsqr). Scalars in one order: the same bits on every CPU.

use crate::rotations::{Rotation, Rotations, rotation};

/// Relative size below which an entry above the diagonal counts as zero.
const TOLERANCE: f64 = 90.0 * EPS;
const EPS: f64 = f64::EPSILON / 2.0;
/// Steps that a value may take on average; LAPACK gives up there too.
const STEPS_MAX: usize = 6;

/// The values did not settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoConvergence;

/// B becomes the diagonal `d`, its values with signs and in no order; the rotations of both sides go to `rotations`.
pub(crate) fn diagonalize(
    d: &mut [f64],
    e: &mut [f64],
    rotations: &mut Rotations<'_>,
) -> Result<(), NoConvergence> {
    let n = d.len();
    let least = least(d, e);
    let squares = (STEPS_MAX * n * n) as f64;
    let mut steps = Steps {
        d,
        e,
        rotations,
        threshold: (TOLERANCE * least / (n as f64).sqrt()).max(squares * f64::MIN_POSITIVE),
    };
    let (mut end, mut before, mut down) = (n, None, true);
    let mut left = STEPS_MAX * n * n;
    while end > 1 {
        let Some((first, last)) = steps.block(end) else {
            end -= 1;
            continue;
        };
        if last == first + 1 {
            steps.pair(first);
            end = first;
            continue;
        }
        // Another block: from its larger end to its smaller one.
        if before.is_none_or(|(start, end)| first > end || last < start) {
            down = steps.d[first].abs() >= steps.d[last].abs();
        }
        before = Some((first, last));
        let Some(smallest) = steps.settle(first, last, down) else {
            continue;
        };
        left = left.checked_sub(last - first).ok_or(NoConvergence)?;
        let shift = steps.shift((first, last), down, smallest);
        match (shift == 0.0, down) {
            (true, true) => steps.zero_down(first, last),
            (true, false) => steps.zero_up(first, last),
            (false, true) => steps.down(first, last, shift),
            (false, false) => steps.up(first, last, shift),
        }
    }
    Ok(())
}

/// A lower bound of the smallest value, up to a factor of the square root of n.
fn least(d: &[f64], e: &[f64]) -> f64 {
    let mut mu = d[0].abs();
    let mut least = mu;
    for (d, e) in d[1..].iter().zip(e.iter()) {
        if least == 0.0 {
            break;
        }
        mu = d.abs() * (mu / (mu + e.abs()));
        least = least.min(mu);
    }
    least
}

struct Steps<'a, 'b, 'c> {
    d: &'a mut [f64],
    e: &'a mut [f64],
    rotations: &'b mut Rotations<'c>,
    /// Below this everything counts as zero.
    threshold: f64,
}

impl Steps<'_, '_, '_> {
    /// The first and last index of the block that ends before `end` and has no zero above its diagonal; none where
    /// it is one number.
    fn block(&mut self, end: usize) -> Option<(usize, usize)> {
        let last = end - 1;
        for i in (0..last).rev() {
            if self.e[i].abs() <= self.threshold {
                self.e[i] = 0.0;
                return (i + 1 < last).then_some((i + 1, last));
            }
        }
        (last > 0).then_some((0, last))
    }

    /// Solves the block of two from `i` on.
    fn pair(&mut self, i: usize) {
        let solved = two_by_two(self.d[i], self.e[i], self.d[i + 1]);
        (self.d[i], self.e[i], self.d[i + 1]) = (solved.largest, 0.0, solved.smallest);
        self.rotations.begin(i, 1, false);
        self.rotations.set(i, solved.left, solved.right);
    }

    /// Looks for entries that are small beside their neighbours: one becomes zero and nothing is returned, else the
    /// block's estimate of its smallest value.
    fn settle(&mut self, first: usize, last: usize, down: bool) -> Option<f64> {
        let (d, e) = (&*self.d, &mut *self.e);
        let (edge, corner) = if down {
            (last - 1, last)
        } else {
            (first, first)
        };
        if e[edge].abs() <= TOLERANCE * d[corner].abs() {
            e[edge] = 0.0;
            return None;
        }
        let mut mu = d[if down { first } else { last }].abs();
        let mut smallest = mu;
        for step in 0..last - first {
            let (at, next) = if down {
                (first + step, first + step + 1)
            } else {
                (last - 1 - step, last - 1 - step)
            };
            if e[at].abs() <= TOLERANCE * mu {
                e[at] = 0.0;
                return None;
            }
            mu = d[next].abs() * (mu / (mu + e[at].abs()));
            smallest = smallest.min(mu);
        }
        Some(smallest)
    }

    /// The shift: 0 where the smallest value would lose digits, or where it changes nothing.
    fn shift(&self, (first, last): (usize, usize), down: bool, smallest: f64) -> f64 {
        let (d, e) = (&*self.d, &*self.e);
        let entries = d[first..=last].iter().chain(&e[first..last]);
        let largest = entries.fold(0.0_f64, |max, x| max.max(x.abs()));
        let spread = d.len() as f64 * TOLERANCE * (smallest / largest);
        if spread <= EPS.max(0.01 * TOLERANCE) {
            return 0.0;
        }
        let (start, shift) = if down {
            (d[first], smaller_value(d[last - 1], e[last - 1], d[last]))
        } else {
            (d[last], smaller_value(d[first], e[first], d[first + 1]))
        };
        let ratio = shift / start.abs();
        if start != 0.0 && ratio * ratio < EPS {
            0.0
        } else {
            shift
        }
    }

    /// A step with shift zero from the first to the last.
    fn zero_down(&mut self, first: usize, last: usize) {
        let (d, e) = (&mut *self.d, &mut *self.e);
        self.rotations.begin(first, last - first, false);
        let (mut right, mut left): (Rotation, Rotation) = ((1.0, 0.0), (1.0, 0.0));
        for i in first..last {
            let r;
            (right, r) = rotation(d[i] * right.0, e[i]);
            if i > first {
                e[i - 1] = left.1 * r;
            }
            (left, d[i]) = rotation(left.0 * r, d[i + 1] * right.1);
            self.rotations.set(i, left, right);
        }
        let h = d[last] * right.0;
        (d[last], e[last - 1]) = (h * left.0, h * left.1);
        if e[last - 1].abs() <= self.threshold {
            e[last - 1] = 0.0;
        }
    }

    /// A step with shift zero from the last to the first.
    fn zero_up(&mut self, first: usize, last: usize) {
        let (d, e) = (&mut *self.d, &mut *self.e);
        self.rotations.begin(first, last - first, true);
        let (mut left, mut right): (Rotation, Rotation) = ((1.0, 0.0), (1.0, 0.0));
        for i in (first + 1..=last).rev() {
            let r;
            (left, r) = rotation(d[i] * left.0, e[i - 1]);
            if i < last {
                e[i] = right.1 * r;
            }
            (right, d[i]) = rotation(right.0 * r, d[i - 1] * left.1);
            self.rotations
                .set(i - 1, (left.0, -left.1), (right.0, -right.1));
        }
        let h = d[first] * left.0;
        (d[first], e[first]) = (h * right.0, h * right.1);
        if e[first].abs() <= self.threshold {
            e[first] = 0.0;
        }
    }

    /// A step with a shift from the first to the last.
    fn down(&mut self, first: usize, last: usize, shift: f64) {
        let (d, e) = (&mut *self.d, &mut *self.e);
        self.rotations.begin(first, last - first, false);
        let start = d[first];
        let mut f = (start.abs() - shift) * (1.0_f64.copysign(start) + shift / start);
        let mut g = e[first];
        for i in first..last {
            let (right, r) = rotation(f, g);
            if i > first {
                e[i - 1] = r;
            }
            (f, e[i]) = turn(right, d[i], e[i]);
            (g, d[i + 1]) = (right.1 * d[i + 1], right.0 * d[i + 1]);
            let left;
            (left, d[i]) = rotation(f, g);
            (f, d[i + 1]) = turn(left, e[i], d[i + 1]);
            if i + 1 < last {
                (g, e[i + 1]) = (left.1 * e[i + 1], left.0 * e[i + 1]);
            }
            self.rotations.set(i, left, right);
        }
        e[last - 1] = if f.abs() <= self.threshold { 0.0 } else { f };
    }

    /// A step with a shift from the last to the first.
    fn up(&mut self, first: usize, last: usize, shift: f64) {
        let (d, e) = (&mut *self.d, &mut *self.e);
        self.rotations.begin(first, last - first, true);
        let start = d[last];
        let mut f = (start.abs() - shift) * (1.0_f64.copysign(start) + shift / start);
        let mut g = e[last - 1];
        for i in (first + 1..=last).rev() {
            let (left, r) = rotation(f, g);
            if i < last {
                e[i] = r;
            }
            (f, e[i - 1]) = turn(left, d[i], e[i - 1]);
            (g, d[i - 1]) = (left.1 * d[i - 1], left.0 * d[i - 1]);
            let right;
            (right, d[i]) = rotation(f, g);
            (f, d[i - 1]) = turn(right, e[i - 1], d[i - 1]);
            if i > first + 1 {
                (g, e[i - 2]) = (right.1 * e[i - 2], right.0 * e[i - 2]);
            }
            self.rotations
                .set(i - 1, (left.0, -left.1), (right.0, -right.1));
        }
        e[first] = if f.abs() <= self.threshold { 0.0 } else { f };
    }
}

/// (c x + s y, c y - s x).
fn turn((c, s): Rotation, x: f64, y: f64) -> (f64, f64) {
    (c * x + s * y, c * y - s * x)
}

/// The smaller singular value of [f g; 0 h] (LAPACK's dlas2).
fn smaller_value(f: f64, g: f64, h: f64) -> f64 {
    let (f, g, h) = (f.abs(), g.abs(), h.abs());
    let (low, high) = (f.min(h), f.max(h));
    if low == 0.0 {
        return 0.0;
    }
    let (sum, difference) = (1.0 + low / high, (high - low) / high);
    if g < high {
        let square = (g / high) * (g / high);
        let roots = (sum * sum + square).sqrt() + (difference * difference + square).sqrt();
        return low * (2.0 / roots);
    }
    let ratio = high / g;
    if ratio == 0.0 {
        return low * high / g;
    }
    let root = |x: f64| (1.0 + (x * ratio) * (x * ratio)).sqrt();
    2.0 * (low * (1.0 / (root(sum) + root(difference)))) * ratio
}

/// The decomposition of [f g; 0 h]: signed values, and the rotations of rows and of columns.
struct Two {
    largest: f64,
    smallest: f64,
    left: Rotation,
    right: Rotation,
}

/// LAPACK's dlasv2: exact to a few units in the last place.
fn two_by_two(f: f64, g: f64, h: f64) -> Two {
    let sign = |x: f64| 1.0_f64.copysign(x);
    let swap = h.abs() > f.abs();
    let (ft, ht) = if swap { (h, f) } else { (f, h) };
    let (fa, ha, ga) = (ft.abs(), ht.abs(), g.abs());
    let (mut largest, mut smallest) = (fa, ha);
    let (mut left, mut right) = ((1.0, 0.0), (1.0, 0.0));
    let huge = ga > fa && fa / ga < EPS;
    if huge {
        largest = ga;
        smallest = if ha > 1.0 {
            fa / (ga / ha)
        } else {
            fa / ga * ha
        };
        (left, right) = ((1.0, ht / g), (ft / g, 1.0));
    } else if ga != 0.0 {
        let d = fa - ha;
        let l = if d == fa { 1.0 } else { d / fa };
        let m = g / ft;
        let t = 2.0 - l;
        let (mm, tt) = (m * m, t * t);
        let s = (tt + mm).sqrt();
        let r = if l == 0.0 {
            m.abs()
        } else {
            (l * l + mm).sqrt()
        };
        let a = 0.5 * (s + r);
        (smallest, largest) = (ha / a, fa * a);
        let t = if mm != 0.0 {
            (m / (s + t) + m / (r + l)) * (1.0 + a)
        } else if l == 0.0 {
            2.0 * sign(ft) * sign(g)
        } else {
            g / d.copysign(ft) + m / t
        };
        let l = (t * t + 4.0).sqrt();
        right = (2.0 / l, t / l);
        left = ((right.0 + right.1 * m) / a, (ht / ft) * right.1 / a);
    }
    if swap {
        (left, right) = ((right.1, right.0), (left.1, left.0));
    }
    let sign_largest = if ga > fa {
        sign(right.1) * sign(left.0) * sign(g)
    } else if swap {
        sign(right.1) * sign(left.1) * sign(h)
    } else {
        sign(right.0) * sign(left.0) * sign(f)
    };
    Two {
        largest: largest.copysign(sign_largest),
        smallest: smallest.copysign(sign_largest * sign(f) * sign(h)),
        left,
        right,
    }
}
