//! What any client may ask of a task by writing its record.

use super::{Condition, Update, text};
use crate::At;
use crate::task::Status;

/// A request about a task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Its end: `cancelRequested` is true.
    Cancel,
    /// To hold it: `pauseRequested` is true.
    Pause,
    /// To let it go on: `pauseRequested` is false.
    Resume,
}

/// The request, unless the task has ended.
pub(in crate::aws) fn ask(request: Request, now: At) -> Update {
    let (attribute, wanted) = match request {
        Request::Cancel => ("cancelRequested", true),
        Request::Pause => ("pauseRequested", true),
        Request::Resume => ("pauseRequested", false),
    };
    let mut update = Update::default();
    update.set_json(attribute, &wanted).set("updatedAt", now).when_exists("id");
    let ended = Status::ALL.into_iter().filter(|status| status.is_terminal());
    let ended = ended.map(|status| text(status.as_str())).collect();
    update.when(Condition::Not(Box::new(Condition::OneOf("status".to_owned(), ended))));
    update
}
