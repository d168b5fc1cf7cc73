//! What a worker was told and never hears: it says so with each sign of life, and is not waited for.

use super::plans;
use super::tables::{actions, joined, one_core, scheduler};
use crate::control::{Assignment, Counts, FromWorker};
use crate::machine::scheduler::Input;
use crate::machine::worker::{self, Action, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::options::Exchange;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// A worker that lives and has had so many orders.
fn alive(worker: u32, orders: u64) -> Input {
    let alive = FromWorker::Alive {
        orders,
        dropped: Vec::new(),
        counts: Counts::default(),
    };
    Input::Message(WorkerId(worker), alive)
}

/// Both workers speak all the time. The one that has had its task keeps it, the other one loses it.
#[test]
fn a_task_that_was_never_heard_of_is_given_to_another_worker() {
    let table = [
        (1, [""; 0].as_slice()),
        (0, &["end 0", "start 2 in 0", "1 gets lease 2"]),
    ];
    for (orders, expected) in table {
        let mut coordinator = scheduler(&plans::weave(2, 1), 2);
        joined(&mut coordinator, 0, 1);
        joined(&mut coordinator, 1, 1);
        let begun = actions(&mut coordinator);
        assert_eq!(begun.last().map(String::as_str), Some("0 gets lease 1"));
        for seconds in 1..9 {
            coordinator.handle_input(at(seconds), alive(0, orders));
            coordinator.handle_input(at(seconds), alive(1, 0));
            coordinator.handle_timeout(at(seconds));
            assert_eq!(actions(&mut coordinator), [""; 0], "after {seconds} s");
        }
        coordinator.handle_input(at(9), alive(0, orders));
        assert_eq!(actions(&mut coordinator), expected);
    }
}

#[test]
fn a_worker_says_how_many_orders_it_has_had() {
    let plan = plans::weave(2, 1);
    let task = plan.starters(0)[0];
    let mut worker = Worker::new(at(0), plan, one_core(Exchange::Peer, 1 << 20));
    let assignment = Assignment {
        lease: LeaseId(1),
        task,
        inputs: Vec::new(),
        dead: Vec::new(),
    };
    let inputs = [
        worker::Input::Assigned(assignment),
        worker::Input::Take(Vec::new()),
    ];
    for input in inputs {
        worker.handle_input(at(0), input);
    }
    worker.handle_timeout(at(1));
    let mut said = std::iter::from_fn(|| worker.poll_action());
    let alive = said.find_map(|action| match action {
        Action::Send(FromWorker::Alive { orders, .. }) => Some(orders),
        _ => None,
    });
    assert_eq!(alive, Some(2));
}
