//! Makes, changes, looks at and deletes the function that workers run in. Never invokes it.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{self, Environment, FunctionCode, LastUpdateStatus, Runtime, State};
use aws_smithy_http_client::tls;

use super::error::CloudError;
use super::facts::{DESCRIPTION, Facts};
use super::package::{Architecture, Package};

/// MaximumRetryAttempts of a function: a lost worker is replaced by the run that misses it.
pub const RETRIES: u32 = 0;
/// MaximumEventAgeInSeconds of a function, the least that Lambda takes.
pub const EVENT_AGE_S: u32 = 60;

/// Between two looks at a function that changes.
const POLL: Duration = Duration::from_millis(500);
/// 240 looks of 0.5 s: a function becomes active within seconds; 2 min bound what is waited.
const POLLS_MAX: u32 = 240;
/// A role that was just made is known everywhere after some 10 s: 15 tries, 2 s apart.
const ROLE_TRIES_MAX: u32 = 15;
const ROLE_RETRY: Duration = Duration::from_secs(2);

/// Memory that is free goes back from 1 MiB on, and buffers are mapped one by one: by default the C library
/// keeps up to 64 MiB for each of some threads, so that a warm instance grows from run to run (146 MiB seen
/// after eight, 24 with this).
const TRIM: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "1048576");

/// What a function is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployOptions {
    /// Name of the function.
    pub name: String,
    /// Resource name of the role that workers have.
    pub role: String,
    /// Memory in MB, which decides the cores: 1,769 for one.
    pub memory_mb: u32,
    /// Longest life of a worker.
    pub timeout_s: u32,
    /// Instances kept for this function, and at most so many.
    pub reserved: Option<u32>,
}

/// What is to change of a function; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateOptions {
    /// See [`DeployOptions::role`].
    pub role: Option<String>,
    /// See [`DeployOptions::memory_mb`].
    pub memory_mb: Option<u32>,
    /// See [`DeployOptions::timeout_s`].
    pub timeout_s: Option<u32>,
    /// See [`DeployOptions::reserved`].
    pub reserved: Option<u32>,
}

/// The functions of the account and region that the environment names.
#[derive(Clone, Debug)]
pub struct Functions {
    client: Client,
}

/// The SDK's configuration for AWS: credentials, region, endpoints and retries by the usual chain of
/// variables, files and machine roles.
pub(crate) async fn sdk_config() -> Result<SdkConfig, CloudError> {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(provider)
        .build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    if config.region().is_none() {
        return Err(CloudError::NoRegion);
    }
    Ok(config)
}

impl Functions {
    /// Reads the environment; asks AWS nothing yet.
    ///
    /// # Errors
    /// No region is set.
    pub async fn open() -> Result<Self, CloudError> {
        Ok(Self {
            client: Client::new(&sdk_config().await?),
        })
    }

    /// The client beneath, for those who invoke.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a function and waits until it can be invoked.
    ///
    /// # Errors
    /// It exists, the role cannot be used, AWS refuses, or it does not become active within 2 min.
    pub async fn deploy(
        &self,
        package: &Package,
        options: &DeployOptions,
    ) -> Result<Facts, CloudError> {
        let name = &options.name;
        for attempt in 1.. {
            let create = self
                .client
                .create_function()
                .function_name(name)
                .description(description())
                .runtime(Runtime::Providedal2023)
                .handler("bootstrap")
                .architectures(types::Architecture::from(package.architecture()))
                .role(&options.role)
                .memory_size(signed(options.memory_mb))
                .timeout(signed(options.timeout_s))
                .environment(Environment::builder().variables(TRIM.0, TRIM.1).build())
                .code(
                    FunctionCode::builder()
                        .zip_file(Blob::new(package.zip.clone()))
                        .build(),
                );
            let Err(error) = create.send().await else {
                break;
            };
            match error.code() {
                Some("ResourceConflictException") => return Err(CloudError::Exists(name.clone())),
                _ if !is_about_role(&error) => {
                    return Err(CloudError::of("CreateFunction", name, error));
                }
                _ if attempt == ROLE_TRIES_MAX => {
                    return Err(CloudError::Role(options.role.clone()));
                }
                _ => tokio::time::sleep(ROLE_RETRY).await,
            }
        }
        self.settle(name).await?;
        self.bound_events(name, options.reserved).await?;
        self.facts(name).await
    }

