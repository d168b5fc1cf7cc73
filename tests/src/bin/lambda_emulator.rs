//! The emulated Lambda service as a command: for scripts, and for trying peerwren's Lambda engine without an
//! account. Ends all instances when it ends, however it does.
//!
//! ```text
//! lambda_emulator [--port N] [--settings FILE.json | --settings '{..}']
//! ```
//!
//! Prints its address in one line once it listens.

use std::io::Write;
use std::process::ExitCode;

use peerwren_tests::lambda::{Lambda, Settings};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (port, settings) = arguments(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime
        .block_on(serve(port, settings))
        .map_err(|error| error.to_string())
}

async fn serve(port: u16, settings: Settings) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let lambda = Lambda::start(settings, port).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", lambda.url())?;
    out.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    lambda.stop().await;
    Ok(())
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<(u16, Settings), String> {
    let (mut port, mut settings) = (0, Settings::default());
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--port" => {
                port = value
                    .parse()
                    .map_err(|error| format!("--port {value}: {error}"))?
            }
            "--settings" => {
                let text = if value.trim_start().starts_with('{') {
                    value
                } else {
                    std::fs::read_to_string(&value).map_err(|error| format!("{value}: {error}"))?
                };
                settings =
                    serde_json::from_str(&text).map_err(|error| format!("--settings: {error}"))?;
            }
            other => {
                return Err(format!(
                    "{other} is no option: --port N, --settings FILE.json"
                ));
            }
        }
    }
    Ok((port, settings))
}
