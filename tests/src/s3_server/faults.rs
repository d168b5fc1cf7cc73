//! What goes wrong at the server: rules that tests set, or faults at random by a seed. Counts what
//! was asked.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, Response, Uri};

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// GET of an object.
    Get,
    /// PUT of a whole object.
    Put,
    /// A page of a listing.
    List,
    /// DELETE of an object.
    Delete,
    /// Deletion of several objects.
    DeleteMany,
    /// Begin of a write in parts.
    Begin,
    /// A part of such a write.
    Part,
    /// Its completion.
    Complete,
    /// Its abortion.
    Abort,
    /// A page of the writes in parts.
    ListUploads,
    /// Anything else.
    Other,
}

impl On {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let has = |name: &str| {
            let mut names = query.split('&').map(|pair| pair.split('=').next());
            names.any(|given| given == Some(name))
        };
        match method.as_str() {
            "GET" if has("uploads") => Self::ListUploads,
            "GET" if has("list-type") => Self::List,
            "GET" => Self::Get,
            "PUT" if has("partNumber") => Self::Part,
            "PUT" => Self::Put,
            "POST" if has("uploads") => Self::Begin,
            "POST" if has("uploadId") => Self::Complete,
            "POST" if has("delete") => Self::DeleteMany,
            "DELETE" if has("uploadId") => Self::Abort,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// An answer with this status and code; nothing is done.
    Status(u16, &'static str),
    /// The request is done, but the line is cut before the answer.
    NoAnswer,
    /// The line is cut after so many bytes of the answer's body.
    CutAfter(usize),
    /// Nothing: the request goes right.
    Pass,
    /// The answer takes this much longer.
    Delay(Duration),
}

/// The faults of one server. Clones are the same.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What is asked, how often it goes wrong from now on, and how.
    rules: Vec<(On, usize, Want)>,
    /// A seed and the share of requests that go wrong, in percent.
    random: Option<(u64, u64)>,
    /// What every request meets for now.
    all: Option<Want>,
    asked: BTreeMap<On, usize>,
}

impl Faults {
    /// Makes the next `times` requests of this kind go wrong. Rules that were set before go first.
    pub fn set(&self, on: On, times: usize, want: Want) {
        self.state().rules.push((on, times, want));
    }

    /// Makes this share of all requests go wrong, each in one of all the ways.
    pub fn at_random(&self, seed: u64, percent: u64) {
        self.state().random = Some((seed, percent));
    }

    /// Makes every request go wrong alike from now on; `None` ends that. Rules go first.
    pub fn all(&self, want: Option<Want>) {
        self.state().all = want;
    }

    /// Nothing goes wrong any more, and nothing was asked.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    /// How often this was asked.
    pub fn asked(&self, on: On) -> usize {
        self.state().asked.get(&on).copied().unwrap_or(0)
    }

    pub(super) fn next(&self, on: On) -> Option<Want> {
        let mut state = self.state();
        *state.asked.entry(on).or_default() += 1;
        let rule = state
            .rules
            .iter_mut()
            .find(|(of, left, _)| *of == on && *left > 0);
        if let Some((_, left, want)) = rule {
            *left -= 1;
            return Some(*want);
        }
        if state.all.is_some() {
            return state.all;
        }
        let (seed, percent) = state.random.as_mut()?;
        let drawn = draw(seed);
        if drawn % 100 >= *percent {
            return None;
        }
        Some(match (drawn >> 32) % 6 {
            0 => Want::Status(500, "InternalError"),
            1 => Want::Status(503, "SlowDown"),
            2 => Want::Status(502, ""),
            3 => Want::NoAnswer,
            4 => Want::CutAfter((drawn >> 40) as usize % 4096),
            _ => Want::Delay(Duration::from_millis((drawn >> 40) % 20)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next number of a sequence (splitmix64).
pub fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An answer as S3 refuses.
pub(super) fn refusal(status: u16, code: &str) -> Response<Cut<s3s::Body>> {
    let text = if code.is_empty() {
        String::new()
    } else {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>injected by the test</Message></Error>"
        )
    };
    let body = Cut::never(s3s::Body::from(text));
    let answer = Response::builder().status(status).body(body);
    answer.expect("a status that a test has chosen")
}

/// The line is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cuts;

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the test cuts the line")
    }
}

impl std::error::Error for Cuts {}

/// A body that may break off.
pub(super) struct Cut<B> {
    body: B,
    left: Option<usize>,
}

impl<B> Cut<B> {
    pub(super) fn never(body: B) -> Self {
        Self { body, left: None }
    }

    pub(super) fn after(body: B, bytes: usize) -> Self {
        let left = Some(bytes);
        Self { body, left }
    }
}

impl<B> Body for Cut<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let (Some(left), Some(data)) = (self.left, frame.data_ref()) else {
            return Poll::Ready(Some(Ok(frame)));
        };
        if left == 0 {
            return Poll::Ready(Some(Err(Cuts.into())));
        }
        let data = data.slice(..left.min(data.len()));
        self.left = Some(left - data.len());
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && self.body.is_end_stream()
    }

    // The length that was promised stays: that is how a reader notices.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
