//! What holds a process in its bounds: the wrappers that it is started through.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::Task;

use super::limits::{Limits, hard_limit};
use super::sandbox::{Cell, Sandbox};
use crate::config::SandboxKind;
use crate::engines::Step;
use crate::{Config, ConfigError};

/// Where `prlimit` may be, for the same reason as bubblewrap on no other path.
const PRLIMIT: [&str; 2] = ["/usr/bin/prlimit", "/bin/prlimit"];

/// What this worker can confine a process with.
#[derive(Clone, Debug)]
pub(crate) struct Confiner {
    prlimit: Option<PathBuf>,
    sandbox: Option<Sandbox>,
}

/// What one attempt's processes are started through.
#[derive(Clone, Debug, Default)]
pub(super) struct Confinement {
    pub limits: Limits,
    /// From the outermost: each with its arguments before those of what is in it.
    wrappers: Vec<(PathBuf, Vec<OsString>)>,
    /// Whether the process that is started is the sandbox, and not the program.
    pub sandboxed: bool,
}

impl Confiner {
    /// Looks for what the configuration needs.
    ///
    /// # Errors
    /// When that is not there, or does not work.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let prlimit = PRLIMIT.iter().map(PathBuf::from).find(|place| place.is_file());
        if prlimit.is_none() && Limits::of_any(config).arguments(hard_limit).is_some() {
            return Err(ConfigError::Invalid {
                setting: "max_…",
                why: format!("needs {}; install it (Debian: apt-get install util-linux)", PRLIMIT[0]),
            });
        }
        let sandbox = match config.sandbox {
            SandboxKind::Off => None,
            SandboxKind::Bubblewrap => Some(Sandbox::find(config)?),
        };
        Ok(Self { prlimit, sandbox })
    }

    /// How the processes of `task` are confined.
    ///
    /// # Errors
    /// When the task asks for what cannot be done here: a limit that is not kept would be worse than none.
    pub(super) fn confine(
        &self,
        task: &Task,
        config: &Config,
        job_dir: &Path,
        gpus: &[String],
    ) -> Result<Confinement, Failure> {
        let limits = Limits::of(task, config);
        let mut wrappers = Vec::new();
        if let Some(sandbox) = &self.sandbox {
            let asks = task.resources.as_ref().and_then(|resources| resources.network) == Some(true);
            if asks && !config.sandbox_network {
                return Err(unavailable(
                    "the task asks for a network (`resources.network`) and this worker's sandbox has none; set \
                     `sandbox_network` of its configuration, or leave it out",
                ));
            }
            let cell = Cell { job_dir, network: asks, gpus };
            wrappers.push((sandbox.program().to_path_buf(), sandbox.arguments(&cell)));
        }
        if let Some(arguments) = limits.arguments(hard_limit) {
            let prlimit = self.prlimit.clone().ok_or_else(|| {
                unavailable("the task's `resources` set a limit and there is no prlimit on this worker; install util-linux")
            })?;
            // Innermost, so that the sandbox can still be made.
            wrappers.push((prlimit, arguments));
        }
        Ok(Confinement { limits, wrappers, sandboxed: self.sandbox.is_some() })
    }
}

fn unavailable(message: &str) -> Failure {
    Failure::fatal(Code::ResourcesUnavailable, message)
}

impl Confinement {
    /// The step as it is really started.
    ///
    /// # Errors
    /// When its program cannot be started: behind a wrapper that would look like the program's own end.
    pub fn around(&self, step: &Step) -> io::Result<Step> {
        if !self.wrappers.is_empty() {
            let meta = step.program.metadata()?;
            if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        let wrapped = self.wrappers.iter().rev().fold(step.clone(), |inner, (program, before)| {
            let args = before.iter().cloned().chain([inner.program.into_os_string()]).chain(inner.args);
            Step { program: program.clone(), args: args.collect() }
        });
        Ok(wrapped)
    }
}

#[cfg(test)]
mod tests {
    use stageline::task::Resources;

    use super::*;

    fn task(resources: Resources) -> Task {
        let mut task = Task::new("t".parse().unwrap());
        task.resources = Some(resources);
        task
    }

    fn confined(confiner: &Confiner, resources: Resources, config: &Config) -> Result<Confinement, Failure> {
        confiner.confine(&task(resources), config, Path::new("/job"), &[])
    }

    fn step(program: &str) -> Step {
        Step { program: program.into(), args: vec!["-c".into(), "true".into()] }
    }

    #[test]
    fn without_limits_and_sandbox_a_program_is_started_itself() {
        let config = Config::default();
        let confiner = Confiner { prlimit: None, sandbox: None };
        let plain =
            confined(&confiner, Resources { memory_mb: Some(5), ..Resources::default() }, &config).unwrap();
        assert_eq!(plain.around(&step("/absent")).unwrap(), step("/absent"));
        assert!(!plain.sandboxed);
    }

    #[test]
    fn a_limit_is_set_around_the_program_and_never_passed_over() {
        let config = Config::default();
        let resources = Resources { file_size_mb: Some(1), ..Resources::default() };
        let confiner = Confiner { prlimit: Some("/usr/bin/prlimit".into()), sandbox: None };
        let wrapped =
            confined(&confiner, resources.clone(), &config).unwrap().around(&step("/bin/sh")).unwrap();
        assert_eq!(wrapped.program, Path::new("/usr/bin/prlimit"));
        assert_eq!(wrapped.args, ["--fsize=1048576", "--core=0", "--", "/bin/sh", "-c", "true"]);
        let without = Confiner { prlimit: None, sandbox: None };
        assert_eq!(confined(&without, resources, &config).unwrap_err().code, Code::ResourcesUnavailable);
    }

    #[test]
    fn a_program_that_cannot_be_started_is_told_before_its_wrapper_runs() {
        let confinement =
            Confinement { wrappers: vec![("/usr/bin/prlimit".into(), Vec::new())], ..Confinement::default() };
        for program in ["/absent", "/etc/passwd", "/etc"] {
            assert!(confinement.around(&step(program)).is_err(), "{program}");
        }
    }
}
