//! Intel's MKL as a rival of the tile kernels: loaded from a folder at run time, one thread, each routine with inner
//! blocks of 16 to 128. Owns every call into it; never knows peerwren's kernels.
//!
//! On a CPU that is not Intel's, MKL takes a slower path than it has: AVX2 where there is AVX-512. Which it takes hangs on
//! whether it believes that the CPU is Intel's, which it asks a function of its own (`mkl_serv_get_cpu_true` of MKL 2026,
//! `mkl_serv_intel_cpu_true` before). This program has functions of these names, which the dynamic linker finds first.
//! Both answers are tried, each in a process of its own, and the faster one is kept.
#![allow(
    unsafe_code,
    reason = "a library in C that is loaded at run time; each call says why it is sound"
)]

use std::ffi::{c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use libloading::Library;
use peerwren_benches::machine::cpu_line;

/// Inner blocks of which MKL's best counts.
const INNER: [usize; 6] = [16, 32, 48, 64, 96, 128];
/// Argument with which this program calls itself to try an answer.
pub(crate) const PROBE: &str = "--probe-mkl";
/// Order of the tiles that a trial times.
const PROBE_NB: usize = 512;

/// Whether MKL is told that this is an Intel CPU though it is not.
static AS_INTEL: AtomicBool = AtomicBool::new(false);

/// What MKL asks for the CPU's maker.
// SAFETY: no other function of this name is linked; MKL calls it without arguments and reads an int.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mkl_serv_intel_cpu_true() -> c_int {
    let intel = AS_INTEL.load(Ordering::Relaxed) || cpu_line("vendor_id") == "GenuineIntel";
    c_int::from(intel)
}

/// The function that newer versions ask.
// SAFETY: no other function of this name is linked; MKL calls it without arguments and calls what it returns as this
// type says.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mkl_serv_get_cpu_true() -> extern "C" fn() -> c_int {
    mkl_serv_intel_cpu_true
}

type Int<'a> = &'a i32;
type In = *const f64;
type Out = *mut f64;
type Char = *const c_char;
type Geqrt = unsafe extern "C" fn(Int, Int, Int, Out, Int, Out, Int, Out, &mut i32);
type Gemqrt =
    unsafe extern "C" fn(Char, Char, Int, Int, Int, Int, In, Int, In, Int, Out, Int, Out, &mut i32);
type Tpqrt = unsafe extern "C" fn(Int, Int, Int, Int, Out, Int, Out, Int, Out, Int, Out, &mut i32);
type Tpmqrt = unsafe extern "C" fn(
    Char,
    Char,
    Int,
    Int,
    Int,
    Int,
    Int,
    In,
    Int,
    In,
    Int,
    Out,
    Int,
    Out,
    Int,
    Out,
    &mut i32,
);
type Gemm = unsafe extern "C" fn(Char, Char, Int, Int, Int, &f64, In, Int, In, Int, &f64, Out, Int);
type Potrf = unsafe extern "C" fn(Char, Int, Out, Int, &mut i32);

/// The library, one thread.
pub(crate) struct Mkl {
    geqrt: Geqrt,
    gemqrt: Gemqrt,
    tpqrt: Tpqrt,
    tpmqrt: Tpmqrt,
    gemm: Gemm,
    potrf: Potrf,
    version: String,
    _library: Library,
}

impl Mkl {
    /// Loads the library from a folder with the faster of both answers; also says what it told of itself.
    ///
    /// # Errors
    /// No such library there, or one that lacks a routine.
    pub(crate) fn best(folder: &Path) -> Result<(Mkl, String), String> {
        let path = find(folder)?;
        let tried = [false, true].map(|as_intel| probe(&path, as_intel));
        let [as_it_is, as_intel] = &tried;
        let faster = matches!((as_it_is, as_intel), (Ok(a), Ok(b)) if b.seconds < 0.97 * a.seconds);
        let chosen = if faster { as_intel } else { as_it_is };
        let chosen = chosen.as_ref().map_err(String::clone)?;
        let mkl = Mkl::load(&path, faster)?;
        let seconds = |trial: &Result<Trial, String>| {
            trial.as_ref().map_or("failed".to_owned(), |t| {
                format!("{:.1} ms", t.seconds * 1e3)
            })
        };
        let limit = std::env::var("MKL_ENABLE_INSTRUCTIONS").unwrap_or_else(|_| "unset".to_owned());
        let told = format!(
            "{}\nits code: {}\nchosen: {} (a trial took {} as it is, {} as Intel); MKL_ENABLE_INSTRUCTIONS {limit}",
            mkl.version,
            chosen.path,
            if faster {
                "told that the CPU is Intel's"
            } else {
                "as it is"
            },
            seconds(as_it_is),
            seconds(as_intel),
        );
        Ok((mkl, told))
    }

