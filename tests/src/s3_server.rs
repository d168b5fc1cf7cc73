//! An S3 service in this process: s3s and its file system over hyper on loopback, signatures
//! checked. Never serves anybody but this machine, and leaves nothing behind.
//!
//! What the file system lacks is added around it: conditional puts are one at a time, uploads can be
//! listed, buckets that are missing are told as such. [`faults`] makes it fail as real services do.

pub mod faults;
mod files;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peerwren_transports::store::{Place, S3Keys, S3Settings};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use self::faults::{Cut, Faults, On, Want};
use self::files::Files;

/// The access key that the server knows.
pub const ACCESS_KEY: &str = "peerwrentest";
/// Its secret.
pub const SECRET_KEY: &str = "not-a-secret-at-all";
/// The region that the server is in.
pub const REGION: &str = "us-east-1";

/// A server that runs until it is dropped.
pub struct S3Server {
    address: SocketAddr,
    folder: PathBuf,
    files: Files,
    faults: Faults,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server with one bucket, `bucket`.
    pub fn start() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peerwren-s3-{}-{next}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bucket")).expect("a folder for the server");
        let files = Files::new(&folder);
        let faults = Faults::default();
        let mut service = S3ServiceBuilder::new(files.clone());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a listener that does not block");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, service, faults.clone());
        let thread = std::thread::Builder::new().name("s3-server".to_owned());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            folder,
            files,
            faults,
            stop: Some(stop),
            thread: Some(thread.expect("a thread for the server")),
        }
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
        settings.region = Some(REGION.to_owned());
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
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The server's address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes wrong, and what was asked.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Writes in parts that are neither complete nor aborted, by key.
    pub fn uploads(&self) -> Vec<String> {
        self.files.uploads()
    }

    /// Writes an object without asking the server.
    pub fn write(&self, key: &str, bytes: &[u8]) {
        let path = self.folder.join("bucket").join(key);
        fs::create_dir_all(path.parent().expect("below the bucket")).expect("a folder");
        fs::write(path, bytes).expect("an object");
    }

    /// Reads an object without asking the server.
    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join("bucket").join(key)).ok()
    }

    /// The keys of all objects of the server's bucket.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let bucket = self.folder.join("bucket");
        let mut folders = vec![bucket.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(&bucket).unwrap_or(Path::new(""));
                    keys.push(key.to_string_lossy().into_owned());
                }
            }
        }
        keys.sort_unstable();
        keys
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The thread may have ended by a panic, which the test shows.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service, faults: Faults) {
    let listener = TcpListener::from_std(listener).expect("a listener of this process");
    let service = Arc::new(service);
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&service), faults.clone()));
        }
    }
}

async fn connection(stream: TcpStream, service: Arc<S3Service>, faults: Faults) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (service, faults) = (Arc::clone(&service), faults.clone());
        async move { answer(&service, &faults, request).await }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // A client that leaves, or a fault that cuts the line, ends a connection.
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(
    service: &S3Service,
    faults: &Faults,
    request: Request<Incoming>,
) -> Result<Response<Cut<s3s::Body>>, faults::Cuts> {
    let on = On::of(request.method(), request.uri());
    let want = faults.next(on);
    if let Some(Want::Delay(time)) = want {
        tokio::time::sleep(time).await;
    }
    match want {
        Some(Want::Status(status, code)) => {
            // Whoever is refused before all is read may see but a broken line.
            let _ = request.into_body().collect().await;
            Ok(faults::refusal(status, code))
        }
        Some(Want::NoAnswer) => {
            // The request is done all the same: its answer is what gets lost.
            let _ = service.call(request.map(s3s::Body::from)).await;
            Err(faults::Cuts)
        }
        Some(Want::CutAfter(bytes)) => {
            let answer = called(service, request).await;
            Ok(answer.map(|body| Cut::after(body, bytes)))
        }
        Some(Want::Delay(_) | Want::Pass) | None => {
            Ok(called(service, request).await.map(Cut::never))
        }
    }
}

async fn called(service: &S3Service, request: Request<Incoming>) -> Response<s3s::Body> {
    match service.call(request.map(s3s::Body::from)).await {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("{error:?}");
            let answer = Response::builder().status(500).body(s3s::Body::from(text));
            answer.unwrap_or_else(|_: hyper::http::Error| Response::new(s3s::Body::default()))
        }
    }
}
