//! Manifests: what they take, and that nothing but what was written under the run's key is taken for one.

use std::collections::{BTreeMap, BTreeSet};

use peerwren_transports::block::{BlockKey, Digest};

use super::plans;
use crate::control::Tally;
use crate::manifest::{Manifest, ManifestError, ManifestKey};
use crate::plan::{Plan, TaskId};

const KEY: ManifestKey = ManifestKey([1; 32]);

/// What the finished tasks left that others or the results need.
fn left(plan: &Plan, done: &BTreeSet<TaskId>) -> BTreeMap<BlockKey, Digest> {
    let mut blocks = BTreeMap::new();
    let mut readers = Vec::new();
    for key in done.iter().flat_map(|task| plan.outputs(task)) {
        readers.clear();
        plan.readers(&key, &mut readers);
        if plan.is_result(&key) || readers.iter().any(|reader| !done.contains(reader)) {
            blocks.insert(key, Digest::of(key.to_string().as_bytes()));
        }
    }
    blocks
}

fn manifest(plan: &Plan, done: &BTreeSet<TaskId>, blocks: &BTreeMap<BlockKey, Digest>) -> Manifest {
    let blocks = blocks.iter().map(|(key, digest)| (*key, *digest));
    let (bits, counted) = (Digest([3; 32]), Tally::default());
    Manifest::new(plan, 1, bits, counted, done.iter().copied(), blocks)
}

/// The first tasks of the plan, which read nothing of the others.
fn first(plan: &Plan, part: usize) -> BTreeSet<TaskId> {
    let tasks: Vec<_> = (0..plan.phase_count())
        .flat_map(|phase| plan.tasks(phase))
        .collect();
    tasks[..tasks.len() / part].iter().copied().collect()
}

#[test]
fn a_manifest_is_small() {
    let plan = plans::qr(20, 20, 0, "grid:2x2", 4, false);
    let done = first(&plan, 2);
    let blocks = left(&plan, &done);
    let manifest = manifest(&plan, &done, &blocks);
    assert_eq!(manifest.tasks().collect::<BTreeSet<_>>(), done);
    assert_eq!(manifest.blocks().collect::<BTreeMap<_, _>>(), blocks);
    assert_eq!(manifest.check(&plan), Ok(()));
    let bytes = manifest.encode(&KEY).len();
    let apart_from_digests = bytes - 32 * blocks.len();
    assert!(done.len() > 1_000, "{} tasks", done.len());
    assert!(
        apart_from_digests < 16 * done.len(),
        "{apart_from_digests} bytes for {} tasks and {} blocks",
        done.len(),
        blocks.len()
    );
    assert!(bytes <= Manifest::bytes_max(&plan));
}

#[test]
fn what_was_not_written_under_the_key_is_refused() {
    let plan = plans::weave(6, 4);
    let done = first(&plan, 2);
    let manifest = manifest(&plan, &done, &left(&plan, &done));
    let bytes = manifest.encode(&KEY);
    assert_eq!(Manifest::decode(&bytes, &KEY), Ok(manifest));
    let refused = |bytes: &[u8]| Manifest::decode(bytes, &KEY).unwrap_err();
    for len in 0..bytes.len() {
        assert_eq!(
            refused(&bytes[..len]),
            ManifestError::Corrupt,
            "{len} bytes"
        );
    }
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        let error = refused(&changed);
        let is_version = (8..12).contains(&place);
        assert_eq!(
            matches!(error, ManifestError::Version(_)),
            is_version,
            "byte {place}: {error}"
        );
    }
    let other = Manifest::decode(&bytes, &ManifestKey([2; 32]));
    assert_eq!(other, Err(ManifestError::Corrupt));
}

#[test]
fn a_manifest_that_contradicts_the_plan_is_refused() {
    let plan = plans::weave(6, 4);
    let done = first(&plan, 2);
    let blocks = left(&plan, &done);
    let check =
        |done: &BTreeSet<_>, blocks: &BTreeMap<_, _>| manifest(&plan, done, blocks).check(&plan);
    assert_eq!(check(&done, &blocks), Ok(()));
    assert_eq!(
        manifest(&plans::weave(6, 5), &done, &blocks).check(&plan),
        Err(ManifestError::OtherPlan)
    );
    let mut fewer = blocks.clone();
    let (key, _) = fewer.pop_first().expect("a block");
    let told = check(&done, &fewer).unwrap_err().to_string();
    assert!(told.contains(&format!("block {key} is needed")), "{told}");
    let mut more = blocks.clone();
    let not_made = plan.outputs(&plan.tasks(0).last().expect("a task"))[0];
    more.insert(not_made, Digest::default());
    let told = check(&done, &more).unwrap_err().to_string();
    assert!(told.contains("a block that nobody needs"), "{told}");
    let mut strange = done.clone();
    strange.insert(TaskId {
        stmt: 77,
        ..*done.first().expect("a task")
    });
    let told = check(&strange, &blocks).unwrap_err().to_string();
    assert!(
        told.contains("a task that the plan does not have"),
        "{told}"
    );
}
