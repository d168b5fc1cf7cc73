//! Functions and what may be configured of them: the checks and the words of Lambda's control API.
//! Never runs anything.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::{Value, json};

use super::package;
use super::settings::Settings;
use super::wire::Refusal;

/// Retries of a failed event where nothing else is configured.
const RETRIES_DEFAULT: u32 = 2;
/// Oldest event where nothing else is configured: 6 hours.
const EVENT_AGE_S_DEFAULT: u32 = 21_600;

/// Names of variables that Lambda sets itself and refuses in a configuration.
const RESERVED_VARIABLES: [&str; 8] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
];

#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Grows with every update; a warm instance of an older one takes no more events.
    pub(crate) revision: u64,
    pub(crate) code: PathBuf,
    code_bytes: usize,
    pub(crate) code_digest: String,
    pub(crate) config: Config,
    /// When the last change takes effect.
    ready: Instant,
    updated: bool,
    last_modified: SystemTime,
    pub(crate) reserved: Option<u32>,
    pub(crate) event: EventConfig,
}

/// What `UpdateFunctionConfiguration` changes.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) memory_mb: u32,
    pub(crate) timeout_s: u32,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) handler: String,
    role: String,
    description: String,
    runtime: String,
    storage_mb: u32,
    architecture: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventConfig {
    retries: Option<u32>,
    age_s: Option<u32>,
    since: Option<SystemTime>,
}

impl Function {
    /// A new function from the body of `CreateFunction`; its code is `zip`, to be unpacked at `code`.
    pub(crate) fn new(
        body: &Value,
        zip: &[u8],
        code: PathBuf,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        let name = text(body, "FunctionName")?
            .ok_or_else(|| Refusal::invalid("FunctionName is missing"))?;
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(sound) {
            return Err(Refusal::invalid(format!(
                "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy \
                 constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+"
            )));
        }
        let mut config = Config {
            memory_mb: 128,
            timeout_s: 3,
            environment: BTreeMap::new(),
            handler: String::new(),
            role: String::new(),
            description: String::new(),
            runtime: String::new(),
            storage_mb: 512,
            architecture: "x86_64".to_owned(),
        };
        config.update(body, settings)?;
        if config.role.is_empty() || config.runtime.is_empty() {
            return Err(Refusal::invalid("Role and Runtime are mandatory"));
        }
        config.choose_architecture(body)?;
        package::unpack(zip, &code)?;
        Ok(Self {
            name,
            revision: 0,
            code,
            code_bytes: zip.len(),
            code_digest: package::digest(zip),
            config,
            ready: Instant::now() + Duration::from_millis(settings.activation_ms),
            updated: false,
            last_modified: SystemTime::now(),
            reserved: None,
            event: EventConfig::default(),
        })
    }

    /// Replaces the code, unpacked at `code`.
    pub(crate) fn update_code(
        &mut self,
        body: &Value,
        zip: &[u8],
        code: PathBuf,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        self.check_idle()?;
        let mut config = self.config.clone();
        config.choose_architecture(body)?;
        package::unpack(zip, &code)?;
        self.config = config;
        self.code = code;
        self.code_bytes = zip.len();
        self.code_digest = package::digest(zip);
        self.changed(settings);
        Ok(())
    }

    pub(crate) fn update_config(
        &mut self,
        body: &Value,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        self.check_idle()?;
        let mut config = self.config.clone();
        config.update(body, settings)?;
        self.config = config;
        self.changed(settings);
        Ok(())
    }

    fn changed(&mut self, settings: &Settings) {
        self.revision += 1;
        self.updated = true;
        self.ready = Instant::now() + Duration::from_millis(settings.activation_ms);
        self.last_modified = SystemTime::now();
    }

    fn check_idle(&self) -> Result<(), Refusal> {
        if self.settled() {
            return Ok(());
        }
        Err(Refusal::conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {}",
            self.name
        )))
    }

    fn settled(&self) -> bool {
        self.ready <= Instant::now()
    }

    /// Whether it can be invoked: a new function only once it is active, an updated one always.
    pub(crate) fn is_active(&self) -> bool {
        self.updated || self.settled()
    }

    /// Time until it can be invoked.
    pub(crate) fn active_in(&self) -> Duration {
        if self.updated {
            return Duration::ZERO;
        }
        self.ready.saturating_duration_since(Instant::now())
    }

    pub(crate) fn retries(&self) -> u32 {
        self.event.retries.unwrap_or(RETRIES_DEFAULT)
    }

    pub(crate) fn event_age_max(&self) -> Duration {
        Duration::from_secs(self.event.age_s.unwrap_or(EVENT_AGE_S_DEFAULT).into())
    }

    /// The function as `GetFunctionConfiguration` gives it.
    pub(crate) fn configuration(&self, settings: &Settings) -> Value {
        let config = &self.config;
        let (state, update) = match (self.settled(), self.updated) {
            (true, _) => ("Active", "Successful"),
            (false, true) => ("Active", "InProgress"),
            (false, false) => ("Pending", "Successful"),
        };
        let modified = DateTime::from(self.last_modified)
            .fmt(Format::DateTime)
            .unwrap_or_default();
        json!({
            "FunctionName": self.name,
            "FunctionArn": settings.function_arn(&self.name),
            "Runtime": config.runtime,
            "Role": config.role,
            "Handler": config.handler,
            "CodeSize": self.code_bytes,
            "CodeSha256": self.code_digest,
            "Description": config.description,
            "Timeout": config.timeout_s,
            "MemorySize": config.memory_mb,
            "LastModified": modified,
            "Version": "$LATEST",
            "Environment": { "Variables": config.environment },
            "TracingConfig": { "Mode": "PassThrough" },
            "RevisionId": self.revision.to_string(),
            "State": state,
            "StateReason": (state == "Pending").then_some("The function is being created."),
            "StateReasonCode": (state == "Pending").then_some("Creating"),
            "LastUpdateStatus": update,
            "PackageType": "Zip",
            "Architectures": [config.architecture],
            "EphemeralStorage": { "Size": config.storage_mb },
        })
    }
}

