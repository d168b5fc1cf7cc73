//! What a store does: written, read and made once, how fast, and nothing left behind.

use std::time::Duration;

use peerwren_transports::store::{Created, Objects, Place, StoreError};

use super::{Finding, milliseconds, rate};
use crate::actors::clock::{self, Clock};
use crate::actors::guests::unix_ms;

/// A tile of 1024 x 1024.
const PROBE_BYTES: usize = 8 << 20;
const PROBES: usize = 3;
/// Slower than that, mail and small blocks cost more than they are worth.
const LATENCY_WELL: Duration = Duration::from_millis(200);

pub(super) async fn examine(place: &Place) -> Vec<Finding> {
    let opened = Objects::open(place).await;
    let advice = "see that it exists, and that you may read, write, list and delete there";
    let objects = match opened {
        Ok(objects) => objects.at(&format!("doctor-{:x}", unix_ms(clock::wall()))),
        Err(error) => return vec![Finding::bad("store", error.to_string(), advice)],
    };
    let mut findings = Vec::new();
    match measure(&objects).await {
        Ok(measured) => findings.extend(measured),
        Err(error) => findings.push(Finding::bad("store", error.to_string(), advice)),
    }
    if let Err(error) = objects.delete_all("").await {
        findings.push(Finding::bad("store", error.to_string(), advice));
    }
    findings
}

async fn measure(objects: &Objects) -> Result<Vec<Finding>, StoreError> {
    let mut fastest = Duration::MAX;
    for probe in 0..PROBES {
        let clock = Clock::start();
        objects.put(&format!("small/{probe}"), vec![0; 64]).await?;
        fastest = fastest.min(Duration::from_nanos(clock.now().as_nanos()));
    }
    let clock = Clock::start();
    for probe in 0..PROBES {
        objects
            .put(&format!("large/{probe}"), vec![7; PROBE_BYTES])
            .await?;
    }
    let wrote = Duration::from_nanos(clock.now().as_nanos());
    let clock = Clock::start();
    let mut whole = true;
    for probe in 0..PROBES {
        let read = objects.get(&format!("large/{probe}"), PROBE_BYTES).await?;
        whole &= read.is_some_and(|bytes| bytes.len() == PROBE_BYTES);
    }
    let read = Duration::from_nanos(clock.now().as_nanos());
    let listed = objects.list("large/").await?.len();
    let made = [
        objects.create("once", b"one".to_vec()).await?,
        objects.create("once", b"two".to_vec()).await?,
    ];
    let bytes = PROBES * PROBE_BYTES;
    let seen = format!(
        "a write takes {}; writes {:.0} MB/s, reads {:.0} MB/s",
        milliseconds(fastest),
        rate(bytes, wrote),
        rate(bytes, read)
    );
    let speed = if fastest > LATENCY_WELL {
        Finding::warn("store", seen, "take a bucket or folder that is nearer")
    } else {
        Finding::ok("store", seen)
    };
    let right = whole && listed == PROBES && made == [Created::New, Created::Clash];
    let keeps = if right {
        Finding::ok(
            "store's promises",
            "what is written is read, listed, and made only once",
        )
    } else {
        Finding::bad(
            "store's promises",
            format!("read whole: {whole}, listed {listed} of {PROBES}, made once: {made:?}"),
            "take a store with conditional writes and strong consistency, as S3 has",
        )
    };
    Ok(vec![speed, keeps])
}
