//! When a process is asked to stop for a checkpoint: not before it is at work, then after so long, and once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Between looks whether it is at work.
const LOOK: Duration = Duration::from_millis(250);
/// It works at least so many times as long as stopping, saving and coming back took the last time.
const WORTH: u32 = 19;
/// However dear that was.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells whether the engine is at work.
pub(super) type AtWork = Arc<dyn Fn() -> bool + Send + Sync>;

/// One process's.
pub(super) struct Turn {
    at_work: AtWork,
    works: Duration,
    /// Since when it has been at work.
    since: Option<Instant>,
    /// When it was asked to stop; later by as long as it was paused since.
    asked: Option<Instant>,
    /// Since when it is paused.
    paused: Option<Instant>,
    /// How long it was paused before it was at work.
    paused_before: Duration,
}

impl Turn {
    /// The turn of a process that works so long before it is asked.
    pub fn new(at_work: AtWork, works: Duration) -> Self {
        Self { at_work, works, since: None, asked: None, paused: None, paused_before: Duration::ZERO }
    }

    /// Waits until it is to be asked. Can be dropped and begun again.
    pub async fn is_over(&mut self) {
        while self.since.is_none() {
            if (self.at_work)() {
                self.since = Some(Instant::now());
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
        let worked = self.since.map(|since| since.elapsed()).unwrap_or_default();
        tokio::time::sleep(self.works.saturating_sub(worked)).await;
    }

    /// It is asked to stop.
    pub fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// When it was asked, as far as the cost of that is concerned: a pause is none.
    pub fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// The process is stopped where it is.
    pub fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// It goes on.
    pub fn go_on(&mut self, now: Instant) {
        let Some(from) = self.paused.take() else { return };
        let paused = now.saturating_duration_since(from);
        match &mut self.asked {
            Some(asked) => *asked += paused,
            None if self.since.is_none() => self.paused_before += paused,
            None => {}
        }
    }

    /// What it took from asking the process before until this one was at work, if it was seen to be.
    pub fn cost_since(&self, asked: Instant) -> Option<Duration> {
        Some(self.since?.saturating_duration_since(asked).saturating_sub(self.paused_before))
    }
}

/// Waits for the turn's end; for ever where nobody is asked.
pub(super) async fn over(turn: &mut Option<&mut Turn>) {
    match turn {
        Some(turn) => turn.is_over().await,
        None => std::future::pending().await,
    }
}

/// How long processes work between two checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    every: Duration,
    works: Duration,
}

impl Rhythm {
    /// As the configuration says, as long as nothing is known of the cost.
    pub fn of(every: Duration) -> Self {
        Self { every, works: every }
    }

    /// How long the next process works before it is asked.
    pub fn works(self) -> Duration {
        self.works
    }

    /// A checkpoint took so long, from asking until the next process was at work, and is stored or not.
    pub fn took(&mut self, cost: Duration, stored: bool) {
        let worth = self.every.max(cost.saturating_mul(WORTH));
        // What was not stored is less and less worth a stop.
        self.works = if stored { worth } else { worth.max(self.works.saturating_mul(2)) }.min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_process_is_asked_after_it_has_worked_not_after_it_has_prepared() {
        let works = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&works);
        let millis = Duration::from_millis;
        let mut turn = Turn::new(Arc::new(move || seen.load(Ordering::SeqCst)), millis(60));
        for _ in 0..3 {
            // Whoever waits beside it begins it again and again.
            let over = tokio::time::timeout(millis(40), turn.is_over()).await;
            assert!(over.is_err() && turn.since.is_none(), "it prepares");
        }
        works.store(true, Ordering::SeqCst);
        let over = tokio::time::timeout(millis(1), turn.is_over()).await;
        assert!(over.is_err());
        turn.is_over().await;
        let worked = turn.since.unwrap().elapsed();
        assert!(worked >= millis(60), "{worked:?}");
    }

    #[test]
    fn a_pause_is_no_part_of_what_a_checkpoint_costs() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let turn = || Turn::new(Arc::new(|| true), Duration::ZERO);
        let mut asked = turn();
        asked.ask(at(10));
        asked.pause(at(11));
        asked.pause(at(12));
        asked.go_on(at(5_011));
        asked.go_on(at(5_012));
        let mut next = turn();
        next.pause(at(5_015));
        next.go_on(at(9_015));
        assert_eq!(next.cost_since(asked.asked().unwrap()), None, "it is not at work yet");
        next.since = Some(at(9_018));
        next.pause(at(9_020));
        next.go_on(at(9_900));
        assert_eq!(next.cost_since(asked.asked().unwrap()), Some(Duration::from_secs(8)));
        assert_eq!(turn().asked(), None);
    }

    #[test]
    fn checkpoints_cost_a_twentieth_of_the_time_at_most() {
        let seconds = Duration::from_secs;
        let mut rhythm = Rhythm::of(seconds(60));
        assert_eq!(rhythm.works(), seconds(60));
        rhythm.took(seconds(1), true);
        assert_eq!(rhythm.works(), seconds(60));
        rhythm.took(seconds(30), true);
        assert_eq!(rhythm.works(), seconds(570));
        rhythm.took(seconds(2), true);
        assert_eq!(rhythm.works(), seconds(60));
    }

    #[test]
    fn what_is_not_stored_is_tried_less_and_less_often() {
        let mut rhythm = Rhythm::of(Duration::from_secs(60));
        let works = [1, 2, 3].map(|_| {
            rhythm.took(Duration::from_secs(1), false);
            rhythm.works().as_secs()
        });
        assert_eq!(works, [120, 240, 480]);
        (0..99).for_each(|_| rhythm.took(Duration::MAX, false));
        assert_eq!(rhythm.works(), LONGEST);
        rhythm.took(Duration::from_secs(1), true);
        assert_eq!(rhythm.works().as_secs(), 60);
    }
}
