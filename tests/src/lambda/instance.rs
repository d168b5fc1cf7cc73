//! One execution environment: a process group running `bootstrap`, with a Runtime API of its own. Owns the
//! process and its address; never decides which event it gets.
//!
//! Between events the whole group is stopped (SIGSTOP), as Lambda freezes an environment, and it ends
//! with SIGKILL: a time-out gives no grace. What Lambda does beyond that and this does not: only /tmp can be
//! written there, the file system is the instance's own, and memory above the function's ends it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::guard::{self, Guard};
use super::runtime_api::{self, Signals, Work};

/// What a caller can get of a log: its last 4 KiB; what the emulator keeps: 64 KiB an instance.
const LOG_BYTES_MAX: usize = 64 << 10;

/// What an instance is started from.
pub(crate) struct Launch {
    pub(crate) id: u64,
    pub(crate) function: String,
    pub(crate) revision: u64,
    pub(crate) code: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) descriptors: u64,
    pub(crate) response_bytes_max: usize,
}

/// A running or frozen environment. Dropping it kills the process group.
pub(crate) struct Instance {
    pub(crate) id: u64,
    pub(crate) function: String,
    pub(crate) revision: u64,
    /// Events that it has had.
    pub(crate) served: u64,
    pub(crate) idle_since: Instant,
    pub(crate) log: Log,
    /// What the process and its runtime say.
    pub(crate) signals: mpsc::Receiver<runtime_api::Signal>,
    /// The runtime's open request for the next event.
    pub(crate) ready: Option<tokio::sync::oneshot::Sender<Work>>,
    process: Process,
    folder: PathBuf,
    api: JoinHandle<()>,
}

/// The group's leader; shared with the task that waits for its end.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) group: Pid,
    ended: Arc<AtomicBool>,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.ended.load(Ordering::SeqCst) {
            guard::signal(self.group, signal);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Most memory that it used, in MiB.
    pub(crate) fn memory_used_mb(&self) -> u64 {
        let path = format!("/proc/{}/status", self.group.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0).div_ceil(1_024)
    }
}

