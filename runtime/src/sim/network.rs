//! Bytes on their way: flows between workers, and between workers and the store, that share the workers'
//! lines. Never knows what a flow carries.
//!
//! A worker has a line in and a line out. The flows on a line share it by max-min fairness, where a flow is
//! taken to get of its other line an equal share: what such a flow leaves of this line, the others get. So a
//! change is felt by the flows that share a line with the changed one and by those that share one with these,
//! and by nobody else.

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A worker's line, by its number.
    Line(usize),
    /// The store, whose own line is not shared here.
    Store,
}

/// Names a flow, for a while after its end too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowId {
    place: usize,
    version: u32,
}

/// When a flow ends, unless that is told anew before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) at: u64,
    pub(super) flow: FlowId,
}

#[derive(Clone, Debug)]
struct Flow {
    from: End,
    to: End,
    /// Bytes a second that it has at most.
    most: f64,
    left: f64,
    rate: f64,
    since: u64,
    version: u32,
    tag: u64,
    is_on: bool,
}

#[derive(Clone, Debug, Default)]
struct Line {
    /// Bytes a second in and out.
    speed: [f64; 2],
    flows: [Vec<usize>; 2],
}

/// Lines and flows.
#[derive(Debug, Default)]
pub(super) struct Network {
    lines: Vec<Line>,
    flows: Vec<Flow>,
    free: Vec<usize>,
    /// Flows whose rates may have changed.
    changed: Vec<usize>,
    /// Bytes a second that leave or reach a worker, summed over workers.
    load: f64,
}

const IN: usize = 0;
const OUT: usize = 1;

impl Network {
    /// A worker's line, bytes a second in and out.
    pub(super) fn line(&mut self, number: usize, speed: [f64; 2]) {
        if self.lines.len() <= number {
            self.lines.resize_with(number + 1, Line::default);
        }
        self.lines[number].speed = speed;
    }

    /// Bytes a second that leave or reach workers now.
    pub(super) fn load(&self) -> f64 {
        self.load
    }

    /// Starts a flow of so many bytes, at most `most` a second; `tag` is given back when it ends.
    pub(super) fn start(
        &mut self,
        now: u64,
        (from, to): (End, End),
        bytes: u64,
        most: f64,
        tag: u64,
        ends: &mut Vec<Ends>,
    ) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow {
                from,
                to,
                most,
                left: 0.0,
                rate: 0.0,
                since: now,
                version: 0,
                tag,
                is_on: false,
            });
            self.flows.len() - 1
        });
        let version = self.flows[place].version + 1;
        self.flows[place] = Flow {
            from,
            to,
            most,
            left: bytes as f64,
            rate: 0.0,
            since: now,
            version,
            tag,
            is_on: true,
        };
        for (end, way) in [(from, OUT), (to, IN)] {
            if let End::Line(line) = end {
                self.lines[line].flows[way].push(place);
            }
        }
        self.share(now, place, ends);
    }

    /// A flow may be over: its tag, if it is, and the others go on faster.
    pub(super) fn over(&mut self, now: u64, flow: FlowId, ends: &mut Vec<Ends>) -> Option<u64> {
        let known = &self.flows[flow.place];
        if !known.is_on || known.version != flow.version {
            return None;
        }
        let tag = known.tag;
        self.remove(now, flow.place, ends);
        Some(tag)
    }

    /// A worker is gone, and its flows with it.
    pub(super) fn cut(&mut self, now: u64, line: usize, ends: &mut Vec<Ends>) {
        let [incoming, outgoing] = &self.lines[line].flows;
        let flows: Vec<usize> = incoming.iter().chain(outgoing).copied().collect();
        for flow in flows {
            self.remove(now, flow, ends);
        }
    }

    fn remove(&mut self, now: u64, place: usize, ends: &mut Vec<Ends>) {
        let (from, to) = (self.flows[place].from, self.flows[place].to);
        self.load -= self.flows[place].rate * touched(from, to);
        self.flows[place].is_on = false;
        self.flows[place].version += 1;
        for (end, way) in [(from, OUT), (to, IN)] {
            if let End::Line(line) = end {
                self.lines[line].flows[way].retain(|&other| other != place);
            }
        }
        self.share(now, place, ends);
        self.free.push(place);
    }

    /// Gives the flows around `place` their rates anew.
    fn share(&mut self, now: u64, place: usize, ends: &mut Vec<Ends>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.clear();
        self.neighbours(place, &mut changed);
        for at in 0..changed.len() {
            self.neighbours(changed[at], &mut changed);
        }
        for &place in &changed {
            let rate = self.rate(place);
            let flow = &mut self.flows[place];
            if (rate - flow.rate).abs() <= 1e-9 * rate {
                continue;
            }
            flow.left -= flow.rate * (now - flow.since) as f64 * 1e-9;
            flow.left = flow.left.max(0.0);
            self.load += (rate - flow.rate) * touched(flow.from, flow.to);
            (flow.rate, flow.since) = (rate, now);
            flow.version += 1;
            let takes = (flow.left / rate * 1e9).ceil();
            ends.push(Ends {
                at: now.saturating_add(takes as u64),
                flow: FlowId {
                    place,
                    version: flow.version,
                },
            });
        }
        self.changed = changed;
    }

    /// The flows that share a line with one, itself too, that are not listed yet.
    fn neighbours(&self, place: usize, list: &mut Vec<usize>) {
        let flow = &self.flows[place];
        for (end, way) in [(flow.from, OUT), (flow.to, IN)] {
            if let End::Line(line) = end {
                for &other in &self.lines[line].flows[way] {
                    if !list.contains(&other) {
                        list.push(other);
                    }
                }
            }
        }
    }

    fn rate(&self, place: usize) -> f64 {
        let flow = &self.flows[place];
        let mut rate = flow.most;
        for (end, way) in [(flow.from, OUT), (flow.to, IN)] {
            if let End::Line(line) = end {
                rate = rate.min(self.share_of(place, line, way));
            }
        }
        // A line without any speed would never end a flow.
        rate.max(1.0)
    }

    /// What a flow gets of one line: those that cannot use an equal share leave it to the others.
    fn share_of(&self, place: usize, line: usize, way: usize) -> f64 {
        let line = &self.lines[line];
        let flows = &line.flows[way];
        let mut limits: Vec<(f64, usize)> = flows
            .iter()
            .map(|&flow| {
                // Of its other line it gets what it gets, which counts there.
                let limit = if flow == place {
                    self.flows[flow].most
                } else {
                    self.limit(flow, way)
                };
                (limit, flow)
            })
            .collect();
        limits.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let mut left = line.speed[way];
        let mut count = limits.len();
        for (limit, flow) in limits {
            let gets = limit.min(left / count as f64);
            if flow == place {
                return gets;
            }
            left -= gets;
            count -= 1;
        }
        left
    }

    /// What a flow could use, were it alone on this side: an equal share of its other line.
    fn limit(&self, place: usize, way: usize) -> f64 {
        let flow = &self.flows[place];
        let (end, other) = if way == IN {
            (flow.from, OUT)
        } else {
            (flow.to, IN)
        };
        match end {
            End::Store => flow.most,
            End::Line(line) => {
                let line = &self.lines[line];
                flow.most
                    .min(line.speed[other] / line.flows[other].len() as f64)
            }
        }
    }
}

