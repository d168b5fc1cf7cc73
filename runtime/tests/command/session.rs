//! The library as a program uses it: sessions, matrices that stay on the store, calls that are awaited or waited
//! for.

use std::path::{Path, PathBuf};

use peerwren::linalg::{Triangle, Truncation};
use peerwren::options::{EngineKind, RunOptions, StoreChoice};
use peerwren::{BigMatrix, Norm, RunError, Session};

use crate::tools::Folder;

/// A session of two workers in threads whose matrices lie in a folder.
fn session(folder: &Folder) -> Session {
    let session = Session::with(RunOptions {
        workers: Some(2),
        block: Some(16),
        engine: EngineKind::Threads,
        store: StoreChoice::Folder(folder.0.join("store")),
        ..RunOptions::default()
    });
    session.unwrap()
}

fn values(matrix: &BigMatrix) -> Vec<f64> {
    matrix.to_vec().wait().unwrap()
}

/// What lies in the session's part of the store.
fn stored(folder: &Folder) -> Vec<PathBuf> {
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let runs = list(&folder.0.join("store"));
    let mut found: Vec<_> = runs
        .iter()
        .flat_map(|run| list(run))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "zarr")
        })
        .collect();
    found.sort();
    found
}

/// |A - B| in the largest entry.
fn apart(session: &Session, a: &BigMatrix, b: &BigMatrix) -> f64 {
    let difference = session.add(1.0, a, -1.0, b).wait().unwrap();
    session.norm(&difference, Norm::Max).wait().unwrap()
}

#[test]
fn results_stay_on_the_store_feed_the_next_call_and_go_with_their_handles() {
    let folder = Folder::new("handles");
    let session = session(&folder);
    let a = session.random(70, 40, 1).unwrap();
    assert_eq!(stored(&folder).len(), 0, "a computed matrix lies nowhere");
    let (qr, report) = session.qr(&a).reported().wait().unwrap();
    assert_eq!((qr.q.shape(), qr.r.shape()), ((70, 40), (40, 40)));
    assert_eq!(stored(&folder).len(), 2);
    assert!(report.q.tasks > 0);
    let product = session.matmul(&qr.q, &qr.r).wait().unwrap();
    assert!(apart(&session, &product, &a) < 1e-13);
    let gram = session.matmul(&qr.q.transposed(), &qr.q).wait().unwrap();
    assert!(apart(&session, &gram, &session.identity(40, 40).unwrap()) < 1e-14);
    assert_eq!(stored(&folder).len(), 4, "differences went");
    // A view keeps what it shows.
    let corner = qr.r.slice(0..8, 0..8).unwrap();
    drop((qr, product, gram));
    assert_eq!(stored(&folder).len(), 1);
    assert_eq!(values(&corner).len(), 64);
    drop(corner);
    assert_eq!(stored(&folder).len(), 0);
    drop(session);
    let left: Vec<_> = std::fs::read_dir(folder.0.join("store")).unwrap().collect();
    assert!(
        left.iter()
            .all(|entry| !entry.as_ref().unwrap().path().is_dir()),
        "{left:?}"
    );
}

#[test]
fn matrices_come_from_functions_slices_and_other_libraries_and_go_back() {
    let folder = Folder::new("sources");
    let session = session(&folder);
    let entry = |i: u64, j: u64| i as f64 - 0.25 * j as f64;
    let plain: Vec<f64> = (0..37 * 21).map(|at| entry(at % 37, at / 37)).collect();
    let made = session.from_fn(37, 21, entry).wait().unwrap();
    assert_eq!(made.tile_shape(), Some((16, 16)));
    let faer = faer::Mat::from_fn(37, 21, |i, j| entry(i as u64, j as u64));
    let from_faer = session.from_faer(faer.as_ref()).unwrap();
    let from_slice = session.from_slice(37, 21, &plain).unwrap();
    for matrix in [&made, &from_faer, &from_slice] {
        assert_eq!(values(matrix), plain);
        assert_eq!(matrix.to_faer().wait().unwrap(), faer);
    }
    #[cfg(feature = "ndarray")]
    {
        let array = ndarray::Array2::from_shape_fn((37, 21), |(i, j)| entry(i as u64, j as u64));
        let from_ndarray = session.from_ndarray(array.view()).unwrap();
        assert_eq!(values(&from_ndarray), plain);
        assert_eq!(made.to_ndarray().wait().unwrap(), array);
        // In any order of axes.
        let turned = session.from_ndarray(array.t()).unwrap();
        assert_eq!(values(&turned.transposed()), plain);
    }
    let block = made.block(16, 2, 1).unwrap();
    assert_eq!(block.shape(), (5, 5));
    assert_eq!(values(&block)[0], entry(32, 16));
    let other = session.copy(&made.transposed(), 7).wait().unwrap();
    assert_eq!(other.tile_shape(), Some((7, 7)));
    assert_eq!(values(&other.transposed()), plain);
    let scaled = session.scale(-2.0, &made).wait().unwrap();
    assert_eq!(
        values(&scaled),
        plain.iter().map(|x| -2.0 * x).collect::<Vec<_>>()
    );
    // To stay, in both forms.
    for name in ["a.npy", "a.zarr"] {
        let path = folder.0.join(name);
        session.write(&made, &path).wait().unwrap();
        let opened = session.open(path.to_str().unwrap()).unwrap();
        assert_eq!(values(&opened), plain);
    }
    let norms = [Norm::Max, Norm::One, Norm::Infinity, Norm::Frobenius];
    let found = norms.map(|norm| session.norm(&made, norm).wait().unwrap());
    let sum = |entries: &mut dyn Iterator<Item = f64>| entries.map(f64::abs).sum::<f64>();
    let largest = |sums: &mut dyn Iterator<Item = f64>| sums.fold(0.0, f64::max);
    let expected = [
        largest(&mut plain.iter().map(|x| x.abs())),
        largest(&mut (0..21).map(|j| sum(&mut (0..37).map(|i| entry(i, j))))),
        largest(&mut (0..37).map(|i| sum(&mut (0..21).map(|j| entry(i, j))))),
        plain.iter().map(|x| x * x).sum::<f64>().sqrt(),
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found / expected - 1.0).abs() < 1e-14,
            "{found} is not {expected}"
        );
    }
}

