//! Packages of PyPI that rivals come from, in a folder of their own: MKL's libraries, and dask. Never touches
//! the system's Python, and runs nothing of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::compile::{expect_packages, folder, sources};

/// Names the packages and their versions.
const REQUIREMENTS: &str = "requirements.txt";
/// Packages whose versions are told.
const TOLD: [&str; 3] = ["mkl", "dask", "numpy"];

/// A Python environment with the packages of `benches/rivals/requirements.txt`.
pub struct Python {
    folder: PathBuf,
    requirements: String,
}

impl Python {
    /// Finds the environment, or makes it.
    ///
    /// # Errors
    /// There is no Python, or the packages cannot be had.
    pub fn make() -> Result<Self, String> {
        let file = sources().join(REQUIREMENTS);
        let requirements =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let made = Self {
            folder: folder()?.join("python"),
            requirements,
        };
        // Written last, so that what is there is whole.
        let whole = made.folder.join(REQUIREMENTS);
        if fs::read_to_string(&whole).is_ok_and(|text| text == made.requirements) {
            return Ok(made);
        }
        made.install(&file)?;
        fs::write(&whole, &made.requirements)
            .map_err(|error| format!("{}: {error}", whole.display()))?;
        Ok(made)
    }

    fn install(&self, requirements: &Path) -> Result<(), String> {
        let folder = self.folder.to_string_lossy();
        let made = Call::new("python3").args(["-m", "venv", "--clear", &folder]);
        made.run().map_err(|error| {
            let needed = expect_packages(&["python3", "python3-venv"]).err();
            format!("{error}\n{}", needed.unwrap_or_default())
        })?;
        let pip = Call::new(&self.program().to_string_lossy())
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .args(["--requirement", &requirements.to_string_lossy()]);
        pip.run().map_err(|error| {
            format!(
                "{error}\nMKL and dask come from PyPI; go on without them by: --without mkl,dask"
            )
        })?;
        Ok(())
    }

    /// The interpreter.
    pub fn program(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Where the shared libraries lie.
    pub fn libraries(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// Words for a compiler that links with the shared libraries.
    pub fn link_words(&self) -> Vec<String> {
        let libraries = self.libraries();
        let libraries = libraries.display();
        vec![format!("-L{libraries}"), format!("-Wl,-rpath,{libraries}")]
    }

    /// The packages that rivals are, with their versions.
    pub fn packages(&self) -> String {
        let pinned = self.requirements.lines().filter_map(|line| {
            let (package, version) = line.split_once("==")?;
            TOLD.contains(&package)
                .then(|| format!("{package} {version}"))
        });
        pinned.collect::<Vec<_>>().join(", ")
    }
}
