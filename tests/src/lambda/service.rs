//! The account: functions, warm instances, queue and records behind one lock, and the control API on them.
//! Never executes: that is `invoke`'s.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::function::{EventConfig, Function, number};
use super::guard::Guard;
use super::instance::{Instance, Log, Process};
use super::invoke::Event;
use super::record::{EventCounts, Execution};
use super::settings::Settings;
use super::wire::{Refusal, Reply, json_reply, raw_reply};

/// Records kept; at 300 bytes each 30 MB.
pub(crate) const RECORDS_MAX: usize = 100_000;

pub(crate) struct Service {
    state: Mutex<State>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) runtime: Handle,
    folder: PathBuf,
}

pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) functions: BTreeMap<String, Function>,
    /// Frozen instances, the one used last at the end.
    pub(crate) warm: Vec<Instance>,
    /// Every living instance.
    pub(crate) living: BTreeMap<u64, Living>,
    /// Executions under way, by function.
    pub(crate) running: BTreeMap<String, u32>,
    pub(crate) queue: VecDeque<Event>,
    pub(crate) records: VecDeque<Execution>,
    pub(crate) counts: EventCounts,
    pub(crate) executions: u64,
    pub(crate) instances: u64,
    pub(crate) requests: u64,
    packages: u64,
    /// Set once: nothing starts any more.
    pub(crate) closed: bool,
}

/// What can be told of an instance, whoever has it.
pub(crate) struct Living {
    pub(crate) function: String,
    pub(crate) process: Process,
    pub(crate) log: Log,
    pub(crate) served: u64,
}

impl Service {
    pub(crate) fn new(settings: Settings, folder: PathBuf) -> std::io::Result<Self> {
        Ok(Self {
            state: Mutex::new(State {
                settings,
                functions: BTreeMap::new(),
                warm: Vec::new(),
                living: BTreeMap::new(),
                running: BTreeMap::new(),
                queue: VecDeque::new(),
                records: VecDeque::new(),
                counts: EventCounts::default(),
                executions: 0,
                instances: 0,
                requests: 0,
                packages: 0,
                closed: false,
            }),
            guard: Arc::new(Guard::start()?),
            runtime: Handle::current(),
            folder,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this")
    }

    pub(crate) fn instance_folder(&self, id: u64) -> PathBuf {
        self.folder.join(format!("instance-{id}"))
    }

    fn package_folder(&self, state: &mut State) -> PathBuf {
        state.packages += 1;
        self.folder.join(format!("package-{}", state.packages))
    }

    /// Performs an operation of the control API.
    pub(crate) fn control(
        &self,
        operation: &str,
        name: &str,
        body: &Bytes,
    ) -> Result<Reply, Refusal> {
        let body: Value = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(body).map_err(|error| {
                let message = format!("Could not parse request body into json: {error}");
                Refusal::new(400, "InvalidRequestContentException", message)
            })?,
        };
        match operation {
            "CreateFunction" => self.create(&body),
            "UpdateFunctionCode" => self.update_code(name, &body),
            "GetAccountSettings" => Ok(self.lock().account_settings()),
            _ => self.lock().control(operation, name, &body),
        }
    }

    fn create(&self, body: &Value) -> Result<Reply, Refusal> {
        let zip = zip_of(&body["Code"])?;
        let mut state = self.lock();
        let name = body["FunctionName"].as_str().unwrap_or_default();
        if state.functions.contains_key(name) {
            return Err(Refusal::conflict(format!("Function already exist: {name}")));
        }
        let code = self.package_folder(&mut state);
        let function = Function::new(body, &zip, code, &state.settings)?;
        let reply = json_reply(201, &function.configuration(&state.settings));
        state.functions.insert(function.name.clone(), function);
        Ok(reply)
    }

    fn update_code(&self, name: &str, body: &Value) -> Result<Reply, Refusal> {
        let zip = zip_of(body)?;
        let mut state = self.lock();
        let code = self.package_folder(&mut state);
        let settings = state.settings.clone();
        let function = state.function(name)?;
        function.update_code(body, &zip, code, &settings)?;
        let reply = json_reply(200, &function.configuration(&settings));
        state.retire(name);
        Ok(reply)
    }
}

impl State {
    fn function(&mut self, name: &str) -> Result<&mut Function, Refusal> {
        let arn = self.settings.function_arn(name);
        let missing = || Refusal::not_found(format!("Function not found: {arn}"));
        self.functions.get_mut(name).ok_or_else(missing)
    }

