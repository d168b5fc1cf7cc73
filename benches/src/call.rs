//! A process with a time limit that ends when the benchmark does, however that ends. Knows no program.

use std::fmt;
use std::process::{Command, Stdio};

/// A process that takes longer is ended: the slowest case takes minutes on a slow core.
pub(crate) const RUN_S: u32 = 1800;
/// After which a process that was asked to end is killed.
const KILL_S: u32 = 10;
/// Settings in the environment that no process is given: they would change how it computes unseen.
const SETTINGS: [&str; 6] = ["OPENBLAS_", "GOTO_", "OMP_", "KMP_", "MKL_", "PEERWREN_"];

/// A command line and its environment, not yet run.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) words: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Call {
    /// A call of a program, by path or by name.
    pub fn new(program: &str) -> Self {
        Self {
            words: vec![program.to_owned()],
            settings: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.words.extend(args);
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts other words before all, such as those of a program that becomes this one.
    #[must_use]
    pub fn after(mut self, before: &[&str]) -> Self {
        let before = before.iter().map(|word| (*word).to_owned());
        self.words.splice(0..0, before);
        self
    }

    /// Runs to the end and returns what was printed.
    ///
    /// # Errors
    /// The program is not there, fails or takes too long; with the last line of its standard error.
    pub fn run(&self) -> Result<String, String> {
        // timeout asks all that it started to end when it is asked itself.
        let kill = format!("--kill-after={KILL_S}");
        let ended = self
            .command(&["timeout", &kill, &RUN_S.to_string()])
            .output()
            .map_err(|error| no_setpriv(&error))?;
        let errors = String::from_utf8_lossy(&ended.stderr);
        let last = last_line(&errors);
        match ended.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
            Some(124 | 137) => Err(format!("`{self}` took more than {RUN_S} s: {last}")),
            Some(127) => Err(format!("`{self}`: {} is not installed", self.words[0])),
            _ => Err(format!("`{self}`: {}: {last}", ended.status)),
        }
    }

    /// The command, before which others are put that become it.
    pub(crate) fn command(&self, before: &[&str]) -> Command {
        // setpriv becomes what follows, which is asked to end when this program dies.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]);
        command.args(before).args(&self.words);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if SETTINGS.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        command.envs(settings).stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.settings {
            // Nothing secret is ever among them but a server's key, which is told to nobody.
            let value = if name.contains("SECRET") {
                "..."
            } else {
                value
            };
            write!(f, "{name}={value} ")?;
        }
        write!(f, "{}", self.words.join(" "))
    }
}

pub(crate) fn no_setpriv(error: &std::io::Error) -> String {
    format!("setpriv, which util-linux brings: {error}")
}

pub(crate) fn last_line(errors: &str) -> &str {
    let last = errors.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing; without --quiet it may say more")
}
