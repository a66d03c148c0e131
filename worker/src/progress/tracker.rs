//! Folds reports into stages and decides what is worth a write: a stage's begin and end at once, its
//! counters every two seconds at first and more rarely later, its last value always. Nothing reported, nothing
//! written.

use std::time::Duration;

use stageline::At;
use stageline::task::{Attempt, Stage, StageStatus, TaskId};

use super::Report;
use super::contract::is_storable;
use super::speed::Speed;

/// The shortest time between two writes of one stage's counters.
pub const COUNTER_PERIOD: Duration = Duration::from_secs(2);
/// More stages than this are an engine gone wild; further ones are folded into the last.
const MOST_STAGES: usize = 50;
const LONGEST_TEXT_BYTES: usize = 500;

#[derive(Debug)]
struct Tracked {
    stage: Stage,
    written_at: Option<At>,
    /// Something has changed since the last write.
    dirty: bool,
    /// It has begun or ended since: do not wait.
    urgent: bool,
    /// Nothing before the first counter.
    speed: Option<Speed>,
}

/// The stages of one attempt.
#[derive(Debug)]
pub struct Tracker {
    task_id: TaskId,
    attempt: Attempt,
    expires_at: Option<i64>,
    stages: Vec<Tracked>,
    longest_period: Duration,
}

impl Tracker {
    /// No stages yet, and counters every [`COUNTER_PERIOD`].
    pub fn new(task_id: TaskId, attempt: Attempt, expires_at: Option<i64>) -> Self {
        Self { task_id, attempt, expires_at, stages: Vec::new(), longest_period: COUNTER_PERIOD }
    }

    /// The longest time for which counters that have changed are not written once a stage has run for twice as
    /// long. Each write is a write unit, and who has waited for minutes sees no difference.
    #[must_use]
    pub fn writing_at_least_every(self, longest_period: Duration) -> Self {
        Self { longest_period: longest_period.max(COUNTER_PERIOD), ..self }
    }

    /// Takes a report. A first one that names no stage begins one called `Running`.
    pub fn apply(&mut self, report: Report, now: At) {
        match report.enter.map(bounded) {
            Some(name) if self.current().is_none_or(|stage| stage.name != name) => self.begin(name, now),
            None if self.stages.is_empty() => self.begin("Running".to_owned(), now),
            _ => {}
        }
        let Some(tracked) = self.stages.last_mut() else { return };
        let stage = &mut tracked.stage;
        if let Some(message) = report.message {
            stage.status_message = Some(bounded(message));
        }
        if !report.metrics.is_empty() {
            stage.metrics = report.metrics;
            // DynamoDB refuses the whole item for one number that it cannot hold.
            stage.metrics.retain(|_, value| is_storable(*value));
        }
        // Never backwards within an attempt, and never beyond the total: then the total was wrong.
        let before = stage.processed_items;
        let done = report.done.max(before).or(report.total.map(|_| 0));
        stage.processed_items = done;
        stage.total_items = report.total.or(stage.total_items).map(|total| total.max(done.unwrap_or(0)));
        if let Some(done) = report.done {
            tracked.sample(done, now);
        }
        tracked.estimate(now);
        tracked.dirty = true;
        tracked.stage.updated_at = Some(now);
    }

    /// How many stages have begun.
    pub fn begun(&self) -> usize {
        self.stages.len()
    }

    /// Ends the current stage with the attempt.
    pub fn finish(&mut self, succeeded: bool, now: At) {
        let end = if succeeded { StageStatus::Completed } else { StageStatus::Failed };
        self.end_current(end, now);
    }

    /// What to write now. The caller writes all of it, or says with [`Tracker::not_written`] what it
    /// could not.
    pub fn due(&mut self, now: At) -> Vec<Stage> {
        let longest = self.longest_period;
        let due =
            self.stages.iter_mut().filter(|tracked| tracked.due_at(longest).is_some_and(|at| at <= now));
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
        self.stages.iter().filter_map(|tracked| tracked.due_at(self.longest_period)).min()
    }

    fn current(&self) -> Option<&Stage> {
        self.stages.last().map(|tracked| &tracked.stage)
    }