    /// Drops warm instances of a function whose code or configuration has changed.
    fn retire(&mut self, name: &str) {
        let revision = self.functions.get(name).map(|function| function.revision);
        self.warm
            .retain(|instance| instance.function != name || Some(instance.revision) == revision);
    }

    fn control(&mut self, operation: &str, name: &str, body: &Value) -> Result<Reply, Refusal> {
        let settings = self.settings.clone();
        let arn = settings.function_arn(name);
        if operation == "PutFunctionConcurrency" {
            return self.reserve(name, body);
        }
        let function = self.function(name)?;
        let reply = match operation {
            "GetFunction" => {
                let mut found = json!({
                    "Configuration": function.configuration(&settings),
                    "Code": { "RepositoryType": "S3", "Location": function.code },
                });
                if let Some(reserved) = function.reserved {
                    found["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
                }
                json_reply(200, &found)
            }
            "GetFunctionConfiguration" => json_reply(200, &function.configuration(&settings)),
            "UpdateFunctionConfiguration" => {
                function.update_config(body, &settings)?;
                let reply = json_reply(200, &function.configuration(&settings));
                self.retire(name);
                reply
            }
            "DeleteFunction" => {
                self.functions.remove(name);
                self.retire(name);
                raw_reply(204, Bytes::new())
            }
            "GetFunctionConcurrency" => json_reply(
                200,
                &match function.reserved {
                    Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
                    None => json!({}),
                },
            ),
            "DeleteFunctionConcurrency" => {
                function.reserved = None;
                raw_reply(204, Bytes::new())
            }
            "PutFunctionEventInvokeConfig" | "UpdateFunctionEventInvokeConfig" => {
                let whole = operation == "PutFunctionEventInvokeConfig";
                function.event.update(body, whole)?;
                json_reply(200, &function.event.shown(&arn).unwrap_or_default())
            }
            "GetFunctionEventInvokeConfig" => {
                let shown = function.event.shown(&arn).ok_or_else(|| {
                    let message =
                        format!("The function {arn}:$LATEST doesn't have an EventInvokeConfig");
                    Refusal::not_found(message)
                })?;
                json_reply(200, &shown)
            }
            "DeleteFunctionEventInvokeConfig" => {
                function.event = EventConfig::default();
                raw_reply(204, Bytes::new())
            }
            other => {
                let message = format!("The emulator has no operation {other}");
                return Err(Refusal::new(501, "NotImplemented", message));
            }
        };
        Ok(reply)
    }

    fn reserve(&mut self, name: &str, body: &Value) -> Result<Reply, Refusal> {
        let wanted = number(body, "ReservedConcurrentExecutions", 0..=u32::MAX)?
            .ok_or_else(|| Refusal::invalid("ReservedConcurrentExecutions is missing"))?;
        self.function(name)?;
        let least = self.settings.unreserved_min();
        let others: u32 = self
            .functions
            .values()
            .filter(|f| f.name != name)
            .filter_map(|f| f.reserved)
            .sum();
        if others.saturating_add(wanted).saturating_add(least) > self.settings.concurrency
            && wanted > 0
        {
            return Err(Refusal::invalid(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{least}]."
            )));
        }
        self.function(name)?.reserved = Some(wanted);
        Ok(json_reply(
            200,
            &json!({ "ReservedConcurrentExecutions": wanted }),
        ))
    }

