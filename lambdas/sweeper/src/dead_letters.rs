//! The dead-letter queues: messages that were received many times and that no worker could settle.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use stageline::aws::{AwsError, BATCH_ITEMS, ReceivedCommand, Write};
use stageline::protocol::claim::Current;
use stageline::protocol::command::Command;
use stageline::protocol::dead_letter::{DeadLetter, decide};
use stageline::task::{Status, Task, TaskId};
use tracing::{error, info, warn};

use crate::pass::{BY, Pass};

/// How long a message stays with this call: what it cannot settle comes back for the next.
const VISIBILITY: Duration = Duration::from_secs(60);

impl Pass<'_> {
    /// Empties the dead-letter queues of all pools, up to the limit.
    pub async fn drain_dead_letters(&mut self) {
        let queues: BTreeSet<_> =
            self.deployment.pools.iter().filter_map(|p| p.queues.dead.as_deref()).collect();
        for queue in queues {
            if let Err(error) = self.drain(queue).await {
                self.report.errors += 1;
                error!(queue, %error, "dead letters not settled; the next sweep tries again");
            }
        }
    }

    async fn drain(&mut self, queue: &str) -> Result<(), AwsError> {
        let mut left = usize::try_from(self.limits.dead_letters).unwrap_or(usize::MAX);
        while left > 0 {
            let most = left.min(BATCH_ITEMS);
            let messages = self.aws.queues.receive(queue, most, Duration::ZERO, VISIBILITY).await?;
            if messages.is_empty() {
                break;
            }
            left = left.saturating_sub(messages.len());
            let received = messages.len();
            let settled = self.settle(messages).await?;
            if !settled.is_empty() {
                self.aws.queues.delete(queue, &settled).await?;
            }
            // Whatever keeps writes from succeeding keeps the next ones too.
            if settled.len() < received {
                break;
            }
        }
        Ok(())
    }

    /// The handles of the messages that are not needed any more.
    async fn settle(&mut self, messages: Vec<ReceivedCommand>) -> Result<Vec<String>, AwsError> {
        let mut settled = Vec::with_capacity(messages.len());
        let mut commands = Vec::with_capacity(messages.len());
        for message in messages {
            match Command::from_body(&message.body) {
                Ok(command) => commands.push((command, message.receipt_handle)),
                Err(error) => {
                    error!(%error, body = message.body, "a dead letter that is no command is deleted");
                    self.report.dead_letters_dropped += 1;
                    settled.push(message.receipt_handle);
                }
            }
        }
        let ids: BTreeSet<TaskId> = commands.iter().map(|(command, _)| command.task_id.clone()).collect();
        let mut tasks = self.aws.tasks.read(&ids.into_iter().collect::<Vec<_>>()).await?;
        for (command, handle) in commands {
            if self.settle_one(&command, &mut tasks).await {
                settled.push(handle);
            }
        }
        Ok(settled)
    }

    /// Whether the message is not needed any more.
    async fn settle_one(&mut self, command: &Command, tasks: &mut HashMap<TaskId, Task>) -> bool {
        let (id, attempt, now) = (&command.task_id, command.attempt, self.clock.now());
        let current = match tasks.get(id) {
            Some(task) => Current::Task(Box::new(task.clone())),
            None => Current::Missing,
        };
        let (task, rejection) = match decide(current, attempt, now) {
            DeadLetter::Fail(task, rejection) => (task, rejection),
            DeadLetter::Drop(why) => {
                info!(task.id = %id, %attempt, why, "dead letter dropped");
                self.report.dead_letters_dropped += 1;
                return true;
            }
        };
        match self.aws.tasks.dead_letter(&task, &rejection, BY, now).await {
            Ok(Write::Applied | Write::AlreadyApplied) => {
                warn!(task.id = %id, %attempt, "no worker could settle the task's message: it failed");
                self.report.dead_letters_failed += 1;
                // A second message for it in the same batch finds it failed.
                if let Some(task) = tasks.get_mut(id) {
                    task.status = Status::Failed;
                }
                true
            }
            Ok(answer @ (Write::Fenced | Write::NotFound)) => {
                info!(task.id = %id, %attempt, ?answer, "dead letter of a task that has moved on");
                self.report.dead_letters_dropped += 1;
                true
            }
            Err(error) => {
                error!(task.id = %id, %attempt, %error, "dead letter not settled");
                self.report.errors += 1;
                false
            }
        }
    }
}
