//! Programs as text: reading them, and those that are shipped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::bind;
use super::bound::Bound;
use super::error::{ProgramError, SourceFile, Sources};
use super::model::Model;
use super::parser;
use super::resolve;

macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        /// The programs, and what they include, by file name.
        const SHIPPED: &[(&str, &str)] = &[$(($file, include_str!(concat!("programs/", $file)))),*];
    };
}

shipped![
    "amax.lp",
    "apply_cyclic.lp",
    "apply_q.lp",
    "apply_q_numpywren.lp",
    "apply_tsqr.lp",
    "band_svd.lp",
    "bdfac.lp",
    "bdfac_numpywren.lp",
    "check_cholesky.lp",
    "check_gemm.lp",
    "check_lu.lp",
    "check_qr.lp",
    "check_solution.lp",
    "check_svd.lp",
    "check_truncated.lp",
    "check_vectors.lp",
    "cholesky.lp",
    "cholesky_tiles.lp",
    "combine.lp",
    "crop.lp",
    "gemm.lp",
    "gemm_numpywren.lp",
    "lstsq.lp",
    "lu.lp",
    "lu_tiles.lp",
    "minimum_norm.lp",
    "norm.lp",
    "posv.lp",
    "qr_grid.lp",
    "qr_numpywren.lp",
    "qr_tiles.lp",
    "ranks.lp",
    "row_domains.lp",
    "solve.lp",
    "tall_rows.lp",
    "trsm.lp",
    "tsqr.lp",
];

/// A program whose names are checked, before its parameters are known. A clone shares everything.
#[derive(Clone)]
pub struct Program {
    model: Arc<Model>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {}", self.name())
    }
}

impl Program {
    /// Reads a program; `include` finds the shipped files.
    ///
    /// `file_name` is what errors show.
    pub fn parse(file_name: &str, source: &str) -> Result<Program, ProgramError> {
        Self::parse_with(file_name, source, &[])
    }

    /// Reads a program; `include` finds the files given here by name, then the shipped ones.
    pub fn parse_with(
        file_name: &str,
        source: &str,
        files: &[(&str, &str)],
    ) -> Result<Program, ProgramError> {
        Self::parse_finding(file_name, source, &|wanted| {
            let found = files.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    /// Reads a program; `include` asks `find` for a file's text by its name, then the shipped ones.
    pub(crate) fn parse_finding(
        file_name: &str,
        source: &str,
        find: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Program, ProgramError> {
        let mut sources = Sources {
            files: vec![parser::source(file_name, source)],
        };
        let find = |wanted: &str| -> Option<SourceFile> {
            if let Some(text) = find(wanted) {
                return Some(parser::source(wanted, &text));
            }
            let (name, text) = SHIPPED.iter().find(|(name, _)| *name == wanted)?;
            Some(parser::source(name, text))
        };
        let file = parser::parse(&mut sources, &find)?;
        Ok(Program {
            model: Arc::new(resolve::resolve(sources, &file)?),
        })
    }

    /// The names of the shipped programs, and of what they include, without `.lp`.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(file, _)| file.trim_end_matches(".lp"))
    }

    /// The text of a shipped program, by its name without `.lp`.
    pub fn shipped(name: &str) -> Option<&'static str> {
        let file = format!("{name}.lp");
        SHIPPED
            .iter()
            .find(|(shipped, _)| *shipped == file)
            .map(|(_, text)| *text)
    }

    /// Whether every file of it is one that is shipped, so that tests have checked it.
    pub(crate) fn is_shipped(&self) -> bool {
        self.files().all(|file| SHIPPED.contains(&file))
    }

    /// The name in the program's first line.
    pub fn name(&self) -> &str {
        &self.model.name
    }

    /// The program's text, without what it includes.
    pub fn source(&self) -> &str {
        &self.model.sources.files[0].text
    }

    /// Every file that the program was read from, itself first: name and text.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.model
            .sources
            .files
            .iter()
            .map(|file| (file.name.as_str(), &*file.text))
    }

    /// The parameters' names, and whether each has a default.
    pub fn params(&self) -> impl Iterator<Item = (&str, bool)> {
        self.model
            .params
            .iter()
            .map(|param| (param.name.as_str(), param.default.is_some()))
    }

    /// The tile families: name, number of indices, whether it is an input.
    pub fn families(&self) -> impl Iterator<Item = (&str, usize, bool)> {
        self.model
            .families
            .iter()
            .map(|f| (f.name.as_str(), f.indices.len(), f.input.is_some()))
    }

    /// The outputs' names.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.model.output_names.iter().map(String::as_str)
    }

    /// The kernels that the statements call, in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.model.tasks.iter().map(|task| task.kernel.as_str())
    }

    /// Gives the parameters their values.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Parameters`] where one is missing, unknown or refused by the program,
    /// [`ProgramError::Text`] where a loop or an output has no value.
    pub fn bind(&self, params: &BTreeMap<String, i64>) -> Result<Bound, ProgramError> {
        bind::bind(&self.model, params)
    }
}
