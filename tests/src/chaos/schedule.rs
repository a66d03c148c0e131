//! What is done to which worker and when, by the run's seed. Pure.

use std::time::Duration;

use fastrand::Rng;
use stageline::protocol::lease::Lease;

/// What is done to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `kill -9`. The next one starts at once, in the same folder (it finds out what its former self had)
    /// or in a new one (only the lease tells, and the processes of the dead one live on).
    Kill {
        /// In the same folder.
        same_folder: bool,
    },
    /// Stopped where it is, for this long or until something was taken from it; its processes run on.
    Stop(Duration),
    /// Nothing gets through to AWS, nor back, for this long. Then all of it does.
    CutOff(Duration),
}

/// An action and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning of the run. One that is still at the last one begins later.
    pub at: Duration,
    /// The action.
    pub action: Action,
}

/// What is done to the worker `number`. The first action of the first three is fixed, so that every run has
/// all kinds.
pub fn actions(seed: u64, number: u32, faults: Duration, lease: Lease) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed ^ (u64::from(number) << 32));
    let mut at = Duration::from_millis(rng.u64(1_500..3_500));
    let mut planned = Vec::new();
    while at < faults {
        let action = match (planned.len(), number) {
            (0, 0) => Action::Stop(lease.length() * 2),
            (0, 1) => Action::Kill { same_folder: true },
            (0, 2) => Action::Kill { same_folder: false },
            _ => draw(&mut rng, lease),
        };
        planned.push(Planned { at, action });
        at += Duration::from_millis(rng.u64(4_000..10_000));
    }
    planned
}

fn draw(rng: &mut Rng, lease: Lease) -> Action {
    let leases = |share: f64| lease.length().mul_f64(share);
    match rng.u32(0..10) {
        0 => Action::Stop(leases(2.0 + rng.f64())),
        1..3 => Action::CutOff(leases(1.2 + rng.f64())),
        _ => Action::Kill { same_folder: rng.bool() },
    }
}

/// When the queues are emptied.
pub fn purges(faults: Duration) -> [Duration; 2] {
    [faults / 3, faults * 2 / 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_every_kind_and_the_seed_decides_which_when() {
        let of = |seed, seconds| -> Vec<_> {
            let faults = Duration::from_secs(seconds);
            (0..4).flat_map(|number| actions(seed, number, faults, Lease::default())).collect()
        };
        assert_eq!(of(7, 60), of(7, 60));
        assert_ne!(of(7, 60), of(8, 60));
        for seed in 0..50 {
            let short = of(seed, 4);
            assert!(short.iter().any(|planned| matches!(planned.action, Action::Stop(_))), "{seed}");
            for same_folder in [true, false] {
                let kill = Action::Kill { same_folder };
                assert!(short.iter().any(|planned| planned.action == kill), "{seed}");
            }
            let kills = of(seed, 60).into_iter().filter(|p| matches!(p.action, Action::Kill { .. })).count();
            assert!(kills >= 8, "{seed}: {kills}");
        }
    }
}
