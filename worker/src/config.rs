//! The worker's configuration: read once, validated, every default documented.

use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// What a worker may do and how much of it. From `stageline-worker.toml` in the working directory (or the
/// file that `STAGELINE_WORKER_CONFIG` names), overridden by `STAGELINE_WORKER_…` variables.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pool whose queues it serves. Default `default`.
    pub pool: String,
    /// Tasks at once. Default: the machine's cores.
    pub slots: u32,
    /// Where job folders are made. Default `stageline-jobs` in the system's temporary folder.
    pub work_dir: PathBuf,
    /// Where `script` and `inputs` are looked up. Default: the working directory.
    pub inputs_dir: PathBuf,
    /// Programs that the `command` engine may start, as the task spells them. Default: none.
    pub allowed_programs: Vec<String>,
    /// Whether the `command` engine may start any program. Only for development. Default: no.
    pub allow_any_program: bool,
    /// Where programs are searched. Default: the worker's own `PATH`.
    pub path: String,
    /// Further variables of the worker's environment that engines get. Default: none.
    pub pass_environment: Vec<String>,
    /// The LAMMPS program: a name on the path, or a path. Default `lmp`.
    pub lammps_program: String,
    /// Seconds that a poll of an empty queue waits, 1 to 20. Longer is cheaper (at 20, an idle host costs
    /// 180 requests an hour and lane); a worker that stops may leave a message unseen for the visibility
    /// timeout when its last poll is cut. Default 20.
    pub poll_wait_seconds: u64,
    /// Seconds between TERM and KILL when an engine is stopped. Default 10.
    pub term_grace_seconds: u64,
    /// Seconds that running tasks have to finish when the worker is asked to stop. Default 60.
    pub drain_grace_seconds: u64,
    /// Bytes of each of standard output and error that are kept as a file. Default 64 MiB.
    pub log_limit_bytes: u64,
    /// The EC2 instance id or ECS task ARN that the worker runs in, by which events about that find it.
    /// Default: none.
    pub instance: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a variable cannot be read.
    #[error("worker configuration: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// The file that `STAGELINE_WORKER_CONFIG` names.
    #[error("worker configuration: there is no file {0:?}, which STAGELINE_WORKER_CONFIG names")]
    NoSuchFile(String),
    /// A value that makes no sense.
    #[error("worker configuration: `{setting}` {why}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            pool: "default".to_owned(),
            slots: u32::try_from(cores).unwrap_or(1),
            work_dir: std::env::temp_dir().join("stageline-jobs"),
            inputs_dir: PathBuf::from("."),
            allowed_programs: Vec::new(),
            allow_any_program: false,
            path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            pass_environment: Vec::new(),
            lammps_program: "lmp".to_owned(),
            poll_wait_seconds: 20,
            term_grace_seconds: 10,
            drain_grace_seconds: 60,
            log_limit_bytes: 64 * 1024 * 1024,
            instance: None,
        }
    }
}

impl Config {
    /// Reads file and environment.
    ///
    /// # Errors
    /// When something cannot be read, is unknown, or makes no sense.
    pub fn load() -> Result<Self, ConfigError> {
        let named = std::env::var("STAGELINE_WORKER_CONFIG").ok();
        let file = named.as_deref().unwrap_or("stageline-worker.toml");
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if std::path::Path::new(file).is_file() {
            figment = figment.merge(Toml::file_exact(file));
        } else if let Some(name) = named {
            return Err(ConfigError::NoSuchFile(name));
        }
        let config: Self = figment
            // A worker below another one's task finds that one's id.
            .merge(Env::prefixed("STAGELINE_WORKER_").ignore(&["config", "id"]))
            .extract()
            .map_err(Box::new)?;
        config.validated()
    }

    /// Checks the values and makes the paths absolute.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn validated(mut self) -> Result<Self, ConfigError> {
        let invalid = |setting, why: &str| Err(ConfigError::Invalid { setting, why: why.to_owned() });
        if !(1..=10_000).contains(&self.slots) {
            return invalid("slots", "must be 1 to 10,000");
        }
        if !(1..=20).contains(&self.poll_wait_seconds) {
            return invalid("poll_wait_seconds", "must be 1 to 20");
        }
        if self.pass_environment.iter().any(|name| name.starts_with("AWS_")) {
            return invalid("pass_environment", "must not hand AWS variables to engines");
        }
        std::fs::create_dir_all(&self.work_dir).map_err(|e| ConfigError::Invalid {
            setting: "work_dir",
            why: format!("{}: {e}; choose a folder that can be written", self.work_dir.display()),
        })?;
        for (setting, dir) in [("work_dir", &mut self.work_dir), ("inputs_dir", &mut self.inputs_dir)] {
            *dir = dir
                .canonicalize()
                .map_err(|e| ConfigError::Invalid { setting, why: format!("{}: {e}", dir.display()) })?;
        }
        // A path of the worker's folder, not of a job's.
        if self.lammps_program.contains('/')
            && let Ok(path) = std::path::absolute(&self.lammps_program)
        {
            self.lammps_program = path.to_string_lossy().into_owned();
        }
        Ok(self)
    }

    /// Time between TERM and KILL.
    pub fn term_grace(&self) -> Duration {
        Duration::from_secs(self.term_grace_seconds)
    }

    /// Time that running tasks have when the worker is asked to stop.
    pub fn drain_grace(&self) -> Duration {
        Duration::from_secs(self.drain_grace_seconds)
    }

    /// Whether the `command` engine may start `program`.
    pub fn allows(&self, program: &str) -> bool {
        self.allow_any_program || self.allowed_programs.iter().any(|allowed| allowed == program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_unless_it_is_listed() {
        let mut config = Config::default();
        assert!(!config.allows("rm"));
        config.allowed_programs = vec!["echo".into()];
        assert!(config.allows("echo") && !config.allows("/bin/echo") && !config.allows("rm"));
        config.allow_any_program = true;
        assert!(config.allows("rm"));
    }

    #[test]
    fn senseless_settings_are_named() {
        let bad = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validated().unwrap_err().to_string()
        };
        assert!(bad(|c| c.slots = 0).contains("`slots`"));
        assert!(bad(|c| c.poll_wait_seconds = 60).contains("`poll_wait_seconds`"));
        assert!(bad(|c| c.pass_environment = vec!["AWS_SECRET_ACCESS_KEY".into()]).contains("AWS"));
        assert!(bad(|c| c.work_dir = "/dev/null/x".into()).contains("`work_dir`"));
        assert!(bad(|c| c.inputs_dir = "/nowhere/at/all".into()).contains("`inputs_dir`"));
    }
}
