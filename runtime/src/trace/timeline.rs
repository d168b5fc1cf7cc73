//! What a trace says of each worker's time: when its threads computed what, and when blocks were on their way
//! to it. Reads a file entry by entry and keeps no more than a picture can show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::form::Entry;
use super::read::{Reader, TraceError, read};
use crate::chart::{Lane, Picture, SERIES_MAX, Span, Spans};

/// Lanes for threads or workers that a picture has: 48 of 27, fetches included, are 1,300 high.
const LANES_MAX: usize = 48;
/// Colours for kernels; of all but one, the rest share the last of them. Two more are for fetches.
const KERNELS_MAX: usize = SERIES_MAX - 2;
/// Spans that are kept of a trace: 2^20 of 24 bytes are 24 MiB. Those of a longer run are joined by lane.
const SPANS_MAX: usize = 1 << 20;

/// The compute threads and the fetches of a run's workers over time.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    title: String,
    /// Kernels by number, as they were met.
    kernels: Vec<String>,
    /// Seconds in each.
    kernel_s: Vec<f64>,
    /// Phases and the seconds at which they began.
    phases: Vec<(String, f32)>,
    /// By worker and thread.
    threads: BTreeMap<(u32, u32), Vec<Lasting>>,
    /// By worker; what was fetched from the store, or not.
    fetches: BTreeMap<u32, Vec<Lasting>>,
    spans: usize,
}

/// From when to when in seconds, and what: a kernel's number, or 1 for the store and 0 for a peer.
#[derive(Clone, Copy, Debug)]
struct Lasting {
    what: u32,
    begin: f32,
    end: f32,
}

