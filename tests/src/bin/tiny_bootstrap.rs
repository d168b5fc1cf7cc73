//! A function for the tests of the emulated Lambda service: does what its event says. Never computes.
//!
//!     {"do": "echo" | "sleep" | "fail" | "exit" | "count" | "environment", "ms": N}

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

static SERVED: AtomicU64 = AtomicU64::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("TINY_INIT_FAILS").is_some() {
        std::process::exit(3);
    }
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let served = SERVED.fetch_add(1, Ordering::SeqCst) + 1;
    let (payload, context) = (event.payload, event.context);
    match payload["do"].as_str() {
        Some("sleep") => {
            let ms = payload["ms"].as_u64().unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        Some("fail") => return Err("as it was told".into()),
        Some("exit") => std::process::exit(7),
        Some("large") => return Ok(Value::String("x".repeat(7 << 20))),
        Some("environment") => {
            let environment: std::collections::BTreeMap<_, _> = std::env::vars().collect();
            return Ok(json!(environment));
        }
        _ => {}
    }
    Ok(json!({
        "served": served,
        "pid": std::process::id(),
        "request_id": context.request_id,
        "deadline_ms": context.deadline,
        "arn": context.invoked_function_arn,
        "payload": payload,
    }))
}
