//! What a benchmark's figures depend on beside the programs: the machine and how busy it is.

use std::fs;

/// One line that names the machine: CPU, number of CPUs, load average.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = load();
    format!(
        "machine: {}, {cpus} CPUs, load average {load}",
        cpu_line("model name")
    )
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    load.join(" ")
}

/// The first value that /proc/cpuinfo has under a name, or "unknown".
pub fn cpu_line(name: &str) -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| "unknown".to_owned())
}
