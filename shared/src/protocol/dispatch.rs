//! What the dispatcher does with one record: leave it alone, refuse it, send it, or let it run again.

use serde_json::Value;

use super::pools::Pools;
use crate::Rejection;
use crate::task::{Attempt, Status, Task, TaskId};

/// Why the dispatcher looks at a record.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// The record is new.
    Insert,
    /// The record has changed; this is what it was.
    Modify {
        /// The former image.
        old: &'a Value,
    },
    /// A repair pass found the record.
    Repair,
}

/// What to do with a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Triage {
    /// Nothing; the words say why.
    Leave(&'static str),
    /// Mark it FAILED with the reason.
    Reject {
        /// The key as it stands, which may be no valid [`TaskId`].
        id: String,
        /// The reason.
        rejection: Rejection,
    },
    /// Send its command, then mark it QUEUED.
    Send(Box<Dispatch>),
    /// Put it back to PENDING; that change is what dispatches it.
    RunAgain {
        /// The task.
        id: TaskId,
        /// The attempt it ended with.
        attempt: Attempt,
    },
}

/// A record that is ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The record.
    pub task: Task,
    /// The pool that takes it.
    pub pool: String,
    /// The address of the queue.
    pub queue_url: String,
}

/// Decides about one record.
///
/// `key` is the record's key as the stream carries it; `image` is the record's JSON. `foreign_modes` are
/// the values of `metadata.dispatch_mode` that say that somebody else runs the task.
pub fn triage(key: &str, image: Value, cause: Cause<'_>, pools: &Pools, foreign_modes: &[String]) -> Triage {
    let status = text(&image, "status");
    // Whether a record is ours at all comes before whether it is well-formed.
    if dispatch_mode(&image).is_some_and(|mode| foreign_modes.contains(&mode)) {
        return Triage::Leave("its dispatch_mode says that somebody else runs it");
    }
    let wanted = text(&image, "dispatchStatus");
    match cause {
        Cause::Insert => {
            if status.is_some_and(|s| s != Status::Pending.as_str()) {
                return Triage::Leave("it was inserted in another status");
            }
            if wanted.is_some_and(|w| w != "PENDING") {
                return Triage::Leave("it was inserted as dispatched by somebody else");
            }
        }
        Cause::Modify { old } => {
            let ready = matches!(status, Some("PENDING" | "RETRYING"));
            let ended = matches!(status, Some("COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT"));
            // The change itself must ask: a task that ended before it was dispatched still says PENDING.
            if ended && wanted == Some("PENDING") && text(old, "dispatchStatus") != wanted {
                return run_again(key, image);
            }
            if !ready || text(old, "status") == status {
                return Triage::Leave("the change does not make it ready");
            }
        }
        Cause::Repair => {
            if !matches!(status, None | Some("PENDING" | "RETRYING" | "QUEUED")) {
                return Triage::Leave("it is not waiting to be sent");
            }
            // Left alone when it was inserted, and still not ours: none of our writes has touched it.
            let untouched =
                ["queuedAt", "attempt"].iter().all(|name| image.get(name).is_none_or(Value::is_null));
            if untouched && wanted.is_some_and(|w| w != "PENDING") {
                return Triage::Leave("it was inserted as dispatched by somebody else");
            }
        }
    }
    let prepared = Task::from_json(image).and_then(|task| {
        task.validate()?;
        let route = pools.route(&task.target, task.priority)?;
        let (pool, queue_url) = (route.pool.to_owned(), route.queue_url.to_owned());
        Ok(Dispatch { task, pool, queue_url })
    });
    match prepared {
        Ok(dispatch) if dispatch.task.cancel_requested == Some(true) => {
            Triage::Leave("its cancellation was asked for")
        }
        Ok(dispatch) => Triage::Send(Box::new(dispatch)),
        Err(rejection) => Triage::Reject { id: key.to_owned(), rejection },
    }
}

fn run_again(key: &str, image: Value) -> Triage {
    match (key.parse::<TaskId>(), image.get("attempt")) {
        (Ok(id), attempt) => {
            let attempt = attempt.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
            Triage::RunAgain { id, attempt: Attempt(attempt.unwrap_or_default()) }
        }
        (Err(_), _) => Triage::Leave("its id was refused before and cannot become valid"),
    }
}

fn text<'a>(image: &'a Value, attribute: &str) -> Option<&'a str> {
    image.get(attribute).and_then(Value::as_str)
}

