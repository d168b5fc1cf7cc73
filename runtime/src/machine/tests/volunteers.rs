//! Workers that come by themselves: whom they become, who follows a lost one, when nobody is waited for.

use std::sync::Arc;
use std::time::Duration;

use super::plans;
use super::tables::{actions, done, joined};
use crate::machine::scheduler::{Input, Scheduler, Settings, Volunteers};
use crate::machine::{Timestamp, WorkerId};
use crate::options::{Durability, Exchange, Policy};
use crate::plan::Plan;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn scheduler(plan: &Arc<Plan>, workers: u32, helpers_max: u32) -> Scheduler {
    let settings = Settings {
        workers,
        elastic: None,
        cores: 1,
        policy: Policy::Locality,
        exchange: Exchange::Peer,
        durability: Durability::Outputs,
        checkpoint: None,
        preload: false,
        start_timeout: Duration::from_secs(100),
        lease: Duration::from_secs(3),
        volunteers: Some(Volunteers { helpers_max }),
    };
    let mut scheduler = Scheduler::new(Arc::clone(plan), settings);
    scheduler.handle_input(at(0), Input::Begin);
    assert_eq!(actions(&mut scheduler), [""; 0], "nobody is started");
    scheduler
}

fn ask(scheduler: &mut Scheduler, request: u64) -> Vec<String> {
    scheduler.handle_input(at(0), Input::Volunteered(request, 2));
    actions(scheduler)
}

#[test]
fn the_first_fill_slots_and_the_others_help() {
    let plan = plans::weave(2, 1);
    let mut coordinator = scheduler(&plan, 2, 1);
    assert_eq!(ask(&mut coordinator, 7), ["7 is 0"]);
    assert_eq!(ask(&mut coordinator, 8), ["8 is 1"]);
    assert_eq!(ask(&mut coordinator, 9), ["9 is 2"]);
    assert_eq!(
        ask(&mut coordinator, 10),
        ["10 is not: the run has all the workers that it takes"]
    );
    joined(&mut coordinator, 0, 1);
    assert_eq!(actions(&mut coordinator), [""; 0], "one more is wanted");
    joined(&mut coordinator, 1, 1);
    assert_eq!(actions(&mut coordinator), ["0 gets lease 1"]);
    joined(&mut coordinator, 2, 1);
    // Somebody does the lost one's task, and its ranks are the helper's from now on.
    coordinator.handle_input(at(0), Input::Left(WorkerId(0)));
    assert_eq!(actions(&mut coordinator), ["1 gets lease 2"]);
    assert_eq!(coordinator.fleet().owner(0), Some(WorkerId(2)));
    // There is room for a helper again, and none for a second one.
    assert_eq!(ask(&mut coordinator, 11), ["11 is 3"]);
    assert_eq!(coordinator.fleet().helpers(), 1);
    assert_eq!(
        coordinator.fleet().get(WorkerId(3)).map(|m| m.cores),
        Some(2)
    );
    coordinator.handle_input(at(0), Input::Left(WorkerId(3)));
    assert_eq!(actions(&mut coordinator), [""; 0]);
    assert_eq!(ask(&mut coordinator, 12), ["12 is 4"]);
}

#[test]
fn an_empty_slot_waits_for_a_volunteer() {
    let plan = plans::weave(2, 1);
    let first = plan.starters(0)[0];
    let mut coordinator = scheduler(&plan, 1, 0);
    assert_eq!(ask(&mut coordinator, 1), ["1 is 0"]);
    joined(&mut coordinator, 0, 1);
    assert_eq!(actions(&mut coordinator), ["0 gets lease 1"]);
    coordinator.handle_input(at(0), Input::Left(WorkerId(0)));
    assert_eq!(actions(&mut coordinator), [""; 0], "nobody is there");
    // What the lost one still says is not heard.
    let said = Input::Message(WorkerId(0), done(&plan, 1, &first, false));
    coordinator.handle_input(at(0), said);
    assert_eq!(actions(&mut coordinator), [""; 0]);
    assert_eq!(ask(&mut coordinator, 2), ["2 is 1"]);
    joined(&mut coordinator, 1, 1);
    assert_eq!(actions(&mut coordinator), ["1 gets lease 2"]);
    coordinator.handle_input(at(0), Input::Cancelled);
    assert_eq!(actions(&mut coordinator), ["stop 1"]);
    assert_eq!(ask(&mut coordinator, 3), [""; 0], "the run is over");
}

#[test]
fn nobody_is_waited_for_without_end() {
    let plan = plans::weave(2, 1);
    let mut coordinator = scheduler(&plan, 2, 0);
    assert_eq!(coordinator.poll_timeout().map(|t| t.0), Some(at(100)));
    coordinator.handle_timeout(at(99));
    assert_eq!(actions(&mut coordinator), [""; 0]);
    // Who was admitted and never joins frees the slot again; it is not somebody who is there.
    assert_eq!(ask(&mut coordinator, 1), ["1 is 0"]);
    coordinator.handle_timeout(at(99));
    assert_eq!(actions(&mut coordinator), ["end 0"]);
    assert_eq!(ask(&mut coordinator, 2), ["2 is 1"]);
    coordinator.handle_timeout(at(100));
    assert_eq!(
        actions(&mut coordinator),
        ["end 1", "failed: no worker has joined"]
    );
    // One is enough to begin with after the time-out, and then two are not waited for.
    let mut coordinator = scheduler(&plan, 2, 0);
    ask(&mut coordinator, 1);
    joined(&mut coordinator, 0, 1);
    assert_eq!(actions(&mut coordinator), [""; 0]);
    let alive = crate::control::FromWorker::Alive {
        orders: 0,
        dropped: Vec::new(),
        counts: crate::control::Counts::default(),
    };
    coordinator.handle_input(at(99), Input::Message(WorkerId(0), alive));
    coordinator.handle_timeout(at(100));
    assert_eq!(actions(&mut coordinator), ["0 gets lease 1"]);
    // From its loss on it is waited for another one as long as for the first.
    coordinator.handle_input(at(150), Input::Left(WorkerId(0)));
    coordinator.handle_timeout(at(249));
    assert_eq!(actions(&mut coordinator), [""; 0]);
    coordinator.handle_timeout(at(250));
    assert_eq!(actions(&mut coordinator), ["failed: no worker has joined"]);
}

#[test]
fn whoever_cannot_take_part_ends_no_run() {
    let plan = plans::weave(2, 1);
    let mut coordinator = scheduler(&plan, 1, 0);
    // More than a run takes of workers that are lost without a task done.
    for worker in 0..20 {
        ask(&mut coordinator, worker.into());
        if worker % 2 == 0 {
            let reason = "a worker lacks kernel weave".to_owned();
            coordinator.handle_input(at(0), Input::Unfit(WorkerId(worker), reason));
            let words = [format!("refuse {worker}"), format!("end {worker}")];
            assert_eq!(actions(&mut coordinator), words);
        } else {
            coordinator.handle_input(at(0), Input::Left(WorkerId(worker)));
            assert_eq!(actions(&mut coordinator), [""; 0]);
        }
    }
    assert_eq!(coordinator.lost(), 0);
    assert_eq!(ask(&mut coordinator, 20), ["20 is 20"]);
    joined(&mut coordinator, 20, 1);
    assert_eq!(actions(&mut coordinator), ["20 gets lease 1"]);
}
