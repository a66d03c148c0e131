//! Whole recordings with the plans they came from, and what no input may do.

use proptest::prelude::*;

use super::*;
use crate::engines::openfoam::output::event;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/openfoam/", $name))
    };
}

fn plan(start: Option<f64>, end: Option<f64>, step: Option<f64>) -> Progress {
    Progress::new(Control { start, end, step, ..Control::default() })
}

fn feed(mut progress: Progress, output: &str) -> Progress {
    for event in output.lines().filter_map(event) {
        progress.apply(&event);
    }
    progress
}

fn small(output: &str) -> Progress {
    feed(plan(Some(0.0), Some(0.5), Some(0.005)), output)
}

fn large(output: &str) -> Progress {
    feed(plan(None, Some(0.25), Some(0.0005)), output)
}

/// What is shown and judged at the end of a recording.
fn summary(progress: &Progress) -> Value {
    json!({
        "done": progress.done(),
        "total": progress.total(),
        "message": progress.message(),
        "missing": progress.missing(),
        "metrics": progress.metrics(),
        "result": progress.result(),
    })
}

#[test]
fn a_run_that_reaches_its_end_is_complete() {
    insta::assert_json_snapshot!(summary(&small(recording!("icoFoam-cavity.out"))));
    let parallel = small(recording!("icoFoam-mpirun2.out"));
    assert_eq!((parallel.done(), parallel.total(), parallel.missing()), (100, Some(100), None));
}

#[test]
fn a_restart_counts_from_where_it_starts() {
    let progress = feed(plan(None, Some(0.012), Some(0.0005)), recording!("restart-latestTime.out"));
    insta::assert_json_snapshot!(summary(&progress));
}

#[test]
fn a_run_that_was_told_to_stop_is_incomplete() {
    insta::assert_json_snapshot!(summary(&large(recording!("opt-switch-sigterm.out"))));
    for (output, why) in [
        (recording!("stopAt-writeNow.out"), "time 0.005 of 0.25: `controlDict` was changed while it ran"),
        (recording!("mpirun-sigusr2.out"), "time 0.0045 of 0.25: a signal told it to write and stop"),
        (recording!("sigterm.out"), "time 0.0045 of 0.25: it did not say `End`"),
        (recording!("mpirun-sigterm.out"), "time 0.009 of 0.25: it did not say `End`"),
        (recording!("broken-fvSolution.out"), "time 0 of 0.25: it did not say `End`"),
        (recording!("no-mesh.out"), "time 0 of 0.25: it did not say `End`"),
        (recording!("broken-controlDict.out"), "before the first step of 0.25: it did not say `End`"),
        (recording!("no-env.out"), "before the first step of 0.25: it did not say `End`"),
        (recording!("blockMesh.out"), "before the first step of 0.25: it gave no reason"),
    ] {
        assert_eq!(large(output).missing().as_deref(), Some(why));
    }
}

#[test]
fn a_stop_exactly_at_the_end_is_no_loss() {
    let progress = feed(plan(None, Some(0.005), Some(0.0005)), recording!("opt-switch-sigterm.out"));
    assert_eq!(progress.missing(), None);
    let unknown = feed(plan(None, None, None), recording!("opt-switch-sigterm.out"));
    assert_eq!(unknown.missing().as_deref(), Some("time 0.005: a signal told it to write and stop"));
    assert_eq!((unknown.done(), unknown.total()), (10, None));
}

#[test]
fn a_step_counts_when_it_is_over() {
    let text = "Create mesh for time = 0\nTime = 0.1\n";
    let mut progress = feed(plan(Some(0.0), Some(1.0), Some(0.1)), text);
    assert_eq!((progress.done(), progress.message().as_str()), (0, "Time 0.1 of 1, step 1"));
    progress = feed(progress, "ExecutionTime = 0 s  ClockTime = 0 s\n");
    assert_eq!((progress.done(), progress.message().as_str()), (1, "Time 0.1 of 1, step 1"));
    assert_eq!(feed(progress, "Time = 0.2\nTime = 0.3\n").done(), 2);
}

