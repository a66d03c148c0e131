//! The verdict over whole recordings: exit code and words together.

use proptest::prelude::*;

use super::*;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/openfoam/", $name))
    };
}

fn exit(code: i32) -> Exit {
    match code {
        0.. => Exit { code: Some(code), signal: None },
        _ => Exit { code: None, signal: Some(-code) },
    }
}

fn program(name: &str) -> Program {
    Program { name: name.to_owned(), solver: name.ends_with("Foam"), processes: 1 }
}

/// A case whose first program is over, and whose solver runs.
fn solving(end: f64, step: f64) -> Case {
    let control = Control { start: Some(0.0), end: Some(end), step: Some(step), ..Control::default() };
    let programs = ["blockMesh", "icoFoam"].map(program).to_vec();
    let mut case = Case::new(programs, control, "/case/of/bad/".to_owned());
    case.step(0);
    recording!("blockMesh.out").lines().for_each(|line| drop(case.line(Stream::Stdout, line)));
    case.step(1);
    case
}

fn feed(mut case: Case, stdout: &str, stderr: &str) -> Case {
    stdout.lines().for_each(|line| drop(case.line(Stream::Stdout, line)));
    stderr.lines().for_each(|line| drop(case.line(Stream::Stderr, line)));
    case
}

fn judge(case: Case, code: i32, stderr: &str) -> (Code, ErrorKind, String) {
    match Box::new(case).verdict(exit(code), stderr) {
        Outcome::Failed(failure) => (failure.code, failure.kind, failure.message),
        other => panic!("{other:?}"),
    }
}

fn failure(stdout: &str, stderr: &str, code: i32) -> (Code, ErrorKind, String) {
    judge(feed(solving(0.25, 0.0005), stdout, stderr), code, stderr)
}

#[test]
fn a_finished_case_succeeds_with_its_numbers() {
    let case = feed(solving(0.5, 0.005), recording!("icoFoam-cavity.out"), "");
    let Outcome::Succeeded { result } = Box::new(case).verdict(exit(0), "") else { panic!() };
    // The recording was trimmed: 37 of its 100 steps are there.
    assert_eq!((&result["lastTime"], &result["steps"]), (&json!(0.5), &json!(37)));
    assert_eq!(result["programs"], json!(["blockMesh", "icoFoam"]));
}

#[test]
fn every_recorded_failure_has_its_code_and_words() {
    let all = [
        (
            "broken-controlDict",
            failure(recording!("broken-controlDict.out"), recording!("broken-controlDict.err"), 1),
        ),
        (
            "broken-fvSolution",
            failure(recording!("broken-fvSolution.out"), recording!("broken-fvSolution.err"), 1),
        ),
        ("broken-mpirun2", failure("", recording!("broken-mpirun2.err"), 1)),
        ("no-env", failure(recording!("no-env.out"), recording!("no-env.err"), 1)),
        ("no-mesh", failure(recording!("no-mesh.out"), recording!("no-mesh.err"), 1)),
        ("sigterm", failure(recording!("sigterm.out"), "", -15)),
        ("mpirun-sigterm", failure(recording!("mpirun-sigterm.out"), "", 1)),
        ("opt-switch-sigterm", failure(recording!("opt-switch-sigterm.out"), "", 0)),
        ("stopAt-writeNow", failure(recording!("stopAt-writeNow.out"), "", 0)),
        ("mpirun-sigusr2", failure(recording!("mpirun-sigusr2.out"), recording!("mpirun-sigusr2.err"), 0)),
        ("restart-latestTime", failure(recording!("restart-latestTime.out"), "", 0)),
        ("diverge-sigfpe", failure(recording!("diverge-sigfpe.out"), recording!("diverge-sigfpe.err"), -8)),
        (
            "diverge-mpirun2",
            failure(recording!("diverge-mpirun2.out"), recording!("diverge-mpirun2.err"), 136),
        ),
        ("diverge-nan", failure(recording!("diverge-nan.out"), recording!("diverge-nan.err"), 1)),
    ];
    let said = all.map(|(name, (code, kind, message))| format!("{name}: {code} {kind:?}: {message}"));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_solution_of_no_numbers_is_no_success_even_with_exit_code_zero() {
    let nan = "DICPCG:  Solving for p, Initial residual = nan, Final residual = nan, No Iterations 1000\n";
    let case = feed(
        solving(0.5, 0.005),
        &recording!("icoFoam-cavity.out").replace("\nEnd\n", &format!("\n{nan}\nEnd\n")),
        "",
    );
    assert!(case.diverged().is_some());
    assert_eq!(judge(case, 0, "").0, Code::Diverged);
}

#[test]
fn a_sound_run_never_looks_diverged() {
    for output in
        [recording!("icoFoam-cavity.out"), recording!("icoFoam-mpirun2.out"), recording!("sigterm.out")]
    {
        assert_eq!(feed(solving(0.5, 0.005), output, "").diverged(), None);
    }
}

#[test]
fn a_run_that_blows_up_is_seen_while_it_runs() {
    for output in [recording!("diverge-nan.out"), recording!("diverge-mpirun2.out")] {
        let failure = feed(solving(0.5, 0.005), output, "").diverged().unwrap();
        assert_eq!(failure.code, Code::Diverged);
    }
}

#[test]
fn what_other_programs_print_is_no_progress_of_the_solver() {
    let control = Control { end: Some(1.0), ..Control::default() };
    let mut case = Case::new(vec![program("setFields")], control, "/job/".to_owned());
    assert_eq!(case.step(0)[0].enter.as_deref(), Some("setFields"));
    assert_eq!(case.line(Stream::Stdout, "Time = 0.5"), []);
    let Outcome::Succeeded { result } = Box::new(case).verdict(exit(0), "") else { panic!() };
    assert_eq!(result, json!({ "programs": ["setFields"] }));
}

#[test]
fn a_trap_outside_the_solver_is_no_divergence() {
    let mut case = solving(1.0, 0.1);
    case.step(0);
    let (code, kind, message) = judge(feed(case, "", "#1  Foam::sigFpe::sigHandler(int) at ??:?"), -8, "");
    assert_eq!((code, kind), (Code::ExitSignal, ErrorKind::Fatal));
    assert!(message.contains("division by zero"), "{message}");
}

#[test]
fn stages_are_named_after_what_is_done() {
    let names = ["blockMesh", "decomposePar", "icoFoam", "reconstructPar"];
    let control = Control { start: Some(0.0), end: Some(1.0), step: Some(0.25), ..Control::default() };
    let mut case = Case::new(names.map(program).to_vec(), control, "/job/".to_owned());
    let entered: Vec<_> =
        (0..5).flat_map(|index| case.step(index)).map(|one| (one.enter.unwrap(), one.total)).collect();
    let expected = [("Mesh", None), ("Decompose", None), ("Solve", Some(4)), ("Reconstruct", None)];
    assert_eq!(entered, expected.map(|(name, total)| (name.to_owned(), total)));
}

proptest! {
    #[test]
    fn whatever_is_printed_is_judged(
        lines in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..120)), 0..40),
        code in -64i32..256,
    ) {
        let mut case = solving(1.0, 0.1);
        for (stderr, bytes) in lines {
            let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
            case.line(stream, &String::from_utf8_lossy(&bytes));
        }
        prop_assert!(matches!(Box::new(case).verdict(exit(code), ""), Outcome::Failed(_)));
    }
}
