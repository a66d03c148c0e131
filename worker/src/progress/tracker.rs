//! Folds reports into stages and decides what is worth a write: a stage's begin and end at once, its
//! counters at most every two seconds, its last value always. Nothing reported, nothing written.

use std::time::Duration;

use stageline::At;
use stageline::task::{Attempt, Stage, StageStatus, TaskId};

use super::Report;

/// The shortest time between two writes of one stage's counters.
pub const COUNTER_PERIOD: Duration = Duration::from_secs(2);
/// More stages than this are an engine gone wild; further ones are folded into the last.
const MOST_STAGES: usize = 50;
const LONGEST_TEXT_BYTES: usize = 500;
/// Weight of the newest rate in the smoothed one.
const NEWEST: f64 = 0.3;
/// Reports closer than this say more about scheduling than about speed.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Tracked {
    stage: Stage,
    written_at: Option<At>,
    /// Something has changed since the last write.
    dirty: bool,
    /// It has begun or ended since: do not wait.
    urgent: bool,
    sampled: (At, u64),
}

/// The stages of one attempt.
#[derive(Debug)]
pub struct Tracker {
    task_id: TaskId,
    attempt: Attempt,
    expires_at: Option<i64>,
    stages: Vec<Tracked>,
}

impl Tracker {
    /// No stages yet.
    pub fn new(task_id: TaskId, attempt: Attempt, expires_at: Option<i64>) -> Self {
        Self { task_id, attempt, expires_at, stages: Vec::new() }
    }

    /// Takes a report. A first one that names no stage begins one called `Running`.
    pub fn apply(&mut self, report: Report, now: At) {
        match &report.enter {
            Some(name) if self.current().is_none_or(|stage| stage.name != *name) => self.begin(name, now),
            None if self.stages.is_empty() => self.begin("Running", now),
            _ => {}
        }
        let Some(tracked) = self.stages.last_mut() else { return };
        let stage = &mut tracked.stage;
        if let Some(message) = report.message {
            stage.status_message = Some(bounded(message));
        }
        if let Some(total) = report.total {
            stage.total_items = Some(total);
            stage.processed_items.get_or_insert(0);
        }
        if !report.metrics.is_empty() {
            stage.metrics = report.metrics;
        }
        if let Some(done) = report.done {
            // Never backwards within an attempt.
            let done = done.max(stage.processed_items.unwrap_or(0));
            stage.processed_items = Some(done);
            tracked.sample(done, now);
        }
        tracked.estimate(now);
        tracked.dirty = true;
        tracked.stage.updated_at = Some(now);
    }

    /// Ends the current stage with the attempt.
    pub fn finish(&mut self, succeeded: bool, now: At) {
        let end = if succeeded { StageStatus::Completed } else { StageStatus::Failed };
        self.end_current(end, now);
    }

    /// What to write now. The caller writes all of it, or says with [`Tracker::not_written`] what it
    /// could not.
    pub fn due(&mut self, now: At) -> Vec<Stage> {
        let due = self.stages.iter_mut().filter(|tracked| tracked.due_at().is_some_and(|at| at <= now));
        due.map(|tracked| {
            (tracked.dirty, tracked.urgent, tracked.written_at) = (false, false, Some(now));
            tracked.stage.clone()
        })
        .collect()
    }

    /// A write failed: the stage is dirty still, and waits its turn unless it is over.
    pub fn not_written(&mut self, order: u32) {
        if let Some(tracked) = self.stages.iter_mut().find(|tracked| tracked.stage.order == order) {
            tracked.dirty = true;
            tracked.urgent = tracked.stage.status.is_over();
        }
    }

    /// When something is to be written, if anything is.
    pub fn next_due(&self) -> Option<At> {
        self.stages.iter().filter_map(Tracked::due_at).min()
    }

    fn current(&self) -> Option<&Stage> {
        self.stages.last().map(|tracked| &tracked.stage)
    }

    fn begin(&mut self, name: &str, now: At) {
        if self.stages.len() >= MOST_STAGES {
            return;
        }
        self.end_current(StageStatus::Completed, now);
        let stage = Stage {
            task_id: self.task_id.clone(),
            order: u32::try_from(self.stages.len() + 1).unwrap_or(u32::MAX),
            name: bounded(name.to_owned()),
            status: StageStatus::Running,
            attempt: self.attempt,
            status_message: None,
            processed_items: None,
            total_items: None,
            items_per_second: None,
            started_at: Some(now),
            completed_at: None,
            estimated_completion_at: None,
            metrics: std::collections::BTreeMap::new(),
            updated_at: Some(now),
            expires_at: self.expires_at,
        };
        self.stages.push(Tracked { stage, written_at: None, dirty: true, urgent: true, sampled: (now, 0) });
    }

