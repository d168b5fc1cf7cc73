//! Workers behind NATs, in network namespaces: which pairs find a path, and what the others do. Needs root
//! and `ip`, `nft`; says so and passes where they are missing.

#![allow(
    clippy::print_stderr,
    reason = "what was measured is shown, and what is left out said aloud"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use peerwren_transports::identity::{Authority, NodeId};

/// Networks share the names of interfaces and the machine's two cores: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const COORDINATOR: &str = "203.0.113.1:7000";
const BLOCK_BYTES: usize = 8 << 20;

/// A test network, gone when dropped, whatever happens.
struct Net {
    prefix: String,
    folder: PathBuf,
    running: Vec<Child>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("net/nats.sh")
}

/// Runs the script; what went wrong, if anything did.
fn nats(args: &[&str]) -> Result<(), String> {
    let done = Command::new(script()).args(args).output();
    let Output { status, stderr, .. } = done.map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&stderr).trim().to_owned())
    }
}

/// Why there can be no test networks here, if so.
fn missing() -> Option<String> {
    let probe = format!("pwq{}", std::process::id());
    let has = |tool: &str| {
        let found = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_ok()
    };
    if let Some(tool) = ["ip", "nft"].into_iter().find(|tool| !has(tool)) {
        return Some(format!("{tool} is not installed (iproute2, nftables)"));
    }
    let made = nats(&["up", &probe, "cone", "cone"]);
    let _ = nats(&["down", &probe]);
    made.err()
        .map(|error| format!("no network namespaces: {error}"))
}

