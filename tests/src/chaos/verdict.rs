//! Judges each task by three witnesses that know nothing of each other: the stream's changes, the records
//! at the end, and the files that the processes wrote.

use std::collections::BTreeMap;

use anyhow::Result;
use stageline::task::Status;

use super::effects::Effects;
use super::history::Seen;
use super::outcome::{EXAMPLES, Outcome};
use super::witness::{Life, Testimony};
use super::workload::Planned;

/// Who takes tasks as the sweeper, in the records' histories.
const SWEEPER: &str = "sweeper";

/// How many problems are told one by one.
const MOST_PROBLEMS: usize = 50;

/// Fills in what became of the tasks. `records` is the table at the end.
pub(super) fn judge(
    outcome: &mut Outcome,
    tasks: &[Planned],
    testimony: &Testimony,
    records: &BTreeMap<String, Seen>,
    effects: impl Fn(&str) -> Result<Effects>,
) -> Result<()> {
    let nobody = Life::default();
    let mut problems = Vec::new();
    outcome.tasks = tasks.len();
    for task in tasks {
        let life = testimony.lives.get(&task.id).unwrap_or(&nobody);
        let effects = if task.is_command() { Some(effects(&task.id)?) } else { None };
        count(outcome, life, records.get(&task.id), effects.as_ref());
        let wrong = wrong(life, records.get(&task.id), effects.as_ref());
        if !wrong.is_empty() && outcome.histories.len() < EXAMPLES {
            let history = life.states.iter().map(ToString::to_string).collect();
            outcome.histories.insert(task.id.clone(), history);
        }
        problems.extend(wrong.into_iter().map(|what| format!("{}: {what}", task.id)));
    }
    if problems.len() > MOST_PROBLEMS {
        let more = problems.len() - MOST_PROBLEMS;
        problems.truncate(MOST_PROBLEMS);
        problems.push(format!("and {more} more"));
    }
    outcome.problems.extend(problems);
    Ok(())
}

fn count(outcome: &mut Outcome, life: &Life, record: Option<&Seen>, effects: Option<&Effects>) {
    match record.map(|record| record.status) {
        Some(Status::Completed) => outcome.completed += 1,
        Some(status) if status.is_terminal() => outcome.other_ends += 1,
        Some(_) | None => outcome.lost += 1,
    }
    *outcome.effective_completions.entry(life.completions).or_default() += 1;
    let attempts = record.map_or(0, |record| record.attempt);
    outcome.attempts += attempts;
    outcome.most_attempts = outcome.most_attempts.max(attempts);
    outcome.rescues.total += life.taken.len();
    outcome.rescues.by_sweeper += life.taken.iter().filter(|taken| taken.by == SWEEPER).count();
    if let Some(effects) = effects {
        outcome.executions.tasks += 1;
        outcome.executions.started += effects.started.len();
        outcome.executions.finished += effects.finished.len();
        outcome.executions.most = outcome.executions.most.max(effects.started.len());
    }
}

/// What is wrong about one task.
fn wrong(life: &Life, record: Option<&Seen>, effects: Option<&Effects>) -> Vec<String> {
    let mut wrong = life.broken.clone();
    let Some(record) = record else {
        wrong.push("its record is not there".to_owned());
        return wrong;
    };
    if record.status != Status::Completed {
        wrong.push(format!("it is {record}"));
    }
    if life.completions != 1 {
        wrong.push(format!("it was completed {} times", life.completions));
    }
    if life.now() != Some(record) {
        wrong.push(format!("the stream ended with {:?}, and the record is {record}", life.now()));
    }
    let worker = record.worker.as_deref().unwrap_or_default();
    if record.status == Status::Completed
        && effects.is_some_and(|effects| !effects.has_finished(record.attempt, worker))
    {
        wrong.push(format!("it is completed, and that execution did not finish: {effects:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::effects::Execution;

    #[test]
    fn a_completion_needs_an_execution_that_finished_under_the_same_worker() {
        let done =
            Seen { status: Status::Completed, attempt: 2, worker: Some("b".into()), by: Some("b".into()) };
        let life = Life { states: vec![done.clone()], completions: 1, ..Life::default() };
        let by = |attempt, worker: &str| Effects {
            started: Vec::new(),
            finished: vec![Execution { attempt, worker: worker.to_owned() }],
        };
        assert!(wrong(&life, Some(&done), Some(&by(2, "b"))).is_empty());
        assert_eq!(wrong(&life, Some(&done), Some(&by(1, "a"))).len(), 1);
        assert_eq!(wrong(&life, None, None).len(), 1);
        let twice = Life { completions: 2, ..life };
        assert_eq!(wrong(&twice, Some(&done), None), ["it was completed 2 times"]);
    }
}
