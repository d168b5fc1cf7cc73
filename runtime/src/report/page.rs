//! A report as a page: the summary, pictures and tables. Reads and writes nothing.

use std::path::Path;

use super::pictures::{by_source, pairs, profile};
use super::{Report, Summary, grouped, seconds};
use crate::options::ByteSize;
use crate::page::{Column, Page};
use crate::trace::Timeline;

/// Rows of a table of what moved, and of workers: a run of 4,096 has all of them in its JSON report.
const ROWS_MAX: usize = 40;

/// What a page has besides the report.
#[derive(Clone, Debug, Default)]
pub struct PageExtras<'a> {
    /// The command line, to run it again.
    pub line: Option<&'a str>,
    /// The machine that the command ran on.
    pub machine: Option<&'a str>,
    /// What its trace says of the workers' time.
    pub timeline: Option<&'a Timeline>,
}

/// Whether a report of this name is written as a page: it ends in `.html`.
#[must_use]
pub fn is_page(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// A report as a page of HTML that needs no other file; `summary` is the report in words.
#[must_use]
pub fn page(report: &Report, summary: &Summary, extras: &PageExtras<'_>) -> String {
    let mut page = Page::new(&summary.title);
    let made = format!("peerwren {}", report.version);
    let made = match extras.machine {
        Some(machine) => format!("{made} on {machine}"),
        None => made,
    };
    page.note(&made);
    let facts = summary.lines.iter();
    page.facts(facts.map(|(name, text)| (name.as_str(), text.as_str())));
    if let Some(line) = extras.line {
        page.heading("To run it again");
        page.code(&[line.to_owned()]);
    }
    page.heading("What moved");
    for picture in by_source(report) {
        page.picture(&picture);
    }
    statements(&mut page, report);
    if let Some(picture) = pairs(report) {
        page.picture(&picture);
    }
    page.heading("What ran when");
    for picture in [extras.timeline.and_then(Timeline::draw), profile(report)]
        .into_iter()
        .flatten()
    {
        page.picture(&picture);
    }
    if extras.timeline.is_none() {
        page.note("A run with --trace FILE.json also shows what each worker did when.");
    }
    workers(&mut page, report);
    choices(&mut page, report);
    page.finish()
}

/// What came to workers by what it was for, the most first.
fn statements(page: &mut Page, report: &Report) {
    let mut rows: Vec<_> = report.factor.moved_by_statement.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.peer + row.store + row.input));
    if rows.is_empty() {
        return;
    }
    let size = |bytes: u64| match bytes {
        0 => String::new(),
        bytes => ByteSize(bytes).to_string(),
    };
    let cells = rows.iter().take(ROWS_MAX).map(|row| {
        let place = match row.statement {
            0 => String::new(),
            _ => format!("{}:{}", row.program, row.line),
        };
        let sizes = [row.peer, row.store, row.input].map(size);
        [row.block.clone(), row.kernel.clone(), place]
            .into_iter()
            .chain(sizes)
            .collect()
    });
    let columns = [
        Column::Words("block"),
        Column::Words("for"),
        Column::Words("statement"),
        Column::Numbers("from workers"),
        Column::Numbers("from the store"),
        Column::Numbers("from inputs"),
    ];
    page.table(&columns, &cells.collect::<Vec<_>>());
}

fn workers(page: &mut Page, report: &Report) {
    let workers = &report.factor.per_worker;
    if workers.is_empty() {
        return;
    }
    page.heading("Workers");
    let rows = workers.iter().take(ROWS_MAX).map(|worker| {
        let id = if worker.lost {
            format!("{} (lost)", worker.id)
        } else {
            worker.id.to_string()
        };
        vec![
            id,
            worker.host.clone(),
            worker.cores.to_string(),
            grouped(worker.tasks),
            seconds(worker.compute_s),
            seconds(worker.fetch_s),
            ByteSize(worker.bytes.peer).to_string(),
            ByteSize(worker.bytes.store_read).to_string(),
            ByteSize(worker.bytes.store_written).to_string(),
            ByteSize(worker.peak_cache_bytes).to_string(),
        ]
    });
    let columns = [
        Column::Words("worker"),
        Column::Words("host"),
        Column::Numbers("cores"),
        Column::Numbers("tasks"),
        Column::Numbers("in kernels"),
        Column::Numbers("fetching"),
        Column::Numbers("from workers"),
        Column::Numbers("from the store"),
        Column::Numbers("to the store"),
        Column::Numbers("peak cache"),
    ];
    page.table(&columns, &rows.collect::<Vec<_>>());
    if workers.len() > ROWS_MAX {
        let more = format!(
            "The first {ROWS_MAX} of {} workers.",
            grouped(workers.len() as u64)
        );
        page.note(&more);
    }
}

fn choices(page: &mut Page, report: &Report) {
    if report.chosen.is_empty() {
        return;
    }
    page.heading("Options that were left open");
    let rows = report.chosen.iter().map(|chosen| {
        let cells = [&chosen.option, &chosen.value, &chosen.reason];
        cells.map(Clone::clone).to_vec()
    });
    let columns = [
        Column::Words("option"),
        Column::Words("chosen"),
        Column::Words("why"),
    ];
    page.table(&columns, &rows.collect::<Vec<_>>());
}
