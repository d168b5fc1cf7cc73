//! The command on small matrices, as a user runs it: factors, report, summary.

use std::fs;

use peerwren::matrix::{ArrayForm, MatrixSource, NpyMatrix, NpyWriter};
use serde_json::Value;

use crate::schema::violations;
use crate::tools::{Folder, peerwren};

/// A whole matrix, column-major, with its shape.
struct Dense {
    m: usize,
    n: usize,
    values: Vec<f64>,
}

impl Dense {
    fn of(source: &MatrixSource) -> Self {
        let (m, n) = source.shape();
        let (m, n) = (m as usize, n as usize);
        let mut values = vec![0.0; m * n];
        source.read_tile(0, 0, m, n, &mut values).unwrap();
        Self { m, n, values }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[j * self.m + i]
    }
}

/// Largest entries of |A - QR| and |I - Q'Q|, computed the plain way.
fn differences(a: &Dense, q: &Dense, r: &Dense) -> (f64, f64) {
    let mut residual = 0.0f64;
    for j in 0..a.n {
        for i in 0..a.m {
            let qr: f64 = (0..q.n).map(|k| q.at(i, k) * r.at(k, j)).sum();
            residual = residual.max((a.at(i, j) - qr).abs());
        }
    }
    let mut orthogonality = 0.0f64;
    for j in 0..q.n {
        for i in 0..q.n {
            let dot: f64 = (0..q.m).map(|k| q.at(k, i) * q.at(k, j)).sum();
            orthogonality = orthogonality.max((dot - f64::from(i == j)).abs());
        }
    }
    (residual, orthogonality)
}

#[test]
fn factors_report_and_summary_are_right() {
    let folder = Folder::new("right");
    let table = [
        ("random:1x1:1", "--workers 1"),
        ("random:70x50:2", "--block 16 --ib 4 --workers 2"),
        (
            "random:50x70:3",
            "--block 16 --ib 5 --workers 3 --engine threads",
        ),
        (
            "random:200x9:4",
            "--block 16 --ib 4 --workers 2 --engine threads --store memory --tree flat",
        ),
        (
            "random:64x64:5",
            "--block 16 --ib 4 --workers 2 --engine threads --tree numpywren --exchange store",
        ),
        (
            "random:33x33:6",
            "--block 16 --ib 4 --workers 2 --exchange cache --tree binary --durability all",
        ),
    ];
    for (input, options) in table {
        let line = format!("qr {input} {options} --q q.npy --r r.npy --check --report p.json");
        let output = peerwren(&folder.0, &line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}: {told}");
        let summary = String::from_utf8(output.stdout).unwrap();
        assert!(
            summary.starts_with(&format!("qr of {input}\n")),
            "{summary}"
        );
        assert!(summary.contains("sound: |A - QR|"), "{summary}");

        let a = Dense::of(&MatrixSource::parse(input).unwrap());
        let open = |name: &str| Dense::of(&MatrixSource::open(&folder.0.join(name)).unwrap());
        let (q, r) = (open("q.npy"), open("r.npy"));
        let k = a.m.min(a.n);
        assert_eq!((q.m, q.n, r.m, r.n), (a.m, k, k, a.n), "{line}");
        for j in 0..r.n {
            assert!(
                (j + 1..r.m).all(|i| r.at(i, j).to_bits() == 0),
                "{line}: R below its diagonal"
            );
        }
        let (residual, orthogonality) = differences(&a, &q, &r);
        assert!(
            residual < 1e-12 && orthogonality < 1e-12,
            "{line}: {residual:e} {orthogonality:e}"
        );

        let report: Value =
            serde_json::from_slice(&fs::read(folder.0.join("p.json")).unwrap()).unwrap();
        let schema = serde_json::from_str(peerwren::report::SCHEMA).unwrap();
        assert_eq!(violations(&schema, &report), [""; 0], "{line}");
        for ratio in ["residual", "orthogonality"] {
            assert!(report[ratio].as_f64().unwrap() < 30.0, "{line}: {ratio}");
        }
        assert_eq!(report["m"], a.m);
        assert!(report["tasks"].as_u64().unwrap() >= 1);
        let mut files: Vec<_> = fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        files.sort();
        assert_eq!(
            files,
            ["p.json", "q.npy", "r.npy"],
            "{line}: nothing else is left"
        );
    }
}

#[test]
fn a_file_and_the_same_matrix_computed_give_the_same_bits() {
    let folder = Folder::new("same-bits");
    let source = MatrixSource::parse("random:45x31:7").unwrap();
    let a = Dense::of(&source);
    let writer = NpyWriter::create(&folder.0.join("a.npy"), ArrayForm::matrix(45, 31)).unwrap();
    writer.write_tile(0, 0, 45, 31, &a.values).unwrap();
    writer.finish().unwrap();
    let options = "--block 8 --ib 4 --tree grid:2x2 --workers 2 --quiet";
    for (input, r) in [("a.npy", "r1.npy"), ("random:45x31:7", "r2.npy")] {
        let output = peerwren(&folder.0, &format!("qr {input} {options} --r {r}"));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "--quiet is quiet"
        );
    }
    let bytes = |name: &str| fs::read(folder.0.join(name)).unwrap();
    assert_eq!(bytes("r1.npy"), bytes("r2.npy"));
    assert!(NpyMatrix::open(&folder.0.join("r1.npy")).is_ok());
}