    /// What reservations leave to functions without one.
    fn unreserved(&self) -> u32 {
        let reserved: u32 = self
            .functions
            .values()
            .filter_map(|function| function.reserved)
            .sum();
        self.settings.concurrency.saturating_sub(reserved)
    }

    fn account_settings(&self) -> Reply {
        let limit = json!({
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": self.settings.concurrency,
            "UnreservedConcurrentExecutions": self.unreserved(),
        });
        let usage = json!({ "TotalCodeSize": 0, "FunctionCount": self.functions.len() });
        json_reply(
            200,
            &json!({ "AccountLimit": limit, "AccountUsage": usage }),
        )
    }

    /// Whether one more execution of this function is within its limit; why not, otherwise.
    pub(crate) fn has_room(&self, function: &Function) -> Result<(), &'static str> {
        if let Some(reserved) = function.reserved {
            let running = self.running.get(&function.name).copied().unwrap_or(0);
            return if running < reserved {
                Ok(())
            } else {
                Err("ReservedFunctionConcurrentInvocationLimitExceeded")
            };
        }
        let is_unreserved = |name: &str| {
            self.functions
                .get(name)
                .is_none_or(|f| f.reserved.is_none())
        };
        let running: u32 = self
            .running
            .iter()
            .filter(|(name, _)| is_unreserved(name))
            .map(|(_, n)| n)
            .sum();
        if running < self.unreserved() {
            Ok(())
        } else {
            Err("ConcurrentInvocationLimitExceeded")
        }
    }
}

fn zip_of(code: &Value) -> Result<Vec<u8>, Refusal> {
    let text = code["ZipFile"].as_str();
    let text =
        text.ok_or_else(|| Refusal::invalid("Please provide a source for function code."))?;
    aws_smithy_types::base64::decode(text)
        .map_err(|error| Refusal::invalid(format!("ZipFile is not base64: {error}")))
}

/// The operation that a request means, and the function that it names.
pub(crate) fn operation<'a>(method: &Method, path: &[&'a str]) -> Option<(&'static str, &'a str)> {
    let found = match (method.as_str(), path) {
        ("POST", ["2015-03-31", "functions"]) => ("CreateFunction", ""),
        ("GET", ["2016-08-19", "account-settings"]) => ("GetAccountSettings", ""),
        ("GET", ["2015-03-31", "functions", name]) => ("GetFunction", *name),
        ("DELETE", ["2015-03-31", "functions", name]) => ("DeleteFunction", *name),
        (_, ["2015-03-31", "functions", name, what]) => match (method.as_str(), *what) {
            ("PUT", "code") => ("UpdateFunctionCode", *name),
            ("GET", "configuration") => ("GetFunctionConfiguration", *name),
            ("PUT", "configuration") => ("UpdateFunctionConfiguration", *name),
            ("POST", "invocations") => ("Invoke", *name),
            _ => return None,
        },
        ("PUT", ["2017-10-31", "functions", name, "concurrency"]) => {
            ("PutFunctionConcurrency", *name)
        }
        ("DELETE", ["2017-10-31", "functions", name, "concurrency"]) => {
            ("DeleteFunctionConcurrency", *name)
        }
        ("GET", ["2019-09-30", "functions", name, "concurrency"]) => {
            ("GetFunctionConcurrency", *name)
        }
        (_, ["2019-09-25", "functions", name, "event-invoke-config"]) => match method.as_str() {
            "PUT" => ("PutFunctionEventInvokeConfig", *name),
            "POST" => ("UpdateFunctionEventInvokeConfig", *name),
            "GET" => ("GetFunctionEventInvokeConfig", *name),
            "DELETE" => ("DeleteFunctionEventInvokeConfig", *name),
            _ => return None,
        },
        _ => return None,
    };
    Some(found)
}
