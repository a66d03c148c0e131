//! The repair scan: page by page through the tasks table, a few pages a call.

use std::time::Instant;

use futures::{StreamExt, stream};
use serde_json::Value;
use stageline::At;
use stageline::aws::{AwsError, Signal, Write};
use stageline::protocol::dispatch::{Cause, Dispatch, Triage, triage};
use stageline::protocol::lease::Turn;
use stageline::protocol::repair::{Finding, View, inspect};
use stageline::task::{Item, Status, Task, TaskId, WorkerId, json_of};
use tracing::{error, warn};

use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::pass::{CALLS_AT_ONCE, Pass};

/// What a page asks for.
#[derive(Default)]
struct Work {
    repairs: Vec<Triage>,
    rescues: Vec<(Task, WorkerId)>,
    signals: Vec<(WorkerId, TaskId)>,
}

impl Pass<'_> {
    /// Looks at that many pages of records from the cursor on, or fewer when they take long. The new cursor, none at
    /// the end of the table, and how many there were.
    pub async fn scan(
        &mut self,
        mut cursor: Option<Item>,
        pages: u32,
        fleet: Option<&Fleet>,
    ) -> (Option<Item>, u32) {
        let mut facts = Facts::new(self.aws, fleet, self.deployment.lease);
        let workers = fleet.map(Fleet::beats).unwrap_or_default();
        let (begun, mut read) = (Instant::now(), 0);
        while read < pages && begun.elapsed() < self.limits.scan_time {
            let page = match self.aws.tasks.scan_page(cursor.clone(), self.consistent).await {
                Ok(page) => page,
                Err(error) => {
                    self.failed("a page of the repair scan cannot be read", &error);
                    // A cursor that the table does not take stays one that it does not take.
                    let invalid =
                        matches!(&error, AwsError::Refused { code, .. } if code == "ValidationException");
                    cursor = cursor.filter(|_| !invalid);
                    break;
                }
            };
            self.report.scanned += page.items.len();
            self.report.read_units += page.read_units;
            let now = self.clock.now();
            let view = View { rules: self.deployment.rules(), workers: &workers, now };
            let work = self.classify(page.items, view, &mut facts).await;
            self.report.errors += std::mem::take(&mut facts.errors);
            let rescued = self.report.rescued;
            let complete = self.rescue(work.rescues).await;
            self.repair(work.repairs).await;
            self.signal(work.signals).await;
            (self.on_page)(&self.report);
            if !complete && self.rescues_left == 0 && self.report.rescued > rescued {
                // The next call takes the rest of this page.
                break;
            }
            cursor = page.next;
            read += 1;
            if cursor.is_none() {
                self.report.pass_complete = true;
                break;
            }
        }
        (cursor, read)
    }

    async fn classify(&mut self, items: Vec<Item>, view: View<'_>, facts: &mut Facts<'_>) -> Work {
        let mut work = Work::default();
        for item in items {
            let Some(key) = item.get("id").and_then(|id| id.as_s().ok()).cloned() else { continue };
            if self.handled.contains(&key) {
                continue;
            }
            match self.finding(&key, json_of(item), view) {
                Finding::Fine => {}
                Finding::Overdue(triage) => work.repairs.push(triage),
                Finding::Queued(dispatch) => {
                    let gone = match self.queues_lost {
                        Some(lost) => was_sent_before(&dispatch, lost),
                        None => facts.is_message_gone(&dispatch).await,
                    };
                    if gone {
                        work.repairs.push(Triage::Send(dispatch));
                    }
                }
                Finding::UnderNobody(task, worker) => {
                    if facts.is_absent(&worker).await {
                        work.rescues.push((*task, worker));
                    }
                }
                Finding::Held(task, worker) => {
                    if facts.turn(&task, &worker).await == Turn::Rescue {
                        work.rescues.push((*task, worker));
                    } else if has_unanswered_request(&task) {
                        work.signals.push((worker, task.id));
                    }
                }
                Finding::Impossible(why) => self.impossible(&key, why),
            }
        }
        work
    }

    /// What is found about one record. When all queues were lost, what waits for a message has no other path
    /// to wait for, however recently it was touched.
    fn finding(&self, key: &str, image: Value, view: View<'_>) -> Finding {
        if self.queues_lost.is_none() || !waits_for_a_message(&image) {
            return inspect(key, image, view);
        }
        match triage(key, image, Cause::Repair, view.rules, view.now) {
            Triage::Leave(_) => Finding::Fine,
            Triage::Send(dispatch) if dispatch.task.status == Status::Queued => Finding::Queued(dispatch),
            triage => Finding::Overdue(triage),
        }
    }

    fn impossible(&mut self, id: &str, why: String) {
        warn!(task.id = id, why, "a record in a state that no path leads into; it is left as it is");
        self.report.add_impossible(id, why);
    }

    /// A signal that was lost is left once more; one that was not costs the worker a read.
    async fn signal(&mut self, signals: Vec<(WorkerId, TaskId)>) {
        let aws = self.aws;
        let answers: Vec<_> = stream::iter(signals)
            .map(|(worker, id)| async move {
                let answer = aws.workers.signal(&worker, &Signal::look(id.clone())).await;
                (worker, id, answer)
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        for (worker, id, answer) in answers {
            match answer {
                Ok(Write::Applied | Write::AlreadyApplied) => self.report.signals += 1,
                // The worker is gone; the next pass finds its task under nobody.
                Ok(Write::NotFound | Write::Fenced) => {}
                Err(error) => {
                    self.report.errors += 1;
                    error!(task.id = %id, worker.id = %worker, %error, "signal not left");
                }
            }
        }
    }
}

/// Whether its record asks for something that its worker has not done.
fn has_unanswered_request(task: &Task) -> bool {
    let pause = task.pause_requested == Some(true);
    task.cancel_requested == Some(true) || pause != (task.status == Status::Paused)
}

fn was_sent_before(dispatch: &Dispatch, lost: At) -> bool {
    dispatch.task.queued_at.is_none_or(|queued| queued < lost)
}

fn waits_for_a_message(image: &Value) -> bool {
    match image.get("status") {
        None | Some(Value::Null) => true,
        Some(status) => matches!(status.as_str(), Some("PENDING" | "QUEUED" | "RETRYING")),
    }
}
