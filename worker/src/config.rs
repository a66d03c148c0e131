//! The worker's configuration: read once, validated, every default documented.

mod validation;

use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

pub use crate::notices::{OnRebalance, SpotNotices};
pub use crate::protection::ScaleInProtection;
use crate::store::Address;

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
    /// Engines whose tasks it runs. `python`, `fenicsx`, `openfoam` and `lammps` run whatever code `inputs_dir`
    /// holds and `inputs` can name. Default: all.
    pub engines: Option<Vec<String>>,
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
    /// Whether LAMMPS runs as processes under Open MPI's `mpirun` when a task asks for several processors, rather
    /// than as one with as many threads. Default: yes.
    pub lammps_mpi: bool,
    /// The `pw.x` of Quantum ESPRESSO: a name on the path, or a path. Default `pw.x`.
    pub pw_program: String,
    /// The VASP program: a name on the path, or a path. Default `vasp_std`.
    pub vasp_program: String,
    /// OpenFOAM's own folder, which its programs are told in `WM_PROJECT_DIR` where it exists. Default
    /// `/usr/share/openfoam`, where Debian has it.
    pub openfoam_dir: PathBuf,
    /// The Python of the `python` engine: a name on the path, or a path. Default `python3`.
    pub python_program: String,
    /// The Python that has dolfinx: a name on the path, or a path. Default `/usr/bin/python3`, Debian's own.
    pub fenicsx_python: String,
    /// Images that the `container` engine may run: a name, with its tag or for all of its tags, or the
    /// beginning of names, which ends in `/`. Default: none.
    pub allowed_images: Vec<String>,
    /// The docker or podman of the `container` engine: a name on the path, or a path. Default: `docker`, or
    /// `podman` where there is no docker.
    pub container_program: Option<String>,
    /// Whether an image that is not on this machine is fetched. Default `missing`.
    pub container_pull: Pull,
    /// Whether a container may have a network when its task asks for one. Default: no.
    pub container_network: bool,
    /// Seconds that a poll of an empty queue waits, 1 to 20. Longer is cheaper (at 20, an idle host costs
    /// 180 requests an hour and lane); a worker that stops may leave a message unseen for the visibility
    /// timeout when its last poll is cut. Default 20.
    pub poll_wait_seconds: u64,
    /// Whether writes to tasks that come at the same time share a request (`BatchExecuteStatement`), where that is
    /// possible. Default: yes.
    pub share_requests: bool,
    /// Seconds between two writes of a stage's counters once it has run for twice as long, 2 to 60; before that it is
    /// every 2 seconds. Each is a write unit. Default 10.
    pub counter_seconds: u64,
    /// The graphics processors that it gives to tasks, as `CUDA_VISIBLE_DEVICES` names them. Default: none.
    pub gpus: Vec<String>,
    /// The most memory of one task's processes together, in MiB. Default: no limit, as for the next four.
    pub max_memory_mb: Option<u64>,
    /// The most that each process may map, in MiB.
    pub max_address_space_mb: Option<u64>,
    /// The largest file that a task may write, in MiB.
    pub max_file_size_mb: Option<u64>,
    /// The most that a job folder may take of the disk, in MiB; 0 is no limit. Default 0.
    pub job_quota_mb: u64,
    /// The most files that each process may have open.
    pub max_open_files: Option<u32>,
    /// The most processes and threads that the worker's user may have while a task starts one.
    pub max_processes: Option<u32>,
    /// What is put around processes. Default `off`.
    pub sandbox: SandboxKind,
    /// Whether a task may have a network in the sandbox when it asks for one. Default: no.
    pub sandbox_network: bool,
    /// Further files and folders that the sandbox hides. Default: none.
    pub sandbox_hidden: Vec<PathBuf>,
    /// Seconds between TERM and KILL when an engine is stopped. Default 10.
    pub term_grace_seconds: u64,
    /// Seconds that running tasks have to finish when the worker is asked to stop. Default 60.
    pub drain_grace_seconds: u64,
    /// Bytes of each of standard output and error that are kept as a file. Default 64 MiB.
    pub log_limit_bytes: u64,
    /// Where what attempts leave is stored: `s3://bucket/prefix` or `file:///folder`. Default: nowhere, it stays in
    /// the job folder.
    pub artifacts_url: Option<String>,
    /// Seconds that storing the outputs of a successful attempt is tried. Default 120.
    pub store_patience_seconds: u64,
    /// Buckets from which tasks may have inputs fetched. Default: none beside that of `artifacts_url`.
    pub allowed_buckets: Vec<String>,
    /// Folders beside `inputs_dir` from which tasks may have inputs by `file://`. Default: none.
    pub input_roots: Vec<PathBuf>,
    /// Bytes that a fetched input may have. Default 16 GiB.
    pub input_limit_bytes: u64,
    /// Seconds between two looks for a checkpoint of a running task to store; 0 stores none. Default 60.
    pub checkpoint_seconds: u64,
    /// Seconds between two looks for what is new in the logs of a running task, to store it; 0 stores none before its
    /// end. Default 30.
    pub log_part_seconds: u64,
    /// Days after which job folders are removed. Default: never.
    pub keep_job_days: Option<u32>,
    /// Failures in a row that are this machine's own (a program is missing, the disk is full, no licence) after
    /// which it runs none of the engine's tasks for a while; 0 is never. Default 3.
    pub breaker_failures: u32,
    /// Seconds of the first such pause, 1 to 900; it doubles each time, up to 900. Default 30.
    pub breaker_pause_seconds: u64,
    /// A command before each attempt, which may keep it from running: an absolute path and its arguments.
    /// Default: none.
    pub hook_before: Vec<String>,
    /// A command after each attempt. Default: none.
    pub hook_after: Vec<String>,
    /// An address that is told of the beginning and the end of each attempt. Default: none.
    pub webhook_url: Option<String>,
    /// The file with the secret that those calls are signed with. Default: none.
    pub webhook_secret_file: Option<PathBuf>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, such as `127.0.0.1:9464`. Default: nowhere.
    pub metrics_address: Option<String>,
    /// Seconds that polls may go unanswered while messages wait and slots are free, until it calls itself
    /// unhealthy; after twice as many it ends, unless it runs a task. 0 is for ever. Default 300.
    pub watchdog_seconds: u64,
    /// The EC2 instance id or ECS task ARN that the worker runs in, by which events about that find it.
    /// Default: none.
    pub instance: Option<String>,
    /// Whether notices of the machine's end are read from the metadata service of EC2. Default `auto`.
    pub spot_notices: SpotNotices,
    /// What a recommendation to rebalance changes. Default `yield`.
    pub on_rebalance: OnRebalance,
    /// Whether it keeps its task of ECS from being scaled in while it has tasks. Default `auto`.
    pub scale_in_protection: ScaleInProtection,
}

