//! What a kernel is to the rest of the system: a name, a version, a signature, flops, scratch and a
//! function. Runs kernels, never chooses them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::signature::{Arity, Signature, SignatureError};
use crate::tile::{Shape, TileMut, TileRef};

/// The shapes of one task's tiles; an absent optional tile is `None`.
#[derive(Clone, Copy, Debug)]
pub struct TaskShapes<'a> {
    /// In the order of the signature.
    pub inputs: &'a [Option<Shape>],
    /// In the order of the signature.
    pub outputs: &'a [Option<Shape>],
}

impl TaskShapes<'_> {
    /// Rows and columns of input `index`.
    ///
    /// # Panics
    /// When that input is absent: for kernels whose signature requires it.
    #[must_use]
    pub fn input(&self, index: usize) -> (usize, usize) {
        size(self.inputs, index)
    }

    /// Rows and columns of output `index`.
    ///
    /// # Panics
    /// When that output is absent: for kernels whose signature requires it.
    #[must_use]
    pub fn output(&self, index: usize) -> (usize, usize) {
        size(self.outputs, index)
    }
}

fn size(shapes: &[Option<Shape>], index: usize) -> (usize, usize) {
    let shape = shapes
        .get(index)
        .copied()
        .flatten()
        .expect("the signature was checked: a required tile is there");
    (shape.rows as usize, shape.cols as usize)
}

/// Bytes of a cache line. Tiles may lie anywhere; those that begin at a line are computed on faster.
pub const LINE_BYTES: usize = 64;

/// The tiles of one task. Outputs arrive with any contents and every word of them is written;
/// scratch has any contents and at least [`KernelOp::scratch_words`] words.
#[derive(Debug)]
pub struct TaskTiles<'a, 'b> {
    /// In the order of the signature.
    pub inputs: &'a [Option<TileRef<'b>>],
    /// In the order of the signature.
    pub outputs: &'a mut [Option<TileMut<'b>>],
    /// Work space.
    pub scratch: &'a mut [f64],
}

impl<'b> TaskTiles<'_, 'b> {
    /// Input `index`.
    ///
    /// # Panics
    /// When that input is absent: for kernels whose signature requires it.
    #[must_use]
    pub fn input(&self, index: usize) -> TileRef<'b> {
        self.optional_input(index)
            .expect("the signature was checked: a required input is there")
    }

    /// Input `index`, if it is there.
    #[must_use]
    pub fn optional_input(&self, index: usize) -> Option<TileRef<'b>> {
        self.inputs.get(index).copied().flatten()
    }

    /// The first `N` outputs and the scratch, from its first cache line on.
    ///
    /// # Panics
    /// When one of them is absent: for kernels whose signature requires them.
    pub fn outputs<const N: usize>(&mut self) -> ([&mut TileMut<'b>; N], &mut [f64]) {
        let mut outputs = self.outputs.iter_mut();
        let outputs = std::array::from_fn(|_| {
            let output = outputs.next().and_then(Option::as_mut);
            output.expect("the signature was checked: a required output is there")
        });
        let skip = self
            .scratch
            .as_ptr()
            .align_offset(LINE_BYTES)
            .min(self.scratch.len());
        (outputs, &mut self.scratch[skip..])
    }
}

/// Why a kernel cannot give a result. The task's inputs are to blame, so trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An input or an intermediate result is infinite or not a number.
    #[error("a value is infinite or not a number: it was so in the input, or the result overflows")]
    NotFinite,
    /// A Cholesky pivot is not positive.
    #[error("leading minor of order {order} is not positive")]
    NotPositiveDefinite {
        /// Order of the minor within this tile, counted from 1.
        order: usize,
    },
    /// A triangle that is to be solved with has a zero on its diagonal.
    #[error("diagonal entry {order} of the triangle is exactly zero")]
    Singular {
        /// Which one within this tile, counted from 1.
        order: usize,
    },
    /// A user's kernel gave up, or a kernel's numbers (an index, say) do not fit its tiles.
    #[error("{0}")]
    Failed(String),
}