    fn end_current(&mut self, end: StageStatus, now: At) {
        let Some(tracked) = self.stages.last_mut().filter(|tracked| !tracked.stage.status.is_over()) else {
            return;
        };
        let stage = &mut tracked.stage;
        stage.status = end;
        stage.completed_at = Some(now);
        stage.updated_at = Some(now);
        stage.estimated_completion_at = None;
        (tracked.dirty, tracked.urgent) = (true, true);
    }
}

impl Tracked {
    fn due_at(&self) -> Option<At> {
        match self.written_at {
            _ if !self.dirty => None,
            _ if self.urgent => Some(At::from_millis(i64::MIN)),
            None => Some(At::from_millis(i64::MIN)),
            Some(at) => Some(at.plus(COUNTER_PERIOD)),
        }
    }

    /// Smooths the rate over reports that are far enough apart to mean something.
    fn sample(&mut self, done: u64, now: At) {
        let (since, before) = self.sampled;
        let elapsed = now.since(since);
        if elapsed < SHORTEST_SAMPLE || done <= before {
            return;
        }
        let rate = (done - before) as f64 / elapsed.as_secs_f64();
        let smoothed = self.stage.items_per_second.map_or(rate, |old| old + NEWEST * (rate - old));
        self.stage.items_per_second = Some((smoothed * 1000.0).round() / 1000.0);
        self.sampled = (now, done);
    }

    fn estimate(&mut self, now: At) {
        let stage = &mut self.stage;
        let left = stage.total_items.map(|total| total.saturating_sub(stage.processed_items.unwrap_or(0)));
        stage.estimated_completion_at = match (left, stage.items_per_second) {
            (Some(left), Some(rate)) if rate > 0.0 => {
                Duration::try_from_secs_f64(left as f64 / rate).ok().map(|rest| now.plus(rest))
            }
            _ => None,
        };
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> At {
        At::from_millis(1_000_000 + millis)
    }

    fn tracker() -> Tracker {
        Tracker::new("t".parse().unwrap(), Attempt(1), None)
    }

    #[test]
    fn a_task_that_reports_nothing_pays_for_no_stage() {
        let mut tracker = tracker();
        tracker.finish(true, at(0));
        assert_eq!((tracker.next_due(), tracker.due(at(10_000))), (None, vec![]));
    }

    #[test]
    fn stage_changes_are_due_at_once_and_counters_every_two_seconds() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(100), ""), at(0));
        assert_eq!(tracker.due(at(0)).len(), 1);
        tracker.apply(Report::progress(1), at(100));
        assert_eq!(tracker.due(at(1_999)), []);
        assert_eq!(tracker.next_due(), Some(at(2_000)));
        assert_eq!(tracker.due(at(2_000))[0].processed_items, Some(1));
        tracker.apply(Report::enter("End", None, ""), at(2_100));
        let stages = tracker.due(at(2_100));
        assert_eq!(
            stages.iter().map(|s| s.status).collect::<Vec<_>>(),
            [StageStatus::Completed, StageStatus::Running]
        );
    }

    #[test]
    fn the_last_value_is_always_written() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(100), ""), at(0));
        tracker.due(at(0));
        tracker.apply(Report::progress(99), at(10));
        tracker.finish(false, at(11));
        let last = tracker.due(at(11));
        assert_eq!((last[0].processed_items, last[0].status), (Some(99), StageStatus::Failed));
    }

    #[test]
    fn a_failed_write_is_tried_again() {
        let mut tracker = tracker();
        tracker.apply(Report::progress(1), at(0));
        let order = tracker.due(at(0))[0].order;
        tracker.not_written(order);
        assert_eq!(tracker.due(at(2_000)).len(), 1);
        // The last values do not wait: nothing comes after them.
        tracker.finish(true, at(2_100));
        let order = tracker.due(at(2_100))[0].order;
        tracker.not_written(order);
        assert_eq!(tracker.due(at(2_100)).len(), 1);
    }

    #[test]
    fn rate_and_end_follow_the_counters() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(1_000), ""), at(0));
        for second in 1..=5 {
            tracker.apply(Report::progress(second * 100), at(second as i64 * 1_000));
        }
        let stage = &tracker.due(at(5_000))[0];
        assert_eq!(stage.items_per_second, Some(100.0));
        assert_eq!(stage.estimated_completion_at, Some(at(10_000)));
    }

    proptest! {
        #[test]
        fn progress_never_goes_backwards(reports in prop::collection::vec((0u64..1000, any::<bool>(), 0i64..5000), 1..60)) {
            let mut tracker = tracker();
            let (mut now, mut last) = (0, std::collections::HashMap::new());
            for (done, enters, pause) in reports {
                now += pause;
                let report = if enters { Report::enter(format!("s{}", done % 7), Some(done), "") } else { Report::progress(done) };
                tracker.apply(report, at(now));
                for stage in tracker.due(at(now)) {
                    let before = last.insert(stage.order, stage.processed_items);
                    prop_assert!(stage.processed_items >= before.flatten());
                }
            }
        }
    }
}
