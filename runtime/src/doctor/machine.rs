//! What the machine itself allows: cores, memory, descriptors, threads, socket buffers, and which bits its
//! kernels give.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::actors::worker::{cpu_name, fingerprint};
use crate::options::{ByteSize, MachineFacts};
use crate::report::counted;

/// A worker's own needs of descriptors: a socket, 8 files at a time, some 64 connections with a store.
const DESCRIPTORS_MIN: u64 = 128;
/// With room for a driver that writes results and runs workers as threads.
const DESCRIPTORS_WELL: u64 = 1024;
/// Threads of a worker besides its cores': files, network, signals.
const THREADS_BESIDES: u64 = 16;
/// Tiles of 1024 x 1024 take 8 MiB; a worker works with some 16 of them.
const MEMORY_WELL: u64 = 256 << 20;
/// What a node asks its socket to buffer, each way.
const BUFFER_BYTES: u64 = 4 << 20;

pub(super) fn examine() -> Vec<Finding> {
    let facts = MachineFacts::read();
    vec![
        processor(&facts),
        memory(&facts),
        descriptors(),
        threads(&facts),
        buffer("receive buffer", "net/core/rmem_max"),
        buffer("send buffer", "net/core/wmem_max"),
    ]
}

/// This machine in a few words: its cores, processor and the memory that is free.
#[must_use]
pub fn machine() -> String {
    let facts = MachineFacts::read();
    let free = ByteSize(facts.memory_available_bytes);
    let cores = counted(facts.cores.into(), "core");
    format!("{cores}, {}, {free} free", cpu_name())
}

fn processor(facts: &MachineFacts) -> Finding {
    let bits = fingerprint().to_string();
    let seen = format!(
        "{} cores, {}, bits {}",
        facts.cores,
        cpu_name(),
        bits.get(..12).unwrap_or(&bits)
    );
    // Workers whose bits differ cannot be in one run; here there is one to look at.
    Finding::ok("processor", seen)
}

fn memory(facts: &MachineFacts) -> Finding {
    let free = facts.memory_available_bytes;
    let seen = format!("{} free", ByteSize(free));
    if free < MEMORY_WELL {
        Finding::warn(
            "memory",
            seen,
            "end other programs, or take small tiles (--block 256)",
        )
    } else {
        Finding::ok("memory", seen)
    }
}

fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let seen = if limit == u64::MAX {
        "no limit".to_owned()
    } else {
        format!("{limit} at once")
    };
    let advice = "raise it: ulimit -n 4096";
    match limit {
        0..DESCRIPTORS_MIN => Finding::bad("open files", seen, advice),
        DESCRIPTORS_MIN..DESCRIPTORS_WELL => Finding::warn("open files", seen, advice),
        _ => Finding::ok("open files", seen),
    }
}

fn threads(facts: &MachineFacts) -> Finding {
    let own = getrlimit(Resource::Nproc).current;
    let group = number(Path::new("/sys/fs/cgroup/pids.max"));
    let need = u64::from(facts.cores) + THREADS_BESIDES;
    match own.into_iter().chain(group).min() {
        Some(limit) if limit < need => Finding::bad(
            "threads",
            format!("{limit} at once; a worker with all cores has {need}"),
            "raise it: ulimit -u 4096, or pids.max of the container; or give workers fewer --cores",
        ),
        Some(limit) => Finding::ok("threads", format!("{limit} at once")),
        None => Finding::ok("threads", "no limit"),
    }
}

fn buffer(name: &'static str, file: &str) -> Finding {
    let Some(bytes) = number(&Path::new("/proc/sys").join(file)) else {
        return Finding::ok(name, "the system does not say");
    };
    let seen = format!("{} for a UDP socket", ByteSize(bytes));
    if bytes < BUFFER_BYTES {
        let option = file.replace('/', ".");
        let advice = format!("fast links lose packets: sysctl -w {option}={BUFFER_BYTES}");
        Finding::warn(name, seen, &advice)
    } else {
        Finding::ok(name, seen)
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
