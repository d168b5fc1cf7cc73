//! Matrices from functions, seeds and other libraries' matrices: tile by tile onto the session's store.

use super::call::Call;
use super::{BigMatrix, Session, usage};
use crate::matrix::zarr::Layout;
use crate::matrix::{ArrayForm, MatrixSource, RandomMatrix, SpdMatrix, zarr};
use crate::options::MachineFacts;
use crate::run::RunError;

impl Session {
    /// A matrix of independent entries, uniform in [-1, 1), that depend on seed and place alone. It lies nowhere:
    /// workers compute what they need.
    ///
    /// # Errors
    /// [`RunError::Usage`] for a size of 0, or one that is too large.
    pub fn random(&self, rows: u64, cols: u64, seed: u64) -> Result<BigMatrix, RunError> {
        let matrix = RandomMatrix::new(rows, cols, seed).map_err(usage)?;
        Ok(MatrixSource::from(matrix).into())
    }

    /// A symmetric positive definite matrix of the same kind.
    ///
    /// # Errors
    /// As [`Session::random`].
    pub fn random_spd(&self, n: u64, seed: u64) -> Result<BigMatrix, RunError> {
        let matrix = SpdMatrix::new(n, seed).map_err(usage)?;
        Ok(MatrixSource::from(matrix).into())
    }

    /// The `rows` x `cols` matrix with ones on its diagonal; it lies nowhere.
    ///
    /// # Errors
    /// As [`Session::random`].
    pub fn identity(&self, rows: u64, cols: u64) -> Result<BigMatrix, RunError> {
        MatrixSource::eye(rows, cols).map(Into::into).map_err(usage)
    }

    /// A matrix whose entry (i, j) is `entry(i, j)`, counted from 0. This process computes and writes it, since other
    /// processes do not have the function.
    pub fn from_fn(
        &self,
        rows: u64,
        cols: u64,
        entry: impl Fn(u64, u64) -> f64 + Send + Sync + 'static,
    ) -> Call<BigMatrix> {
        let session = self.clone();
        Call::new(move |_| session.write_entries(ArrayForm::matrix(rows, cols), &entry))
    }

    /// The `rows` x `cols` matrix of which these are the entries, column by column.
    ///
    /// # Errors
    /// [`RunError::Usage`] where they are not as many, one is NaN or infinite, or the store cannot be written.
    pub fn from_slice(&self, rows: u64, cols: u64, entries: &[f64]) -> Result<BigMatrix, RunError> {
        if rows.checked_mul(cols) != Some(entries.len() as u64) {
            return Err(usage(format!(
                "{rows} x {cols} entries were expected, found {}",
                entries.len()
            )));
        }
        let entry = |i: u64, j: u64| entries[(j * rows + i) as usize];
        self.write_entries(ArrayForm::matrix(rows, cols), &entry)
    }

    /// A column of these entries, of one dimension: what is solved for it has one dimension too.
    ///
    /// # Errors
    /// As [`Session::from_slice`].
    pub fn vector(&self, entries: &[f64]) -> Result<BigMatrix, RunError> {
        let form = ArrayForm::vector(entries.len() as u64);
        self.write_entries(form, &|i, _| entries[i as usize])
    }

    /// A copy of faer's matrix on the store.
    ///
    /// ```
    /// # use peerwren::Session;
    /// let session = Session::new()?;
    /// let a = faer::Mat::from_fn(40, 30, |i, j| if i == j { 2.0 } else { 1.0 / (1 + i + j) as f64 });
    /// let on_store = session.from_faer(a.as_ref())?;
    /// assert_eq!(on_store.to_faer().wait()?, a);
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::from_slice`].
    pub fn from_faer(&self, matrix: faer::MatRef<'_, f64>) -> Result<BigMatrix, RunError> {
        let form = ArrayForm::matrix(matrix.nrows() as u64, matrix.ncols() as u64);
        self.write_entries(form, &|i, j| matrix[(i as usize, j as usize)])
    }

    /// A copy of ndarray's array on the store.
    ///
    /// # Errors
    /// As [`Session::from_slice`].
    #[cfg(feature = "ndarray")]
    pub fn from_ndarray(&self, array: ndarray::ArrayView2<'_, f64>) -> Result<BigMatrix, RunError> {
        let (rows, cols) = array.dim();
        let form = ArrayForm::matrix(rows as u64, cols as u64);
        self.write_entries(form, &|i, j| array[(i as usize, j as usize)])
    }

    fn write_entries(
        &self,
        form: ArrayForm,
        entry: &(dyn Fn(u64, u64) -> f64 + Sync),
    ) -> Result<BigMatrix, RunError> {
        let options =
            self.options
                .resolve(form.rows.max(1), form.cols.max(1), &MachineFacts::read());
        let block = options.map_err(usage)?.block;
        let layout = Layout::tiled(form, (block, block)).map_err(usage)?;
        let place = self.home.next("made");
        zarr::write(&place, layout, entry).map_err(usage)?;
        self.home.adopt(&place)
    }
}
