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

/// What else computes on the machine while a benchmark does.
pub struct Others {
    began: Ticks,
}

/// Ticks of all CPUs so far.
#[derive(Clone, Copy)]
struct Ticks {
    /// In which something ran, and all.
    busy: f64,
    all: f64,
    /// Of this process and of those that it started and that have ended.
    own: f64,
}

impl Others {
    /// Looks from now on.
    pub fn start() -> Self {
        Self {
            began: Ticks::now(),
        }
    }

    /// Share of the CPUs, in percent, that others have taken since; what this process started must have ended.
    pub fn percent(&self) -> f64 {
        let (began, now) = (self.began, Ticks::now());
        let others = (now.busy - began.busy) - (now.own - began.own);
        (others / (now.all - began.all).max(1.0) * 100.0).max(0.0)
    }
}

impl Ticks {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpus = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guests are in user and nice.
        let ticks: Vec<f64> = numbers(cpus).take(8).collect();
        let all = ticks.iter().sum::<f64>();
        let idle = ticks.iter().skip(3).take(2).sum::<f64>();
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = own.rsplit_once(") ").map_or("", |(_, fields)| fields);
        Self {
            busy: all - idle,
            all,
            // utime stime cutime cstime, behind the state and ten numbers.
            own: numbers(fields).skip(10).take(4).sum(),
        }
    }
}

/// The numbers of a line, words left out.
fn numbers(line: &str) -> impl Iterator<Item = f64> {
    line.split_whitespace().filter_map(|word| word.parse().ok())
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
