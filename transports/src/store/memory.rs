//! Objects in this process's memory, for the engine whose workers share it, and for tests. Never
//! copies a block.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::objects::Listed;
use super::{Created, StoreError};
use crate::block::Block;

/// Objects in memory, up to a bound. Cheap to clone: clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    objects: BTreeMap<String, Block>,
    bytes: usize,
    bytes_max: usize,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Held {
            objects: BTreeMap::new(),
            bytes: 0,
            bytes_max,
        })))
    }

    pub(super) fn get(&self, name: &str) -> Option<Block> {
        self.held().objects.get(name).cloned()
    }

    pub(super) fn put(&self, name: String, block: Block) -> Result<(), StoreError> {
        let replaced = self.held().insert(name, block)?;
        // Memory is returned to the system outside the lock.
        drop(replaced);
        Ok(())
    }

    pub(super) fn create(&self, name: String, block: Block) -> Result<Created, StoreError> {
        let mut held = self.held();
        match held.objects.get(&name) {
            Some(there) if *there == block => Ok(Created::Same),
            Some(_) => Ok(Created::Clash),
            None => held.insert(name, block).map(|_| Created::New),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Listed> {
        let held = self.held();
        let from = held.objects.range(prefix.to_owned()..);
        from.take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, block)| Listed {
                name: name.clone(),
                len: block.len() as u64,
                modified: None,
            })
            .collect()
    }

    pub(super) fn delete(&self, name: &str) {
        let mut held = self.held();
        let deleted = held.objects.remove(name);
        held.bytes -= deleted.as_ref().map_or(0, Block::len);
        drop(held);
        drop(deleted);
    }

    pub(super) fn delete_all(&self, prefix: &str) {
        let mut held = self.held();
        let mut deleted = held.objects.split_off(prefix);
        let after = deleted.keys().find(|name| !name.starts_with(prefix));
        if let Some(after) = after.cloned() {
            let mut kept = deleted.split_off(&after);
            held.objects.append(&mut kept);
        }
        held.bytes -= deleted.values().map(Block::len).sum::<usize>();
        drop(held);
        drop(deleted);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn insert(&mut self, name: String, block: Block) -> Result<Option<Block>, StoreError> {
        let replaced = self.objects.get(&name).map_or(0, Block::len);
        let bytes = self.bytes - replaced + block.len();
        if bytes > self.bytes_max {
            let limit = self.bytes_max;
            return Err(StoreError::Full {
                place: "in memory".to_owned(),
                source: io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!("{bytes} bytes where at most {limit} are allowed"),
                ),
            });
        }
        self.bytes = bytes;
        Ok(self.objects.insert(name, block))
    }
}
