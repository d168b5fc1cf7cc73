//! Which messages are logged. Never writes one.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Clients of other services, which warn of each credential source that they tried in vain; what matters of
/// that is in the error that the store gives.
const CLIENTS: [&str; 5] = [
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_smithy_runtime",
    "hyper_util",
];

/// Messages up to a level; those of other services' clients only where more than warnings are asked for.
pub fn log_targets(level: LevelFilter) -> Targets {
    let clients = if level > LevelFilter::WARN {
        level
    } else {
        LevelFilter::OFF
    };
    let targets = Targets::new().with_default(level);
    targets.with_targets(CLIENTS.map(|client| (client, clients)))
}