impl Instance {
    /// Starts the process; it has not asked for an event yet.
    ///
    /// # Errors
    /// What Lambda would say as `errorType` and `errorMessage`.
    pub(crate) async fn start(
        launch: Launch,
        guard: &Arc<Guard>,
    ) -> Result<Self, (&'static str, String)> {
        let cannot = |error: std::io::Error| ("Runtime.InvalidEntrypoint", error.to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        std::fs::create_dir_all(&launch.folder).map_err(cannot)?;
        let mut child = spawn(&launch, &address.to_string())
            .await
            .map_err(|error| {
                let what = format!("Error: Couldn't find valid bootstrap(s): {error}");
                ("Runtime.InvalidEntrypoint", what)
            })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.expect("a child that was not waited for has an id");
        guard.watch(group);
        let process = Process {
            group,
            ended: Arc::new(AtomicBool::new(false)),
        };
        let limit = Rlimit {
            current: Some(launch.descriptors),
            maximum: Some(launch.descriptors),
        };
        // A process that is already gone has no limits; its end is told in a moment.
        let _ = prlimit(Some(group), Resource::Nofile, limit);
        let log = Log::default();
        log.follow(child.stdout.take());
        log.follow(child.stderr.take());
        // Bound: one open request for an event, one answer, one failure, one end, and as many again.
        let (sender, signals) = mpsc::channel(8);
        tokio::spawn(watch(child, process.clone(), guard.clone(), sender.clone()));
        let signals_of = Signals {
            sender,
            response_bytes_max: launch.response_bytes_max,
        };
        Ok(Self {
            id: launch.id,
            function: launch.function,
            revision: launch.revision,
            served: 0,
            idle_since: Instant::now(),
            log,
            signals,
            ready: None,
            process,
            folder: launch.folder,
            api: tokio::spawn(runtime_api::serve(listener, signals_of)),
        })
    }

    pub(crate) fn process(&self) -> Process {
        self.process.clone()
    }

    pub(crate) fn freeze(&mut self) {
        self.idle_since = Instant::now();
        self.process.signal(Signal::STOP);
    }

    /// Whether it can take an event: frozen, waiting for one, and not ended by someone else meanwhile.
    pub(crate) fn is_waiting(&self) -> bool {
        let open = self.ready.as_ref().is_some_and(|ready| !ready.is_closed());
        open && !self.process.has_ended()
    }

    /// Wakes the process and gives it an event; false where it is gone.
    pub(crate) fn deliver(&mut self, work: Work) -> bool {
        self.process.signal(Signal::CONT);
        self.served += 1;
        self.ready
            .take()
            .is_some_and(|ready| ready.send(work).is_ok())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
        self.api.abort();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts the process, again for up to 50 x 10 ms while its file is busy: a child that another thread forks
/// holds the files that are being written here until it executes its own.
async fn spawn(launch: &Launch, address: &str) -> std::io::Result<Child> {
    let mut command = Command::new(launch.code.join("bootstrap"));
    command
        .current_dir(&launch.code)
        .env_clear()
        .envs(&launch.environment)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env(
            "AWS_LAMBDA_LOG_STREAM_NAME",
            format!("$LATEST/{}", launch.id),
        )
        // Each instance has a /tmp of its own on Lambda.
        .env("TMPDIR", &launch.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for _ in 0..50 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
    command.spawn()
}

async fn watch(
    mut child: Child,
    process: Process,
    guard: Arc<Guard>,
    sender: mpsc::Sender<runtime_api::Signal>,
) {
    let status = child.wait().await.ok();
    // Children that it left behind end with it.
    process.signal(Signal::KILL);
    process.ended.store(true, Ordering::SeqCst);
    guard.forget(process.group);
    // Nobody listens where the instance was dropped.
    let _ = sender.send(runtime_api::Signal::Ended(how(status))).await;
}

/// How Lambda words the end of a process.
fn how(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit status {code}"),
        Some((None, Some(9))) => "signal: killed".to_owned(),
        Some((None, Some(signal))) => format!("signal: {signal}"),
        _ => "unknown".to_owned(),
    }
}

/// The last lines that a process wrote, of both its streams.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<VecDeque<u8>>>);

impl Log {
    /// Copies a stream until it ends.
    fn follow(&self, stream: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let log = self.clone();
        tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                log.write(&buffer[..length]);
            }
        });
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut log = self.0.lock().expect("nothing panics while it holds this");
        log.extend(bytes);
        let excess = log.len().saturating_sub(LOG_BYTES_MAX);
        log.drain(..excess);
    }

    pub(crate) fn tail(&self, bytes_max: usize) -> Vec<u8> {
        let log = self.0.lock().expect("nothing panics while it holds this");
        let skip = log.len().saturating_sub(bytes_max);
        log.iter().skip(skip).copied().collect()
    }
}

/// The environment that Lambda sets, function's and account's variables included.
pub(crate) fn environment(
    function: &super::function::Function,
    settings: &super::settings::Settings,
) -> BTreeMap<String, String> {
    let config = &function.config;
    let root: &Path = &function.code;
    let mut environment = config.environment.clone();
    environment.extend(settings.environment.clone());
    let fixed = [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory_mb.to_string(),
        ),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{}", function.name),
        ),
        ("AWS_REGION", settings.region.clone()),
        ("AWS_DEFAULT_REGION", settings.region.clone()),
        ("_HANDLER", config.handler.clone()),
        ("LAMBDA_TASK_ROOT", root.display().to_string()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin/:/bin".to_owned()),
    ];
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    // The role's credentials, where the account's settings give none that a server of these tests knows.
    if !environment.contains_key("AWS_ACCESS_KEY_ID") {
        let role = [
            ("AWS_ACCESS_KEY_ID", "ASIAEMULATEDEMULATED"),
            ("AWS_SECRET_ACCESS_KEY", "emulated"),
            ("AWS_SESSION_TOKEN", "emulated"),
        ];
        environment.extend(role.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    environment
}

/// How long an instance stays warm, seen from now.
pub(crate) fn idle_for(instance: &Instance) -> Duration {
    instance.idle_since.elapsed()
}
