//! The tasks of a run, by its seed: what they are and when a client writes them. Pure.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

/// How many of a hundred tasks are something else than a short command.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Commands of several seconds: kills find them running.
    pub long: u32,
    /// The engine inside the worker, which writes stages.
    pub demo: u32,
    /// Commands that fail once or twice before they succeed.
    pub failing: u32,
    /// Commands of some seconds that a client pauses and resumes.
    pub paused: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { long: 4, demo: 4, failing: 3, paused: 2 }
    }
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A process that ends soon.
    Short,
    /// A process of several seconds.
    Long,
    /// An engine inside the worker.
    Demo,
    /// A process that fails so many times.
    Failing(u32),
    /// A process that a client pauses this long after it wrote the task, and resumes that much later.
    Paused(Duration, Duration),
}

/// A task and when it is written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// When, from the beginning of the run.
    pub at: Duration,
    /// What it does.
    pub kind: Kind,
    /// How long it runs.
    pub seconds: f64,
    /// `LOW`, `MEDIUM` or `HIGH`: every queue has its share.
    priority: &'static str,
}

/// The program of every command: it leaves what it did where no database is asked.
pub const PROGRAM: &str = r#"# FOLDER SECONDS FAILURES: writes into FOLDER what this execution does, and fails while fewer than
# FAILURES executions have.
log="$1/$STAGELINE_TASK_ID"
me="$STAGELINE_ATTEMPT $STAGELINE_WORKER_ID"
echo "started $me" >>"$log"
sleep "$2"
if [ "$3" -gt 0 ] && [ "$(grep -c ^failed "$log")" -lt "$3" ]; then
  echo "failed $me" >>"$log"
  exit 1
fi
echo "finished $me" >>"$log"
"#;

/// The tasks of a run, in the order in which they are written: evenly over the time of the faults.
pub fn tasks(seed: u64, count: u32, mix: Mix, faults: Duration) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let mut planned: Vec<_> = (0..count).map(|n| draw(&mut rng, n, count, mix)).collect();
    // The kinds come in shares, so that a short run has all of them; their order is drawn.
    rng.shuffle(&mut planned);
    for (n, task) in (0..count).zip(&mut planned) {
        task.id = format!("chaos-{n:05}");
        task.at = faults * n / count.max(1);
    }
    planned
}

fn draw(rng: &mut Rng, n: u32, count: u32, mix: Mix) -> Planned {
    let millis = |rng: &mut Rng, from, to| Duration::from_millis(rng.u64(from..to));
    let shares = [mix.long, mix.demo, mix.failing, mix.paused];
    let place = n * 100 / count.max(1);
    let chosen = shares.iter().scan(0, |sum, share| {
        *sum += share;
        Some(*sum)
    });
    let chosen = chosen.take_while(|bound| place >= *bound).count();
    let (kind, length) = match chosen {
        0 => (Kind::Long, millis(rng, 2_000, 8_000)),
        1 => (Kind::Demo, millis(rng, 300, 3_000)),
        2 => (Kind::Failing(rng.u32(1..=2)), millis(rng, 50, 500)),
        3 => {
            let (pause, resume) = (millis(rng, 0, 2_500), millis(rng, 500, 3_000));
            (Kind::Paused(pause, resume), millis(rng, 1_500, 4_000))
        }
        _ => (Kind::Short, millis(rng, 50, 500)),
    };
    let priority = ["LOW", "MEDIUM", "MEDIUM", "MEDIUM", "HIGH"][rng.usize(0..5)];
    Planned { id: String::new(), at: Duration::ZERO, kind, seconds: length.as_secs_f64(), priority }
}

impl Planned {
    /// The record, as a client writes it. `program` is a file with [`PROGRAM`], `effects` its folder.
    pub fn record(&self, program: &Path, effects: &Path) -> Value {
        let failures = if let Kind::Failing(times) = self.kind { times } else { 0 };
        let mut record = json!({"id": self.id, "priority": self.priority});
        match self.kind {
            Kind::Demo => {
                record["engine"] = json!("demo");
                record["params"] = json!({"items": 50, "seconds": self.seconds});
            }
            _ => {
                let (program, effects) = (program.display(), effects.display());
                record["command"] = json!(format!("sh {program} {effects} {:.3} {failures}", self.seconds));
            }
        }
        // Interruptions are what a run is full of; running out of them is not what it is about.
        record["retry"] = json!({
            "strategy": "FIXED_DELAY", "maxRetries": failures, "delaySeconds": 1, "maxInterruptions": 100,
        });
        record
    }

    /// Whether it runs for some seconds, as a process.
    pub fn is_long(&self) -> bool {
        self.kind == Kind::Long
    }

    /// Whether it is a process, which leaves its effects in a file.
    pub fn is_command(&self) -> bool {
        self.kind != Kind::Demo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64) -> Vec<Planned> {
        tasks(seed, 200, Mix::default(), Duration::from_secs(60))
    }

    #[test]
    fn the_seed_alone_decides() {
        let text = |seed| format!("{:?}", of(seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn every_kind_has_its_share_and_the_writes_last_as_long_as_the_faults() {
        let tasks = of(7);
        let count = |wanted: fn(&Planned) -> bool| tasks.iter().filter(|task| wanted(task)).count();
        assert_eq!(count(Planned::is_long), 8);
        assert_eq!(count(|task| task.kind == Kind::Demo), 8);
        assert_eq!(count(|task| matches!(task.kind, Kind::Failing(_))), 6);
        assert_eq!(count(|task| matches!(task.kind, Kind::Paused(..))), 4);
        assert!(tasks.is_sorted_by_key(|task| task.at) && tasks.is_sorted_by_key(|task| task.id.clone()));
        assert!(tasks[199].at > Duration::from_secs(59) && tasks[199].at < Duration::from_secs(60));
    }
}
