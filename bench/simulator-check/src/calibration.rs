//! What things took in the real run: how long each slot's turn and the way to an idle worker last. The model is
//! given these times, when each task was written and how long its engine took; how long tasks wait for each
//! other is what it has to find by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::rig::{Planned, Rig, SLOTS, Went};

/// What a slot is taken for beside the engine's time, roughly: only the planned load depends on it.
pub const OVERHEAD: f64 = 0.1;

/// Seconds that things take.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From a record's write to its claim, where slots were free.
    pub written_to_started: f64,
    /// On one slot, from the end of a task to the claim of the next one, where others waited.
    pub between: f64,
    /// A receive's call.
    pub receive: f64,
}

/// Opens connections, and measures a receive of an empty lane that does not wait.
pub async fn receive(rig: &Rig) -> Result<f64> {
    rig.run(&[Planned { at: 0.0, run: 0.01 }; SLOTS as usize]).await?;
    let pool = rig.parts.deployment.pools.get("default").context("the pool")?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        rig.aws.queues.receive(&pool.queues.low, 1, Duration::ZERO, Duration::from_secs(1)).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

/// Finds the times in a run's tasks.
///
/// # Errors
/// The run was too idle or too busy to show one of them.
pub fn measure(tasks: &[Went], receive: f64) -> Result<Measured> {
    let (mut idle, mut between) = (Vec::new(), Vec::new());
    for task in tasks {
        let at = task.written;
        let unfinished = tasks.iter().filter(|other| other.written < at && other.completed > at).count();
        // One more that ends meanwhile makes no difference to whoever finds a slot free.
        if unfinished < SLOTS as usize - 1 {
            idle.push(task.wait());
        }
    }
    let on_the_way = median(idle.clone());
    // Which slot a task got does not matter for the sum of the turns: the one that was free first.
    let sorted = |of: fn(&Went) -> f64| {
        let mut times: Vec<_> = tasks.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let ends = sorted(|task| task.completed);
    let mut by_start = tasks.to_vec();
    by_start.sort_by(|a, b| a.started.total_cmp(&b.started));
    for (task, free) in by_start.iter().skip(SLOTS as usize).zip(ends) {
        // Where the task was on the queue before the slot was free.
        if task.written + on_the_way < free {
            between.push((task.started - free).max(0.0));
        }
    }
    ensure!(idle.len() >= 10, "only {} tasks found a free slot; use a smaller --load", idle.len());
    ensure!(between.len() >= 10, "only {} slots were waited for; use a greater --load", between.len());
    Ok(Measured { written_to_started: on_the_way, between: mean(&between), receive })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_and_ways_are_found_in_a_run() {
        let went =
            |written: f64, started: f64, run: f64| Went { written, run, started, completed: started + run };
        // Twelve come one by one and find a slot after 20 ms; then sixteen at once, whose second half waits for
        // the first and gets each slot 50 ms after its end.
        let idle = (0..12).map(|n| went(f64::from(n) * 2.0, f64::from(n) * 2.0 + 0.02, 1.0));
        let first = (0..8).map(|_| went(100.0, 100.02, 3.0));
        let second = (0..8).map(|_| went(100.0, 103.07, 3.0));
        let third = (0..8).map(|_| went(100.0, 106.12, 3.0));
        let tasks: Vec<_> = idle.chain(first).chain(second).chain(third).collect();
        let measured = measure(&tasks, 0.001).unwrap();
        assert!((measured.written_to_started - 0.02).abs() < 1e-9, "{measured:?}");
        assert!((measured.between - 0.05).abs() < 1e-9, "{measured:?}");
        assert!(measure(&tasks[..12], 0.001).is_err(), "nothing waited");
    }
}
