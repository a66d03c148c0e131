//! Looks at the records of tasks in hand, and gives their attempts the orders that follow from them.

use std::sync::Arc;

use stageline::aws::{AwsError, READ_ITEMS, TasksTable};
use stageline::protocol::review::{InHand, Review, review};
use stageline::task::{TaskId, WorkerId};
use tokio::sync::mpsc;

use crate::control::Order;
use crate::running::Running;

/// Requests that can wait; what finds no room is found by the look at all tasks.
const WAITING: usize = 256;

/// Where an attempt asks that its task's record be looked at.
#[derive(Clone)]
pub(crate) struct ReviewRequests(mpsc::Sender<TaskId>);

impl ReviewRequests {
    /// Where to ask, and what was asked.
    pub fn new() -> (Self, mpsc::Receiver<TaskId>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks for a look at this task.
    pub fn ask(&self, id: &TaskId) {
        let _found_later = self.0.try_send(id.clone());
    }
}

/// Reviews tasks in hand.
pub(crate) struct Reviewer {
    pub worker: WorkerId,
    pub tasks: TasksTable,
    pub running: Arc<Running>,
}

impl Reviewer {
    /// Looks at these tasks, or at all that are in hand.
    pub async fn look(&self, only: Option<&[TaskId]>) -> Result<(), AwsError> {
        // Before the read: a record that was read cannot be older than the claim of what was in hand then.
        let held = self.running.held(only);
        // A request at a time: a thousand records at once are some megabytes for a moment.
        for held in held.chunks(READ_ITEMS) {
            let ids: Vec<_> = held.iter().map(|held| held.id.clone()).collect();
            let records = self.tasks.read(&ids).await?;
            for held in held {
                let in_hand = InHand { worker: &self.worker, attempt: held.attempt, paused: held.paused };
                if let Some(order) = order(review(in_hand, records.get(&held.id))) {
                    self.running.order(&held.id, held.attempt, order);
                }
            }
        }
        Ok(())
    }
}

fn order(review: Review) -> Option<Order> {
    match review {
        Review::Keep => None,
        Review::Cancel => Some(Order::Cancel),
        Review::Pause => Some(Order::Pause),
        Review::Continue => Some(Order::Go),
        Review::Abandon(why) => Some(Order::Abandon(why)),
    }
}