/// `metadata.dispatch_mode`, whether `metadata` is a map or a string with the JSON of one.
fn dispatch_mode(image: &Value) -> Option<String> {
    let mode = |metadata: &Value| metadata.get("dispatch_mode")?.as_str().map(str::to_owned);
    match image.get("metadata")? {
        Value::String(json) => serde_json::from_str(json).ok().as_ref().and_then(mode),
        metadata => mode(metadata),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pools() -> Pools {
        Pools::from_json(
            r#"[{"name":"default","targets":["default/*"],"queues":{"high":"h","normal":"n","low":"l"}}]"#,
        )
        .unwrap()
    }

    fn on(image: Value, cause: Cause<'_>) -> Triage {
        let key = image.get("id").and_then(Value::as_str).unwrap_or("k").to_owned();
        triage(&key, image, cause, &pools(), &["local".to_owned()])
    }

    fn kind(triage: &Triage) -> &'static str {
        match triage {
            Triage::Leave(_) => "leave",
            Triage::Reject { .. } => "reject",
            Triage::Send(_) => "send",
            Triage::RunAgain { .. } => "run again",
        }
    }

    #[test]
    fn an_insert_is_sent_unless_it_is_somebody_elses_or_wrong() {
        let table = [
            (json!({"id": "t", "command": "true"}), "send"),
            (json!({"id": "t", "command": "true", "status": "PENDING", "dispatchStatus": "PENDING"}), "send"),
            (json!({"id": "t", "command": "true", "status": null, "dispatchStatus": null}), "send"),
            (json!({"id": "t", "command": "true", "status": "RUNNING"}), "leave"),
            (json!({"id": "t", "command": 5, "status": "ARCHIVED"}), "leave"),
            (json!({"id": "t", "command": "true", "dispatchStatus": "DISPATCHED"}), "leave"),
            (json!({"id": "t", "command": 5, "metadata": {"dispatch_mode": "local"}}), "leave"),
            (json!({"id": "t", "command": 5, "metadata": "{\"dispatch_mode\":\"local\"}"}), "leave"),
            (json!({"id": "t", "command": "true", "metadata": "no json"}), "send"),
            (json!({"id": "t", "command": "true", "cancelRequested": true}), "leave"),
            (json!({"id": "t", "command": "true", "status": 5}), "reject"),
            (json!({"id": "t", "command": "true", "target": "gpu/x"}), "reject"),
            (json!({"id": "not/valid", "command": "true"}), "reject"),
        ];
        for (image, expected) in table {
            assert_eq!(kind(&on(image.clone(), Cause::Insert)), expected, "{image}");
        }
    }

    #[test]
    fn a_change_is_sent_only_when_it_makes_the_record_ready() {
        let image = |status: &str, wanted: &str| json!({"id": "t", "command": "true", "status": status, "dispatchStatus": wanted, "attempt": 2});
        let table = [
            ("RUNNING", "PENDING", "PENDING", "send"),
            ("RUNNING", "RETRYING", "DISPATCHED", "send"),
            ("PENDING", "PENDING", "PENDING", "leave"),
            ("PENDING", "QUEUED", "DISPATCHED", "leave"),
            ("RUNNING", "COMPLETED", "DISPATCHED", "leave"),
            ("COMPLETED", "COMPLETED", "PENDING", "run again"),
            ("FAILED", "FAILED", "PENDING", "run again"),
        ];
        for (old, new, wanted, expected) in table {
            let old = image(old, "DISPATCHED");
            let triage = on(image(new, wanted), Cause::Modify { old: &old });
            assert_eq!(kind(&triage), expected, "{new} {wanted}");
        }
    }

    #[test]
    fn a_task_that_ended_before_it_was_dispatched_does_not_run_again_by_a_later_edit() {
        let image = |status: &str| json!({"id": "t", "command": "true", "status": status, "dispatchStatus": "PENDING"});
        let old = image("PENDING");
        assert_eq!(kind(&on(image("CANCELLED"), Cause::Modify { old: &old })), "leave");
    }

    #[test]
    fn a_repair_pass_sends_what_waits_and_nothing_else() {
        for (status, expected) in
            [("PENDING", "send"), ("QUEUED", "send"), ("RUNNING", "leave"), ("FAILED", "leave")]
        {
            let image = json!({
                "id": "t", "command": "true", "status": status, "dispatchStatus": "DISPATCHED",
                "queuedAt": "2026-11-21T09:25:00.000Z",
            });
            assert_eq!(kind(&on(image, Cause::Repair)), expected, "{status}");
        }
        let foreign =
            json!({"id": "t", "command": "true", "status": "PENDING", "dispatchStatus": "DISPATCHED"});
        assert_eq!(kind(&on(foreign, Cause::Repair)), "leave", "somebody else's stays so");
    }

    proptest! {
        #[test]
        fn no_record_makes_the_decision_panic(status in ".*", metadata in ".*", command in ".*", attempt in any::<i64>()) {
            let image = json!({"id": "t", "status": status, "metadata": metadata, "command": command, "attempt": attempt});
            let old = json!({"status": 7});
            for cause in [Cause::Insert, Cause::Modify { old: &old }, Cause::Repair] {
                on(image.clone(), cause);
            }
        }
    }
}