impl Timeline {
    /// Reads the trace at `path`.
    ///
    /// # Errors
    /// The file cannot be read or is no trace.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let mut timeline = Self::default();
        let about = read(path, &mut timeline)?;
        timeline.title = about.title;
        Ok(timeline)
    }

    /// The operation and its inputs, as the trace names them.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The picture; none of a trace in which nothing was computed.
    pub(crate) fn draw(&self) -> Option<Picture> {
        let first = self.all().map(|span| span.begin).reduce(f32::min)?;
        let end = self.all().map(|span| span.end).fold(first, f32::max);
        let at = |time: f32| f64::from((time - first).max(0.0));
        let mut title = "What each worker did when".to_owned();
        // Threads of one worker share a lane where each of its own would be too many.
        let threads = if self.threads.len() > LANES_MAX {
            title.push_str(", all threads of a worker in one line");
            self.by_worker()
        } else {
            Cow::Borrowed(&self.threads)
        };
        let shown: Vec<_> = threads.iter().take(LANES_MAX).collect();
        if shown.len() < threads.len() {
            let (some, all) = (shown.len(), threads.len());
            title.push_str(&format!(", the first {some} of {all} workers"));
        }
        // A single phase is the run.
        let marks = self.phases.iter().filter(|_| self.phases.len() > 1);
        let marks = marks.map(|(name, begin)| (name.clone(), at(*begin)));
        let colours = self.colours();
        let mut series = self.series(&colours);
        let fetch_colours = [series.len(), series.len() + 1];
        series.push("fetching from peers".to_owned());
        series.push("fetching from store and inputs".to_owned());
        let spans = Spans {
            title,
            series,
            end: at(end),
            marks: marks.collect(),
            lanes: self.lanes(&shown, (&colours, &fetch_colours), &at),
        };
        Some(spans.draw())
    }

    /// A lane for each thread, and under those of a worker one for what it fetched.
    fn lanes(
        &self,
        shown: &[(&(u32, u32), &Vec<Lasting>)],
        (colours, fetch_colours): (&[usize], &[usize]),
        at: &dyn Fn(f32) -> f64,
    ) -> Vec<Lane> {
        let spans = |lasting: &[Lasting], colours: &[usize]| {
            let span = |lasting: &Lasting| Span {
                series: colours[lasting.what as usize],
                begin: at(lasting.begin),
                end: at(lasting.end),
            };
            let mut spans: Vec<Span> = lasting.iter().map(span).collect();
            // A trace has them by when they ended, or were told.
            spans.sort_by(|a, b| a.begin.total_cmp(&b.begin));
            spans
        };
        let mut lanes = Vec::new();
        for (place, &(&(worker, _), computed)) in shown.iter().enumerate() {
            let is_first = place == 0 || shown[place - 1].0.0 != worker;
            let is_last = shown.get(place + 1).is_none_or(|next| next.0.0 != worker);
            let group = if is_first {
                format!("worker {worker}")
            } else {
                String::new()
            };
            lanes.push(Lane {
                group,
                is_thin: false,
                spans: spans(computed, colours),
            });
            if is_last {
                let fetched = self.fetches.get(&worker).map_or(&[][..], Vec::as_slice);
                lanes.push(Lane {
                    group: String::new(),
                    is_thin: true,
                    spans: spans(fetched, fetch_colours),
                });
            }
        }
        lanes
    }

    /// What all threads of each worker computed.
    fn by_worker(&self) -> Cow<'_, BTreeMap<(u32, u32), Vec<Lasting>>> {
        let mut workers: BTreeMap<(u32, u32), Vec<Lasting>> = BTreeMap::new();
        for (&(worker, _), computed) in &self.threads {
            workers.entry((worker, 0)).or_default().extend(computed);
        }
        Cow::Owned(workers)
    }

    /// Names of the kernels' colours.
    fn series(&self, colours: &[usize]) -> Vec<String> {
        let count = colours.iter().max().map_or(0, |last| last + 1);
        let name = |colour| {
            let mut kernels = colours
                .iter()
                .zip(&self.kernels)
                .filter(|(of, _)| **of == colour);
            match (kernels.next(), kernels.next()) {
                (Some((_, kernel)), None) => kernel.clone(),
                _ => "others".to_owned(),
            }
        };
        (0..count).map(name).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Lasting> {
        self.threads.values().flatten()
    }

    /// The colour of each kernel: those that took longest have their own.
    fn colours(&self) -> Vec<usize> {
        let mut by_time: Vec<usize> = (0..self.kernels.len()).collect();
        by_time.sort_by(|a, b| self.kernel_s[*b].total_cmp(&self.kernel_s[*a]));
        let mut colours = vec![0; self.kernels.len()];
        for (place, kernel) in by_time.into_iter().enumerate() {
            colours[kernel] = place.min(KERNELS_MAX - 1);
        }
        colours
    }

    fn kernel(&mut self, name: &str) -> u32 {
        let known = self.kernels.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.kernels.push(name.to_owned());
            self.kernel_s.push(0.0);
            self.kernels.len() - 1
        });
        number as u32
    }
}

impl Reader for Timeline {
    fn take(&mut self, entry: Entry) {
        if entry.cat == "phase" {
            self.phases.push((entry.name, (entry.ts / 1e6) as f32));
            return;
        }
        let (Some(dur), Some(worker)) = (entry.dur, entry.args.worker) else {
            return;
        };
        let mut lasting = Lasting {
            what: 0,
            begin: (entry.ts / 1e6) as f32,
            end: ((entry.ts + dur) / 1e6) as f32,
        };
        let list = match entry.cat.as_str() {
            "task" => {
                lasting.what = self.kernel(&entry.name);
                self.kernel_s[lasting.what as usize] += dur / 1e6;
                self.threads.entry((worker, entry.tid)).or_default()
            }
            "fetch" => {
                let is_peers = entry
                    .args
                    .from
                    .is_some_and(|from| from.starts_with("worker"));
                lasting.what = u32::from(!is_peers);
                self.fetches.entry(worker).or_default()
            }
            _ => return,
        };
        // Beyond the limit a lane's last span is made longer: what follows soon is near enough.
        match list.last_mut().filter(|_| self.spans >= SPANS_MAX) {
            Some(last) => last.end = last.end.max(lasting.end),
            None => {
                list.push(lasting);
                self.spans += 1;
            }
        }
    }
}
