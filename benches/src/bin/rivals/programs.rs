//! The programs of all sides: found, built and run once. Never compares.

use std::path::PathBuf;

use peerwren_benches::call::Call;
use peerwren_benches::compile::{compile, expect_packages, sources};
use peerwren_benches::machine::cpu_line;
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::python::Python;
use peerwren_benches::report::parse;
use peerwren_benches::scalapack::{build, build_with_mkl, packages, ranks};
use serde_json::Value;

use crate::cases::{CORES, Who};
use crate::setting::Setting;
use crate::work::{Operation, Work};

/// Side of the product by which kernels are chosen, and how often it is computed.
const TRIAL: Work = Work {
    operation: Operation::Gemm,
    m: 2048,
    n: 2048,
};
const TRIALS: u32 = 3;
/// Kernels of OpenBLAS that use AVX-512.
const WIDE_CORES: [&str; 3] = ["SkylakeX", "Cooperlake", "SapphireRapids"];
/// Flags of a CPU that can run the first of them.
const WIDE_FLAGS: [&str; 4] = ["avx512f", "avx512dq", "avx512bw", "avx512vl"];

/// What one run tells.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// BLAS's kernels, or peerwren's tree.
    pub(crate) with: String,
    /// Bytes that workers received from each other.
    pub(crate) peer_bytes: Option<f64>,
}

/// All programs.
pub(crate) struct Programs {
    pub(crate) peerwren: Peerwren,
    scalapack: PathBuf,
    counted: PathBuf,
    openblas: PathBuf,
    mkl: Option<Mkl>,
    dask: Option<PathBuf>,
    packages: Vec<String>,
    /// OpenBLAS's kernels; `None` leaves the choice to it.
    fastest: Option<String>,
    /// What the environment wants them to be.
    pub(crate) as_set: Option<String>,
}

struct Mkl {
    lapack: PathBuf,
    scalapack: PathBuf,
    /// A library that goes before it.
    before: Option<PathBuf>,
}

impl Programs {
    /// Finds peerwren, builds and installs the rivals but those left out, and chooses BLAS's kernels.
    ///
    /// # Errors
    /// Something is missing or does not build.
    pub(crate) fn find(peerwren: Peerwren, without: &[String]) -> Result<Self, String> {
        let has = |name: &str| !without.iter().any(|left| left == name);
        expect_packages(&["libopenblas0-pthread", "gcc"])?;
        let python = if has("mkl") || has("dask") {
            Some(Python::make()?)
        } else {
            None
        };
        let mut told = vec![packages()];
        told.extend(python.iter().map(Python::packages));
        let mut programs = Self {
            peerwren,
            scalapack: build("scalapack", &["scalapack.c", "kernels.c"], &[])?,
            counted: build(
                "scalapack-counted",
                &["scalapack.c", "kernels.c", "count.c"],
                &["-DCOUNT"],
            )?,
            openblas: lapack("lapack-openblas", &["-l:libopenblas.so.0".to_owned()])?,
            mkl: python
                .as_ref()
                .filter(|_| has("mkl"))
                .map(Mkl::build)
                .transpose()?,
            dask: python
                .filter(|_| has("dask"))
                .map(|python| python.program()),
            packages: told,
            fastest: None,
            as_set: None,
        };
        programs.choose_kernels()?;
        Ok(programs)
    }

    /// The packages that rivals are, with versions.
    pub(crate) fn packages(&self) -> String {
        self.packages.join(", ")
    }

    /// Whether a side can be run here.
    pub(crate) fn has(&self, who: Who) -> bool {
        match who {
            Who::ScalapackAsSet => self.as_set.is_some(),
            Who::MklScalapack | Who::Mkl => self.mkl.is_some(),
            Who::Dask => self.dask.is_some(),
            _ => true,
        }
    }

    /// Takes the kernels with which OpenBLAS and MKL compute a product fastest.
    fn choose_kernels(&mut self) -> Result<(), String> {
        let own = self.try_kernels(Who::OpenBlas(CORES))?;
        let mut fastest = own.clone();
        if !WIDE_CORES.contains(&own.with.as_str()) && has_wide_vectors() {
            self.fastest = Some(WIDE_CORES[0].to_owned());
            fastest = self.try_kernels(Who::OpenBlas(CORES))?;
            if fastest.seconds > own.seconds {
                self.fastest = None;
                fastest = own;
            }
        }
        // Whatever the environment says is one more side, unless it is this one.
        let set = std::env::var("OPENBLAS_CORETYPE").ok();
        self.as_set = set.filter(|set| *set != fastest.with);
        let Some(before) = self.mkl.as_ref().and_then(|mkl| mkl.before.clone()) else {
            return Ok(());
        };
        let as_intel = self.try_kernels(Who::Mkl)?;
        self.put_before_mkl(None);
        let as_it_is = self.try_kernels(Who::Mkl)?;
        if as_intel.seconds < as_it_is.seconds {
            self.put_before_mkl(Some(before));
        }
        Ok(())
    }

    fn put_before_mkl(&mut self, before: Option<PathBuf>) {
        if let Some(mkl) = &mut self.mkl {
            mkl.before = before;
        }
    }

    /// The best of some products.
    fn try_kernels(&self, who: Who) -> Result<Sample, String> {
        let setting = Setting::of(who);
        let mut best = self.run(&setting, TRIAL)?;
        for _ in 1..TRIALS {
            let sample = self.run(&setting, TRIAL)?;
            if sample.seconds < best.seconds {
                best = sample;
            }
        }
        let rate = TRIAL.flops() / best.seconds * 1e-9;
        println!(
            "{who} with {}: GEMM {} at {rate:.1} GFLOP/s",
            best.with, TRIAL.n
        );
        Ok(best)
    }

