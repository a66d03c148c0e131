//! Judges each task by three witnesses that know nothing of each other: the stream's changes, the records
//! at the end, and the files that the processes wrote.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use stageline::task::Status;

use super::effects::{Effects, Execution};
use super::history::Seen;
use super::outcome::{EXAMPLES, Outcome};
use super::witness::{Life, Testimony};
use super::workload::Planned;

/// Who takes tasks as the sweeper, in the records' histories.
const SWEEPER: &str = "sweeper";

/// How many problems are told one by one.
const MOST_PROBLEMS: usize = 50;

/// Fills in what became of the tasks. `records` is the table at the end. Neither it nor the testimony has the
/// record that was written last, which is nobody's task.
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
    let planned: BTreeSet<_> = tasks.iter().map(|task| &task.id).collect();
    let known: BTreeSet<_> = testimony.lives.keys().chain(records.keys()).collect();
    problems.extend(known.difference(&planned).map(|id| format!("{id}: nobody wrote this task")));
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
    wrong.extend(effects.into_iter().flat_map(|effects| unclaimed(life, effects)));
    wrong
}

/// What is wrong about the processes that began: each belongs to a claim, and no claim has two.
fn unclaimed(life: &Life, effects: &Effects) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, Execution { attempt, worker }) in effects.started.iter().enumerate() {
        let claimed = |seen: &Seen| {
            let is_its = (seen.attempt, seen.worker.as_ref()) == (*attempt, Some(worker));
            seen.status == Status::Running && is_its
        };
        if !life.states.iter().any(claimed) {
            wrong.push(format!("a process ran that no claim allowed: attempt {attempt} under {worker}"));
        }
        if effects.started[..index].contains(&effects.started[index]) {
            wrong.push(format!("the same attempt was started twice: {attempt} under {worker}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: Status, attempt: u64, worker: &str) -> Seen {
        let worker = Some(worker.to_owned());
        Seen { status, attempt, by: worker.clone(), worker, reason: None }
    }

    fn execution(attempt: u64, worker: &str) -> Execution {
        Execution { attempt, worker: worker.to_owned() }
    }

    #[test]
    fn a_completion_needs_an_execution_that_finished_under_the_same_worker() {
        let done = seen(Status::Completed, 2, "b");
        let life = Life { states: vec![done.clone()], completions: 1, ..Life::default() };
        let by = |attempt, worker: &str| Effects {
            started: Vec::new(),
            finished: vec![execution(attempt, worker)],
        };
        assert!(wrong(&life, Some(&done), Some(&by(2, "b"))).is_empty());
        assert_eq!(wrong(&life, Some(&done), Some(&by(1, "a"))).len(), 1);
        assert_eq!(wrong(&life, None, None).len(), 1);
        let twice = Life { completions: 2, ..life };
        assert_eq!(wrong(&twice, Some(&done), None), ["it was completed 2 times"]);
    }

    #[test]
    fn every_process_belongs_to_a_claim_of_its_own() {
        let states = vec![
            seen(Status::Running, 1, "a"),
            seen(Status::Pending, 1, ""),
            seen(Status::Running, 2, "b"),
            seen(Status::Completed, 2, "b"),
        ];
        let life = Life { states, ..Life::default() };
        let wrong = |started: &[(u64, &str)]| {
            let started = started.iter().map(|(attempt, worker)| execution(*attempt, worker)).collect();
            unclaimed(&life, &Effects { started, finished: Vec::new() }).len()
        };
        assert_eq!(wrong(&[(1, "a"), (2, "b")]), 0);
        // A worker that started a task which it does not hold, or an attempt that nobody claimed.
        assert_eq!((wrong(&[(1, "b")]), wrong(&[(2, "a")]), wrong(&[(3, "b")])), (1, 1, 1));
        assert_eq!(wrong(&[(1, "a"), (2, "b"), (2, "b")]), 1);
    }

    #[test]
    fn a_task_that_nobody_wrote_is_seen_in_the_stream_and_in_the_table() -> Result<()> {
        let new = Seen { by: None, worker: None, ..seen(Status::Pending, 0, "") };
        let mut testimony = Testimony::default();
        testimony.lives.insert("streamed".to_owned(), Life::default());
        let records = BTreeMap::from([("stored".to_owned(), new)]);
        let mut outcome = Outcome::default();
        judge(&mut outcome, &[], &testimony, &records, |_| Ok(Effects::default()))?;
        assert_eq!(outcome.problems, ["stored: nobody wrote this task", "streamed: nobody wrote this task"]);
        Ok(())
    }
}