type Count<T> = Arc<dyn Fn(&TaskShapes<'_>) -> T + Send + Sync>;
type Run = Arc<dyn Fn(&mut TaskTiles<'_, '_>) -> Result<(), KernelError> + Send + Sync>;

/// A kernel as tasks call it.
///
/// ```
/// use peerwren_kernels::op::{KernelOp, TaskTiles};
///
/// let twice = KernelOp::new("twice(full(m,n)) -> full(m,n)", |tiles: &mut TaskTiles<'_, '_>| {
///     let input = tiles.input(0);
///     let ([output], _scratch) = tiles.outputs();
///     for (to, from) in output.data.iter_mut().zip(input.data) {
///         *to = 2.0 * from;
///     }
///     Ok(())
/// })?
/// .with_flops(|shapes| (shapes.input(0).0 * shapes.input(0).1) as u64);
/// assert_eq!(twice.name(), "twice");
/// # Ok::<(), peerwren_kernels::signature::SignatureError>(())
/// ```
#[derive(Clone)]
pub struct KernelOp {
    signature: Arc<Signature>,
    version: u32,
    flops: Count<u64>,
    scratch: Count<usize>,
    run: Run,
}

impl KernelOp {
    /// A kernel of version 1 that counts no flops and needs no scratch.
    ///
    /// # Errors
    /// [`SignatureError::Syntax`].
    pub fn new(
        signature: &str,
        run: impl Fn(&mut TaskTiles<'_, '_>) -> Result<(), KernelError> + Send + Sync + 'static,
    ) -> Result<KernelOp, SignatureError> {
        Ok(KernelOp {
            signature: Arc::new(Signature::parse(signature)?),
            version: 1,
            flops: Arc::new(|_| 0),
            scratch: Arc::new(|_| 0),
            run: Arc::new(run),
        })
    }

    /// One of this crate's kernels, whose signature its tests have parsed.
    pub(crate) fn standard(
        signature: &'static str,
        run: impl Fn(&mut TaskTiles<'_, '_>) -> Result<(), KernelError> + Send + Sync + 'static,
    ) -> KernelOp {
        /// Rises when the bits of all change together, with the order in which products are summed.
        const VERSION: u32 = 2;
        let op =
            KernelOp::new(signature, run).expect("the signatures of this crate are well formed");
        op.with_version(VERSION)
    }

    /// The same kernel with this version; a new one whenever its bits change.
    #[must_use]
    pub fn with_version(self, version: u32) -> KernelOp {
        KernelOp { version, ..self }
    }

    /// The same kernel with a count of useful floating-point operations.
    #[must_use]
    pub fn with_flops(
        self,
        flops: impl Fn(&TaskShapes<'_>) -> u64 + Send + Sync + 'static,
    ) -> KernelOp {
        KernelOp {
            flops: Arc::new(flops),
            ..self
        }
    }

    /// The same kernel with scratch, in 8-byte words.
    #[must_use]
    pub fn with_scratch(
        self,
        scratch: impl Fn(&TaskShapes<'_>) -> usize + Send + Sync + 'static,
    ) -> KernelOp {
        KernelOp {
            scratch: Arc::new(scratch),
            ..self
        }
    }

    /// The name that programs call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.signature.name()
    }

    /// The version; plans name it, so that no worker runs another one.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The parsed signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// How many arguments it takes.
    #[must_use]
    pub fn arity(&self) -> Arity {
        self.signature.arity()
    }

    /// Checks a task's shapes.
    ///
    /// # Errors
    /// Names the argument, what was expected and what came.
    pub fn check(&self, shapes: &TaskShapes<'_>) -> Result<(), SignatureError> {
        self.signature.check(shapes)
    }

    /// Useful floating-point operations of a task whose shapes were checked.
    #[must_use]
    pub fn flops(&self, shapes: &TaskShapes<'_>) -> u64 {
        (self.flops)(shapes)
    }

    /// Scratch of a task whose shapes were checked, in 8-byte words, a cache line for its alignment
    /// included.
    #[must_use]
    pub fn scratch_words(&self, shapes: &TaskShapes<'_>) -> usize {
        match (self.scratch)(shapes) {
            0 => 0,
            words => words + LINE_BYTES / 8 - 1,
        }
    }

    /// Runs a task whose shapes were checked, on the calling thread alone. The outputs depend on
    /// the inputs alone; after an error they are unspecified.
    ///
    /// # Errors
    /// [`KernelError`].
    ///
    /// # Panics
    /// When the tiles are not those of a checked task, or scratch is too short.
    pub fn run(&self, tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
        (self.run)(tiles)
    }
}

impl fmt::Debug for KernelOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [version {}]", self.signature, self.version)
    }
}

/// A name is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kernel named {name} is registered already; give yours another name")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}

/// The kernels that a worker has, by name.
#[derive(Clone, Debug, Default)]
pub struct KernelSet {
    ops: BTreeMap<String, KernelOp>,
}

impl KernelSet {
    /// No kernels.
    #[must_use]
    pub fn new() -> KernelSet {
        KernelSet::default()
    }

    /// The kernels of this crate.
    ///
    /// ```
    /// # use peerwren_kernels::op::KernelSet;
    /// assert!(KernelSet::standard().get("tsmqr").is_some());
    /// ```
    #[must_use]
    pub fn standard() -> KernelSet {
        let mut set = KernelSet::new();
        for op in crate::standard_ops() {
            set.register(op)
                .expect("the crate's kernels have different names");
        }
        set
    }

    /// Adds a kernel.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn register(&mut self, op: KernelOp) -> Result<(), NameTaken> {
        if self.ops.contains_key(op.name()) {
            return Err(NameTaken {
                name: op.name().to_owned(),
            });
        }
        self.ops.insert(op.name().to_owned(), op);
        Ok(())
    }

    /// The kernel with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&KernelOp> {
        self.ops.get(name)
    }

    /// All kernels in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &KernelOp> {
        self.ops.values()
    }
}
