//! What all runs took, by fault and by durability, as tables. Judges nothing.

use std::collections::BTreeMap;

use peerwren_benches::figures::{median, table};

use crate::attempt::{Figures, Outcome};
use crate::draw::{Drawn, Durability, Fault};

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// What runs with one fault, or one durability, brought.
#[derive(Default)]
struct Row {
    runs: u32,
    struck: u32,
    failed: u32,
    outcomes: Vec<Outcome>,
}

/// What all runs brought.
#[derive(Default)]
pub(crate) struct Tally {
    faults: BTreeMap<Fault, Row>,
    durabilities: BTreeMap<Durability, Row>,
    skipped: BTreeMap<Fault, String>,
    /// Whether each run was done with each durability, so that their sums can be compared.
    pub(crate) compares: bool,
}

impl Outcome {
    /// In one line.
    pub(crate) fn told(&self) -> String {
        let Some(own) = &self.own else {
            return "failed in clear words, as it must".to_owned();
        };
        let restored = match own.durable {
            0.0 => String::new(),
            durable => format!(", {} of {durable} durable tasks restored", own.restored),
        };
        format!(
            "the same bits; struck {}, lost {}, again {}{restored}; {:.1} s for {:.1} s{}",
            self.struck,
            own.lost,
            own.again,
            own.seconds,
            self.calm.seconds,
            if self.stalled {
                " (all stood still meanwhile)"
            } else {
                ""
            }
        )
    }

    /// Seconds that it took longer than in calm, where that can be told.
    fn time_lost(&self) -> Option<f64> {
        let own = self.own.as_ref().filter(|_| !self.stalled)?;
        Some(own.seconds - self.calm.seconds)
    }
}

impl Row {
    fn sum(&self, figure: fn(&Figures) -> f64) -> f64 {
        let own = self.outcomes.iter().filter_map(|o| o.own.as_ref());
        // An empty sum is -0.
        own.map(figure).fold(0.0, |sum, figure| sum + figure)
    }

    /// The sum of what all struck runs took beside what all calm ones did.
    fn beside(&self, figure: fn(&Figures) -> f64) -> String {
        let completed = self.outcomes.iter().filter(|o| o.own.is_some());
        let calm = completed.fold(0.0, |sum, o| sum + figure(&o.calm));
        format!("{:.0} / {:.0}", self.sum(figure) / MIB, calm / MIB)
    }

    /// Median and worst time lost.
    fn time(&self) -> String {
        let times: Vec<f64> = self
            .outcomes
            .iter()
            .filter_map(Outcome::time_lost)
            .collect();
        if times.is_empty() {
            return "-".to_owned();
        }
        let worst = times.iter().copied().fold(f64::MIN, f64::max);
        format!("{:.1}, {worst:.1}", median(&times))
    }

    fn completed(&self) -> usize {
        self.outcomes.iter().filter(|o| o.own.is_some()).count()
    }
}

impl Tally {
    pub(crate) fn add(&mut self, drawn: &Drawn, outcome: Outcome) {
        for row in self.rows(drawn) {
            row.runs += 1;
            row.struck += outcome.struck;
            row.outcomes.push(outcome.clone());
        }
    }

    pub(crate) fn fail(&mut self, drawn: &Drawn) {
        for row in self.rows(drawn) {
            row.runs += 1;
            row.failed += 1;
        }
    }

    /// A fault that cannot be had on this machine; said once.
    pub(crate) fn skip(&mut self, fault: Fault, why: &str) {
        if self.skipped.insert(fault, why.to_owned()).is_none() {
            println!("SKIPPED: {}: {why}", fault.name());
        }
    }

    fn rows(&mut self, drawn: &Drawn) -> [&mut Row; 2] {
        [
            self.faults.entry(drawn.fault).or_default(),
            self.durabilities.entry(drawn.durability).or_default(),
        ]
    }

    /// The tables in Markdown.
    pub(crate) fn table(&self) -> String {
        let head = "| fault | runs | struck | same bits | refused aloud | wrong in any way | workers lost | tasks again | \
                    durable tasks restored | MiB between peers / in calm | MiB from the store / in calm | MiB to the store \
                    / in calm | s lost: median, worst |";
        let rows: Vec<_> = self
            .faults
            .iter()
            .map(|(f, row)| row.line(f.told()))
            .collect();
        let by_fault = table(head, &rows);
        let mut text = by_fault;
        if self.compares {
            let head = head.replace("| fault |", "| durability |");
            let rows = self.durabilities.iter();
            let rows: Vec<_> = rows.map(|(d, row)| row.line(d.name())).collect();
            text += &format!("\n\n{}", table(&head, &rows));
        }
        for (fault, why) in &self.skipped {
            text += &format!("\n\nSkipped: {}: {why}", fault.name());
        }
        text
    }
}

impl Row {
    fn line(&self, name: &str) -> String {
        let failed_well = self.outcomes.len() - self.completed();
        let restored = match self.sum(|f| f.durable) {
            0.0 => "-".to_owned(),
            durable => format!("{} of {durable}", self.sum(|f| f.restored)),
        };
        format!(
            "| {name} | {} | {} | {} | {failed_well} | {} | {} | {} | {restored} | {} | {} | {} | {} |",
            self.runs,
            self.struck,
            self.completed(),
            self.failed,
            self.sum(|f| f.lost),
            self.sum(|f| f.again),
            self.beside(|f| f.peer_bytes),
            self.beside(|f| f.read_bytes),
            self.beside(|f| f.written_bytes),
            self.time()
        )
    }
}
