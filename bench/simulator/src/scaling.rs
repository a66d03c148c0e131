//! How many workers there should be: what an autoscaling policy on backlog per worker comes to.

use crate::parameters::Scaling;

/// What is to be done with the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many more.
    Launch(u32),
    /// Let this many go once they are idle.
    Drain(u32),
    /// Nothing.
    Stay,
}

/// Decides, from the messages that wait, the tasks that run, the seconds that one runs on average, and the workers
/// that there are or that boot.
pub fn step(
    scaling: Scaling,
    slots: u32,
    waiting: u64,
    running: u64,
    run_seconds: f64,
    workers: u32,
) -> Step {
    // A slot works off many short tasks in the time that the backlog may take, and one long one.
    let backlog = waiting as f64 * (run_seconds / scaling.patience).min(1.0);
    let wanted = ((backlog + running as f64) / (f64::from(slots) * scaling.target)).ceil();
    let wanted =
        (wanted.min(f64::from(u32::MAX)) as u32).clamp(scaling.least, scaling.most.max(scaling.least));
    if wanted > workers {
        return Step::Launch(wanted - workers);
    }
    // A fleet that is only a little too large is left alone: it would be launched again at the next look.
    let spare = workers - wanted;
    if f64::from(spare) <= f64::from(workers) * 0.05 && wanted > 0 {
        return Step::Stay;
    }
    let most = (f64::from(workers) * scaling.shrink).ceil() as u32;
    match spare.min(most) {
        0 => Step::Stay,
        spare => Step::Drain(spare),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backlog_launches_and_idleness_drains_a_part() {
        let scaling = Scaling { least: 0, most: 100, target: 0.8, shrink: 0.1, ..Scaling::default() };
        let table = [
            ((0, 0, 0), Step::Stay),
            ((1, 0, 0), Step::Launch(1)),
            ((64, 0, 2), Step::Launch(8)),
            ((1_000_000, 0, 2), Step::Launch(98)),
            ((0, 64, 10), Step::Stay),
            ((0, 61, 10), Step::Stay),
            ((0, 32, 10), Step::Drain(1)),
            ((0, 0, 50), Step::Drain(5)),
            ((0, 0, 1), Step::Drain(1)),
        ];
        for ((waiting, running, workers), expected) in table {
            let found = step(scaling, 8, waiting, running, 60.0, workers);
            assert_eq!(found, expected, "{waiting} {running} {workers}");
        }
        assert_eq!(step(scaling, 8, 640, 0, 6.0, 2), Step::Launch(8), "a backlog of short tasks");
    }
}