#[test]
fn an_adjusted_time_step_counts_in_thousandths() {
    let progress = feed(plan(Some(1.0), Some(3.0), None), "Time = 1.5\nTime = 2\nExecutionTime = 1 s\n");
    assert_eq!((progress.done(), progress.total()), (500, Some(1000)));
    // The step that is nearest to the end is the last one.
    let progress = feed(progress, "Time = 2.9\nExecutionTime = 1 s\nEnd\n");
    assert_eq!(progress.missing(), None);
    let recorded = feed(plan(Some(0.0), Some(0.25), None), recording!("pimpleFoam-adjusted.out"));
    insta::assert_json_snapshot!(summary(&recorded));
}

#[test]
fn a_steady_solver_counts_its_iterations_and_may_converge() {
    let output = "Create mesh for time = 0\nTime = 1\nExecutionTime = 1 s\nTime = 2\nExecutionTime = 1 s\n\
                  SIMPLE solution converged in 2 iterations\nEnd\n";
    let progress = feed(plan(Some(0.0), Some(500.0), Some(1.0)), output);
    assert_eq!((progress.done(), progress.total(), progress.missing()), (2, Some(2), None));
    assert_eq!(progress.result()["converged"], true);
    let recorded = feed(plan(Some(0.0), Some(500.0), Some(1.0)), recording!("simpleFoam-converged.out"));
    insta::assert_json_snapshot!(summary(&recorded));
}

#[test]
fn a_run_that_begins_at_its_end_has_nothing_left() {
    let progress = feed(plan(None, Some(0.5), Some(0.005)), "Create mesh for time = 0.5\nEnd\n");
    assert_eq!((progress.missing(), progress.total()), (None, None));
}

#[test]
fn senseless_plans_and_times_do_no_harm() {
    for (start, end, step) in [
        (Some(0.0), Some(1e300), Some(1e-300)),
        (Some(-1e308), Some(1e308), Some(1.0)),
        (Some(5.0), Some(1.0), Some(1.0)),
        (Some(0.0), Some(1.0), Some(1e30)),
    ] {
        let progress = feed(plan(start, end, step), "Time = 1e300\nTime = -1e300\nTime = 3\nEnd\n");
        assert!(progress.total().is_none_or(|total| progress.done() <= total));
        assert!(progress.message().len() < 100, "{}", progress.message());
    }
}

fn lines() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (-5.0f64..20.0).prop_map(|time| format!("Time = {time}")),
        1 => any::<f64>().prop_map(|time| format!("Time = {time:e}")),
        1 => (-5.0f64..20.0).prop_map(|time| format!("Create mesh for time = {time}")),
        2 => Just("ExecutionTime = 1 s  ClockTime = 1 s".to_owned()),
        1 => any::<f64>().prop_map(|max| format!("Courant Number mean: 1 max: {max}")),
        1 => any::<f64>().prop_map(|initial| format!("x:  Solving for p, Initial residual = {initial}, Final residual = nan, No Iterations 1")),
        1 => Just("End".to_owned()),
        1 => ".{0,30}",
    ]
}

proptest! {
    #[test]
    fn counters_never_go_back_and_the_total_stays(
        lines in prop::collection::vec(lines(), 0..80),
        start in prop::option::of(-5.0f64..5.0),
        end in prop::option::of(-5.0f64..20.0),
        step in prop::option::of(0.001f64..3.0),
    ) {
        let mut progress = plan(start, end, step);
        let (mut done, mut total) = (0, None);
        for event in lines.iter().filter_map(|line| event(line)) {
            progress.apply(&event);
            prop_assert!(progress.done() >= done);
            done = progress.done();
            if done > 0 && total.is_some() {
                prop_assert_eq!(progress.total(), total);
            }
            if done > 0 {
                total = progress.total();
            }
            prop_assert!(progress.total().is_none_or(|total| done <= total));
            prop_assert!(progress.metrics().values().all(|value| value.is_finite()));
            let _ = (progress.message(), progress.missing(), progress.result());
        }
    }
}