    /// Changes a function, sets again what it must have, and waits until the change holds.
    ///
    /// # Errors
    /// There is none of that name, it is not peerwren's, the package is for the wrong CPU, or AWS refuses.
    pub async fn update(
        &self,
        name: &str,
        package: Option<&Package>,
        options: &UpdateOptions,
    ) -> Result<Facts, CloudError> {
        self.own(name).await?;
        self.settle(name).await?;
        let mut change = self
            .client
            .update_function_configuration()
            .function_name(name);
        change = change.set_role(options.role.clone());
        change = change.set_memory_size(options.memory_mb.map(signed));
        change = change.set_timeout(options.timeout_s.map(signed));
        if package.is_some() {
            change = change.description(description());
        }
        if package.is_some() || *options != UpdateOptions::default() {
            if let Err(error) = change.send().await {
                return Err(match &options.role {
                    Some(role) if is_about_role(&error) => CloudError::Role(role.clone()),
                    _ => CloudError::of("UpdateFunctionConfiguration", name, error),
                });
            }
            self.settle(name).await?;
        }
        if let Some(package) = package {
            let code = self
                .client
                .update_function_code()
                .function_name(name)
                .architectures(types::Architecture::from(package.architecture()))
                .zip_file(Blob::new(package.zip.clone()));
            code.send()
                .await
                .map_err(|error| CloudError::of("UpdateFunctionCode", name, error))?;
            self.settle(name).await?;
        }
        self.bound_events(name, options.reserved).await?;
        self.facts(name).await
    }

    /// Deletes a function of peerwren's.
    ///
    /// # Errors
    /// There is none of that name, it is not peerwren's, or AWS refuses.
    pub async fn destroy(&self, name: &str) -> Result<(), CloudError> {
        self.own(name).await?;
        let delete = self
            .client
            .delete_function()
            .function_name(name)
            .send()
            .await;
        delete
            .map(drop)
            .map_err(|error| CloudError::of("DeleteFunction", name, error))
    }

    /// Asks AWS for all that is to be known of a function: four requests, one after the other.
    ///
    /// # Errors
    /// There is none of that name, or AWS refuses.
    pub async fn facts(&self, name: &str) -> Result<Facts, CloudError> {
        let function = self.configuration(name).await?;
        let concurrency = self
            .client
            .get_function_concurrency()
            .function_name(name)
            .send()
            .await;
        let reserved = concurrency
            .map_err(|error| CloudError::of("GetFunctionConcurrency", name, error))?
            .reserved_concurrent_executions();
        let events = self
            .client
            .get_function_event_invoke_config()
            .function_name(name)
            .send()
            .await;
        let (retries, event_age_s) = match events {
            Ok(events) => (
                events.maximum_retry_attempts(),
                events.maximum_event_age_in_seconds(),
            ),
            Err(error) if error.code() == Some("ResourceNotFoundException") => (None, None),
            Err(error) => return Err(CloudError::of("GetFunctionEventInvokeConfig", name, error)),
        };
        let account = self.client.get_account_settings().send().await;
        let account = account.map_err(|error| CloudError::of("GetAccountSettings", name, error))?;
        let limit = account.account_limit();
        let description = function.description().unwrap_or_default();
        let version = description.strip_prefix(DESCRIPTION);
        let architecture = function.architectures().first();
        Ok(Facts {
            name: name.to_owned(),
            arn: function.function_arn().unwrap_or_default().to_owned(),
            state: with_reason(function.state().map(State::as_str), function.state_reason()),
            update: with_reason(
                function.last_update_status().map(LastUpdateStatus::as_str),
                function.last_update_status_reason(),
            ),
            memory_mb: unsigned(function.memory_size()),
            timeout_s: unsigned(function.timeout()),
            architecture: architecture
                .map(|one| one.as_str().to_owned())
                .unwrap_or_default(),
            runtime: function
                .runtime()
                .map(|one| one.as_str().to_owned())
                .unwrap_or_default(),
            version: version.map(str::to_owned),
            code_bytes: u64::try_from(function.code_size()).unwrap_or(0),
            reserved: reserved.map(|reserved| unsigned(Some(reserved))),
            unreserved: unsigned(limit.and_then(|limit| limit.unreserved_concurrent_executions())),
            account: unsigned(limit.map(|limit| limit.concurrent_executions())),
            retries: retries.map(|retries| unsigned(Some(retries))),
            event_age_s: event_age_s.map(|age| unsigned(Some(age))),
        })
    }

