//! What makes sense in a configuration.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

impl Config {
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
        if !(2..=60).contains(&self.counter_seconds) {
            return invalid("counter_seconds", "must be 2 to 60");
        }
        if !(1..=900).contains(&self.breaker_pause_seconds) {
            return invalid("breaker_pause_seconds", "must be 1 to 900");
        }
        crate::hooks::check(&self)?;
        if !self.gpus.iter().all(|id| is_device(id)) {
            return invalid("gpus", "must hold ids as `CUDA_VISIBLE_DEVICES` has them, such as \"0\"");
        }
        if self.gpus.iter().collect::<std::collections::BTreeSet<_>>().len() < self.gpus.len() {
            return invalid("gpus", "must not name a device twice");
        }
        for (setting, most) in [
            ("max_memory_mb", self.max_memory_mb),
            ("max_address_space_mb", self.max_address_space_mb),
            ("max_file_size_mb", self.max_file_size_mb),
            ("max_open_files", self.max_open_files.map(u64::from)),
            ("max_processes", self.max_processes.map(u64::from)),
        ] {
            if most == Some(0) {
                return invalid(setting, "must be 1 or more; leave it out for no limit");
            }
        }
        if self.pass_environment.iter().any(|name| name.starts_with("AWS_")) {
            return invalid("pass_environment", "must not hand AWS variables to engines");
        }
        if let Err(why) = self.artifacts_address() {
            return invalid("artifacts_url", why);
        }
        if !(1..=3_600).contains(&self.store_patience_seconds) {
            return invalid("store_patience_seconds", "must be 1 to 3,600");
        }
        if self.keep_job_days == Some(0) {
            return invalid("keep_job_days", "must be 1 or more; leave it out to keep job folders");
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
        for root in &mut self.input_roots {
            *root = root.canonicalize().map_err(|e| ConfigError::Invalid {
                setting: "input_roots",
                why: format!("{}: {e}", root.display()),
            })?;
        }
        // `stageline dev` lets tasks do everything anyway.
        if !self.allow_any_program {
            let home = std::env::var_os("HOME").and_then(|home| PathBuf::from(home).canonicalize().ok());
            for (setting, dir) in std::iter::once(("inputs_dir", &self.inputs_dir))
                .chain(self.input_roots.iter().map(|root| ("input_roots", root)))
            {
                let holds = |path: &Path| path.starts_with(dir);
                if holds("/proc".as_ref()) || holds(&self.work_dir) || home.as_deref().is_some_and(holds) {
                    let why = "must not hold the whole machine, the worker's home or `work_dir`: a task may \
                               copy any file below it; give inputs a folder of their own";
                    return invalid(setting, why);
                }
            }
        }
        // Paths of the worker's folder, not of a job's.
        for program in [
            &mut self.lammps_program,
            &mut self.python_program,
            &mut self.fenicsx_python,
            &mut self.pw_program,
            &mut self.vasp_program,
        ] {
            if program.contains('/')
                && let Ok(path) = std::path::absolute(&*program)
            {
                *program = path.to_string_lossy().into_owned();
            }
        }
        if let Some(program) = self.container_program.as_mut().filter(|program| program.contains('/'))
            && let Ok(path) = std::path::absolute(&*program)
        {
            *program = path.to_string_lossy().into_owned();
        }
        if let Ok(path) = std::path::absolute(&self.openfoam_dir) {
            self.openfoam_dir = path;
        }
        Ok(self)
    }
}

/// A number, or a long name such as `GPU-8f3a…` or `MIG-…`.
fn is_device(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '/' | '.' | '_');
    (1..=100).contains(&id.len()) && id.chars().all(plain)
}
