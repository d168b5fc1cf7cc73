//! Which runs have left something in a store. Never deletes.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{BlockStore, StoreError, block_key};

/// What one run has in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFound {
    /// The run.
    pub run: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Its other objects.
    pub objects: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Manifests among its objects: from one of them it can be resumed.
    pub manifests: u64,
    /// Writes that were begun and neither completed nor given up; they may be under way.
    pub unfinished: u64,
    /// When the last of its objects was written, where the store tells.
    pub modified: Option<SystemTime>,
}

/// What names of manifests start with, among a run's objects.
const MANIFESTS: &str = "manifest/";

impl BlockStore {
    /// Finds the runs that have something in this store, in the order of their numbers. Looks at
    /// the name of everything that lies there.
    pub async fn runs(&self) -> Result<Vec<RunFound>, StoreError> {
        let mut runs = BTreeMap::new();
        for listed in self.0.list_dated("").await? {
            let Some((run, name)) = of_run(&listed.name) else {
                continue;
            };
            let found: &mut RunFound = runs.entry(run).or_default();
            match block_key(run, name) {
                Some(_) => found.blocks += 1,
                None => found.objects += 1,
            }
            found.bytes += listed.len;
            found.manifests += u64::from(name.starts_with(MANIFESTS));
            found.modified = found.modified.max(listed.modified);
        }
        for name in self.0.unfinished().await? {
            if let Some((run, _)) = of_run(&name) {
                runs.entry(run).or_default().unfinished += 1;
            }
        }
        let numbered = runs
            .into_iter()
            .map(|(run, found)| RunFound { run, ..found });
        Ok(numbered.collect())
    }
}

/// The run that an object is of, and its name among the run's.
fn of_run(name: &str) -> Option<(u64, &str)> {
    let (run, name) = name.split_once('/')?;
    let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let named = run.len() == 16 && run.bytes().all(digit);
    Some((u64::from_str_radix(run, 16).ok().filter(|_| named)?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_digits_name_a_run() {
        for (name, run) in [
            ("00000000000000ff/a/b", Some((255, "a/b"))),
            ("ffffffffffffffff/x", Some((u64::MAX, "x"))),
            ("ff/x", None),
            ("00000000000000FF/x", None),
            ("+0000000000000ff/x", None),
            ("00000000000000ff", None),
        ] {
            assert_eq!(of_run(name), run, "{name}");
        }
    }
}