/// How many workers handle each byte of a flow.
fn touched(from: End, to: End) -> f64 {
    let is_line = |end| f64::from(u8::from(matches!(end, End::Line(_))));
    is_line(from) + is_line(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: f64 = 1e6;

    /// From, to, bytes.
    type Flows = Vec<(End, End, u64)>;

    /// Runs flows of `bytes` that start at 0 to their ends, in milliseconds by tag.
    fn ends(lines: usize, speed: f64, flows: &[(End, End, u64)], most: f64) -> Vec<u64> {
        let mut network = Network::default();
        (0..lines).for_each(|line| network.line(line, [speed, speed]));
        let mut told = Vec::new();
        for (tag, &(from, to, bytes)) in flows.iter().enumerate() {
            network.start(0, (from, to), bytes, most, tag as u64, &mut told);
        }
        let mut ends = vec![0; flows.len()];
        while let Some(next) = told.iter().min_by_key(|ends| ends.at).copied() {
            told.retain(|ends| *ends != next);
            if let Some(tag) = network.over(next.at, next.flow, &mut told) {
                ends[tag as usize] = next.at.div_ceil(1_000_000);
            }
        }
        assert!(network.load().abs() < 1e-3, "{} is left", network.load());
        ends
    }

    #[test]
    fn flows_share_lines_fairly() {
        let line = End::Line;
        let mb = |count: u64| count * 1_000_000;
        let table: [(&str, Flows, Vec<u64>); 5] = [
            ("alone", vec![(line(0), line(1), mb(75))], vec![1000]),
            (
                "two from one",
                vec![(line(0), line(1), mb(75)), (line(0), line(2), mb(75))],
                vec![2000, 2000],
            ),
            (
                "in and out do not share",
                vec![(line(0), line(1), mb(75)), (line(1), line(0), mb(75))],
                vec![1000, 1000],
            ),
            (
                "the shorter one leaves its share",
                vec![(line(0), line(1), mb(75)), (line(0), line(2), mb(15))],
                vec![1200, 400],
            ),
            (
                "who is slowed elsewhere leaves the rest",
                vec![
                    (line(0), line(3), mb(25)),
                    (line(1), line(3), mb(25)),
                    (line(2), line(3), mb(25)),
                    (line(2), line(4), mb(50)),
                ],
                vec![1000, 1000, 1000, 1000],
            ),
        ];
        for (what, flows, expected) in table {
            assert_eq!(
                ends(5, 75.0 * MB, &flows, f64::INFINITY),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn the_store_gives_each_request_its_own_speed() {
        let flows = [
            (End::Store, End::Line(0), 93_000_000),
            (End::Store, End::Line(0), 93_000_000),
            (End::Line(0), End::Store, 93_000_000),
        ];
        assert_eq!(ends(1, 150.0 * MB, &flows, 93.0 * MB), [1240, 1240, 1000]);
    }

    #[test]
    fn a_cut_line_frees_the_others() {
        let mut network = Network::default();
        (0..3).for_each(|line| network.line(line, [MB, MB]));
        let mut told = Vec::new();
        let ways = [(End::Line(0), End::Line(1)), (End::Line(0), End::Line(2))];
        for (tag, way) in ways.into_iter().enumerate() {
            network.start(0, way, 1_000_000, f64::INFINITY, tag as u64, &mut told);
        }
        told.clear();
        network.cut(1_000_000_000, 1, &mut told);
        // Half of it came in the first second; the rest takes half a second now.
        let at: Vec<u64> = told.iter().map(|ends| ends.at).collect();
        assert_eq!(at, [1_500_000_000]);
    }
}