    fn begin(&mut self, name: String, now: At) {
        if self.stages.len() >= MOST_STAGES {
            return;
        }
        self.end_current(StageStatus::Completed, now);
        let stage = Stage {
            task_id: self.task_id.clone(),
            order: u32::try_from(self.stages.len() + 1).unwrap_or(u32::MAX),
            name,
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
        self.stages.push(Tracked { stage, written_at: None, dirty: true, urgent: true, speed: None });
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
    fn due_at(&self, longest_period: Duration) -> Option<At> {
        match self.written_at {
            _ if !self.dirty => None,
            _ if self.urgent => Some(At::from_millis(i64::MIN)),
            None => Some(At::from_millis(i64::MIN)),
            Some(at) => Some(at.plus(self.period(at, longest_period))),
        }
    }

    /// How long what was written at `at` stands: half as long as the stage had run by then.
    fn period(&self, at: At, longest: Duration) -> Duration {
        let run = self.stage.started_at.map_or(Duration::ZERO, |started| at.since(started));
        (run / 2).clamp(COUNTER_PERIOD, longest)
    }

    fn sample(&mut self, done: u64, now: At) {
        let Some(speed) = &mut self.speed else {
            // What a resumed run has done already was not done since the stage began. One item was.
            let begun = self.stage.started_at.filter(|_| done == 1);
            self.speed = Some(begun.map_or_else(|| Speed::from(now, done), |at| Speed::from(at, 0)));
            return;
        };
        if speed.count(done, now) {
            self.stage.items_per_second = speed.rate().map(four_digits);
        }
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

/// A rate has no more to say. Places after the point would leave nothing of one item in an hour.
fn four_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 3.0);
    if unit.is_normal() { (rate / unit).round() * unit } else { rate }
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
        Tracker::new("t".parse().unwrap(), Attempt(1), None).writing_at_least_every(Duration::from_secs(10))
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
    fn the_longer_a_stage_runs_the_rarer_its_counters_are_written() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(10_000), ""), at(0));
        let mut written = Vec::new();
        for tenth in 0..600 {
            tracker.apply(Report::progress(tenth), at(tenth as i64 * 100));
            if !tracker.due(at(tenth as i64 * 100)).is_empty() {
                written.push(tenth as f64 / 10.0);
            }
        }
        assert_eq!(written, [0.0, 2.0, 4.0, 6.0, 9.0, 13.5, 20.3, 30.3, 40.3, 50.3]);
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

    #[test]
    fn what_a_resumed_run_has_done_already_is_no_speed() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(1_000), ""), at(0));
        for second in 1..=3 {
            tracker.apply(Report::progress(900 + second * 10), at(second as i64 * 1_000));
        }
        let stage = &tracker.due(at(3_000))[0];
        assert_eq!((stage.processed_items, stage.items_per_second), (Some(930), Some(10.0)));
        assert_eq!(stage.estimated_completion_at, Some(at(10_000)));
    }

    #[test]
    fn a_slow_first_item_says_when_the_others_end() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(3), ""), at(0));
        tracker.apply(Report::progress(1), at(10_000));
        tracker.apply(Report::progress(2), at(20_000));
        assert_eq!(tracker.due(at(20_000))[0].estimated_completion_at, Some(at(30_000)));
    }

    #[test]
    fn one_item_in_an_hour_is_a_speed_too() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(3), ""), at(0));
        tracker.apply(Report::progress(1), at(3_600_000));
        tracker.apply(Report::progress(2), at(7_200_000));
        let stage = &tracker.due(at(7_200_000))[0];
        assert!((stage.items_per_second.unwrap() * 3_600.0 - 1.0).abs() < 1e-3);
        assert!(stage.estimated_completion_at.unwrap().since(at(10_800_000)) < Duration::from_secs(10));
    }

    #[test]
    fn a_new_stage_begins_its_speed_anew() {
        let mut tracker = tracker();
        for (stage, count) in [("Fast", 1_000), ("Slow", 10)] {
            for second in 0..=5_u64 {
                let report = Report { enter: Some(stage.into()), ..Report::progress(second * count) };
                tracker.apply(report, at(second as i64 * 1_000));
            }
        }
        let rates: Vec<_> = tracker.due(at(9_000)).iter().map(|stage| stage.items_per_second).collect();
        assert_eq!(rates, [Some(1_000.0), Some(10.0)]);
    }

    #[test]
    fn more_done_than_there_is_corrects_the_total() {
        let mut tracker = tracker();
        tracker.apply(Report::enter("Run", Some(10), ""), at(0));
        tracker.apply(Report::progress(12), at(1));
        let stage = &tracker.due(at(1))[0];
        assert_eq!((stage.processed_items, stage.total_items), (Some(12), Some(12)));
        tracker.apply(Report { total: Some(5), ..Report::progress(3) }, at(2));
        let stage = &tracker.due(at(9_000))[0];
        assert_eq!((stage.processed_items, stage.total_items), (Some(12), Some(12)));
    }

    #[test]
    fn a_very_long_name_is_one_stage() {
        let mut tracker = tracker();
        for done in 0..3 {
            let report = Report { enter: Some("n".repeat(2_000)), ..Report::progress(done) };
            tracker.apply(report, at(done as i64));
        }
        assert_eq!(tracker.due(at(3)).len(), 1);
    }

    #[test]
    fn numbers_that_the_table_refuses_are_left_out() {
        let mut tracker = tracker();
        let metrics = [("a", 1.0), ("b", f64::NAN), ("c", 1e300), ("d", f64::INFINITY), ("e", -0.0)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
        tracker.apply(Report { metrics, ..Report::default() }, at(0));
        let names: Vec<_> = tracker.due(at(0))[0].metrics.keys().cloned().collect();
        assert_eq!(names, ["a", "e"]);
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
