//! Recordings of processes that went on one from the other.

use serde_json::json;
use stageline::Code;

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

const STOPPED: &str = "     Program stopped by user request\n   JOB DONE.\n";

/// An output up to a line with these words, and then stopped as it was asked to.
fn stopped_before(output: &str, words: &str) -> String {
    let until = output.split(words).next().unwrap();
    assert!(until.len() < output.len(), "{words}");
    format!("{until}\n{STOPPED}")
}

/// The end of a process that stopped as its worker asked.
fn asked(progress: &mut Progress) -> Verdict {
    progress.asked_to_stop();
    assert!(progress.stopped_as_asked(exit(2)));
    progress.verdict(exit(2))
}

#[test]
fn iterations_are_bounded_over_all_processes_of_a_cycle() {
    let most = |most: u64| {
        let input =
            recording!("si.long.in").replace("conv_thr", &format!("electron_maxstep = {most}, conv_thr"));
        Progress::new(input::read(&input))
    };
    let after_two_processes = |mut progress: Progress| {
        read(&mut progress, recording!("exit-file.out"));
        asked(&mut progress);
        assert!(!progress.has_used_up(), "two iterations");
        progress.begins_again(Again::GoingOn);
        read(&mut progress, &stopped_before(recording!("restart.out"), "iteration #  8"));
        progress
    };
    let mut less = after_two_processes(most(8));
    asked(&mut less);
    assert!(!less.has_used_up(), "the eighth one has not ended");
    let mut all = after_two_processes(most(7));
    assert!(all.has_used_up());
    let Verdict::Failed { code, message } = asked(&mut all) else { panic!("it has come to its end") };
    let said = "convergence NOT achieved after 7 iterations, counted over several processes (accuracy ";
    assert!(code == Code::QeNotConverged && message.starts_with(said), "{message}");
    assert!(message.ends_with("; raise electron_maxstep, or lower mixing_beta"), "{message}");
    let mut another_attempt = most(7);
    read(&mut another_attempt, &stopped_before(recording!("restart.out"), "iteration #  8"));
    assert!(another_attempt.has_used_up(), "what is printed goes on");
}

#[test]
fn a_process_that_prints_from_one_again_does_not_forget_what_others_have_used_up() {
    let mut progress = Progress::new(input::read("&control /\n&electrons electron_maxstep = 5 /"));
    for used_up in [false, false, true] {
        read(&mut progress, &stopped_before(recording!("not-converged.out"), "iteration #  3"));
        assert_eq!(progress.has_used_up(), used_up);
        progress.begins_again(Again::GoingOn);
    }
    progress.begins_again(Again::StartingOver);
    assert!(!progress.has_used_up());
}

#[test]
fn a_cycle_that_has_converged_has_its_iterations_anew_when_it_is_repeated() {
    let mut progress = Progress::new(input::read("&control /\n&electrons electron_maxstep = 10 /"));
    read(&mut progress, recording!("exit-converged.out"));
    assert!(!progress.has_used_up(), "it has converged in its tenth");
    progress.begins_again(Again::GoingOn);
    read(
        &mut progress,
        &stopped_before(recording!("restart-converged.out"), "convergence has been achieved"),
    );
    assert!(!progress.has_used_up());
}

#[test]
fn steps_of_the_nuclei_are_bounded_over_all_processes_and_attempts() {
    let output = recording!("relax.out").replace("=           50", "=            4");
    let mut progress = Progress::new(input::read(recording!("relax.in")));
    read(&mut progress, &stopped_before(&output, "number of scf cycles    =   4"));
    assert!(!progress.has_used_up(), "the fourth cycle has not moved them yet");
    let (before, from) = output.split_at(output.find("number of scf cycles    =   4").unwrap());
    let head = before.split("Self-consistent Calculation").next().unwrap();
    let further = format!("{head}{}", stopped_before(from, "number of bfgs steps    =   4"));
    let mut another_attempt = Progress::new(input::read(recording!("relax.in")));
    progress.begins_again(Again::GoingOn);
    for progress in [&mut progress, &mut another_attempt] {
        read(progress, &further);
        assert!(progress.has_used_up());
        let Verdict::Failed { code, message } = asked(progress) else { panic!("it has come to its end") };
        let said = "the geometry has not converged: the maximum number of steps was reached, counted over several \
                    processes, at step 3, iteration ";
        assert!(code == Code::QeNotConverged && message.starts_with(said), "{message}");
    }
}

#[test]
fn over_what_the_worker_has_asked_the_exit_decides_and_not_the_words() {
    let killed = Exit { code: None, signal: Some(9) };
    let cut = recording!("exit-file.out").split("JOB DONE").next().unwrap();
    let error = " %%%%%%%%%%%%\n Error in routine davcio (11):\n error writing file\n %%%%%%%%%%%%\n";
    let unknown = recording!("exit-file.out").replace("Program stopped by user request", "");
    for (output, exit, said) in [
        (recording!("exit-file.out"), killed, None),
        (cut, killed, None),
        (cut, exit(2), None),
        (cut, exit(0), None),
        (&unknown, exit(2), None),
        (&format!("{cut}{error}"), exit(1), Some("error in routine davcio (11): error writing file")),
    ] {
        let mut progress = Progress::new(input::read(recording!("si.long.in")));
        read(&mut progress, output);
        let others = progress.verdict(exit);
        assert!(matches!(others, Verdict::Failed { .. }), "somebody else has asked: {others:?}");
        progress.asked_to_stop();
        assert!(!progress.stopped_as_asked(exit) && !progress.has_used_up());
        assert_eq!(progress.verdict(exit), Verdict::Died { said: said.map(str::to_owned) });
        progress.begins_again(Again::GoingOn);
        read(&mut progress, output);
        assert_eq!(progress.verdict(exit), others, "it was not asked again");
    }
}
