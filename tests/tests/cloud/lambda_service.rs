//! `peerwren lambda`: deploys to, looks at and destroys functions of the emulated service, and says in one line
//! what to do where that fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use peerwren_tests::command::peerwren;
use peerwren_tests::lambda::{Lambda, Settings, of_bootstrap};
use serde_json::Value;

const ROLE: &str = "arn:aws:iam::123456789012:role/peerwren";
const TINY: &str = env!("CARGO_BIN_EXE_tiny_bootstrap");

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.expect("a temporary folder").keep())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command with nothing of this machine's AWS configuration.
fn command(peerwren: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(peerwren);
    command
        .arg("lambda")
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_LAMBDA", url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

async fn output(mut command: Command) -> (Option<i32>, String, String) {
    let run = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.expect("it runs").expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

async fn lambda(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let peerwren = peerwren().expect("checked before");
    output(command(&peerwren, url, arguments)).await
}

#[tokio::test]
async fn a_function_is_deployed_shown_updated_and_destroyed() {
    if peerwren().is_none() {
        return;
    }
    let service = Lambda::start(Settings::default(), 0)
        .await
        .expect("a free port");
    let url = service.url();
    let deploy = [
        "deploy",
        TINY,
        "--name",
        "f",
        "--role",
        ROLE,
        "--timeout",
        "60",
        "--reserved-concurrency",
        "8",
    ];
    let (status, shown, errors) = lambda(&url, &deploy).await;
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "arn:aws:lambda:us-east-1:123456789012:function:f",
        "state        Active (last update: Successful)",
        &format!("peerwren     {version}"),
        "instance     1769 MB, 1 vCPU, x86_64, provided.al2023, ended after 60 s",
        "concurrency  8 at most (8 reserved, 1000 in the account)",
        "events       0 retries, at most 60 s old",
        "problems     none",
    ] {
        assert!(shown.contains(line), "{line:?} is missing from\n{shown}");
    }
    let (status, again, _) = lambda(&url, &["status", "f"]).await;
    assert_eq!((status, &again), (Some(0), &shown));

    let (status, _, errors) = lambda(&url, &deploy).await;
    assert_eq!(status, Some(2));
    assert_eq!(
        errors,
        "error: the Lambda function f exists: `peerwren lambda update` changes it\n"
    );

    let folder = Folder::new("update");
    let executable = std::fs::read(TINY).expect("built beside");
    let zip = folder.file("bootstrap.zip", &of_bootstrap(&executable));
    let update = [
        "update",
        "f",
        "--package",
        &zip,
        "--memory",
        "4GiB",
        "--timeout",
        "20",
        "--arch",
        "x86_64",
    ];
    let (status, shown, errors) = lambda(&url, &update).await;
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert!(
        shown.contains("4096 MB, 2 vCPU") && shown.contains("a worker lives 20 s at most"),
        "{shown}"
    );

    let (status, out, errors) = lambda(&url, &["destroy", "f"]).await;
    assert_eq!((status, out.as_str(), errors.as_str()), (Some(0), "", ""));
    let (status, _, errors) = lambda(&url, &["status", "f"]).await;
    assert_eq!(status, Some(2));
    assert!(
        errors.starts_with("error: no Lambda function f in this region and account"),
        "{errors}"
    );
}

/// A function whose settings someone changed is found, and put right by an update.
#[tokio::test]
async fn status_finds_what_an_update_puts_right() {
    if peerwren().is_none() {
        return;
    }
    let service = Lambda::start(Settings::default(), 0)
        .await
        .expect("a free port");
    let url = service.url();
    let (status, ..) = lambda(&url, &["deploy", TINY, "--role", ROLE]).await;
    assert_eq!(status, Some(0));
    let client = crate::emulator::client(&url);
    let put = client
        .put_function_event_invoke_config()
        .function_name("peerwren");
    put.maximum_retry_attempts(2).send().await.expect("changed");
    let (status, shown, errors) = lambda(&url, &["status", "peerwren"]).await;
    assert_eq!(status, Some(1));
    assert!(
        errors.contains("the Lambda function peerwren: failed events are retried (2)"),
        "{errors}"
    );
    assert!(
        shown.contains("events wait for long (AWS's default, 6 h)"),
        "{shown}"
    );
    let (status, ..) = lambda(&url, &["update", "peerwren"]).await;
    assert_eq!(status, Some(0));
    let (status, ..) = lambda(&url, &["status", "peerwren"]).await;
    assert_eq!(status, Some(0));

    let foreign = client
        .update_function_configuration()
        .function_name("peerwren")
        .description("mine");
    foreign.send().await.expect("changed");
    let (status, _, errors) = lambda(&url, &["destroy", "peerwren"]).await;
    assert_eq!(status, Some(2));
    assert!(errors.contains("was not made by peerwren"), "{errors}");
}

/// Arguments, what is wrong with the account or the environment, the status and the line it gets.
#[tokio::test]
async fn each_obstacle_is_told_in_one_line() {
    let Some(peerwren) = peerwren() else {
        return;
    };
    let service = Lambda::start(
        Settings {
            denied: BTreeSet::from(["GetFunctionConfiguration".to_owned()]),
            access_key: Some("AKIDTEST".to_owned()),
            ..Settings::default()
        },
        0,
    )
    .await
    .expect("a free port");
    let folder = Folder::new("obstacles");
    let text = folder.file("notes.txt", b"hello");
    let url = service.url();
    let deploy = |package: &str| {
        ["deploy", package, "--role", ROLE]
            .map(str::to_owned)
            .to_vec()
    };
    let status = || ["status", "peerwren"].map(str::to_owned).to_vec();
    type Change = fn(&mut Command);
    let cases: [(Vec<String>, Change, i32, &str); 9] = [
        (
            status(),
            |c| {
                c.env_remove("AWS_REGION");
            },
            2,
            "error: no AWS region: set AWS_REGION",
        ),
        (
            status(),
            |c| {
                c.env_remove("AWS_ACCESS_KEY_ID")
                    .env_remove("AWS_SECRET_ACCESS_KEY");
            },
            1,
            "error: AWS credentials: ",
        ),
        (
            status(),
            |c| {
                c.env("AWS_ACCESS_KEY_ID", "OTHER");
            },
            1,
            "error: AWS credentials: The security token included in the request is invalid.; set",
        ),
        (
            status(),
            |_| {},
            1,
            "error: access denied: User: arn:aws:iam::123456789012:user/emulated is not authorized to perform: \
             lambda:GetFunctionConfiguration",
        ),
        (
            status(),
            |c| {
                c.env("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
                    .env("AWS_MAX_ATTEMPTS", "1");
            },
            1,
            "error: AWS Lambda cannot be reached: ",
        ),
        (
            deploy("none.zip"),
            |_| {},
            2,
            "error: none.zip: No such file or directory",
        ),
        (
            deploy(&text),
            |_| {},
            2,
            &format!("error: {text}: is neither a zip nor a Linux executable"),
        ),
        (
            [deploy(TINY), vec!["--arch".into(), "arm64".into()]].concat(),
            |_| {},
            2,
            &format!("error: {TINY}: is for x86_64, but --arch says arm64"),
        ),
        (
            ["deploy", TINY, "--role", "peerwren"]
                .map(str::to_owned)
                .to_vec(),
            |_| {},
            2,
            "error: invalid value 'peerwren' for '--role <ARN>': expected arn:aws:iam::ACCOUNT:role/NAME",
        ),
    ];
    for (arguments, change, expected_status, expected) in cases {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = command(&peerwren, &url, &arguments);
        change(&mut command);
        let (status, out, errors) = output(command).await;
        assert!(
            errors.starts_with(expected),
            "{arguments:?}: {errors:?} should start with {expected:?}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert_eq!(
            (status, out.as_str()),
            (Some(expected_status), ""),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn the_policies_are_json_and_need_no_account() {
    let Some(peerwren) = peerwren() else {
        return;
    };
    for (arguments, action) in [
        (
            vec!["policy", "--store", "s3://bucket/runs"],
            "s3:GetObject",
        ),
        (vec!["policy", "--trust"], "sts:AssumeRole"),
    ] {
        let mut command = command(&peerwren, "http://127.0.0.1:9", &arguments);
        command
            .env_remove("AWS_REGION")
            .env_remove("AWS_ACCESS_KEY_ID");
        let (status, out, errors) = output(command).await;
        assert_eq!((status, errors.as_str()), (Some(0), ""));
        let policy: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(policy["Version"], "2012-10-17");
        assert!(out.contains(action), "{out}");
    }
}