    /// Runs a side once.
    ///
    /// # Errors
    /// It fails, or its result is wrong.
    pub(crate) fn run(&self, setting: &Setting, work: Work) -> Result<Sample, String> {
        let Setting { who, block, .. } = *setting;
        if let Who::Peerwren { workers, cores, .. } = who {
            let line = self.line(setting, work, workers, cores);
            let report = self.peerwren.run(&line)?;
            return Ok(Sample {
                seconds: report.positive("/factor_s")?,
                with: report.text("/tree").to_owned(),
                peer_bytes: Some(report.peer_bytes()?),
            });
        }
        let call = match who {
            Who::Scalapack(count) => self.openblas(
                setting.on_ranks(&self.scalapack, count, work),
                self.fastest.as_deref(),
            ),
            Who::ScalapackAsSet => self.openblas(
                setting.on_ranks(&self.scalapack, CORES, work),
                self.as_set.as_deref(),
            ),
            Who::OpenBlas(threads) => self.openblas(
                program(&self.openblas)
                    .args(work.words())
                    .env("OPENBLAS_NUM_THREADS", &threads.to_string()),
                self.fastest.as_deref(),
            ),
            Who::MklScalapack => {
                let mkl = self.mkl()?;
                mkl.call(setting.on_ranks(&mkl.scalapack, CORES, work))
            }
            Who::Mkl => {
                let mkl = self.mkl()?;
                let call = program(&mkl.lapack).args(work.words());
                mkl.call(call.env("MKL_NUM_THREADS", &CORES.to_string()))
            }
            Who::Dask | Who::Peerwren { .. } => {
                let python = self.dask.as_ref().ok_or("dask is left out")?;
                program(python)
                    .args([sources().join("dask_rival.py").to_string_lossy()])
                    .args(work.words())
                    .args([block.to_string(), CORES.to_string()])
                    // One thread a task: the pool has as many as there are cores.
                    .env("OPENBLAS_NUM_THREADS", "1")
            }
        };
        sample(&call)
    }

    /// Bytes that ScaLAPACK's ranks receive from each other.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn count(&self, setting: &Setting, ranks: u32, work: Work) -> Result<f64, String> {
        let call = setting.on_ranks(&self.counted, ranks, work);
        let told = told(&call)?;
        let bytes = |name: &str| told[name].as_f64().unwrap_or(0.0);
        Ok(bytes("point_bytes") + bytes("collective_bytes"))
    }

    /// A line of peerwren's arguments.
    fn line(&self, setting: &Setting, work: Work, workers: u32, cores: u32) -> String {
        format!(
            "{} {} --block {} --workers {workers} --cores {cores} --preload",
            setting.command,
            work.inputs(),
            setting.block
        )
    }

    fn openblas(&self, call: Call, kernels: Option<&str>) -> Call {
        match kernels {
            Some(kernels) => call.env("OPENBLAS_CORETYPE", kernels),
            None => call,
        }
    }

    fn mkl(&self) -> Result<&Mkl, String> {
        self.mkl
            .as_ref()
            .ok_or_else(|| "MKL is left out".to_owned())
    }
}

impl Mkl {
    fn build(python: &Python) -> Result<Self, String> {
        let mut words = python.link_words();
        words.push("-l:libmkl_rt.so.3".to_owned());
        let before = if cpu_line("vendor_id") == "GenuineIntel" {
            None
        } else {
            let shared = ["-shared", "-fPIC"].map(str::to_owned);
            Some(compile("gcc", "as-intel.so", &["as_intel.c"], &shared)?)
        };
        Ok(Self {
            lapack: lapack("lapack-mkl", &words)?,
            scalapack: build_with_mkl("scalapack-mkl", &["scalapack.c", "kernels.c"], python)?,
            before,
        })
    }

    fn call(&self, call: Call) -> Call {
        match &self.before {
            Some(before) => call.env("LD_PRELOAD", &before.to_string_lossy()),
            None => call,
        }
    }
}

fn lapack(name: &str, words: &[String]) -> Result<PathBuf, String> {
    compile("gcc", name, &["lapack.c", "kernels.c"], words)
}

fn program(program: &std::path::Path) -> Call {
    Call::new(&program.to_string_lossy())
}

impl Setting {
    /// The call of a program of ScaLAPACK.
    fn on_ranks(&self, program: &std::path::Path, count: u32, work: Work) -> Call {
        // More ranks than cores share these.
        let placed: &[&str] = if count <= CORES {
            &["--bind-to", "core"]
        } else {
            &["--oversubscribe", "--bind-to", "none"]
        };
        let (p, q) = self.grid;
        ranks(count, placed, program)
            .args(work.words())
            .args([self.block, p, q].map(|number| number.to_string()))
    }
}

/// Runs a rival and reads its line.
fn sample(call: &Call) -> Result<Sample, String> {
    let told = told(call)?;
    let with = told["core"].as_str().unwrap_or("none");
    if with == "none" {
        return Err(format!(
            "`{call}`: expected OpenBLAS or MKL, got another BLAS, which may be far slower"
        ));
    }
    let seconds = &told["seconds"];
    let positive = seconds.as_f64().filter(|s| *s > 0.0 && s.is_finite());
    Ok(Sample {
        seconds: positive
            .ok_or_else(|| format!("`{call}`: expected positive `seconds`, got {seconds}"))?,
        with: with.to_owned(),
        peer_bytes: None,
    })
}

fn told(call: &Call) -> Result<Value, String> {
    parse(&call.to_string(), &call.run()?)
}

fn has_wide_vectors() -> bool {
    let flags = cpu_line("flags");
    let flags: Vec<&str> = flags.split_whitespace().collect();
    WIDE_FLAGS.iter().all(|flag| flags.contains(flag))
}
