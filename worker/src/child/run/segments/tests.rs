//! What follows a process.

use std::os::unix::process::ExitStatusExt;

use stageline::protocol::outcome::{Failure, Outcome};

use super::*;
use crate::engines::Stream;
use crate::progress::Report;

/// Understands what its exit code says.
#[derive(Default)]
struct Codes {
    asked: bool,
    used_up: bool,
}

const DONE: i32 = 0;
const STOPPED: i32 = 2;
const REFUSED: i32 = 3;

impl Reader for Codes {
    fn line(&mut self, _stream: Stream, _line: &str) -> Vec<Report> {
        Vec::new()
    }

    fn asked_to_stop(&mut self) {
        self.asked = true;
    }

    fn has_used_up(&self) -> bool {
        self.used_up
    }

    fn stopped_as_asked(&self, exit: Exit) -> bool {
        exit.code == Some(STOPPED)
    }

    fn cannot_go_on(&self, exit: Exit) -> bool {
        exit.code == Some(REFUSED)
    }

    fn verdict(self: Box<Self>, _exit: Exit, _stderr: &str) -> Outcome {
        Outcome::Interrupted
    }
}

fn status(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

fn segmented(goes_on: bool) -> Segmented {
    let segments = Segments {
        path: "in".into(),
        going_on: String::new(),
        starting_over: String::new(),
        while_it_runs: true,
    };
    Segmented {
        segments,
        saves: None,
        rhythm: Rhythm::of(Duration::from_secs(60)),
        goes_on,
        is_clean: false,
        started_over: false,
        before: None,
    }
}

/// What follows, and whether what is left may be stored.
fn after(end: End, goes_on: bool) -> (&'static str, bool) {
    read_by(&mut Codes::default(), end, goes_on)
}

fn read_by(reader: &mut Codes, end: End, goes_on: bool) -> (&'static str, bool) {
    let mut segmented = segmented(goes_on);
    let next = match segmented.next(end, reader) {
        Next::GoOn => "goes on",
        Next::StartOver => "starts over",
        Next::End(End::Exited(_)) => "the verdict",
        Next::End(_) => "that end",
    };
    (next, segmented.is_clean)
}

#[test]
fn only_a_process_that_stopped_as_asked_is_followed_by_one_that_goes_on() {
    assert_eq!(after(End::Asked(status(STOPPED)), false), ("goes on", true));
    assert_eq!(after(End::Asked(status(DONE)), false), ("the verdict", false), "it converged at that moment");
    assert_eq!(after(End::Asked(status(1)), true), ("the verdict", false));
    assert_eq!(after(End::Asked(ExitStatus::from_raw(9)), true), ("the verdict", false));
    assert_eq!(after(End::Exited(status(STOPPED)), false), ("the verdict", false), "it was not asked");
}

#[test]
fn what_a_stopped_attempt_left_in_good_order_is_stored_and_nothing_else() {
    let limit = Duration::from_secs(1);
    for (end, is_clean) in [
        (End::Interrupted { last: Some(status(STOPPED)) }, true),
        (End::Interrupted { last: Some(status(1)) }, false),
        (End::Interrupted { last: None }, false),
        (End::SoftTimedOut { limit, last: Some(status(STOPPED)) }, true),
        (End::SoftTimedOut { limit, last: None }, false),
        (End::TimedOut(limit), false),
        (End::Cancelled, false),
        (End::Fenced, false),
        (End::Abandoned("gone"), false),
        (End::Diverged(Failure::of_the_worker("x")), false),
        (End::OutOfMemory(Failure::of_the_worker("x")), false),
    ] {
        assert_eq!(after(end, true), ("that end", is_clean));
    }
}

#[test]
fn what_cannot_be_gone_on_from_is_started_over_once() {
    assert_eq!(after(End::Exited(status(REFUSED)), true), ("starts over", false));
    assert_eq!(after(End::Asked(status(REFUSED)), true), ("starts over", false));
    assert_eq!(after(End::Exited(status(REFUSED)), false), ("the verdict", false), "it began from nothing");
    let mut again = segmented(true);
    again.started_over = true;
    assert!(matches!(
        again.next(End::Exited(status(REFUSED)), &mut Codes::default()),
        Next::End(End::Exited(_))
    ));
    assert!(!again.stops_for_it(), "then it is left alone");
}

#[test]
fn what_has_used_up_its_bounds_over_several_processes_is_judged_and_not_gone_on_from() {
    let used_up = |end| read_by(&mut Codes { used_up: true, ..Codes::default() }, end, true);
    assert_eq!(used_up(End::Asked(status(STOPPED))), ("the verdict", false));
    // The next attempt comes to it.
    assert_eq!(used_up(End::Interrupted { last: Some(status(STOPPED)) }), ("that end", true));
}

#[test]
fn the_reader_knows_that_it_was_the_worker_who_asked() {
    for (end, asked) in [
        (End::Asked(ExitStatus::from_raw(9)), true),
        (End::Asked(status(STOPPED)), true),
        (End::Exited(status(STOPPED)), false),
        (End::Cancelled, false),
    ] {
        let mut reader = Codes::default();
        read_by(&mut reader, end, true);
        assert_eq!(reader.asked, asked);
    }
}
