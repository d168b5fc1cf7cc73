//! Makes the client of an S3 service from settings, variables, shared files and the machine's role.
//! Sends no request to the service itself.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::{Builder, Credentials, ProvideCredentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::service_config::ServiceConfigKey;

use super::error::causes;
use super::settings::S3Settings;

/// How long an idle connection is kept; services close theirs after about as long.
const IDLE: Duration = Duration::from_secs(20);
/// The region of a service that has none of its own.
const REGION_ANY: &str = "us-east-1";

/// A client and what is known about the way to the service.
pub(super) struct Connected {
    pub(super) client: Client,
    /// Whether the way is encrypted, so that bodies need no signature of their own.
    pub(super) encrypted: bool,
}

/// Makes a client.
///
/// # Errors
/// What is missing and where it may be set, in one line.
pub(super) async fn connect(settings: &S3Settings) -> Result<Connected, String> {
    let limits = &settings.limits;
    let http = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(limits.requests_max)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect_timeout)
        .read_timeout(limits.read_timeout)
        .operation_attempt_timeout(limits.attempt_timeout);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts.build());
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(keys) = &settings.keys {
        let (id, secret) = (&keys.access_key_id, &keys.secret_access_key);
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "settings"));
    }
    let shared = loader.load().await;
    credentials(shared.credentials_provider()).await?;
    let stalled = StalledStreamProtectionConfig::enabled().grace_period(limits.read_timeout);
    // One layer tries again, ours: it sees bodies that break off, which the client's does not.
    let mut config = Builder::from(&shared)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(stalled.build());
    let endpoint = endpoint(&shared, settings);
    if let Some(endpoint) = &endpoint
        && !endpoint.starts_with("http://")
        && !endpoint.starts_with("https://")
    {
        return Err(format!(
            "the endpoint {endpoint:?} is no address; expected http://host:port or https://host"
        ));
    }
    if shared.region().is_none() {
        if endpoint.is_none() {
            return Err("no region is set; set AWS_REGION to the bucket's region".to_owned());
        }
        config = config.region(Region::new(REGION_ANY));
    }
    let encrypted = endpoint.as_ref().is_none_or(|e| e.starts_with("https://"));
    // A service at an address of its own seldom has a name for each bucket.
    let config = config.force_path_style(endpoint.is_some());
    Ok(Connected {
        client: Client::from_conf(config.build()),
        encrypted,
    })
}

/// The service's address, if it is not Amazon's, found as the client finds it.
fn endpoint(shared: &SdkConfig, settings: &S3Settings) -> Option<String> {
    if settings.endpoint.is_some() {
        return settings.endpoint.clone();
    }
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = shared.service_config().zip(key.ok());
    let own = own.and_then(|(config, key)| config.load_config(key));
    own.or_else(|| shared.endpoint_url().map(str::to_owned))
}

async fn credentials(provider: Option<impl ProvideCredentials>) -> Result<(), String> {
    const WAYS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of \
        ~/.aws/credentials, or run where a role gives some";
    let Some(provider) = provider else {
        return Err(format!("no credentials; {WAYS}"));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        // Its causes are all the places that have none.
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(format!("no credentials; {WAYS}")),
        Err(error) => {
            let why = causes(Some(&error));
            Err(format!(
                "no credentials: {}; {WAYS}",
                why.trim_end_matches('.')
            ))
        }
    }
}