    fn load(path: &Path, as_intel: bool) -> Result<Mkl, String> {
        AS_INTEL.store(as_intel, Ordering::Relaxed);
        let failed = |error: libloading::Error| format!("--mkl: {}: {error}", path.display());
        // SAFETY: MKL's initialisers have no conditions; the path is the one the user names as MKL.
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        macro_rules! routine {
            ($name:literal, $kind:ty) => {{
                // SAFETY: the type is the routine's documented interface with 32-bit integers (LP64), which is
                // MKL's default; the pointer is used only while the library stays loaded beside it.
                *unsafe { library.get::<$kind>($name) }.map_err(failed)?
            }};
        }
        let layer = routine!(
            b"MKL_Set_Threading_Layer",
            unsafe extern "C" fn(c_int) -> c_int
        );
        let threads = routine!(b"MKL_Set_Num_Threads", unsafe extern "C" fn(c_int));
        let version = routine!(
            b"MKL_Get_Version_String",
            unsafe extern "C" fn(*mut c_char, c_int)
        );
        let mut text = [0_u8; 256];
        // SAFETY: 1 is the sequential layer, chosen before any computation, and one thread is a valid number; the
        // string is written within the 256 bytes that the call is told of.
        unsafe {
            layer(1);
            threads(1);
            version(text.as_mut_ptr().cast(), text.len() as c_int);
        }
        let text = String::from_utf8_lossy(&text);
        Ok(Mkl {
            geqrt: routine!(b"dgeqrt_", Geqrt),
            gemqrt: routine!(b"dgemqrt_", Gemqrt),
            tpqrt: routine!(b"dtpqrt_", Tpqrt),
            tpmqrt: routine!(b"dtpmqrt_", Tpmqrt),
            gemm: routine!(b"dgemm_", Gemm),
            potrf: routine!(b"dpotrf_", Potrf),
            version: text.trim_end_matches('\0').trim().to_owned(),
            _library: library,
        })
    }
}

/// The library in a folder or in `lib` below it, where pip puts it.
fn find(folder: &Path) -> Result<PathBuf, String> {
    let names = ["libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so"];
    let folders = [folder.to_owned(), folder.join("lib")];
    let paths = folders
        .iter()
        .flat_map(|folder| names.map(|name| folder.join(name)));
    paths.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "--mkl: expected a folder with libmkl_rt.so (python3 -m venv DIR; DIR/bin/pip install mkl), got {}",
            folder.display()
        )
    })
}

/// What a trial in a process of its own found.
struct Trial {
    seconds: f64,
    /// The libraries whose code ran.
    path: String,
}

fn probe(path: &Path, as_intel: bool) -> Result<Trial, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .arg(PROBE)
        .arg(path)
        .arg(if as_intel { "intel" } else { "as-is" })
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let (seconds, path) = text.trim().split_once(' ').unwrap_or(("", ""));
    let seconds = seconds
        .parse()
        .map_err(|_| format!("--mkl: expected a trial to print seconds, got {text:?}"))?;
    Ok(Trial {
        seconds,
        path: path.to_owned(),
    })
}

/// The libraries with computing code that MKL has loaded into this process: their names say for which instructions.
fn loaded() -> String {
    const CODE: [&str; 5] = ["def", "mc3", "avx2", "avx512", "avx10"];
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let is_loaded = |name: &&str| maps.contains(&format!("libmkl_{name}.so"));
    let names: Vec<String> = CODE
        .into_iter()
        .filter(|name| is_loaded(name))
        .map(|name| format!("libmkl_{name}"))
        .collect();
    names.join(" ")
}

/// The child's part of a trial: the best seconds of a product and an application, and what code they ran.
///
/// # Errors
/// The library cannot be loaded.
pub(crate) fn answer_probe(path: &str, answer: &str) -> Result<String, String> {
    let mkl = Mkl::load(Path::new(path), answer == "intel")?;
    let mut works = [Routine::Gemm, Routine::Tpmqrt { triangle: false }]
        .map(|routine| Work::new(&mkl, routine, PROBE_NB, 32));
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let mut seconds = 0.0;
        for work in &mut works {
            work.prepare();
            let start = Instant::now();
            work.run();
            seconds += start.elapsed().as_secs_f64();
        }
        best = best.min(seconds);
    }
    Ok(format!("{best} {}", loaded()))
}

/// The routine that does a kernel's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routine {
    Geqrt,
    Gemqrt,
    /// Of a triangle over a full tile or over a triangle.
    Tpqrt {
        triangle: bool,
    },
    Tpmqrt {
        triangle: bool,
    },
    Gemm,
    Potrf,
}

impl Routine {
    /// The routine that does what the kernel of this name does.
    pub(crate) fn of(kernel: &str) -> Option<Routine> {
        Some(match kernel {
            "geqrt" => Routine::Geqrt,
            "unmqr" => Routine::Gemqrt,
            "tsqrt" => Routine::Tpqrt { triangle: false },
            "ttqrt" => Routine::Tpqrt { triangle: true },
            "tsmqr" => Routine::Tpmqrt { triangle: false },
            "ttmqr" => Routine::Tpmqrt { triangle: true },
            "gemm" => Routine::Gemm,
            "potrf" => Routine::Potrf,
            _ => return None,
        })
    }

