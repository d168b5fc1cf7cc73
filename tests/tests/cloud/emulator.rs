//! The emulated Lambda service, as a real client and a real runtime see it: what other tests stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, FunctionCode, InvocationType, LogType, Runtime, State,
};
use peerwren_tests::lambda::{Execution, Lambda, Settings, of_bootstrap};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/peerwren";

/// Retries at once: what is tested is that they come, not when.
fn settings() -> Settings {
    Settings {
        retry_delays_ms: vec![1],
        ..Settings::default()
    }
}

async fn service(settings: Settings) -> (Lambda, Client) {
    let lambda = Lambda::start(settings, 0).await.expect("a free port");
    let client = client(&lambda.url());
    (lambda, client)
}

/// A client as users have it, but for retries: what is refused is refused at once.
pub(crate) fn client(url: &str) -> Client {
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Creates function `f` from the tiny bootstrap and waits until it is active.
async fn create(client: &Client, timeout_s: i32, variables: &[(&str, &str)]) {
    let executable = std::fs::read(env!("CARGO_BIN_EXE_tiny_bootstrap")).expect("built beside");
    let zip = Blob::new(of_bootstrap(&executable));
    let variables = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    client
        .create_function()
        .function_name("f")
        .runtime(Runtime::Providedal2023)
        .architectures(Architecture::X8664)
        .handler("bootstrap")
        .role(ROLE)
        .timeout(timeout_s)
        .memory_size(256)
        .environment(
            Environment::builder()
                .set_variables(Some(variables.collect()))
                .build(),
        )
        .code(FunctionCode::builder().zip_file(zip).build())
        .send()
        .await
        .expect("created");
    for _ in 0..1_000 {
        let found = client
            .get_function_configuration()
            .function_name("f")
            .send()
            .await;
        if found.expect("it exists").state() == Some(&State::Active) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the function never becomes active");
}

async fn call(client: &Client, payload: Value) -> (InvokeOutput, Value) {
    let output = invoke(client, InvocationType::RequestResponse, payload)
        .await
        .expect("invoked");
    let payload = output
        .payload()
        .map(|blob| blob.as_ref().to_vec())
        .unwrap_or_default();
    let payload = serde_json::from_slice(&payload).expect("JSON");
    (output, payload)
}

type InvokeError = aws_sdk_lambda::error::SdkError<aws_sdk_lambda::operation::invoke::InvokeError>;

async fn invoke(
    client: &Client,
    kind: InvocationType,
    payload: Value,
) -> Result<InvokeOutput, InvokeError> {
    let call = client.invoke().function_name("f").invocation_type(kind);
    call.log_type(LogType::Tail)
        .payload(Blob::new(payload.to_string()))
        .send()
        .await
}

/// Waits until this many executions have ended; a bound of 60 s for a machine under load.
async fn executions(lambda: &Lambda, count: usize) -> Vec<Execution> {
    for _ in 0..6_000 {
        let executions = lambda.executions();
        if executions.len() >= count {
            return executions;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{count} executions expected, there are {:?}",
        lambda.executions()
    );
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('T'))
}

#[tokio::test]
async fn a_function_answers_from_one_warm_instance_that_is_frozen_between_events() {
    let (lambda, client) = service(settings()).await;
    create(&client, 30, &[("COLOUR", "blue")]).await;
    let before = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let (output, first) = call(&client, json!({ "do": "echo", "x": 1 })).await;
    assert_eq!((output.status_code(), output.function_error()), (200, None));
    assert_eq!(first["payload"]["x"], 1);
    assert_eq!(
        first["arn"],
        "arn:aws:lambda:us-east-1:123456789012:function:f"
    );
    let deadline = first["deadline_ms"].as_u64().expect("a number");
    assert!(
        u128::from(deadline) >= before.as_millis() + 30_000,
        "a true deadline"
    );
    let log =
        aws_smithy_types::base64::decode(output.log_result().expect("a log")).expect("base64");
    assert!(String::from_utf8_lossy(&log).contains("START RequestId"));

    let pid = i32::try_from(first["pid"].as_i64().expect("a pid")).expect("a pid");
    executions(&lambda, 1).await;
    for _ in 0..1_000 {
        if is_stopped(pid) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_stopped(pid), "frozen");
    let (_, second) = call(&client, json!({})).await;
    assert_eq!(
        (&second["pid"], &second["served"]),
        (&first["pid"], &json!(2))
    );
    let (_, environment) = call(&client, json!({ "do": "environment" })).await;
    for (name, value) in [
        ("COLOUR", "blue"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_REGION", "us-east-1"),
        ("_HANDLER", "bootstrap"),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
    assert!(environment["AWS_SECRET_ACCESS_KEY"].is_string() && environment["HOME"].is_null());

    let records = executions(&lambda, 3).await;
    assert_eq!(
        records.iter().map(|r| r.cold).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(
        records
            .iter()
            .all(|r| r.outcome == "ok" && r.memory_mb == 256 && r.memory_used_mb > 0)
    );
    assert_eq!(
        records[0].billed_ms,
        records[0].init_ms + records[0].duration_ms
    );
    lambda.stop().await;
    assert!(!is_alive(pid), "no instance outlives the service");
}

#[tokio::test]
async fn failures_are_told_as_lambda_tells_them() {
    let (lambda, client) = service(settings()).await;
    create(&client, 30, &[]).await;
    let (output, error) = call(&client, json!({ "do": "fail" })).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    assert_eq!(error["errorMessage"], "as it was told");
    let (output, error) = call(&client, json!({ "do": "exit" })).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    assert_eq!(error["errorType"], "Runtime.ExitError");
    assert!(
        error["errorMessage"]
            .as_str()
            .expect("text")
            .ends_with("exit status 7")
    );
    let (output, error) = call(&client, json!({ "do": "large" })).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
    let outcomes: Vec<_> = executions(&lambda, 3)
        .await
        .into_iter()
        .map(|r| r.outcome)
        .collect();
    assert_eq!(outcomes, ["error", "exited", "error"]);
    // A fresh instance serves after one that exited.
    let (_, after) = call(&client, json!({})).await;
    assert_eq!(after["payload"], json!({}));
}

#[tokio::test]
async fn a_timeout_kills_the_instance_and_the_next_event_gets_another() {
    let (lambda, client) = service(settings()).await;
    create(&client, 1, &[]).await;
    let (_, first) = call(&client, json!({})).await;
    let (output, error) = call(&client, json!({ "do": "sleep", "ms": 60_000 })).await;
    assert_eq!(output.function_error(), Some("Unhandled"));
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert!(
        error["errorMessage"]
            .as_str()
            .expect("text")
            .contains("timed out after 1.00 seconds")
    );
    let (_, third) = call(&client, json!({})).await;
    assert_ne!(first["pid"], third["pid"]);
    assert_eq!(third["served"], 1);
    let records = executions(&lambda, 3).await;
    assert_eq!(records[1].outcome, "timeout");
    assert!(records[1].duration_ms >= 1_000 && records[1].instance == records[0].instance);
    let first = i32::try_from(first["pid"].as_i64().expect("a pid")).expect("a pid");
    assert!(
        lambda
            .instances()
            .iter()
            .all(|instance| instance.pid != first)
    );
}

#[tokio::test]
async fn a_failed_event_is_retried_as_often_as_configured() {
    let (lambda, client) = service(settings()).await;
    create(&client, 30, &[]).await;
    let output = invoke(&client, InvocationType::Event, json!({ "do": "fail" }))
        .await
        .expect("queued");
    assert_eq!(output.status_code(), 202);
    let records = executions(&lambda, 3).await;
    assert_eq!(
        records.iter().map(|r| r.attempt).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(
        records
            .iter()
            .all(|r| r.request_id == records[0].request_id && r.kind == "Event")
    );

    let none = client
        .get_function_event_invoke_config()
        .function_name("f")
        .send()
        .await;
    assert_eq!(
        none.expect_err("not configured").code(),
        Some("ResourceNotFoundException")
    );
    let put = client.put_function_event_invoke_config().function_name("f");
    put.maximum_retry_attempts(0)
        .maximum_event_age_in_seconds(60)
        .send()
        .await
        .expect("put");
    let config = client
        .get_function_event_invoke_config()
        .function_name("f")
        .send()
        .await
        .expect("got");
    assert_eq!(config.maximum_retry_attempts(), Some(0));
    assert_eq!(config.maximum_event_age_in_seconds(), Some(60));
    invoke(&client, InvocationType::Event, json!({ "do": "fail" }))
        .await
        .expect("queued");
    invoke(&client, InvocationType::Event, json!({ "do": "echo" }))
        .await
        .expect("queued");
    executions(&lambda, 5).await;
    let counts = lambda.events();
    assert_eq!(
        (counts.accepted, counts.waiting, counts.dropped_by_failures),
        (3, 0, 2)
    );
    assert_eq!(lambda.executions().len(), 5);
}

#[tokio::test]
async fn the_table_says_which_events_come_twice() {
    let mut settings = settings();
    settings.faults.duplicates = BTreeSet::from([1]);
    let (lambda, client) = service(settings).await;
    create(&client, 30, &[]).await;
    let mut ids = Vec::new();
    for x in 0..3 {
        let output = invoke(&client, InvocationType::Event, json!({ "x": x }))
            .await
            .expect("queued");
        ids.push(
            aws_sdk_lambda::operation::RequestId::request_id(&output)
                .expect("an id")
                .to_owned(),
        );
    }
    let mut times = BTreeMap::<String, u32>::new();
    for record in executions(&lambda, 4).await {
        *times.entry(record.request_id).or_default() += 1;
    }
    assert_eq!(
        ids.iter().map(|id| times[id]).collect::<Vec<_>>(),
        [1, 2, 1]
    );
}

#[tokio::test]
async fn at_the_limit_requests_are_refused_and_events_wait() {
    let (lambda, client) = service(settings()).await;
    create(&client, 30, &[]).await;
    let put = client.put_function_concurrency().function_name("f");
    put.reserved_concurrent_executions(1)
        .send()
        .await
        .expect("reserved");
    let account = client
        .get_account_settings()
        .send()
        .await
        .expect("settings");
    let limit = account.account_limit().expect("a limit");
    assert_eq!(
        (
            limit.concurrent_executions(),
            limit.unreserved_concurrent_executions()
        ),
        (1_000, Some(999))
    );

    let busy = tokio::spawn({
        let client = client.clone();
        async move { call(&client, json!({ "do": "sleep", "ms": 1_500 })).await }
    });
    while lambda.instances().iter().all(|instance| !instance.busy) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = invoke(&client, InvocationType::RequestResponse, json!({})).await;
    assert_eq!(
        refused.expect_err("at the limit").code(),
        Some("TooManyRequestsException")
    );
    invoke(&client, InvocationType::Event, json!({}))
        .await
        .expect("queued");
    assert_eq!(lambda.events().waiting, 1);
    busy.await.expect("answered");
    let records = executions(&lambda, 2).await;
    assert_eq!(
        records.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>(),
        ["RequestResponse", "Event"]
    );
    assert_eq!(records[0].instance, records[1].instance);

    let small = client.put_function_concurrency().function_name("f");
    let refused = small
        .reserved_concurrent_executions(950)
        .send()
        .await
        .expect_err("leaves too few");
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
}

#[tokio::test]
async fn several_instances_serve_at_once_and_end_when_idle() {
    let (lambda, client) = service(Settings {
        idle_ms: 300,
        ..settings()
    })
    .await;
    create(&client, 30, &[]).await;
    let calls = (0..3).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { call(&client, json!({ "do": "sleep", "ms": 1_000 })).await.1 })
    });
    let mut pids = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        pids.insert(call.await.expect("answered")["pid"].to_string());
    }
    assert_eq!(pids.len(), 3);
    for _ in 0..1_000 {
        if lambda.instances().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("idle instances stay: {:?}", lambda.instances());
}

#[tokio::test]
async fn faults_hit_whom_the_table_names() {
    let mut settings = settings();
    settings.faults.init_failures = BTreeSet::from([0]);
    settings.faults.crashes = BTreeMap::from([(1, 1)]);
    settings.faults.cold_start_ms = 20;
    let (lambda, client) = service(settings).await;
    create(&client, 30, &[]).await;
    let (output, error) = call(&client, json!({})).await;
    assert_eq!(
        (output.function_error(), &error["errorType"]),
        (Some("Unhandled"), &json!("Runtime.ExitError"))
    );
    let (_, error) = call(&client, json!({ "do": "sleep", "ms": 20_000 })).await;
    assert!(
        error["errorMessage"]
            .as_str()
            .expect("text")
            .ends_with("signal: killed"),
        "{error}"
    );
    let (output, _) = call(&client, json!({})).await;
    assert_eq!(output.function_error(), None);
    let records = executions(&lambda, 3).await;
    assert_eq!(
        records
            .iter()
            .map(|r| r.outcome.as_str())
            .collect::<Vec<_>>(),
        ["init", "exited", "ok"]
    );
    assert!(records.iter().all(|r| r.cold && r.init_ms >= 20));

    // An init that fails by itself.
    let update = client.update_function_configuration().function_name("f");
    let variables = Environment::builder()
        .variables("TINY_INIT_FAILS", "1")
        .build();
    update.environment(variables).send().await.expect("updated");
    let (_, error) = call(&client, json!({})).await;
    assert!(
        error["errorMessage"]
            .as_str()
            .expect("text")
            .ends_with("exit status 3"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_lambda_refuses_it() {
    let (lambda, client) = service(settings()).await;
    let missing = invoke(&client, InvocationType::RequestResponse, json!({})).await;
    assert_eq!(
        missing.expect_err("no such function").code(),
        Some("ResourceNotFoundException")
    );
    create(&client, 30, &[]).await;
    let dry = invoke(&client, InvocationType::DryRun, json!({}))
        .await
        .expect("sound");
    assert_eq!(dry.status_code(), 204);
    let large = json!("x".repeat(1 << 20));
    let refused = invoke(&client, InvocationType::Event, large.clone())
        .await
        .expect_err("too large");
    assert_eq!(refused.code(), Some("RequestTooLargeException"));
    assert_eq!(call(&client, large).await.0.function_error(), None);
    let huge = json!("x".repeat(6 << 20));
    let refused = invoke(&client, InvocationType::RequestResponse, huge)
        .await
        .expect_err("too large");
    assert_eq!(refused.code(), Some("RequestTooLargeException"));
    let again = client
        .create_function()
        .function_name("f")
        .runtime(Runtime::Providedal2023)
        .role(ROLE);
    let code = FunctionCode::builder()
        .zip_file(Blob::new(of_bootstrap(b"x")))
        .build();
    let refused = again.code(code).send().await.expect_err("exists");
    assert_eq!(refused.code(), Some("ResourceConflictException"));
    let update = client
        .update_function_configuration()
        .function_name("f")
        .memory_size(64);
    let refused = update.send().await.expect_err("too little");
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
    lambda.set(|settings| {
        settings.denied.insert("GetFunction".to_owned());
    });
    let refused = client
        .get_function()
        .function_name("f")
        .send()
        .await
        .expect_err("denied");
    assert_eq!(refused.code(), Some("AccessDeniedException"));
    client
        .delete_function()
        .function_name("f")
        .send()
        .await
        .expect("deleted");
    let gone = client
        .get_function_configuration()
        .function_name("f")
        .send()
        .await;
    assert_eq!(
        gone.expect_err("deleted").code(),
        Some("ResourceNotFoundException")
    );
}

/// Nothing is left when the emulator itself is killed.
#[tokio::test]
async fn instances_end_with_the_command_however_it_ends() {
    for signal in ["TERM", "KILL"] {
        let mut emulator = tokio::process::Command::new(env!("CARGO_BIN_EXE_lambda_emulator"))
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = tokio::io::BufReader::new(emulator.stdout.take().expect("piped"));
        let mut url = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut url)
            .await
            .expect("an address");
        let client = client(url.trim());
        create(&client, 30, &[]).await;
        let (_, answer) = call(&client, json!({})).await;
        let pid = i32::try_from(answer["pid"].as_i64().expect("a pid")).expect("a pid");
        assert!(is_alive(pid));
        let id = emulator.id().expect("it runs").to_string();
        let killed = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(killed.expect("kill runs").success());
        emulator.wait().await.expect("it ends");
        for _ in 0..1_000 {
            if !is_alive(pid) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(
            !is_alive(pid),
            "an instance outlives an emulator that got SIG{signal}"
        );
    }
}
