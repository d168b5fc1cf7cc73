//! Freed block memory, kept for the next block of the same size. Never holds more than its bound.
//!
//! A worker makes and frees megabyte buffers thousands of times a second, nearly all of one or two
//! sizes. Fresh memory from the system costs a page fault every 4 KiB; a pooled buffer costs a
//! lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::buf::Line;

/// Most bytes that the pool keeps until [`set_pool_bytes_max`] is called:
/// 16 buffers of 2 MiB = 32 MiB.
pub const POOL_BYTES_MAX_DEFAULT: usize = 32 << 20;

/// Smaller buffers go back to the allocator, which keeps such sizes itself; so the pool holds at
/// most bound / 128 KiB buffers (256 by default).
const BUFFER_BYTES_MIN: usize = 128 << 10;

static POOL: Mutex<VecDeque<Vec<Line>>> = Mutex::new(VecDeque::new());
static BYTES: AtomicUsize = AtomicUsize::new(0);
static BYTES_MAX: AtomicUsize = AtomicUsize::new(POOL_BYTES_MAX_DEFAULT);

/// Returns how many bytes of freed buffers this process keeps for reuse.
pub fn pool_bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// Bounds the bytes of freed buffers that this process keeps; 0 keeps none.
pub fn set_pool_bytes_max(bytes: usize) {
    BYTES_MAX.store(bytes, Ordering::Relaxed);
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let dropped = shrink(&mut pool, bytes);
    drop(pool);
    drop(dropped);
}

/// Takes a buffer of exactly `lines` lines, the one freed last (its pages are the likeliest to be
/// in a cache).
pub(super) fn take(lines: usize) -> Option<Vec<Line>> {
    if lines * size_of::<Line>() < BUFFER_BYTES_MIN {
        return None;
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let place = pool.iter().rposition(|buffer| buffer.len() == lines)?;
    let buffer = pool.remove(place)?;
    BYTES.fetch_sub(size_of_val(&buffer[..]), Ordering::Relaxed);
    Some(buffer)
}

/// Keeps a freed buffer; those freed longest ago make room for it.
pub(super) fn give(buffer: Vec<Line>) {
    let bytes = size_of_val(&buffer[..]);
    let bytes_max = BYTES_MAX.load(Ordering::Relaxed);
    if bytes < BUFFER_BYTES_MIN || bytes > bytes_max {
        return;
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let dropped = shrink(&mut pool, bytes_max - bytes);
    pool.push_back(buffer);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    // Memory is returned to the system outside the lock.
    drop(pool);
    drop(dropped);
}

fn shrink(pool: &mut VecDeque<Vec<Line>>, bytes_max: usize) -> Vec<Vec<Line>> {
    let mut dropped = Vec::new();
    while BYTES.load(Ordering::Relaxed) > bytes_max {
        let Some(oldest) = pool.pop_front() else {
            break;
        };
        BYTES.fetch_sub(size_of_val(&oldest[..]), Ordering::Relaxed);
        dropped.push(oldest);
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::super::BlockBuf;
    use super::*;

    // One test, because the pool is the process's.
    #[test]
    fn keeps_freed_buffers_up_to_its_bound() {
        const SIZE: usize = 3 << 20;
        set_pool_bytes_max(2 * SIZE);
        let buffers: Vec<_> = (0..4).map(|_| BlockBuf::with_len(SIZE)).collect();
        let before = pool_bytes();
        drop(buffers);
        assert!(pool_bytes() <= 2 * SIZE && pool_bytes() > before);
        let kept = pool_bytes();
        let again = BlockBuf::with_len(SIZE);
        assert!(pool_bytes() < kept, "a buffer of the same size is reused");
        let zeroed = BlockBuf::zeroed(SIZE);
        assert!(zeroed.as_bytes().iter().all(|&byte| byte == 0));
        set_pool_bytes_max(0);
        drop((again, zeroed));
        assert_eq!(pool_bytes(), 0);
        set_pool_bytes_max(POOL_BYTES_MAX_DEFAULT);
    }
}