    /// The inner blocks to try; one that means nothing where a routine has none.
    pub(crate) fn inner(self, nb: usize) -> Vec<usize> {
        match self {
            Routine::Gemm | Routine::Potrf => vec![0],
            _ => INNER.into_iter().filter(|ib| *ib <= nb).collect(),
        }
    }
}

/// A routine on tiles of its own.
pub(crate) struct Work<'a> {
    mkl: &'a Mkl,
    routine: Routine,
    n: i32,
    ib: i32,
    /// What [`Work::prepare`] restores: the two matrices that are overwritten.
    original: [Vec<f64>; 2],
    a: Vec<f64>,
    b: Vec<f64>,
    v: Vec<f64>,
    t: Vec<f64>,
    work: Vec<f64>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(mkl: &'a Mkl, routine: Routine, nb: usize, ib: usize) -> Work<'a> {
        let n = nb as i32;
        let mut state = 11_u64;
        let mut noise = || -> Vec<f64> {
            let entry = |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
            };
            (0..nb * nb).map(entry).collect()
        };
        let (mut first, second, v) = (noise(), noise(), noise());
        if routine == Routine::Potrf {
            first
                .iter_mut()
                .step_by(nb + 1)
                .for_each(|x| *x = nb as f64);
        }
        let inner = ib.max(1);
        let mut work = Work {
            mkl,
            routine,
            n,
            ib: inner as i32,
            a: first.clone(),
            b: second.clone(),
            v,
            t: vec![0.0; inner * nb],
            work: vec![0.0; inner * nb],
            original: [first, second],
        };
        work.factor_v();
        work
    }

    /// Makes `v` and `t` the reflectors of a factorization where they are to be applied.
    fn factor_v(&mut self) {
        let factor = match self.routine {
            Routine::Gemqrt => Routine::Geqrt,
            Routine::Tpmqrt { triangle } => Routine::Tpqrt { triangle },
            _ => return,
        };
        let applies = std::mem::replace(&mut self.routine, factor);
        let top = self.v.clone();
        match factor {
            Routine::Geqrt => self.a.copy_from_slice(&top),
            _ => self.b.copy_from_slice(&top),
        }
        self.run();
        let reflectors = if factor == Routine::Geqrt {
            &self.a
        } else {
            &self.b
        };
        self.v.copy_from_slice(reflectors);
        self.routine = applies;
        self.prepare();
    }

    /// Brings back what a run has overwritten.
    pub(crate) fn prepare(&mut self) {
        self.a.copy_from_slice(&self.original[0]);
        self.b.copy_from_slice(&self.original[1]);
    }

    /// Runs the routine once.
    pub(crate) fn run(&mut self) {
        let (n, ib, mkl) = (&self.n, &self.ib, self.mkl);
        let (left, transposed, plain, lower) =
            (c"L".as_ptr(), c"T".as_ptr(), c"N".as_ptr(), c"L".as_ptr());
        let (a, b) = (self.a.as_mut_ptr(), self.b.as_mut_ptr());
        let (v, t, work) = (
            self.v.as_mut_ptr(),
            self.t.as_mut_ptr(),
            self.work.as_mut_ptr(),
        );
        let mut info = 0;
        // SAFETY: every matrix has n x n words with leading dimension n, T and the work space have ib x n, which is
        // what each routine asks of a square tile; all are owned by `self` and do not overlap, and letters are those
        // of LAPACK.
        unsafe {
            match self.routine {
                Routine::Geqrt => (mkl.geqrt)(n, n, ib, a, n, t, ib, work, &mut info),
                Routine::Gemqrt => (mkl.gemqrt)(
                    left, transposed, n, n, n, ib, v, n, t, ib, b, n, work, &mut info,
                ),
                Routine::Tpqrt { triangle } => {
                    let l = if triangle { self.n } else { 0 };
                    (mkl.tpqrt)(n, n, &l, ib, a, n, b, n, t, ib, work, &mut info);
                }
                Routine::Tpmqrt { triangle } => {
                    let l = if triangle { self.n } else { 0 };
                    (mkl.tpmqrt)(
                        left, transposed, n, n, n, &l, ib, v, n, t, ib, a, n, b, n, work, &mut info,
                    );
                }
                Routine::Gemm => {
                    (mkl.gemm)(plain, plain, n, n, n, &1.0, v, n, b, n, &1.0, a, n);
                }
                Routine::Potrf => (mkl.potrf)(lower, n, a, n, &mut info),
            }
        }
        assert_eq!(info, 0, "MKL's {:?} refuses its arguments", self.routine);
    }
}