/// Every operation of the library, checked by itself as LAPACK's tests do.
#[test]
fn operations_are_sound_and_solutions_have_the_dimensions_of_their_right_sides() {
    let folder = Folder::new("operations");
    let session = session(&folder).checked();
    let tall = session.random(70, 40, 1).unwrap();
    let square = session.random(40, 40, 2).unwrap();
    let spd = session.random_spd(40, 3).unwrap();
    let b = session.vector(&[1.0; 40]).unwrap();
    let long = session.vector(&[1.0; 70]).unwrap();
    let x = session.solve(&square, &b).wait().unwrap();
    assert!(x.is_vector() && x.shape() == (40, 1));
    assert!(session.posv(&spd, &b).wait().unwrap().is_vector());
    let x = session.lstsq(&tall, &long).wait().unwrap();
    assert!(x.is_vector() && x.shape() == (40, 1));
    let l = session.cholesky(&spd).wait().unwrap();
    let lower = session.trsm(&l, Triangle::default(), &b).wait().unwrap();
    assert!(apart(&session, &session.matmul(&l, &lower).wait().unwrap(), &b) < 1e-12);
    let lu = session.lu(&tall).wait().unwrap();
    let mut rows = values(&lu.p);
    rows.sort_by(f64::total_cmp);
    assert_eq!(rows, (0..70).map(f64::from).collect::<Vec<_>>());
    assert_eq!((lu.l.shape(), lu.u.shape()), ((70, 40), (40, 40)));
    // Numbers of rows stay integers.
    for name in ["p.npy", "p.zarr"] {
        let path = folder.0.join(name);
        session.write(&lu.p, &path).wait().unwrap();
        let opened = session.open(path.to_str().unwrap()).unwrap();
        assert_eq!(values(&opened), values(&lu.p));
    }
    let header = String::from_utf8_lossy(&folder.bytes("p.npy")[..80]).into_owned();
    assert!(
        header.contains("'<i8'") && header.contains("(70,)"),
        "{header}"
    );
    let tsqr = session
        .tuned(|options| options.block = Some(40))
        .tsqr(&tall)
        .wait()
        .unwrap();
    let r = session.qr_r(&tall).wait().unwrap();
    let up_to_signs =
        |matrix: &BigMatrix| values(matrix).iter().map(|x| x.abs()).collect::<Vec<_>>();
    for (one, other) in up_to_signs(&tsqr.r).iter().zip(up_to_signs(&r)) {
        assert!((one - other).abs() < 1e-12);
    }
    let svd = session.svd(&tall.transposed()).wait().unwrap();
    assert_eq!((svd.u.shape(), svd.vt.shape()), ((40, 40), (40, 70)));
    let s = values(&svd.s);
    assert_eq!(s.len(), 40);
    let alone = values(&session.singular_values(&tall).wait().unwrap());
    assert!(
        s.iter()
            .zip(&alone)
            .all(|(a, b)| (a / b - 1.0).abs() < 1e-12)
    );
    let added = session
        .gemm(2.0, &tall, &square, -1.0, &tall)
        .wait()
        .unwrap();
    assert_eq!(added.shape(), (70, 40));
}

