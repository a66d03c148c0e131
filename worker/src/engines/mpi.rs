//! Several processes of one program through Open MPI's `mpirun`.

use std::ffi::OsString;
use std::path::PathBuf;

use stageline::Code;
use stageline::protocol::outcome::Failure;

use super::{Site, Step, programs};

/// A task may ask for more processes than there are cores, but not for as many as would stop the host.
const PROCESSES_A_CORE: u32 = 4;

/// `program` with `args` on so many processes; without `mpirun` if it is one.
pub(super) fn step(
    program: PathBuf,
    args: Vec<OsString>,
    processes: u32,
    site: &Site<'_>,
) -> Result<Step, Failure> {
    if processes <= 1 {
        return Ok(Step { program, args });
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = u32::try_from(cores).unwrap_or(1).saturating_mul(PROCESSES_A_CORE);
    if processes > most {
        let message = format!("`resources.cpus` is {processes}; this worker starts at most {most} processes");
        return Err(Failure::fatal(Code::ResourcesUnavailable, message));
    }
    let mpirun = programs::find("mpirun", site).ok_or_else(|| {
        let message = format!(
            "`resources.cpus` is {processes} and there is no mpirun on the worker's path; install it (Debian: \
             apt-get install openmpi-bin), or ask for one processor"
        );
        Failure::fatal(Code::ResourcesUnavailable, message)
    })?;
    // A worker may give more tasks at a time than it has cores for.
    let lead = ["-np".to_owned(), processes.to_string(), "--oversubscribe".to_owned()].map(OsString::from);
    let args = lead.into_iter().chain([program.into_os_string()]).chain(args).collect();
    Ok(Step { program: mpirun, args })
}

/// What `mpirun` and the processes need to be told: containers run as root, and the processes share the
/// cores already.
pub(super) fn environment() -> Vec<(String, String)> {
    let variables = [
        ("OMP_NUM_THREADS", "1"),
        // By itself it ties the first rank to the first core, and so do the attempts in the other slots. The
        // second name is that of Open MPI 5.
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("PRTE_MCA_hwloc_default_binding_policy", "none"),
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        // Not the file in HOME: that is the job folder, where the task's own files lie.
        ("OMPI_MCA_mca_base_param_files", "/etc/openmpi/openmpi-mca-params.conf"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// The last line of standard error that is not standard text about an end: MPI's, or Fortran's `STOP 2`.
pub(super) fn own_words(stderr: &str) -> &str {
    const NOISE: [&str; 9] = [
        "MPI_ABORT was invoked",
        "with errorcode",
        "NOTE: invoking",
        "You may or may not",
        "exactly when Open MPI",
        "STOP ",
        "Primary job",
        "a non-zero exit code",
        "mpirun detected that",
    ];
    let says = |line: &&str| {
        let line = line.trim();
        line.contains(|c: char| c.is_alphanumeric()) && !NOISE.iter().any(|noise| line.starts_with(noise))
    };
    stderr.lines().rfind(says).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Config;

    #[test]
    fn one_process_needs_no_mpirun_and_several_do() {
        let config = Config { path: "/nowhere".into(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job"), resume: None };
        let run = |count| step("/bin/x".into(), vec!["-in".into()], count, &site);
        let alone = Step { program: "/bin/x".into(), args: vec!["-in".into()] };
        assert_eq!(run(1), Ok(alone.clone()));
        assert_eq!(run(0), Ok(alone));
        let failure = run(2).unwrap_err();
        assert_eq!(failure.code, Code::ResourcesUnavailable);
        assert!(failure.message.contains("openmpi-bin"), "{}", failure.message);
    }

    #[test]
    fn mpirun_gets_the_program_and_its_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let mpirun = dir.path().join("mpirun");
        std::fs::write(&mpirun, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&mpirun, mode).unwrap();
        let config = Config { path: dir.path().to_string_lossy().into_owned(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job"), resume: None };
        let far_too_many = step("/bin/x".into(), Vec::new(), 100_000, &site).unwrap_err();
        assert_eq!(far_too_many.code, Code::ResourcesUnavailable);
        let step = step("/bin/x".into(), vec!["-in".into()], 3, &site).unwrap();
        assert_eq!(step.program, mpirun);
        assert_eq!(step.args, ["-np", "3", "--oversubscribe", "/bin/x", "-in"]);
    }

    #[test]
    fn ranks_of_several_attempts_are_not_tied_to_the_same_cores() {
        let unbound = |(name, value): &(String, String)| name.ends_with("_binding_policy") && value == "none";
        assert_eq!(environment().iter().filter(|variable| unbound(variable)).count(), 2);
    }

    #[test]
    fn what_mpi_says_about_every_end_is_no_reason() {
        let noise = "---\nMPI_ABORT was invoked on rank 0\nwith errorcode 1.\n\nSTOP 2\n---\n";
        assert_eq!(own_words(noise), "");
        assert_eq!(own_words(&format!("cannot open shared object\n{noise}")), "cannot open shared object");
    }
}
