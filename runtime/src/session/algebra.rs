//! Products, sums, norms, and copies in other tiles or places.

use std::path::Path;

use super::call::Run;
use super::solve::only;
use super::{BigMatrix, Session, usage};
pub use crate::linalg::Norm;
use crate::linalg::{Operation, Scales};
use crate::matrix::zarr::{self, Layout};
use crate::matrix::{Entries, NpyWriter, ResultPlace};
use crate::report::Report;
use crate::run::RunError;

impl Session {
    /// A B. Transposes are views: `session.matmul(&a.transposed(), &b)`.
    pub fn matmul(&self, a: &BigMatrix, b: &BigMatrix) -> Run<BigMatrix> {
        let scales = Scales {
            alpha: 1.0,
            beta: 0.0,
        };
        self.run(Operation::Gemm(scales), &[a, b], &["c"], only)
    }

    /// alpha A B + beta C.
    pub fn gemm(
        &self,
        alpha: f64,
        a: &BigMatrix,
        b: &BigMatrix,
        beta: f64,
        c: &BigMatrix,
    ) -> Run<BigMatrix> {
        let operation = Operation::Gemm(Scales { alpha, beta });
        self.run(operation, &[a, b, c], &["c"], only)
    }

    /// alpha A + beta B.
    pub fn add(&self, alpha: f64, a: &BigMatrix, beta: f64, b: &BigMatrix) -> Run<BigMatrix> {
        self.run(
            Operation::Add(Scales { alpha, beta }),
            &[a, b],
            &["c"],
            only,
        )
    }

    /// alpha A.
    pub fn scale(&self, alpha: f64, a: &BigMatrix) -> Run<BigMatrix> {
        let operation = Operation::Add(Scales { alpha, beta: 0.0 });
        self.run(operation, &[a], &["c"], only)
    }

    /// A norm of A.
    ///
    /// ```
    /// use peerwren::{Norm, Session};
    ///
    /// let session = Session::new()?;
    /// let a = session.from_slice(2, 2, &[3.0, 0.0, -4.0, 12.0])?;
    /// assert_eq!(session.norm(&a, Norm::One).wait()?, 16.0);
    /// assert_eq!(session.norm(&a, Norm::Infinity).wait()?, 12.0);
    /// assert_eq!(session.norm(&a, Norm::Frobenius).wait()?, 13.0);
    /// assert_eq!(session.norm(&a, Norm::Max).wait()?, 12.0);
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    pub fn norm(&self, a: &BigMatrix, norm: Norm) -> Run<f64> {
        let run = self.run(Operation::Norm(norm), &[a], &["norm"], only);
        run.then(|norm| {
            let entries = norm.to_vec().wait()?;
            let entry = entries.first().copied();
            entry.ok_or_else(|| RunError::Failed("a norm is one number".to_owned()))
        })
    }

    /// The entries of A, which may be a view of another matrix, in tiles of `block` rows and columns of their own.
    pub fn copy(&self, a: &BigMatrix, block: u32) -> Run<BigMatrix> {
        let one = Scales {
            alpha: 1.0,
            beta: 0.0,
        };
        let session = self.tuned(|options| options.block = Some(block));
        session.run(Operation::Add(one), &[a], &["c"], only)
    }

    /// Writes A to where it stays: a `.npy` file, or a `.zarr` array in a folder or on S3, which the workers write.
    ///
    /// ```
    /// # use peerwren::Session;
    /// # let folder = std::env::temp_dir().join(format!("peerwren-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).expect("a folder");
    /// let session = Session::new()?;
    /// let r = session.qr_r(&session.random(50, 20, 1)?).wait()?;
    /// session.write(&r, folder.join("r.zarr")).wait()?;
    /// let again = session.open(folder.join("r.zarr").to_str().expect("UTF-8"))?;
    /// assert_eq!(again.to_vec().wait()?, r.to_vec().wait()?);
    /// # std::fs::remove_dir_all(&folder).expect("it is there");
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    pub fn write(&self, a: &BigMatrix, to: impl AsRef<Path>) -> Run<()> {
        let (session, a, to) = (self.clone(), a.clone(), to.as_ref().to_owned());
        Run::new(move |context| {
            let place = ResultPlace::parse(&to).map_err(usage)?;
            place
                .check_writable(a.source().place().as_ref())
                .map_err(usage)?;
            if a.source().form().entries == Entries::I64 {
                // Few: numbers of rows. Tasks would make other numbers of them.
                return write_integers(&a, &place).map(|()| ((), Report::default()));
            }
            let one = Scales {
                alpha: 1.0,
                beta: 0.0,
            };
            let mut request = session.request(Operation::Add(one), vec![a.source().clone()])?;
            request.interrupt = context.interrupt.clone();
            let request = request.wanting("c", place);
            let outcome = crate::linalg::run(request, &mut context.progress)?;
            Ok(((), outcome.report))
        })
    }
}

/// Writes a vector of integers; this process reads and writes it.
fn write_integers(a: &BigMatrix, to: &ResultPlace) -> Result<(), RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let values = a.to_vec().wait()?;
    let bits = |value: f64| f64::from_bits((value as i64).cast_unsigned());
    let words: Vec<f64> = values.into_iter().map(bits).collect();
    let form = a.source().form();
    match to {
        ResultPlace::Npy(path) => {
            let writer = NpyWriter::create(path, form).map_err(|e| failed(&e))?;
            let written = writer.write_tile(0, 0, words.len(), 1, &words);
            written
                .and_then(|()| writer.finish())
                .map_err(|e| failed(&e))
        }
        ResultPlace::Zarr(place) => {
            let rows = u32::try_from(form.rows).unwrap_or(u32::MAX);
            let layout = Layout::tiled(form, a.tile_shape().unwrap_or((rows, 1)));
            let layout = layout.map_err(RunError::Usage)?;
            let entry = |i: u64, _| words[i as usize];
            zarr::write(place, layout, &entry).map_err(|e| failed(&e))
        }
    }
}
