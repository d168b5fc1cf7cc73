//! What a trace says of each worker's time: when its threads computed what, and when blocks were on their way
//! to it. Reads a file entry by entry and keeps no more than a picture can show.

use std::collections::BTreeMap;
use std::path::Path;

use super::form::Entry;
use super::read::{Reader, TraceError, read};
use crate::chart::{Lane, Picture, SERIES_MAX, Span, Spans};

/// Lanes for compute threads that a picture has: 48 of 14 are 700 high.
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
        let colours = self.colours();
        let mut series: Vec<String> = Vec::new();
        for (kernel, colour) in colours.iter().enumerate() {
            if *colour >= series.len() {
                series.resize(colour + 1, String::new());
            }
            let name = &mut series[*colour];
            *name = if name.is_empty() {
                self.kernels[kernel].clone()
            } else {
                "others".to_owned()
            };
        }
        let fetch_colours = [series.len(), series.len() + 1];
        series.push("fetching from peers".to_owned());
        series.push("fetching from store and inputs".to_owned());
        let at = |time: f32| f64::from(time - first);
        let span = |series, lasting: &Lasting| Span {
            series,
            begin: at(lasting.begin),
            end: at(lasting.end),
        };
        let mut lanes = Vec::new();
        let shown: Vec<_> = self.threads.keys().copied().take(LANES_MAX).collect();
        for (place, key) in shown.iter().enumerate() {
            let (worker, _) = *key;
            let is_first = place == 0 || shown[place - 1].0 != worker;
            let computed = self.threads[key].iter();
            lanes.push(Lane {
                group: if is_first {
                    format!("worker {worker}")
                } else {
                    String::new()
                },
                is_thin: false,
                spans: computed
                    .map(|l| span(colours[l.what as usize], l))
                    .collect(),
            });
            if shown.get(place + 1).is_none_or(|next| next.0 != worker) {
                let fetched = self.fetches.get(&worker).into_iter().flatten();
                lanes.push(Lane {
                    group: String::new(),
                    is_thin: true,
                    spans: fetched
                        .map(|l| span(fetch_colours[l.what as usize], l))
                        .collect(),
                });
            }
        }
        let mut title = "What each worker did when".to_owned();
        if shown.len() < self.threads.len() {
            title.push_str(&format!(
                " (the first {} of {} threads)",
                shown.len(),
                self.threads.len()
            ));
        }
        Some(
            Spans {
                title,
                series,
                end: at(end),
                lanes,
            }
            .draw(),
        )
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
