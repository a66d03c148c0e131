//! Recordings of processes that went on one from the other.

use serde_json::json;

use super::super::super::input;
use super::super::super::output::{Event, Output};
use super::super::Verdict;
use super::*;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../../tests/recordings/quantum-espresso/", $name))
    };
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

/// Applies an output; the counts that it showed.
fn read(progress: &mut Progress, output: &str) -> Vec<u64> {
    let mut reader = Output::new();
    let events = output.lines().filter_map(|line| reader.line(line));
    events.filter_map(|event| progress.apply(&event)?.done).collect()
}

fn never_goes_back(counts: &[u64]) -> bool {
    counts.windows(2).all(|two| two[0] <= two[1])
}

#[test]
fn the_result_of_two_processes_is_that_of_the_whole_and_its_count_never_goes_back() {
    let mut progress = Progress::new(input::read(recording!("si.long.in")));
    let mut counts = read(&mut progress, recording!("exit-file.out"));
    assert!(progress.stopped_as_asked(exit(2)));
    progress.begins_again(Again::GoingOn);
    assert!(!progress.is_at_work() && !progress.stopped_as_asked(exit(2)));
    counts.extend(read(&mut progress, recording!("restart.out")));
    assert!(never_goes_back(&counts) && counts.last() == Some(&1000), "{counts:?}");
    let Verdict::Completed { result } = progress.verdict(exit(0)) else { panic!("it is complete") };
    assert_eq!((&result["iterations"], &result["cycles"]), (&json!(11), &json!(1)));
    let last: f64 = recording!("restart.out").lines().find_map(wall_seconds).unwrap();
    assert!((result["wallSeconds"].as_f64().unwrap() - 5.65 - last).abs() < 1e-6, "{result}");
}

fn wall_seconds(line: &str) -> Option<f64> {
    let (_, wall) = line.trim().strip_prefix("PWSCF        :")?.split_once("CPU")?;
    wall.trim().strip_suffix("s WALL")?.trim().parse().ok()
}

#[test]
fn a_stop_right_after_convergence_is_gone_on_from_and_counts_one_cycle() {
    let mut progress = Progress::new(input::read("&control /"));
    let mut counts = read(&mut progress, recording!("exit-converged.out"));
    assert!(progress.stopped_as_asked(exit(255)));
    assert!(counts.iter().all(|count| *count < 1000), "it is not done: {counts:?}");
    progress.begins_again(Again::GoingOn);
    counts.extend(read(&mut progress, recording!("restart-converged.out")));
    assert!(never_goes_back(&counts) && counts.last() == Some(&1000), "{counts:?}");
    let Verdict::Completed { result } = progress.verdict(exit(0)) else { panic!("it is complete") };
    assert_eq!((&result["iterations"], &result["cycles"]), (&json!(11), &json!(1)));
}

#[test]
fn only_its_own_word_that_it_was_asked_is_a_stop_in_good_order() {
    let stopped = |output: &str, exit: Exit| {
        let mut progress = Progress::new(input::read("&control /"));
        read(&mut progress, output);
        progress.stopped_as_asked(exit)
    };
    assert!(!stopped(recording!("scf.out"), exit(0)), "it came to its end");
    assert!(!stopped(recording!("max-seconds.out"), exit(255)), "nobody asked");
    assert!(!stopped(recording!("not-converged.out"), exit(2)));
    assert!(!stopped(recording!("sigterm.out"), Exit { code: None, signal: Some(15) }));
    let asked = recording!("exit-file.out");
    assert!(!stopped(asked, Exit { code: None, signal: Some(9) }));
    let cut = asked.split("JOB DONE").next().unwrap();
    assert!(!stopped(cut, exit(2)), "its files may be half written");
    assert!(!stopped(&asked.replace("Program stopped by user request", ""), exit(2)));
    let prepares =
        recording!("max-seconds.out").replace("Maximum CPU time exceeded", "Program stopped by user request");
    assert!(!stopped(&prepares, exit(255)), "of nuclei that move it has forgotten where they were");
}

#[test]
fn the_last_cycle_of_a_cells_optimisation_is_not_gone_on_from() {
    let mut progress = Progress::new(input::read(recording!("vc-relax.in")));
    let until = recording!("vc-relax.out").split("End of BFGS").next().unwrap();
    read(&mut progress, until);
    let mut before = Progress::new(input::read(recording!("vc-relax.in")));
    read(&mut before, until.split("bfgs converged").next().unwrap());
    for progress in [&mut progress, &mut before] {
        read(progress, "     Program stopped by user request\n   JOB DONE.\n");
    }
    assert!(before.stopped_as_asked(exit(2)));
    assert!(!progress.stopped_as_asked(exit(2)));
}

#[test]
fn a_process_that_fails_before_its_first_iteration_ends_could_not_go_on() {
    let error = Event::Error { routine: "davcio (15)".into(), text: String::new() };
    let mut progress = Progress::new(input::read("&control /"));
    read(&mut progress, recording!("exit-file.out"));
    assert!(!progress.cannot_go_on(exit(2)), "it was asked to");
    progress.begins_again(Again::GoingOn);
    for event in [Event::CycleBegins, Event::Iteration(3)] {
        progress.apply(&event);
    }
    assert!(progress.is_at_work());
    let mut later = progress.clone();
    later.apply(&Event::Accuracy(1e-3));
    for progress in [&mut progress, &mut later] {
        progress.apply(&error);
    }
    assert!(progress.cannot_go_on(exit(1)) && !progress.cannot_go_on(Exit { code: None, signal: Some(9) }));
    assert!(!later.cannot_go_on(exit(1)), "that is its own failure");
}

#[test]
fn starting_over_forgets_all_but_what_was_shown() {
    let mut progress = Progress::new(input::read(recording!("si.long.in")));
    let mut counts = read(&mut progress, recording!("exit-file.out"));
    progress.begins_again(Again::StartingOver);
    counts.extend(read(&mut progress, recording!("scf.out")));
    assert!(never_goes_back(&counts) && counts.last() == Some(&1000), "{counts:?}");
    let Verdict::Completed { result } = progress.verdict(exit(0)) else { panic!("it is complete") };
    assert_eq!((&result["iterations"], &result["cycles"]), (&json!(8), &json!(1)));
}
