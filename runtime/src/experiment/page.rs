//! An experiment as a page: what varied, pictures, medians, and the line that runs each point again.

use super::results::Results;
use crate::page::{Column, Page};

impl Results<'_> {
    /// The page: one file of HTML that needs no other.
    #[must_use]
    pub fn page(&self) -> String {
        let experiment = self.experiment;
        let mut page = Page::new(&experiment.title);
        page.note(&self.told());
        let pictures = self.pictures();
        for (name, picture) in &pictures {
            if *name == "timeline" {
                self.shown(&mut page);
            }
            page.picture(picture);
        }
        page.heading("Medians");
        let (names, rows) = self.medians();
        let columns: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| match at {
                at if at < experiment.varied.len() => Column::Words(name),
                _ => Column::Numbers(name),
            })
            .collect();
        page.table(&columns, &rows);
        page.note(
            "Bytes are those of the computation, in brackets as times the matrix. Each run's figures are in \
             results.csv, its report in runs/.",
        );
        let points = self.points();
        let failed = points
            .iter()
            .filter_map(|point| Some((&point.line, point.failed?)));
        let failed: Vec<_> = failed
            .map(|(line, reason)| vec![line.clone(), reason.to_owned()])
            .collect();
        if !failed.is_empty() {
            page.heading("Failed");
            page.table(&[Column::Code("line"), Column::Words("why")], &failed);
        }
        page.heading("To run a point again");
        let lines: Vec<String> = points.iter().map(|point| point.line.clone()).collect();
        page.code(&lines);
        page.heading("The grid");
        page.code(&[experiment.text.trim_end().to_owned()]);
        page.finish()
    }

    fn shown(&self, page: &mut Page) {
        let label = self
            .experiment
            .show
            .map(|point| self.experiment.label(point));
        if let (Some(label), Some(line)) = (label, self.timeline_line) {
            page.heading(&format!("One run: {label}"));
            page.code(&[line.to_owned()]);
        }
    }
}
