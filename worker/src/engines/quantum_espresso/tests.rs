//! What the engine plans, and its verdict with standard error.

use std::fs;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::Config;
use crate::engines::{Resume, SavedFile};

struct Place {
    // Removed when it goes.
    _dir: tempfile::TempDir,
    config: Config,
}

impl Place {
    /// An inputs folder with `text` as `si/pw.in`, and programs that do nothing.
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("si")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("si/pw.in"), text).unwrap();
        for program in ["pw.x", "mpirun"] {
            let path = root.join("bin").join(program);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let path = root.join("bin").to_string_lossy().into_owned();
        Self { config: Config { inputs_dir: root, path, ..Config::default() }, _dir: dir }
    }

    fn plan(&self, record: &serde_json::Value) -> Result<ChildPlan, Failure> {
        self.plan_with(record, None)
    }

    fn plan_with(&self, record: &serde_json::Value, resume: Option<&Resume>) -> Result<ChildPlan, Failure> {
        let site = Site { config: &self.config, job_dir: Path::new("/job"), resume };
        match QuantumEspresso.plan(&Task::deserialize(record).unwrap(), &site)? {
            Execution::Child(plan) => Ok(plan),
            Execution::Inline(_) => panic!("it runs as a process"),
        }
    }
}

const INPUT: &str = "&control prefix='si' outdir='./out' /\n";

fn record() -> serde_json::Value {
    json!({"id": "t", "engine": "quantum-espresso", "script": "si/pw.in"})
}

#[test]
fn one_process_runs_pw_on_a_copy_of_the_input() {
    let place = Place::with(INPUT);
    let plan = place.plan(&record()).unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert!(plan.steps[0].program.ends_with("bin/pw.x"));
    assert_eq!(plan.steps[0].args, ["-in", "pw.in"]);
    assert_eq!(plan.files, [Placed::copy(place.config.inputs_dir.join("si/pw.in"), "pw.in".into())]);
    assert!(plan.env.contains(&("OMP_NUM_THREADS".to_owned(), "1".to_owned())));
}

#[test]
fn several_processors_are_several_processes() {
    let place = Place::with(INPUT);
    let mut record = record();
    record["resources"] = json!({"cpus": 4});
    let plan = place.plan(&record).unwrap();
    assert!(plan.steps[0].program.ends_with("bin/mpirun"));
    let args: Vec<_> = plan.steps[0].args.iter().map(|arg| arg.to_string_lossy()).collect();
    assert_eq!(args[..3], ["-np", "4", "--oversubscribe"]);
    assert!(args[3].ends_with("bin/pw.x") && args[4..] == ["-in", "pw.in"]);
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        assert!(plan.env.contains(&(name.to_owned(), "1".to_owned())));
    }
}

#[test]
fn it_is_asked_to_stop_by_a_file_in_its_outdir_or_by_term_where_that_is_elsewhere() {
    let stop = |text: &str| Place::with(text).plan(&record()).unwrap().soft_stop;
    let file = |path: &str| SoftStop::File { path: path.into(), content: "\n".to_owned() };
    assert_eq!(stop(INPUT), file("out/si.EXIT"));
    assert_eq!(stop("&control /"), file("pwscf.EXIT"));
    assert_eq!(stop("&control outdir='/scratch' /"), SoftStop::Terminate);
    assert_eq!(stop("&control outdir='../..' /"), SoftStop::Terminate);
    let mut place = Place::with("&control /");
    place.config.pass_environment = vec!["ESPRESSO_TMPDIR".into()];
    assert_eq!(place.plan(&record()).unwrap().soft_stop, SoftStop::Terminate, "nobody knows where");
}

#[test]
fn it_goes_on_from_what_as_many_processes_have_saved_and_leaves_the_input_alone_otherwise() {
    let place = Place::with(INPUT);
    let saved = |count: u32| Resume {
        files: (1..=count)
            .map(|n| SavedFile { path: format!("out/si.wfc{n}"), at: "/saved".into() })
            .collect(),
    };
    let original = Placed::copy(place.config.inputs_dir.join("si/pw.in"), "pw.in".into());
    for (processes, count) in [(1, 0), (1, 2), (2, 1)] {
        let mut record = record();
        record["resources"] = json!({"cpus": processes});
        let plan = place.plan_with(&record, Some(&saved(count))).unwrap();
        assert_eq!(plan.files, std::slice::from_ref(&original), "{processes} after {count}");
    }
    let plan = place.plan_with(&record(), Some(&saved(1))).unwrap();
    let Content::Text(text) = &plan.files[0].content else { panic!("{:?}", plan.files) };
    assert!(text.contains("restart_mode = 'restart'"), "{text}");
    let segments = plan.segments.unwrap();
    assert_eq!((&segments.going_on, segments.starting_over.as_str()), (text, INPUT));
    assert_eq!((segments.path.to_str(), segments.while_it_runs), (Some("pw.in"), true));
}