/// What is put around processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxKind {
    /// Nothing: they see what the worker's user sees.
    #[default]
    Off,
    /// bubblewrap.
    Bubblewrap,
}

/// Whether images are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Those that are not there.
    #[default]
    Missing,
    /// None: what is not there fails.
    Never,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a variable cannot be read.
    #[error("worker configuration: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// A file that was asked for by name.
    #[error("worker configuration: there is no file {file:?}, which {by} names")]
    NoSuchFile {
        /// Its path.
        file: PathBuf,
        /// The variable or the option that names it.
        by: &'static str,
    },
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
            engines: None,
            allowed_programs: Vec::new(),
            allow_any_program: false,
            path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            pass_environment: Vec::new(),
            lammps_program: "lmp".to_owned(),
            lammps_mpi: true,
            pw_program: "pw.x".to_owned(),
            vasp_program: "vasp_std".to_owned(),
            openfoam_dir: PathBuf::from("/usr/share/openfoam"),
            python_program: "python3".to_owned(),
            fenicsx_python: "/usr/bin/python3".to_owned(),
            allowed_images: Vec::new(),
            container_program: None,
            container_pull: Pull::default(),
            container_network: false,
            poll_wait_seconds: 20,
            share_requests: true,
            counter_seconds: 10,
            gpus: Vec::new(),
            max_memory_mb: None,
            max_address_space_mb: None,
            max_file_size_mb: None,
            job_quota_mb: 0,
            max_open_files: None,
            max_processes: None,
            sandbox: SandboxKind::default(),
            sandbox_network: false,
            sandbox_hidden: Vec::new(),
            term_grace_seconds: 10,
            drain_grace_seconds: 60,
            log_limit_bytes: 64 * 1024 * 1024,
            artifacts_url: None,
            store_patience_seconds: 120,
            allowed_buckets: Vec::new(),
            input_roots: Vec::new(),
            input_limit_bytes: 16 << 30,
            checkpoint_seconds: 60,
            log_part_seconds: 30,
            keep_job_days: None,
            breaker_failures: 3,
            breaker_pause_seconds: 30,
            hook_before: Vec::new(),
            hook_after: Vec::new(),
            webhook_url: None,
            webhook_secret_file: None,
            metrics_address: None,
            watchdog_seconds: 300,
            instance: None,
            spot_notices: SpotNotices::default(),
            on_rebalance: OnRebalance::default(),
            scale_in_protection: ScaleInProtection::default(),
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
        if Path::new(file).is_file() {
            figment = figment.merge(Toml::file_exact(file));
        } else if let Some(name) = named {
            return Err(ConfigError::NoSuchFile { file: name.into(), by: "STAGELINE_WORKER_CONFIG" });
        }
        let config: Self = figment
            // A worker below another one's task finds that one's id.
            .merge(Env::prefixed("STAGELINE_WORKER_").ignore(&["config", "id"]))
            .extract()
            .map_err(Box::new)?;
        config.validated()
    }

    /// These settings with those of a file over them, not checked yet. `by` is what names the file.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or has a setting that is unknown.
    pub fn overlaid(self, file: &Path, by: &'static str) -> Result<Self, ConfigError> {
        if !file.is_file() {
            return Err(ConfigError::NoSuchFile { file: file.to_path_buf(), by });
        }
        let figment = Figment::from(Serialized::defaults(self)).merge(Toml::file_exact(file));
        Ok(figment.extract().map_err(Box::new)?)
    }

    /// What `artifacts_url` names.
    pub(crate) fn artifacts_address(&self) -> Result<Option<Address>, &'static str> {
        self.artifacts_url.as_deref().filter(|url| !url.is_empty()).map(Address::parse).transpose()
    }

    /// Whether tasks may have inputs fetched from `bucket`.
    pub(crate) fn allows_bucket(&self, bucket: &str) -> bool {
        let is_own =
            matches!(self.artifacts_address(), Ok(Some(Address::S3 { bucket: own, .. })) if own == bucket);
        is_own || self.allowed_buckets.iter().any(|allowed| allowed == bucket)
    }

    /// Time between two writes of a long stage's counters.
    pub fn counter_period(&self) -> Duration {
        Duration::from_secs(self.counter_seconds)
    }

    /// Time between TERM and KILL.
    pub fn term_grace(&self) -> Duration {
        Duration::from_secs(self.term_grace_seconds)
    }

    /// Time that running tasks have when the worker is asked to stop.
    pub fn drain_grace(&self) -> Duration {
        Duration::from_secs(self.drain_grace_seconds)
    }

    /// Whether it runs tasks of this engine.
    pub fn runs(&self, engine: &str) -> bool {
        self.engines.as_ref().is_none_or(|engines| engines.iter().any(|name| name == engine))
    }

    /// Whether the `command` engine may start `program`.
    pub fn allows(&self, program: &str) -> bool {
        self.allow_any_program || self.allowed_programs.iter().any(|allowed| allowed == program)
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
