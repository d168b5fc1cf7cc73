//! Levels, working set and longest chains.

use std::collections::BTreeMap;

use super::super::profile::{CriticalPath, Level, POINTS_MAX, Profile, levels};
use super::super::task::View;
use super::{all_phases, cases, job, plan, rates};
use crate::linalg::Operation;
use crate::plan::{Plan, TaskId};

/// Cholesky of 4 x 4 tiles of 4: potrf, 3 trsm, 3 syrk and 3 gemm, and so on with a column less each
/// time. A full tile has 128 bytes (f), a triangle 80 (t).
#[test]
fn cholesky_of_four_tiles_by_hand() {
    let case = (Operation::Cholesky, &["spd:16"][..], "grid:1x1");
    let (f, t) = (128, 80);
    let of = |wanted: bool| {
        let plan = plan(&job(&case, 1, wanted));
        levels(&plan, &[0], &rates()).0
    };
    let found = of(false);
    let tasks: Vec<u64> = found.iter().map(|level| level.tasks).collect();
    assert_eq!(tasks, [1, 3, 6, 1, 2, 3, 1, 1, 1, 1]);
    let live: Vec<u64> = found.iter().map(|level| level.live_bytes).collect();
    let expected = [
        2 * t,         // A00 -> L00
        t + 6 * f,     // L00, A10 A20 A30 -> L10 L20 L30
        9 * f + 6 * t, // L10 L20 L30, the rest of A -> all of it, updated
        3 * f + 4 * t, // S11 -> L11, the others wait
        5 * f + 3 * t, // L11, S21 S31 -> L21 L31; S22 S32 S33
        4 * f + 4 * t, // L21 L31, S22 S32 S33 -> updated
        f + 3 * t,     // S22 -> L22; S32 S33
        2 * f + 2 * t, // L22, S32 -> L32; S33
        f + 2 * t,     // L32, S33 -> updated
        2 * t,         // S33 -> L33
    ];
    assert_eq!(live, expected);
    // What is checked later, A and L, lives to the end.
    let kept = of(true);
    assert_eq!(
        kept.last().map(|level| level.live_bytes),
        Some(12 * f + 9 * t)
    );
}

/// Level and chains of a task by those of the tasks that it waits for.
fn rank(
    plan: &Plan,
    task: TaskId,
    known: &mut BTreeMap<TaskId, (usize, f64, u64)>,
) -> (usize, f64, u64) {
    if let Some(found) = known.get(&task) {
        return *found;
    }
    let mut before = (0, 0.0_f64, 0);
    for writer in plan.inputs(&task).iter().filter_map(|key| plan.writer(key)) {
        if writer.phase == task.phase {
            let (level, seconds, flops) = rank(plan, writer, known);
            before = (
                before.0.max(level + 1),
                before.1.max(seconds),
                before.2.max(flops),
            );
        }
    }
    let view = View::of(plan, &task);
    let seconds = rates().seconds(plan.kernel(&task), view.work());
    let found = (before.0, before.1 + seconds, before.2 + view.flops);
    known.insert(task, found);
    found
}

/// The same by unrolling: when each block is born and dies.
fn unrolled(plan: &Plan) -> (Vec<Level>, CriticalPath) {
    let (mut known, mut begin) = (BTreeMap::new(), 0);
    let (mut path, mut levels) = (CriticalPath::default(), Vec::new());
    let mut lives: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for phase in all_phases(plan) {
        let (mut seconds, mut flops) = (0.0_f64, 0);
        for task in plan.tasks(phase) {
            let found = rank(plan, task, &mut known);
            let level = begin + found.0;
            levels.resize(levels.len().max(level + 1), Level::default());
            levels[level].tasks += 1;
            (seconds, flops) = (seconds.max(found.1), flops.max(found.2));
            for key in plan.inputs(&task).into_iter().chain(plan.outputs(&task)) {
                let life = lives.entry(key).or_insert((level, level));
                *life = (life.0.min(level), life.1.max(level));
            }
        }
        path.seconds += seconds;
        path.flops += flops;
        begin = levels.len();
    }
    for (key, (born, died)) in lives {
        let died = match plan.is_result(&key) {
            true => levels.len() - 1,
            false => died,
        };
        for level in &mut levels[born..=died] {
            level.live_bytes += plan.likely_bytes(&key);
        }
    }
    path.tasks = levels.len() as u64;
    (levels, path)
}

#[test]
fn levels_are_those_of_the_unrolled_plan() {
    for case in cases() {
        let plan = plan(&job(&case, 4, true));
        let (found, path) = levels(&plan, &all_phases(&plan), &rates());
        let (expected, expected_path) = unrolled(&plan);
        assert_eq!(found, expected, "{:?}", case.1);
        assert_eq!(path.flops, expected_path.flops, "{:?}", case.1);
        assert_eq!(path.tasks, expected_path.tasks, "{:?}", case.1);
        assert!((path.seconds / expected_path.seconds - 1.0).abs() < 1e-9);
        let tasks: u64 = found.iter().map(|level| level.tasks).sum();
        let counted: u64 = all_phases(&plan).iter().map(|&p| plan.task_count(p)).sum();
        assert_eq!(tasks, counted, "{:?}", case.1);
    }
}

#[test]
fn a_long_profile_keeps_its_peaks() {
    let level = |n: u64| Level {
        tasks: 1 + n % 7,
        live_bytes: n,
    };
    let long: Vec<Level> = (0..1_000).map(level).collect();
    let profile = Profile::of(&long);
    assert_eq!((profile.levels, profile.tasks_max), (1_000, 7));
    assert_eq!(profile.live_bytes_max, 999);
    assert_eq!(profile.level.len(), 250);
    assert!(profile.level.len() <= POINTS_MAX && profile.level[1] == 4);
    assert_eq!((profile.tasks[0], profile.live_bytes[0]), (4, 3));
    assert_eq!(Profile::of(&long[..POINTS_MAX]).level.len(), POINTS_MAX);
    assert_eq!(Profile::of(&[]), Profile::default());
}