/// A sketch finds the values of a matrix of low rank exactly, and those of others nearly; whatever it finds is
/// a part of the matrix.
#[test]
fn truncated_decompositions_are_sound() {
    let folder = Folder::new("truncated");
    let session = session(&folder).checked();
    let left = session.random(90, 7, 1).unwrap();
    let right = session.random(7, 50, 2).unwrap();
    let low = session.matmul(&left, &right).wait().unwrap();
    for a in [&low, &low.transposed()] {
        let all = values(&session.singular_values(a).wait().unwrap());
        let (svd, report) = session
            .svd_truncated(
                a,
                Truncation {
                    power: 0,
                    ..Truncation::rank(20)
                },
            )
            .reported()
            .wait()
            .unwrap();
        assert!(report.residual.is_some() && report.orthogonality.is_some());
        assert_eq!(
            (svd.u.shape().1, svd.vt.shape().0, svd.s.shape()),
            (20, 20, (20, 1))
        );
        let s = values(&svd.s);
        for (found, expected) in s.iter().zip(&all) {
            assert!(
                (found - expected).abs() < 1e-12 * all[0],
                "{found} is not {expected}"
            );
        }
    }
    // Of full rank: nearer with each power, and never above.
    let full = session.random(60, 60, 3).unwrap();
    let all = values(&session.singular_values(&full).wait().unwrap());
    let mut before = 0.0;
    for power in [0, 2, 6] {
        let truncation = Truncation {
            power,
            ..Truncation::rank(5)
        };
        let s = values(&session.svd_truncated(&full, truncation).wait().unwrap().s);
        assert!(
            s.iter()
                .zip(&all)
                .all(|(found, value)| *found <= value * (1.0 + 1e-12))
        );
        assert!(s[4] > before, "power {power}");
        before = s[4];
    }
    assert!(before > 0.99 * all[4]);
    let error = session
        .svd_truncated(&full, Truncation::rank(61))
        .wait()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "svd: the rank must be 1 to 60, the smaller side of A; it is 61"
    );
}

#[test]
fn calls_are_awaited_in_any_runtime_or_waited_for_inside_of_one() {
    let folder = Folder::new("awaited");
    let session = session(&folder);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let a = session.random(50, 50, 1).unwrap();
    let r = runtime.block_on(async {
        let one = session.qr_r(&a);
        let told = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let heard = told.clone();
        let other = session.lu(&a).on_progress(move |_| {
            heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        // Two runs at a time on one store.
        let (r, lu) = tokio::join!(one.into_future(), other.into_future());
        lu.unwrap();
        r.unwrap()
    });
    // In the middle of a runtime.
    let again = runtime.block_on(async { session.qr_r(&a).wait() }).unwrap();
    assert_eq!(values(&r), values(&again));
}

/// A call that is dropped ends its run; one that is stopped says so. Neither leaves anything.
#[test]
fn calls_that_are_dropped_or_stopped_leave_nothing() {
    let folder = Folder::new("dropped");
    let session = session(&folder);
    let a = session.random(2000, 2000, 1).unwrap();
    let call = session.qr(&a);
    let interrupt = call.interrupt();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        interrupt.trigger();
    });
    assert!(matches!(call.wait(), Err(RunError::Interrupted)));
    stopping.join().unwrap();
    drop(session.qr(&a).into_future());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let empty = || {
        let runs = std::fs::read_dir(folder.0.join("store")).unwrap();
        let folders = runs.filter(|entry| entry.as_ref().unwrap().path().is_dir());
        // The session's own is there.
        folders.count() == 1 && stored(&folder).is_empty()
    };
    while !empty() {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            stored(&folder)
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn what_cannot_be_meant_is_told() {
    let folder = Folder::new("meant");
    let session = session(&folder);
    let a = session.random(4, 3, 1).unwrap();
    let told = |error: RunError| {
        assert!(matches!(error, RunError::Usage(_)), "{error:?}");
        error.to_string()
    };
    let table = [
        (
            told(session.solve(&a, &a).wait().unwrap_err()),
            "solve: A must be square; it is 4 x 3",
        ),
        (
            told(
                session
                    .add(1.0, &a, 1.0, &a.transposed())
                    .wait()
                    .unwrap_err(),
            ),
            "add: A and B must have the same shape; A is 4 x 3, B is 3 x 4",
        ),
        (
            told(session.from_slice(2, 2, &[1.0; 3]).unwrap_err()),
            "2 x 2 entries were expected, found 3",
        ),
        (
            told(session.vector(&[1.0, f64::NAN]).unwrap_err()),
            "entry (1, 0) is NaN; expected finite numbers",
        ),
        (
            told(a.slice(2..9, 0..1).unwrap_err()),
            "input `random:4x3:1`: rows 2..9; expected a range that is not empty within 0..4",
        ),
    ];
    for (told, text) in table {
        assert!(told.starts_with(text), "{told}");
    }
    assert_eq!(stored(&folder).len(), 0);
}