impl Net {
    /// Makes a network with these NATs; `None`, said aloud, where that is impossible.
    fn up(name: &str, a: &str, b: &str) -> Option<Self> {
        if let Some(why) = missing() {
            eprintln!("SKIPPED: {name}: {why}; run the tests as root to have it");
            return None;
        }
        let prefix = format!("pw{}{name}", std::process::id());
        let folder = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&folder).unwrap();
        let net = Self {
            prefix,
            folder,
            running: Vec::new(),
        };
        nats(&["up", &net.prefix, a, b]).unwrap();
        net.identities();
        Some(net)
    }

    /// Writes the identities of a coordinator and two workers.
    fn identities(&self) {
        let now = SystemTime::now();
        let authority = Authority::new(0xfeed, now).unwrap();
        for node in [NodeId::Coordinator, NodeId::Worker(0), NodeId::Worker(1)] {
            let identity = authority.issue(node, now).unwrap();
            std::fs::write(self.identity(node), identity.to_pem()).unwrap();
        }
    }

    fn identity(&self, node: NodeId) -> String {
        let path = self.folder.join(format!("{node}.pem"));
        path.to_str().unwrap().to_owned()
    }

    /// Starts a node and returns what it says once it has said something.
    fn start(&mut self, host: &str, args: &[&str]) -> BufReader<ChildStdout> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &format!("{}-{host}", self.prefix)])
            .arg(env!("CARGO_BIN_EXE_punch_node"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        self.running.push(child);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{args:?} on {host} did not start");
        lines
    }

    /// Lets one worker fetch from the other; `fetcher` is 0 or 1, on host a or b.
    fn fetch(&mut self, fetcher: u32, count: usize, midway: impl FnOnce(&Self)) -> String {
        let hosts = ["a", "b"];
        let server = 1 - fetcher;
        let host = |worker: u32| hosts[worker as usize];
        let bytes = BLOCK_BYTES.to_string();
        let coordinator = self.identity(NodeId::Coordinator);
        let _said = self.start("rv", &["coordinator", &coordinator, COORDINATOR]);
        let identity = self.identity(NodeId::Worker(server));
        let serve = ["worker", &identity, COORDINATOR, "serve", &bytes];
        let _serving = self.start(host(server), &serve);
        let identity = self.identity(NodeId::Worker(fetcher));
        let (peer, count) = (server.to_string(), count.to_string());
        let fetch = [
            "worker",
            &identity,
            COORDINATOR,
            "fetch",
            &peer,
            &bytes,
            &count,
        ];
        let mut said = self.start(host(fetcher), &fetch);
        midway(self);
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = nats(&["down", &self.prefix]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Each pair of NATs, from both sides: the way that it takes.
#[test]
fn pairs_of_nats_are_punched_or_given_up() {
    let _turn = one_at_a_time();
    let pairs = [
        ("cone", "cone", "punched"),
        ("cone", "fullcone", "punched"),
        ("symmetric", "fullcone", "punched"),
        ("symmetric", "cone", "store"),
        ("symmetric", "symmetric", "store"),
    ];
    for (a, b, way) in pairs {
        for fetcher in [0, 1] {
            let Some(mut net) = Net::up("p", a, b) else {
                return;
            };
            let said = net.fetch(fetcher, 9, |_| {});
            eprintln!("{a} / {b}, fetched by {fetcher}: {said}");
            assert!(said.contains(&format!("way={way} ")), "{a} / {b}: {said}");
            let kind = if [a, b][fetcher as usize] == "symmetric" {
                "DestinationDependent"
            } else {
                "Independent"
            };
            assert!(
                said.contains(&format!("mapping={kind} ")),
                "{a} / {b}: {said}"
            );
            let failures = if way == "store" {
                "[\"no path\"]"
            } else {
                "[]"
            };
            assert!(
                said.ends_with(&format!("failures={failures}")),
                "{a} / {b}: {said}"
            );
        }
    }
}

/// A path that is cut while blocks come: the fetch ends with an error in bounded time, and the next one is
/// told that there is no path any more.
#[test]
fn a_path_that_is_cut_ends_what_it_carries() {
    let _turn = one_at_a_time();
    let Some(mut net) = Net::up("c", "cone", "cone") else {
        return;
    };
    let said = net.fetch(0, 100_000, |net| nats(&["cut", &net.prefix]).unwrap());
    eprintln!("cut: {said}");
    assert!(said.contains("way=store "), "{said}");
    assert!(said.ends_with("\"no path\"]"), "{said}");
}

/// Some hundred small tasks on two workers: seconds on any machine.
const PLAN: &str = "qr random:900x700:5 --block 50 --ib 10 --tree grid:2x1";
/// Some MB to exchange, for seconds.
const LONG_PLAN: &str = "qr random:2400x2000:5 --block 50 --ib 10 --tree grid:2x1";
/// Fewer of them, where each waits for a letter.
const SMALL_PLAN: &str = "qr random:320x256:5 --block 64 --ib 16 --tree grid:2x1";
/// A coordinator that everybody reaches.
const PUBLIC: Driver = Driver {
    host: "rv",
    listen: "203.0.113.1:7000",
    options: "",
};

/// Where a coordinator runs, and how.
struct Driver {
    host: &'static str,
    listen: &'static str,
    options: &'static str,
}

/// What a run over two NATs left: its report and R, as bytes.
struct Ran {
    report: serde_json::Value,
    r: Vec<u8>,
}

impl Ran {
    fn bytes(&self, of: &str) -> u64 {
        self.report["bytes"][of].as_u64().unwrap()
    }
}

impl Net {
    fn peerwren(&self, host: Option<&str>, line: &str) -> Command {
        let executable = Path::new(env!("CARGO_BIN_EXE_punch_node")).with_file_name("peerwren");
        let mut command = match host {
            None => Command::new(&executable),
            Some(host) => {
                let mut command = Command::new("ip");
                let host = format!("{}-{host}", self.prefix);
                command.args(["netns", "exec", &host]).arg(&executable);
                command
            }
        };
        command
            .args(line.split_whitespace())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a plan on workers behind the two NATs, with a coordinator of its own place.
    fn run(&mut self, driver: Driver, plan: &str, midway: impl FnOnce(&Self)) -> Ran {
        std::fs::create_dir_all(self.folder.join("store")).unwrap();
        let Driver {
            host,
            listen,
            options,
        } = driver;
        let line = format!(
            "coordinator --listen {listen} --token run.token {plan} --workers 2 --store store \
             --r r.npy --report p.json --quiet {options}"
        );
        let coordinator = self.peerwren(Some(host), &line).spawn().unwrap();
        let place = self.running.len();
        self.running.push(coordinator);
        let token = self.folder.join("run.token");
        for _ in 0..600 {
            if token.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for host in ["a", "b"] {
            let line =
                "worker --token run.token --cores 1 --memory 1GiB --listen 0.0.0.0:0 --quiet";
            let worker = self.peerwren(Some(host), line).spawn().unwrap();
            self.running.push(worker);
        }
        midway(self);
        let run = self.running.remove(place).wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{told}");
        let read = |name: &str| std::fs::read(self.folder.join(name)).unwrap();
        Ran {
            report: serde_json::from_slice(&read("p.json")).unwrap(),
            r: read("r.npy"),
        }
    }

    /// R as one worker on this machine makes it.
    fn expected(&self, plan: &str) -> Vec<u8> {
        let line = format!("{plan} --workers 1 --r r1.npy --quiet");
        let run = self.peerwren(None, &line).output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{told}");
        std::fs::read(self.folder.join("r1.npy")).unwrap()
    }
}

/// A whole run: workers that are punched exchange blocks, others go through the store; the bits are the
/// same.
#[test]
fn runs_behind_nats_give_the_same_bits_by_either_way() {
    let _turn = one_at_a_time();
    for (a, b, way) in [
        ("cone", "cone", "punched"),
        ("symmetric", "fullcone", "punched"),
        ("symmetric", "cone", "store"),
    ] {
        let Some(mut net) = Net::up("r", a, b) else {
            return;
        };
        let ran = net.run(PUBLIC, PLAN, |_| {});
        assert!(ran.r == net.expected(PLAN), "{a} / {b}: other bits");
        let (ways, peer) = (&ran.report["ways"], ran.bytes("peer"));
        eprintln!("{a} / {b}: ways {ways}, {}", ran.report["bytes"]);
        assert_eq!(ways[way], 1, "{a} / {b}: {ways}");
        assert_eq!(
            peer > 0,
            way == "punched",
            "{a} / {b}: {peer} bytes by peers"
        );
        assert_eq!(ran.report["workers_lost"], 0, "{a} / {b}");
    }
}

/// No packet gets through, not even to the coordinator: control and blocks go through the store.
#[test]
fn a_run_without_udp_goes_through_the_store() {
    let _turn = one_at_a_time();
    let Some(mut net) = Net::up("u", "no-udp", "no-udp") else {
        return;
    };
    let ran = net.run(PUBLIC, SMALL_PLAN, |_| {});
    assert!(ran.r == net.expected(SMALL_PLAN), "other bits");
    let ways = &ran.report["ways"];
    eprintln!("no UDP: ways {ways}, {}", ran.report["bytes"]);
    assert_eq!(
        (ways["punched"].as_u64(), ways["store"].as_u64()),
        (Some(0), Some(1))
    );
    assert_eq!(ran.bytes("peer"), 0);
    assert_eq!(ran.report["workers_lost"], 0);
}

/// The coordinator has no network at all, only the store: introductions come by letters, addresses from a STUN
/// server, and blocks go from worker to worker nevertheless.
#[test]
fn workers_punch_though_their_driver_is_reached_by_the_store_alone() {
    let _turn = one_at_a_time();
    let Some(mut net) = Net::up("s", "cone", "cone") else {
        return;
    };
    let _answers = net.start("rv", &["stun", "203.0.113.1:3478"]);
    let driver = Driver {
        host: "pub",
        listen: "127.0.0.1:0",
        options: "--control store --stun 203.0.113.1",
    };
    let ran = net.run(driver, SMALL_PLAN, |_| {});
    assert!(ran.r == net.expected(SMALL_PLAN), "other bits");
    let ways = &ran.report["ways"];
    eprintln!("driver by the store: ways {ways}, {}", ran.report["bytes"]);
    assert_eq!(ways["punched"], 1, "{ways}");
    assert!(ran.bytes("peer") > 0);
    assert_eq!(ran.report["workers_lost"], 0);
}

impl Net {
    /// Bytes that have left the first NAT for outside.
    fn sent(&self) -> u64 {
        let done = Command::new("ip")
            .args(["netns", "exec", &format!("{}-natA", self.prefix)])
            .args(["cat", "/sys/class/net/wan/statistics/tx_bytes"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout)
            .trim()
            .parse()
            .unwrap()
    }
}

/// A path that is cut when some of the blocks have gone over it: the others go through the store, with the
/// same bits.
#[test]
fn a_run_whose_path_is_cut_gives_the_same_bits() {
    let _turn = one_at_a_time();
    let Some(mut net) = Net::up("m", "cone", "cone") else {
        return;
    };
    let ran = net.run(PUBLIC, LONG_PLAN, |net| {
        let enough = (0..3_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            net.sent() > 1_000_000
        });
        assert!(enough, "blocks go over the path: {} bytes", net.sent());
        nats(&["cut", &net.prefix]).unwrap();
    });
    assert!(ran.r == net.expected(LONG_PLAN), "other bits");
    let ways = &ran.report["ways"];
    eprintln!("cut: ways {ways}, {}", ran.report["bytes"]);
    assert!(ran.bytes("peer") > 0, "before");
    assert_eq!(ways["store"], 1, "after: {ways}");
    assert_eq!(ran.report["workers_lost"], 0);
}

#[test]
fn the_doctor_tells_what_a_nat_does() {
    let _turn = one_at_a_time();
    for (kind, grade, told) in [
        ("cone", "ok", "can be punched"),
        ("symmetric", "warn", "another address for each destination"),
        ("no-udp", "warn", "nobody says"),
    ] {
        let Some(mut net) = Net::up("d", kind, "cone") else {
            return;
        };
        let _servers = ["203.0.113.1:3478", "203.0.113.2:3478"]
            .map(|server| net.start("rv", &["stun", server]));
        let line = "doctor --json --stun 203.0.113.1,203.0.113.2";
        let mut doctor = net.peerwren(Some("a"), line);
        let examined = doctor.stdout(Stdio::piped()).output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&examined.stdout).unwrap();
        let findings = found["findings"].as_array().unwrap();
        let nat = findings
            .iter()
            .find(|found| found["name"] == "NAT")
            .unwrap();
        assert_eq!(nat["grade"], grade, "{kind}: {nat}");
        assert!(
            nat["seen"].as_str().unwrap().contains(told),
            "{kind}: {nat}"
        );
    }
}
