//! Whole runs on the emulated Lambda service, with a bucket as the only thing that driver and workers share
//! beside UDP.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use peerwren_tests::command::{beside, run, succeed};
use peerwren_tests::lambda::{Lambda, Settings};
use peerwren_tests::s3_server::S3Server;
use serde_json::Value;

const ROLE: &str = "arn:aws:iam::123456789012:role/peerwren";

/// A Lambda service with the function `f`, a bucket, and a folder for what the command writes.
struct Cloud {
    runtime: tokio::runtime::Runtime,
    lambda: Option<Lambda>,
    s3: S3Server,
    folder: PathBuf,
}

impl Cloud {
    /// `None`, said aloud, where the command or the bootstrap is not built.
    fn start(name: &str, timeout_s: u32, memory: &str) -> Option<Self> {
        let bootstrap = beside("bootstrap")?;
        beside("peerwren")?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        let folder = folder.unwrap().keep();
        let s3 = S3Server::start();
        let variables = s3.variables().into_iter();
        let settings = Settings {
            environment: variables
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            ..Settings::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let lambda = runtime.block_on(Lambda::start(settings, 0)).unwrap();
        let cloud = Self {
            runtime,
            lambda: Some(lambda),
            s3,
            folder,
        };
        let deploy = format!(
            "lambda deploy {} --name f --role {ROLE} --memory {memory} --timeout {timeout_s}",
            bootstrap.display()
        );
        succeed(&cloud.folder, &deploy, &cloud.variables());
        Some(cloud)
    }

    fn lambda(&self) -> &Lambda {
        self.lambda.as_ref().unwrap()
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.s3.variables();
        variables.push(("AWS_ENDPOINT_URL_LAMBDA", self.lambda().url()));
        variables
    }

    fn qr(&self, plan: &str, how: &str, name: &str) -> (Value, Vec<u8>) {
        let line = format!("qr {plan} {how} --r {name}.npy --report {name}.json --quiet");
        succeed(&self.folder, &line, &self.variables());
        let read = |file: String| fs::read(self.folder.join(file)).unwrap();
        let report = serde_json::from_slice(&read(format!("{name}.json"))).unwrap();
        (report, read(format!("{name}.npy")))
    }

    /// On the function, with the bucket.
    fn on_lambda(&self, plan: &str, more: &str, name: &str) -> (Value, Vec<u8>) {
        let how = format!("--engine lambda:f --store s3://bucket/runs {more}");
        self.qr(plan, &how, name)
    }

    /// Waits until no instance has an event, and no event waits: whatever else is still there is frozen.
    fn rest(&self) {
        for _ in 0..600 {
            let lambda = self.lambda();
            let busy = lambda.instances().iter().any(|instance| instance.busy);
            if !busy && lambda.events().waiting == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "instances work though no run is left: {:?}",
            self.lambda().instances()
        );
    }

    /// One line of usage error.
    fn refused(&self, line: &str) -> String {
        let output = run(&self.folder, line, &self.variables());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(lambda) = self.lambda.take() {
            self.runtime.block_on(lambda.stop());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The sum of a figure over factorization, Q and check.
fn sum(report: &Value, pointer: &str) -> u64 {
    let of = |phase: &str| {
        let value = report.pointer(&format!("{phase}{pointer}"));
        value.and_then(Value::as_u64).unwrap()
    };
    ["", "/q", "/check"].map(of).iter().sum()
}

/// The function's time-out is far shorter than the run: generations of workers hand their blocks on.
#[test]
fn a_run_outlives_its_workers() {
    let Some(cloud) = Cloud::start("outlive", 13, "1769MiB") else {
        return;
    };
    // Some events come twice, and some requests are refused at first.
    cloud.lambda().set(|settings| {
        settings.faults.duplicates = [0, 2, 5].into();
    });
    let plan = "random:2560x2560:3 --block 128 --ib 16 --tree grid:2x1 --check --workers 2";
    let (_, expected) = cloud.qr(plan, "--engine processes", "here");
    let (report, bits) = cloud.on_lambda(plan, "", "there");
    assert_eq!(bits, expected);
    assert!(report["residual"].as_f64().unwrap() < 30.0);
    let replaced = sum(&report, "/workers_replaced");
    let lost = sum(&report, "/workers_lost");
    assert!(
        replaced >= 4,
        "two generations at least: {replaced} replaced, {lost} lost"
    );
    assert_eq!(lost, 0, "who leaves in time is not lost");
    assert!(
        sum(&report, "/bytes/peer") > 0,
        "blocks go from worker to worker"
    );
    let cost = &report["cost_usd"];
    assert!(cost["estimate"].as_f64().unwrap() > 0.0 && cost["measured"].as_f64().unwrap() > 0.0);
    assert_eq!(report["engine"], "lambda:f");
    assert_eq!(report["cores"], 1);
    cloud.rest();
    assert_eq!(cloud.s3.keys(), [""; 0]);
    let executions = cloud.lambda().executions();
    assert!(
        executions.iter().all(|e| e.outcome == "ok"),
        "{executions:?}"
    );
    assert!(executions.iter().any(|e| e.duplicate), "{executions:?}");
    let duplicates = executions.iter().filter(|e| e.duplicate);
    for duplicate in duplicates {
        assert!(
            duplicate.duration_ms < 8_000,
            "it ends at once: {duplicate:?}"
        );
    }
}

/// Instances that are killed in the middle, starts that fail, and a service that is busy: the run goes on.
#[test]
fn a_run_survives_what_kills_its_workers() {
    let Some(cloud) = Cloud::start("killed", 60, "1769MiB") else {
        return;
    };
    cloud.lambda().set(|settings| {
        settings.faults.crashes = [(0, 1_500), (2, 2_500)].into();
        settings.faults.init_failures = [1].into();
    });
    let plan = "random:1536x1536:3 --block 96 --ib 16 --tree grid:2x1 --check --workers 2";
    let (_, expected) = cloud.qr(plan, "--engine processes", "here");
    let (report, bits) = cloud.on_lambda(plan, "", "there");
    assert_eq!(bits, expected);
    assert!(sum(&report, "/workers_lost") + sum(&report, "/workers_replaced") > 0);
    cloud.rest();
    assert_eq!(cloud.s3.keys(), [""; 0]);
}

/// Instances come as the work asks for them, and none is left with an event when it is over.
#[test]
fn a_fleet_on_lambda_follows_the_work() {
    let Some(cloud) = Cloud::start("elastic", 60, "1769MiB") else {
        return;
    };
    let plan = "random:1536x1536:3 --block 96 --ib 16 --tree grid:2x1 --workers 3";
    let (_, expected) = cloud.qr(plan, "--engine processes", "here");
    let (report, bits) = cloud.on_lambda(plan, "--autoscale --idle-timeout 1", "there");
    assert_eq!(bits, expected);
    let workers = report["profile"]["workers"].as_array().unwrap();
    let workers: Vec<_> = workers.iter().filter_map(Value::as_u64).collect();
    // A fixed fleet waits for all before the first task.
    assert!(workers.first() < workers.iter().max(), "{workers:?}");
    cloud.rest();
    assert_eq!(cloud.s3.keys(), [""; 0]);
}

/// Threads, descriptors and memory (MiB) of a process.
fn resources(pid: i32) -> (usize, usize, u64) {
    let count =
        |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    (count("task"), count("fd"), kib.unwrap_or(0) >> 10)
}

/// One instance serves run after run and keeps nothing of the one before.
#[test]
fn a_warm_instance_keeps_nothing() {
    let Some(cloud) = Cloud::start("warm", 60, "1769MiB") else {
        return;
    };
    let plan = "random:1024x1024:3 --block 128 --ib 16 --tree grid:1x1 --workers 1";
    let mut seen = Vec::new();
    for number in 0..3 {
        cloud.on_lambda(plan, "", &format!("run{number}"));
        cloud.rest();
        let instances = cloud.lambda().instances();
        assert_eq!(
            instances.len(),
            1,
            "the warm one is used again: {instances:?}"
        );
        seen.push(resources(instances[0].pid));
    }
    let [first, .., last] = seen[..] else {
        unreachable!("three runs")
    };
    assert!(first.0 > 0, "the instance is a process of this machine");
    assert_eq!(
        (last.0, last.1),
        (first.0, first.1),
        "threads and descriptors: {seen:?}"
    );
    // The matrix is 8 MiB and its factors 16: were any of them kept, it would show.
    assert!(last.2 <= first.2 + 6, "MiB: {seen:?}");
}

#[test]
fn what_cannot_run_on_lambda_is_refused_at_once() {
    let Some(cloud) = Cloud::start("refused", 60, "1769MiB") else {
        return;
    };
    let qr = "qr random:64x64:1 --store s3://bucket/x --engine";
    let missing = cloud.refused(&format!("{qr} lambda:missing"));
    assert!(missing.contains("missing"), "{missing}");
    let many = cloud.refused(&format!("{qr} lambda:f --workers 2000"));
    assert!(
        many.contains("--workers is 2000 but function f may run 1000"),
        "{many}"
    );
    let cores = cloud.refused(&format!("{qr} lambda:f --cores 4"));
    assert!(
        cores.contains("--cores is 4 but function f has 1"),
        "{cores}"
    );
    let store = cloud.refused("qr random:64x64:1 --engine lambda:f");
    assert!(store.contains("--store s3://bucket/prefix"), "{store}");
    cloud.lambda().set(|settings| {
        settings
            .denied
            .insert("GetFunctionConfiguration".to_owned());
        settings.denied.insert("GetFunction".to_owned());
    });
    let denied = cloud.refused(&format!("{qr} lambda:f"));
    assert!(denied.contains("GetFunction"), "{denied}");
    assert!(cloud.lambda().executions().is_empty());
}