impl Config {
    fn update(&mut self, body: &Value, settings: &Settings) -> Result<(), Refusal> {
        if let Some(memory) = number(body, "MemorySize", 128..=10_240)? {
            self.memory_mb = memory;
        }
        if let Some(timeout) = number(body, "Timeout", 1..=900)? {
            self.timeout_s = timeout;
        }
        if let Some(storage) = number(&body["EphemeralStorage"], "Size", 512..=10_240)? {
            self.storage_mb = storage;
        }
        if let Some(role) = text(body, "Role")? {
            check_role(&role, settings)?;
            self.role = role;
        }
        if let Some(runtime) = text(body, "Runtime")? {
            if !["provided.al2", "provided.al2023"].contains(&runtime.as_str()) {
                return Err(Refusal::invalid(format!(
                    "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum \
                     value set: [provided.al2, provided.al2023]"
                )));
            }
            self.runtime = runtime;
        }
        self.handler = text(body, "Handler")?.unwrap_or_else(|| self.handler.clone());
        self.description = text(body, "Description")?.unwrap_or_else(|| self.description.clone());
        if let Some(variables) = body["Environment"]["Variables"].as_object() {
            self.environment = variables_of(variables)?;
        }
        Ok(())
    }

    fn choose_architecture(&mut self, body: &Value) -> Result<(), Refusal> {
        match body["Architectures"][0].as_str() {
            None => {}
            Some(name @ ("x86_64" | "arm64")) => self.architecture = name.to_owned(),
            Some(other) => {
                return Err(Refusal::invalid(format!("Unknown architecture {other}")));
            }
        }
        Ok(())
    }
}

impl EventConfig {
    /// `whole` where members left out go back to their defaults: PUT, not POST.
    pub(crate) fn update(&mut self, body: &Value, whole: bool) -> Result<(), Refusal> {
        let retries = number(body, "MaximumRetryAttempts", 0..=2)?;
        let age_s = number(body, "MaximumEventAgeInSeconds", 60..=21_600)?;
        self.retries = retries.or(self.retries.filter(|_| !whole));
        self.age_s = age_s.or(self.age_s.filter(|_| !whole));
        self.since = Some(SystemTime::now());
        Ok(())
    }

    /// As the control API gives it; none where nothing was configured.
    pub(crate) fn shown(&self, arn: &str) -> Option<Value> {
        let since = self.since?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let mut shown = json!({
            "LastModified": since.as_secs_f64(),
            "FunctionArn": format!("{arn}:$LATEST"),
            "DestinationConfig": { "OnSuccess": {}, "OnFailure": {} },
        });
        if let Some(retries) = self.retries {
            shown["MaximumRetryAttempts"] = retries.into();
        }
        if let Some(age) = self.age_s {
            shown["MaximumEventAgeInSeconds"] = age.into();
        }
        Some(shown)
    }
}

fn check_role(role: &str, settings: &Settings) -> Result<(), Refusal> {
    let parts: Vec<_> = role.splitn(6, ':').collect();
    let sound = matches!(parts[..], ["arn", _, "iam", "", account, name]
        if account.len() == 12 && name.starts_with("role/"));
    if !sound {
        return Err(Refusal::new(
            400,
            "ValidationException",
            format!(
                "1 validation error detected: Value '{role}' at 'role' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: \
                 arn:(aws[a-zA-Z-]*)?:iam::\\d{{12}}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"
            ),
        ));
    }
    match &settings.roles {
        Some(roles) if !roles.contains(role) => Err(Refusal::invalid(
            "The role defined for the function cannot be assumed by Lambda.",
        )),
        _ => Ok(()),
    }
}

fn variables_of(
    variables: &serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut environment = BTreeMap::new();
    for (name, value) in variables {
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            return Err(Refusal::invalid(format!(
                "Lambda was unable to configure your environment variables because the environment \
                 variables you have provided contains reserved keys that are currently not supported for \
                 modification. Reserved keys used in this request: {name}"
            )));
        }
        let value = value
            .as_str()
            .ok_or_else(|| Refusal::invalid(format!("Environment variable {name} is no string")))?;
        environment.insert(name.clone(), value.to_owned());
    }
    let bytes: usize = environment.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > 4_096 {
        return Err(Refusal::invalid(
            "Lambda was unable to configure your environment variables because the environment variables \
             you have provided exceeded the 4KB limit.",
        ));
    }
    Ok(environment)
}

fn text(body: &Value, key: &str) -> Result<Option<String>, Refusal> {
    match &body[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(Refusal::invalid(format!("{key} is no string"))),
    }
}

/// A whole number within bounds, if it is there.
pub(crate) fn number(
    body: &Value,
    key: &str,
    within: RangeInclusive<u32>,
) -> Result<Option<u32>, Refusal> {
    if body[key].is_null() {
        return Ok(None);
    }
    let number = body[key].as_u64().and_then(|n| u32::try_from(n).ok());
    match number.filter(|number| within.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Refusal::invalid(format!(
            "1 validation error detected: Value '{}' at '{key}' failed to satisfy constraint: Member must \
             have value between {} and {}",
            body[key],
            within.start(),
            within.end()
        ))),
    }
}
