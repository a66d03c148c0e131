//! Recorded runs of scripts that know nothing of the progress contract, and plans.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::Config;
use crate::engines::Placed;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../tests/recordings/fenicsx/", $name))
    };
}

fn solver(script: &str, ranks: u32) -> Solver {
    Solver { told: Told::by(Path::new(script), ranks), cache: "/jobs/.cache/fenicsx".into() }
}

fn run(script: &str, ranks: u32, stdout: &str, stderr: &str, exit: Exit) -> (usize, Outcome) {
    let mut solver = Box::new(solver(script, ranks));
    let out = stdout.lines().flat_map(|line| solver.line(Stream::Stdout, line)).count();
    let err = stderr.lines().flat_map(|line| solver.line(Stream::Stderr, line)).count();
    (out + err, solver.verdict(exit, stderr))
}

fn failure(script: &str, stderr: &str, exit: Exit) -> (Code, String) {
    match run(script, 1, "", stderr, exit).1 {
        Outcome::Failed(failure) => (failure.code, failure.message),
        other => panic!("{other:?}"),
    }
}

const CLEAN: Exit = Exit { code: Some(0), signal: None };
const FAILED: Exit = Exit { code: Some(1), signal: None };

#[test]
fn a_script_that_tells_nothing_has_no_stages_and_succeeds() {
    let quiet = [
        (recording!("poisson.out"), ""),
        (recording!("poisson-pypi.out"), ""),
        (recording!("poisson-mpirun2.out"), ""),
        // Compiler lines on standard error.
        (recording!("heat.out"), recording!("heat.err")),
    ];
    for (stdout, stderr) in quiet {
        let expected = (0, Outcome::Succeeded { result: json!({"exitCode": 0}) });
        assert_eq!(run("/case/fx/poisson.py", 1, stdout, stderr, CLEAN), expected);
    }
}

#[test]
fn an_exception_is_told_with_the_line_of_the_script() {
    let message = "ufl.log.UFLException: Unknown finite element \"Lagrangee\". (bad.py:5)".to_owned();
    let (script, expected) = ("/case/fx/bad.py", (Code::ScriptError, message));
    assert_eq!(failure(script, recording!("bad.err"), FAILED), expected);
    assert_eq!(
        failure(script, recording!("bad-mpirun2.err"), FAILED),
        expected,
        "both ranks and mpirun speak"
    );
}

#[test]
fn signals_are_told_without_the_compilers_noise() {
    let ended = |signal| Exit { code: None, signal: Some(signal) };
    let term = failure("/case/fx/slow.py", recording!("heat-sigterm.err"), ended(15));
    assert_eq!(term, (Code::ExitSignal, "slow.py was ended by signal 15".into()));
    let int = failure("/case/fx/slow.py", recording!("heat-sigint.err"), ended(2));
    assert_eq!(int, (Code::ExitSignal, "slow.py was ended by signal 2: KeyboardInterrupt".into()));
}

#[test]
fn a_python_without_dolfinx_is_the_workers_fault_and_says_what_to_install() {
    let stderr = "Traceback (most recent call last):\n  File \"/job/heat.py\", line 3, in <module>\n    import dolfinx\n\
        ModuleNotFoundError: No module named 'dolfinx'\n";
    let (code, message) = failure("/job/heat.py", stderr, FAILED);
    assert!(code == Code::EngineMissing && message.contains("apt-get install python3-dolfinx"), "{message}");
    let other = stderr.replace("dolfinx'", "pandas'");
    assert_eq!(failure("/job/heat.py", &other, FAILED).0, Code::ScriptError);
}

#[test]
fn a_form_that_a_killed_process_was_compiling_is_named() {
    let stderr = "Traceback (most recent call last):\n  File \"/job/heat.py\", line 3, in <module>\n\
        TimeoutError: JIT compilation timed out, probably due to a failed previous compile.\n";
    assert!(failure("/job/heat.py", stderr, FAILED).1.ends_with("half-compiled in /jobs/.cache/fenicsx"));
}

fn planned(config: &Config, cpus: u32) -> Result<ChildPlan, Failure> {
    let record = json!({"id": "t", "engine": "fenicsx", "script": "heat.py", "resources": {"cpus": cpus}});
    let site = Site { config, job_dir: Path::new("/job"), resume: None };
    match Fenicsx.plan(&Task::from_json(record).unwrap(), &site)? {
        Execution::Child(plan) => Ok(plan),
        Execution::Inline(_) => panic!("a process"),
    }
}

#[test]
fn several_processes_run_under_mpirun_and_compiled_forms_outlive_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    std::fs::write(folder.join("heat.py"), "").unwrap();
    std::fs::copy("/bin/sh", folder.join("mpirun")).unwrap();
    let config = Config {
        inputs_dir: folder.clone(),
        work_dir: "/jobs".into(),
        path: folder.to_string_lossy().into_owned(),
        fenicsx_python: "/bin/sh".into(),
        ..Config::default()
    };
    let alone = planned(&config, 1).unwrap();
    assert_eq!((alone.steps[0].program.as_path(), alone.steps[0].args.len()), (Path::new("/bin/sh"), 2));
    assert!(alone.env.contains(&("XDG_CACHE_HOME".to_owned(), "/jobs/.cache/fenicsx".to_owned())));
    let two = planned(&config, 2).unwrap();
    assert_eq!(two.steps[0].program, folder.join("mpirun"));
    assert_eq!(two.steps[0].args, ["-np", "2", "--oversubscribe", "/bin/sh", "-u", "/job/heat.py"]);
    assert_eq!(two.files, [Placed::copy(folder.join("heat.py"), "heat.py".into())]);
    let without = Config { path: "/nowhere".into(), ..config };
    assert_eq!(planned(&without, 2).err().unwrap().code, Code::ResourcesUnavailable);
}
