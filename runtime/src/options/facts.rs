//! What this machine has, as far as a default depends on it.

use std::fs;
use std::path::{Path, PathBuf};

/// Cores and memory that this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineFacts {
    /// Cores, by affinity and cgroup quota.
    pub cores: u32,
    /// Bytes that can be used without swapping, by the system and every cgroup above this process.
    pub memory_available_bytes: u64,
}

/// What a machine is taken to have that does not say: 1 GiB.
const MEMORY_UNKNOWN_BYTES: u64 = 1 << 30;

/// Where a cgroup version keeps a group's limit, its use, and of that the cache that it gives back.
struct CgroupFiles {
    /// The controller's name in `/proc/self/cgroup`; empty for version 2.
    controller: &'static str,
    /// Below the root of the file system of cgroups.
    mount: &'static str,
    limit: &'static str,
    used: &'static str,
    reclaimable: &'static str,
}

const CGROUP_FILES: [CgroupFiles; 2] = [
    CgroupFiles {
        controller: "",
        mount: "",
        limit: "memory.max",
        used: "memory.current",
        reclaimable: "inactive_file",
    },
    CgroupFiles {
        controller: "memory",
        mount: "memory",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        reclaimable: "total_inactive_file",
    },
];

impl MachineFacts {
    /// Asks the system.
    pub fn read() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Self {
            cores,
            memory_available_bytes: available_memory(Path::new("/")),
        }
    }
}

/// The least that the system and the cgroups leave, under a root that tests can replace.
fn available_memory(root: &Path) -> u64 {
    let system = fs::read_to_string(root.join("proc/meminfo"))
        .ok()
        .and_then(|text| Some(value_of(&text, "MemAvailable:")? * 1024));
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let groups = CGROUP_FILES.iter().flat_map(|files| {
        let path = membership(&memberships, files.controller);
        let base = root.join("sys/fs/cgroup").join(files.mount);
        // Inside a container the path may be the host's; then only the mounted root is seen.
        ancestors(path).filter_map(move |group| left_in(&base.join(group), files))
    });
    system
        .into_iter()
        .chain(groups)
        .min()
        .unwrap_or(MEMORY_UNKNOWN_BYTES)
}

/// This process's group in a line `number:controllers:/path`.
fn membership<'a>(lines: &'a str, controller: &str) -> &'a str {
    let of_line = |line: &'a str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    };
    lines.lines().find_map(of_line).unwrap_or("/")
}

/// The group and all groups above it, relative to the root.
fn ancestors(path: &str) -> impl Iterator<Item = PathBuf> {
    let path = PathBuf::from(path.trim_start_matches('/'));
    let mut next = Some(path);
    std::iter::from_fn(move || {
        let group = next.take()?;
        next = group.parent().map(Path::to_path_buf);
        Some(group)
    })
}

fn left_in(group: &Path, files: &CgroupFiles) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number(files.limit)?;
    let used = number(files.used).unwrap_or(0);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = value_of(&stat, files.reclaimable).unwrap_or(0).min(used);
    Some(limit.saturating_sub(used - reclaimable))
}

/// The number after a name at the start of a line.
fn value_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() == Some(name) {
            words.next()?.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Available bytes of a machine that has these files.
    fn available(name: &str, files: &[(&str, &str)]) -> u64 {
        let root =
            std::env::temp_dir().join(format!("peerwren-facts-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let bytes = available_memory(&root);
        let _ = fs::remove_dir_all(&root);
        bytes
    }

    #[test]
    fn the_tightest_limit_counts() {
        let meminfo = (
            "proc/meminfo",
            "MemTotal: 2000 kB\nMemAvailable:    1000 kB\n",
        );
        let v2 = ("proc/self/cgroup", "0::/user/job\n");
        assert_eq!(available("none", &[]), MEMORY_UNKNOWN_BYTES);
        assert_eq!(available("system", &[meminfo]), 1_024_000);
        assert_eq!(
            available(
                "v2-own",
                &[
                    meminfo,
                    v2,
                    ("sys/fs/cgroup/user/job/memory.max", "500000\n"),
                    ("sys/fs/cgroup/user/job/memory.current", "300000\n"),
                    (
                        "sys/fs/cgroup/user/job/memory.stat",
                        "anon 1\ninactive_file 100000\n"
                    ),
                ]
            ),
            300_000
        );
        assert_eq!(
            available(
                "v2-above",
                &[
                    meminfo,
                    v2,
                    ("sys/fs/cgroup/user/job/memory.max", "max\n"),
                    ("sys/fs/cgroup/user/memory.max", "400000\n"),
                ]
            ),
            400_000
        );
        assert_eq!(
            available(
                "v1",
                &[
                    meminfo,
                    (
                        "proc/self/cgroup",
                        "3:cpu,cpuacct:/x\n2:memory:/docker/abc\n"
                    ),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "200000\n"),
                    ("sys/fs/cgroup/memory/memory.usage_in_bytes", "50000\n"),
                ]
            ),
            150_000
        );
    }

    #[test]
    fn this_machine_has_something() {
        let facts = MachineFacts::read();
        assert!(
            facts.cores >= 1 && facts.memory_available_bytes > 0,
            "{facts:?}"
        );
    }
}
