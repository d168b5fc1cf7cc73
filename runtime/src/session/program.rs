//! Programs of the user's own on matrices of a session.

use std::collections::BTreeMap;
use std::ops::Index;

use super::call::Run;
use super::{BigMatrix, Session};
use crate::lambdapack::Program;
use crate::linalg::{Operation, ProgramCall};

/// A program with what it is given and what is wanted of it.
#[derive(Clone, Debug)]
pub struct ProgramRun {
    session: Session,
    call: ProgramCall,
    inputs: Vec<BigMatrix>,
    outputs: Vec<String>,
}

/// The outputs of a program, by name.
///
/// Indexing panics where a name was not wanted.
#[derive(Clone, Debug)]
pub struct Outputs(BTreeMap<String, BigMatrix>);

impl Session {
    /// A run of a program of the user's own, whose kernels are the session's.
    ///
    /// ```
    /// use peerwren::Session;
    /// use peerwren::lambdapack::Program;
    ///
    /// let program = Program::parse("gram.lp", "program gram
    ///     param n, k, nb
    ///     def mt = cdiv(n, nb)
    ///     def rows(i) = min(nb, n - i * nb)
    ///     input A[i in 0..mt] : full(rows(i), k)
    ///     tile G[i] : full(k, k)
    ///     output G[i in 0..1] = G[mt]
    ///     for i in 0..mt { G[i + 1] = gram_step(A[i], A[i], G[i] when i > 0) }")
    ///     .expect("a program");
    /// let session = Session::new()?;
    /// let a = session.random(50, 4, 1)?;
    /// let run = session.program(program).param("n", 50).param("k", 4).param("nb", 16);
    /// let g = run.input("A", &a).output("G").run().wait()?["G"].clone();
    /// let product = session.matmul(&a.transposed(), &a).wait()?;
    /// let difference = session.add(1.0, &g, -1.0, &product).wait()?;
    /// assert!(session.norm(&difference, peerwren::Norm::Max).wait()? < 1e-13);
    /// # Ok::<(), peerwren::RunError>(())
    /// ```
    #[must_use]
    pub fn program(&self, program: Program) -> ProgramRun {
        ProgramRun {
            session: self.clone(),
            call: ProgramCall::new(program),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

impl ProgramRun {
    /// The same with a parameter that has a value.
    #[must_use]
    pub fn param(mut self, name: &str, value: i64) -> Self {
        self.call = self.call.param(name, value);
        self
    }

    /// The same with an input that is a matrix.
    #[must_use]
    pub fn input(mut self, name: &str, matrix: &BigMatrix) -> Self {
        self.call = self.call.input(name);
        self.inputs.push(matrix.clone());
        self
    }

    /// The same with one more output that is wanted.
    #[must_use]
    pub fn output(mut self, name: &str) -> Self {
        self.outputs.push(name.to_owned());
        self
    }

    /// Runs it.
    pub fn run(self) -> Run<Outputs> {
        let inputs: Vec<&BigMatrix> = self.inputs.iter().collect();
        let wanted: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let names = self.outputs.clone();
        let operation = Operation::Program(Box::new(self.call));
        self.session.run(operation, &inputs, &wanted, |made| {
            Outputs(names.into_iter().zip(made).collect())
        })
    }
}

impl Outputs {
    /// An output, if it was wanted.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BigMatrix> {
        self.0.get(name)
    }
}

impl Index<&str> for Outputs {
    type Output = BigMatrix;

    fn index(&self, name: &str) -> &BigMatrix {
        match self.get(name) {
            Some(output) => output,
            None => panic!(
                "output `{name}` was not wanted; expected one of: {}",
                self.0.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        }
    }
}
