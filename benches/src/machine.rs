//! What a benchmark's figures depend on beside the programs: the machine and how busy it is.

use std::fs;

/// One line that names the machine and says how busy it is.
pub fn machine() -> String {
    format!("machine: {}, load average {}", cpus(), load())
}

/// The CPU and how many of it there are.
pub fn cpus() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let (family, model) = (cpu_line("cpu family"), cpu_line("model"));
    let name = cpu_line("model name");
    format!("{name} (family {family}, model {model}), {cpus} CPUs")
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
