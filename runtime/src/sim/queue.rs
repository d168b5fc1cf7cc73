//! Events in the order of their times; of those at one time, in the order in which they were told. Never
//! knows what an event means.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to happen, and when.
#[derive(Debug)]
pub(super) struct Queue<E> {
    /// Time, number, place among the events.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    numbered: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            numbered: 0,
        }
    }

    pub(super) fn push(&mut self, at: u64, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.numbered += 1;
        self.order.push(Reverse((at, self.numbered, place)));
    }

    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        Some((at, self.events[place].take()?))
    }
}
