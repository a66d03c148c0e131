//! The watchdog: free slots and messages on the queues, and no poll that is answered. Whatever the reason (a
//! permission that was taken away, a connection that hangs, a defect here), a new process may do better, so the
//! worker calls itself unhealthy and says why. Where nobody heeds that, it makes room for the new process itself: it
//! gives up after as long again, as soon as it runs no task.
//!
//! It asks SQS for the queues' depth only when that much is already wrong.

use std::time::Duration;

use stageline::aws::AwsError;
use stageline::protocol::pools::Queues;
use stageline::task::Lane;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::context::Context;

/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Looks until `done`; `silence` is how long polls may go unanswered. Answers why the worker is to end, when it is.
pub(crate) async fn watch(
    context: &Context,
    queues: &Queues,
    silence: Duration,
    done: CancellationToken,
) -> Option<String> {
    let pause = (silence / 4).min(LONGEST_PAUSE);
    loop {
        tokio::select! {
            () = done.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        let unanswered = context.polls.unanswered();
        if unanswered <= silence {
            continue;
        }
        let was = context.polls.stuck();
        let found = match waiting(context, queues).await {
            Ok(0) => None,
            Ok(messages) => Some(format!(
                "{messages} messages wait, slots are free, and no poll was answered for {} s",
                unanswered.as_secs()
            )),
            // Nothing is known of the queues. If it is the network, the heartbeat says so.
            Err(_unread) => was.clone(),
        };
        match (&was, &found) {
            (None, Some(why)) => error!(why, "the worker is stuck"),
            (Some(_), None) => info!("the worker is not stuck any more"),
            _ => {}
        }
        if found.is_some() && unanswered > 2 * silence && context.running.count() == 0 {
            return found;
        }
        context.polls.set_stuck(found);
    }
}

/// Messages that wait in all lanes.
async fn waiting(context: &Context, queues: &Queues) -> Result<u64, AwsError> {
    let mut visible = 0;
    for lane in Lane::ALL {
        visible += context.aws.queues.depth(queues.url(lane)).await?.visible;
    }
    Ok(visible)
}
