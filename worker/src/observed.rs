//! What metrics and traces call the steps and ends of an attempt.

use std::time::SystemTime;

use stageline::aws::AwsError;
use stageline::protocol::command::Command;
use stageline::task::{Status, Task};
use stageline::trace::{Kind, Span};

use crate::attempt::Written;
use crate::context::Context;
use crate::take::Taken;

/// What became of a task, and the reason's code.
pub(crate) type Observed = (&'static str, Option<String>);

/// What the result of a claim is called.
pub(crate) fn result(taken: &Result<Taken, AwsError>) -> &'static str {
    match taken {
        Ok(Taken::Won(_)) => "won",
        Ok(Taken::WonUnreadable(..)) => "unreadable",
        Ok(Taken::Delete(_)) => "dropped",
        Ok(Taken::Leave(_)) => "left",
        Ok(Taken::Later(_)) => "early",
        Err(_) => "error",
    }
}

/// What an outcome is called.
pub(crate) fn name(written: &Written) -> &'static str {
    match written {
        Written::As(Status::Completed) => "completed",
        Written::As(Status::Failed) => "failed",
        Written::As(Status::TimedOut) => "timed_out",
        Written::As(Status::Cancelled) => "cancelled",
        Written::As(Status::Retrying) => "retrying",
        // Back to where another attempt begins.
        Written::As(_) => "interrupted",
        Written::ByOthers => "abandoned",
        Written::Nothing => "unwritten",
    }
}

/// The span of an attempt that was claimed, below that of its message; `begun` is when the claim was.
pub(crate) fn span(context: &Context, command: &Command, task: &Task, begun: SystemTime) -> Span {
    let parent = command.traceparent.as_deref().or(task.traceparent.as_deref());
    let span = context.tracer.of_task("attempt", Kind::Consumer, &task.id, parent).begun_at(begun);
    let span = span.of_attempt(&task.id, task.attempt);
    drop(span.child("claim").begun_at(begun));
    span.with("stageline.worker.id", &context.id)
        .with("stageline.engine", &task.engine())
        .with("stageline.pool", &context.config.pool)
}

/// Ends the span of an attempt.
pub(crate) fn close(mut span: Span, observed: Option<Observed>) {
    let (outcome, code) = observed.unwrap_or(("unwritten", None));
    span.set("stageline.outcome", &outcome);
    if let Some(code) = code.filter(|_| outcome != "completed") {
        span.fail(code);
    }
}
