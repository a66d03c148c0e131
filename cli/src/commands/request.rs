//! `stageline cancel`, `pause`, `resume` and `retry`: what a person asks of tasks that are there. Each writes
//! one wish into the record; whoever holds the task does the rest.

use futures::StreamExt;
use serde_json::json;
use stageline::Clock;
use stageline::aws::{Aws, Request, Write};
use stageline::task::{Status, Task, TaskId};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Writes on their way at once: a long list is done soon, and an endpoint that does not answer is waited for
/// once.
const AT_ONCE: usize = 16;

/// Who asks for a new run, in the task's history.
const BY: &str = "command line";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The task's end.
    Cancel,
    /// To hold it.
    Pause,
    /// To let it go on.
    Resume,
    /// To run it again after its end.
    Retry,
}

impl Wish {
    fn as_str(self) -> &'static str {
        match self {
            Wish::Cancel => "cancel",
            Wish::Pause => "pause",
            Wish::Resume => "resume",
            Wish::Retry => "retry",
        }
    }
}

/// What came of it, where nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is written.
    Asked,
    /// The task is already where it was to go.
    Done,
}

/// Asks for every task, says how each went, and ends with the worst exit code.
pub(super) async fn run(aws: &Aws, wish: Wish, ids: &[TaskId], format: Format) -> Result<Exit, Failure> {
    let mut answers = futures::stream::iter(ids).map(|id| ask(aws, wish, id)).buffered(AT_ONCE);
    let mut asked = Vec::new();
    let mut worst = Exit::Success;
    // In the order of the arguments.
    for id in ids {
        match answers.next().await {
            Some(Ok(answer)) => {
                say(wish, id, answer, format);
                if answer == Answer::Asked {
                    asked.push(id.as_str());
                }
            }
            Some(Err(failure)) => {
                output::failure(format, &failure);
                if failure.exit().code() > worst.code() {
                    worst = failure.exit();
                }
            }
            None => break,
        }
    }
    // A paused task is nothing to watch; all others come to an end.
    if wish != Wish::Pause && !asked.is_empty() && format == Format::Text {
        output::next(&format!("stageline watch {}", asked.join(" ")));
    }
    Ok(worst)
}

fn say(wish: Wish, id: &TaskId, answer: Answer, format: Format) {
    let (request, done) = (wish.as_str(), answer == Answer::Done);
    match format {
        Format::Json => {
            let answer = if done { "done" } else { "asked" };
            output::json(&json!({ "id": id, "request": request, "answer": answer }));
        }
        Format::Text if done => eprintln!("{id}: {request}: it is CANCELLED already"),
        Format::Text => eprintln!("{id}: {request} asked for"),
    }
}

async fn ask(aws: &Aws, wish: Wish, id: &TaskId) -> Result<Answer, Failure> {
    let request = match wish {
        Wish::Cancel => Request::Cancel,
        Wish::Pause => Request::Pause,
        Wish::Resume => Request::Resume,
        Wish::Retry => return retry(aws, id).await,
    };
    match aws.tasks.ask(id, request, Clock::system().now()).await? {
        Write::Applied | Write::AlreadyApplied => Ok(Answer::Asked),
        Write::NotFound => Err(Failure::NotFound(id.clone())),
        Write::Fenced => match read(aws, id).await?.status {
            Status::Cancelled if wish == Wish::Cancel => Ok(Answer::Done),
            status if status.is_terminal() => Err(Failure::Ended { id: id.clone(), status }),
            // Somebody asked for a new run between the write and the read.
            _ => Err(Failure::Changed(id.clone())),
        },
    }
}

async fn retry(aws: &Aws, id: &TaskId) -> Result<Answer, Failure> {
    let task = read(aws, id).await?;
    if !task.status.is_terminal() {
        return Err(Failure::NotEnded { id: id.clone(), status: task.status });
    }
    match aws.tasks.run_again(id, task.attempt, false, BY, Clock::system().now()).await? {
        Write::Applied | Write::AlreadyApplied => Ok(Answer::Asked),
        Write::NotFound => Err(Failure::NotFound(id.clone())),
        // Also when the answer to our own write was lost and the task has moved on since.
        Write::Fenced => Err(Failure::Changed(id.clone())),
    }
}

async fn read(aws: &Aws, id: &TaskId) -> Result<Task, Failure> {
    aws.tasks.get(id).await?.ok_or_else(|| Failure::NotFound(id.clone()))
}