#[test]
fn nothing_is_saved_of_what_would_come_to_another_result_or_lies_elsewhere() {
    let plan = |text: &str| Place::with(text).plan(&record()).unwrap();
    for text in ["&control calculation='md' /", "&control outdir='/scratch' /", "no namelist"] {
        let plan = plan(text);
        assert!(plan.segments.is_none() && plan.checkpoint.files.is_empty(), "{text}");
    }
    let cell = plan("&control calculation='vc-relax' /");
    assert!(!cell.segments.unwrap().while_it_runs && !cell.checkpoint.files.is_empty());
}

#[test]
fn what_is_missing_is_named() {
    let fails = |place: &Place, record: serde_json::Value| place.plan(&record).err().unwrap();
    let mut place = Place::with(INPUT);
    let absent = fails(&place, json!({"id": "t", "engine": "quantum-espresso", "script": "si/absent.in"}));
    assert_eq!(absent.code, Code::InputMissing);
    let outside = fails(&place, json!({"id": "t", "engine": "quantum-espresso", "script": "../pw.in"}));
    assert_eq!(outside.code, Code::PathUnsafe);
    place.config.pw_program = "pw-of-nobody".to_owned();
    let missing = fails(&place, record());
    assert_eq!(missing.code, Code::EngineMissing);
    assert!(missing.message.contains("apt-get install quantum-espresso"), "{}", missing.message);
}

#[test]
fn a_huge_input_is_refused_before_it_is_read() {
    let place = Place::with(INPUT);
    let file = fs::File::create(place.config.inputs_dir.join("si/pw.in")).unwrap();
    file.set_len(LARGEST_INPUT_BYTES + 1).unwrap();
    let failure = place.plan(&record()).err().unwrap();
    assert_eq!(failure.code, Code::EngineInputInvalid);
    assert!(failure.message.contains("are more than"), "{}", failure.message);
}

fn ends_with(output: &str, stderr: &str, exit: Exit) -> Failure {
    let progress = Progress::new(input::read(INPUT));
    let mut reader = Box::new(Log { output: Output::new(), progress });
    output.lines().for_each(|line| drop(reader.line(Stream::Stdout, line)));
    stderr.lines().for_each(|line| drop(reader.line(Stream::Stderr, line)));
    match reader.verdict(exit, stderr) {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mpis_words_do_not_hide_the_engines() {
    let out = include_str!("../../../tests/recordings/quantum-espresso/missing-pseudo.out");
    let noise = include_str!("../../../tests/recordings/quantum-espresso/missing-pseudo.err");
    let failure = ends_with(out, noise, Exit { code: Some(1), signal: None });
    assert_eq!((failure.code, failure.kind, failure.exit_code), (Code::QeError, ErrorKind::Fatal, Some(1)));
    let failure = ends_with("", noise, Exit { code: Some(1), signal: None });
    assert_eq!((failure.code, failure.message.as_str()), (Code::ExitNonZero, "pw.x ended with exit code 1"));
    let failure = ends_with("", "pw.x: cannot open libmpi.so.40\n", Exit { code: Some(127), signal: None });
    assert!(failure.message.ends_with("libmpi.so.40"), "{}", failure.message);
    let killed = ends_with("", "", Exit { code: None, signal: Some(9) });
    assert_eq!((killed.code, killed.signal), (Code::ExitSignal, Some(9)));
}

#[test]
fn a_death_over_what_the_worker_has_asked_is_tried_again() {
    let out = include_str!("../../../tests/recordings/quantum-espresso/exit-file.out");
    let asked = |by_the_worker: bool, exit: Exit| {
        let mut reader = Box::new(Log { output: Output::new(), progress: Progress::new(input::read(INPUT)) });
        out.lines().for_each(|line| drop(reader.line(Stream::Stdout, line)));
        if by_the_worker {
            reader.asked_to_stop();
        }
        match reader.verdict(exit, "STOP 2\nNo space left on device\n") {
            Outcome::Failed(failure) => (failure.code, failure.kind, failure.message),
            other => panic!("{other:?}"),
        }
    };
    let killed = Exit { code: None, signal: Some(9) };
    let (code, kind, message) = asked(true, killed);
    assert_eq!((code, kind), (Code::ExitSignal, ErrorKind::Retryable));
    assert_eq!(message, "pw.x was ended by signal 9: No space left on device");
    assert_eq!(asked(false, killed).1, ErrorKind::Fatal);
}

#[test]
fn an_input_with_a_time_of_its_own_is_not_stopped_for_checkpoints() {
    let plan = Place::with("&control max_seconds=3600 /\n").plan(&record()).unwrap();
    assert!(!plan.segments.unwrap().while_it_runs && !plan.checkpoint.files.is_empty());
}

#[test]
fn a_lost_energy_stops_a_task_that_wants_it() {
    let mut reader = Log { output: Output::new(), progress: Progress::new(input::read(INPUT)) };
    assert_eq!(reader.diverged(), None);
    reader.line(Stream::Stdout, "     total energy              =     NaN Ry");
    assert_eq!(reader.diverged().unwrap().code, Code::Diverged);
}
