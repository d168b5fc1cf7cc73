//! Which instructions kernels compute with: chosen when they run, by what the CPU has. Computes nothing.

use std::cell::Cell;

use pulp::{Arch, Simd, WithSimd};

use super::Panels;

/// A set of instructions that kernels are compiled for. Each gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// One number at a time: what every CPU has.
    Portable,
    /// Vectors of four numbers.
    Avx2,
    /// Vectors of eight numbers.
    Avx512,
    /// The vectors that every CPU of this other architecture has.
    Native,
}

thread_local! {
    static CHOSEN: Cell<Option<Form>> = const { Cell::new(None) };
}

impl Form {
    /// The forms that this machine can run, the fastest last.
    #[must_use]
    pub fn here() -> Vec<Form> {
        let all = [Form::Portable, Form::Avx2, Form::Avx512, Form::Native];
        all.into_iter()
            .filter(|form| form.arch().is_some())
            .collect()
    }

    /// Runs `body`, its kernels with these instructions as far as they run on this thread.
    ///
    /// ```
    /// use peerwren_kernels::{Form, self_test};
    ///
    /// let portable = Form::Portable.run(self_test);
    /// assert_eq!(portable, self_test());
    /// ```
    ///
    /// # Panics
    /// When this machine lacks them.
    pub fn run<R>(self, body: impl FnOnce() -> R) -> R {
        assert!(
            self.arch().is_some(),
            "this machine has no {self:?} instructions"
        );
        struct Restore(Option<Form>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _restore = Restore(CHOSEN.replace(Some(self)));
        body()
    }

    fn arch(self) -> Option<Arch> {
        match self {
            Form::Portable => Some(Arch::Scalar),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Form::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Form::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
            Form::Native => Some(Arch::new()),
            _ => None,
        }
    }
}

/// The instruction set in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    arch: Arch,
    lanes: usize,
}

impl Cpu {
    /// The fastest that this machine has, asked once a process by the library; or what [`Form::run`] says.
    pub(crate) fn new() -> Cpu {
        Cpu::with(CHOSEN.get().and_then(Form::arch).unwrap_or_default())
    }

    fn with(arch: Arch) -> Cpu {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F64_LANES
            }
        }
        let lanes = arch.dispatch(Lanes);
        Cpu { arch, lanes }
    }

    /// Every instruction set that this machine has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Cpu> {
        let archs = Form::here().into_iter().filter_map(Form::arch);
        archs.map(Cpu::with).collect()
    }

    /// Runs `op` compiled for this machine.
    #[inline]
    pub(crate) fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.arch.dispatch(op)
    }

    /// The first row and the height (with padding) of each panel of a packed matrix of `rows` rows.
    pub(crate) fn panels(self, rows: usize) -> Panels {
        Panels {
            lanes: self.lanes,
            next: 0,
            end: rows.div_ceil(self.lanes),
        }
    }
}