    async fn configuration(
        &self,
        name: &str,
    ) -> Result<GetFunctionConfigurationOutput, CloudError> {
        let found = self
            .client
            .get_function_configuration()
            .function_name(name)
            .send()
            .await;
        found.map_err(|error| CloudError::of("GetFunctionConfiguration", name, error))
    }

    /// Refuses a function that peerwren did not make.
    async fn own(&self, name: &str) -> Result<(), CloudError> {
        let found = self.configuration(name).await?;
        match found.description() {
            Some(description) if description.starts_with(DESCRIPTION) => Ok(()),
            _ => Err(CloudError::Foreign(name.to_owned())),
        }
    }

    /// Waits until a function is active and no update is under way.
    async fn settle(&self, name: &str) -> Result<(), CloudError> {
        let mut state = String::new();
        for _ in 0..POLLS_MAX {
            let found = self.configuration(name).await?;
            let active = found.state().is_none_or(|state| *state == State::Active);
            let failed = found.state() == Some(&State::Failed);
            let updating = found.last_update_status() == Some(&LastUpdateStatus::InProgress);
            state = with_reason(found.state().map(State::as_str), found.state_reason());
            if active && !updating {
                return Ok(());
            }
            if failed {
                return Err(CloudError::NotActive {
                    name: name.to_owned(),
                    state,
                    waited_s: 0,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        let waited_s = u64::from(POLLS_MAX) * POLL.as_millis() as u64 / 1_000;
        Err(CloudError::NotActive {
            name: name.to_owned(),
            state,
            waited_s,
        })
    }

    /// Sees to it that no event is retried or waits for long, and sets the reservation that is asked for.
    async fn bound_events(&self, name: &str, reserved: Option<u32>) -> Result<(), CloudError> {
        let events = self
            .client
            .put_function_event_invoke_config()
            .function_name(name)
            .maximum_retry_attempts(signed(RETRIES))
            .maximum_event_age_in_seconds(signed(EVENT_AGE_S));
        let put = events.send().await;
        put.map_err(|error| CloudError::of("PutFunctionEventInvokeConfig", name, error))?;
        if let Some(reserved) = reserved {
            let concurrency = self.client.put_function_concurrency().function_name(name);
            let put = concurrency
                .reserved_concurrent_executions(signed(reserved))
                .send()
                .await;
            put.map_err(|error| CloudError::of("PutFunctionConcurrency", name, error))?;
        }
        Ok(())
    }
}

impl From<Architecture> for types::Architecture {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::X86_64 => Self::X8664,
            Architecture::Arm64 => Self::Arm64,
        }
    }
}

/// How a function of this version is told from others.
fn description() -> String {
    format!("{DESCRIPTION}{}", env!("CARGO_PKG_VERSION"))
}

fn is_about_role(error: &impl ProvideErrorMetadata) -> bool {
    let text = error.message().unwrap_or_default();
    error.code() == Some("InvalidParameterValueException")
        && text.contains("role")
        && text.contains("assume")
}

fn with_reason(state: Option<&str>, reason: Option<&str>) -> String {
    match (state, reason) {
        (Some(state), Some(reason)) => format!("{state} ({reason})"),
        (state, _) => state.unwrap_or("unknown").to_owned(),
    }
}

/// Lambda's numbers are small and signed.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn unsigned(number: Option<i32>) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}
