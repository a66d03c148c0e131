use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::task::parse_argv;

fn parse(value: Value) -> Result<Task, Rejection> {
    Task::from_json(value).and_then(|task| task.validate().map(|()| task))
}

fn amplify_item() -> Value {
    json!({
        "__typename": "Task",
        "id": "0d7b6c1e-2a50-4e0b-9c0e-6b1f6f6f2d11",
        "accountId": "acct-1",
        "type": "evaluation",
        "status": "PENDING",
        "dispatchStatus": "PENDING",
        "target": "procedure/run/p-1",
        "command": "echo hello",
        "metadata": "{\"dispatch_mode\":\"cloud\",\"n\":3}",
        "createdAt": "2026-11-21T09:25:00.123Z",
        "updatedAt": "2026-11-21T09:25:00.123Z",
        "workerNodeId": null,
        "startedAt": null,
        "retry": null,
        "priority": null,
        "scorecardId": "s-1",
        "taskStages": {"nextToken": null},
    })
}

#[test]
fn an_amplify_shaped_item_parses_and_keeps_what_it_does_not_know() {
    let task = parse(amplify_item()).unwrap();
    assert_eq!(task.engine(), "command");
    assert_eq!(task.dispatch_status, Some(DispatchStatus::Pending));
    assert_eq!(task.priority, Priority::default());
    assert_eq!(task.other["__typename"], "Task");
    assert_eq!(task.other["scorecardId"], "s-1");
    assert_eq!(task.created_at.unwrap().to_string(), "2026-11-21T09:25:00.123Z");
}

#[test]
fn the_smallest_record_parses() {
    let task = parse(json!({"id": "t", "command": "true"})).unwrap();
    assert_eq!((task.status, task.attempt), (Status::Pending, Attempt(0)));
    assert_eq!(task.target.to_string(), "default/default");
}

#[test]
fn a_record_goes_through_a_dynamodb_item_unchanged() {
    let mut full = amplify_item();
    let more = json!({
        "engine": "lammps", "script": "melt/in.melt", "params": {"nsteps": 100, "t": 1.5, "deep": {"a": [1, null]}},
        "inputs": ["data.melt", {"source": "s3://b/k", "path": "k", "sha256": "ab"}],
        "priority": "HIGH", "retry": {"strategy": "FIBONACCI_BACKOFF", "maxRetries": 3, "delaySeconds": 2},
        "timeoutSeconds": 60, "scheduledTime": "2026-11-21T10:00:00Z", "dependsOn": ["a", "b", "a"],
        "onDependencyFailure": "run", "workflowId": "w", "idempotencyKey": "k", "cache": true,
        "concurrencyKey": "c", "resources": {"slots": 2, "memoryMb": 512}, "attempt": 3, "failures": 1,
        "history": [{"at": "2026-11-21T10:00:00Z", "status": "QUEUED", "by": "dispatcher"}],
        "statusReason": {"code": "FUTURE_CODE", "message": "m"}, "expiresAt": 1_800_000_000,
        "errorDetails": {"code": "X", "kind": "a_kind_of_the_future"}, "waitingOn": ["a"],
    });
    full.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let task = parse(full).unwrap();
    assert_eq!(task.depends_on.as_ref().map(Vec::len), Some(2), "repeats are dropped");
    assert_eq!(task.not_before.unwrap().to_string(), "2026-11-21T10:00:00.000Z");
    let item = task.to_item().unwrap();
    assert_eq!(Task::from_item(item).unwrap(), task);
}

#[test]
fn an_old_record_without_the_newer_attributes_is_read_by_this_version() {
    // What the first version wrote at the end of a task.
    let old = json!({
        "id": "t", "command": "true", "status": "COMPLETED", "attempt": 1, "target": "default/default",
        "priority": "MEDIUM", "accountId": "default", "createdAt": "2026-11-21T09:25:00.000Z",
        "queuedAt": "2026-11-21T09:25:00.100Z", "startedAt": "2026-11-21T09:25:00.200Z",
        "completedAt": "2026-11-21T09:25:01.000Z", "workerNodeId": "host:1:abc", "dispatchStatus": "DISPATCHED",
        "result": {"exitCode": 0},
    });
    let task = Task::from_json(old).unwrap();
    assert_eq!(task.status, Status::Completed);
}

#[test]
fn a_set_of_strings_reads_as_a_list() {
    let ids = AttributeValue::Ss(vec!["a".into(), "b".into()]);
    let item = Item::from([("id".into(), AttributeValue::S("t".into())), ("waitingOn".into(), ids)]);
    assert_eq!(Task::from_item(item).unwrap().waiting_on.unwrap().len(), 2);
}

#[test]
fn a_bad_record_is_rejected_with_its_code_and_its_attribute() {
    let big = "x".repeat(300 * 1024);
    let table = [
        (json!({"command": "true"}), Code::RecordMalformed, "id"),
        (json!({"id": "", "command": "true"}), Code::IdInvalid, "id"),
        (json!({"id": "t", "command": 5}), Code::RecordMalformed, "`command`"),
        (
            json!({"id": "t", "command": "true", "timeoutSeconds": "soon"}),
            Code::RecordMalformed,
            "`timeoutSeconds`",
        ),
        (
            json!({"id": "t", "command": "true", "timeoutSeconds": 0}),
            Code::RecordMalformed,
            "`timeoutSeconds`",
        ),
        (
            json!({"id": "t", "command": "true", "retry": {"maxRetries": -1}}),
            Code::RecordMalformed,
            "`retry.maxRetries`",
        ),
        (json!({"id": "t", "command": "true", "target": "a//b"}), Code::TargetInvalid, "`target`"),
        (
            json!({"id": "t", "command": "true", "notBefore": "tomorrow"}),
            Code::RecordMalformed,
            "`notBefore`",
        ),
        (json!({"id": "t", "command": "true", "params": "nonsense"}), Code::RecordMalformed, "`params`"),
        (json!({"id": "t", "command": "true", "params": {"a": big}}), Code::RecordTooLarge, "`params`"),
        (json!({"id": "t", "command": "true", "accountId": ""}), Code::RecordMalformed, "`accountId`"),
        (json!({"id": "t"}), Code::CommandInvalid, "`command`"),
        (json!({"id": "t", "command": "  "}), Code::CommandInvalid, "empty"),
        (json!({"id": "t", "command": "echo 'x"}), Code::CommandInvalid, "quote"),
        (json!({"id": "t", "engine": "lamps"}), Code::EngineUnknown, "lammps"),
        (json!({"id": "t", "engine": "lammps"}), Code::EngineInputInvalid, "`script`"),
        (json!({"id": "t", "engine": "python"}), Code::EngineInputInvalid, "\"python\" needs `script`"),
        (json!({"id": "t", "engine": "fenicsx"}), Code::EngineInputInvalid, "`script`"),
        (json!({"id": "t", "engine": "quantum-espresso"}), Code::EngineInputInvalid, "`script`"),
        (json!({"id": "t", "engine": "vasp"}), Code::EngineInputInvalid, "`script`"),
        (json!({"id": "t", "engine": "container"}), Code::EngineInputInvalid, "`params.image`"),
        (
            json!({"id": "t", "engine": "container", "params": {"image": 1}}),
            Code::EngineInputInvalid,
            "`params.image`",
        ),
        (
            json!({"id": "t", "engine": "container", "params": {"image": "a"}, "command": "'"}),
            Code::CommandInvalid,
            "quote",
        ),
        (json!({"id": "t", "engine": "lammps", "script": "../in"}), Code::PathUnsafe, "`script`"),
        (json!({"id": "t", "engine": "lammps", "script": "/etc/passwd"}), Code::PathUnsafe, "`script`"),
        (json!({"id": "t", "engine": "lammps", "script": "a/../../in"}), Code::PathUnsafe, "`script`"),
        (json!({"id": "t", "engine": "demo", "inputs": ["/etc/passwd"]}), Code::PathUnsafe, "`inputs`"),
        (
            json!({"id": "t", "engine": "demo", "inputs": [{"source": "s3://b/k", "path": "../k"}]}),
            Code::PathUnsafe,
            "`inputs`",
        ),
    ];
    for (value, code, mention) in table {
        let shown = value.to_string();
        let rejection = parse(value).expect_err(&shown[..shown.len().min(80)]);
        assert_eq!(rejection.code, code, "{}", rejection.message);
        assert!(rejection.message.contains(mention), "{} lacks {mention}", rejection.message);
    }
}

#[test]
fn of_a_malformed_record_everything_else_can_be_shown() {
    let record = json!({
        "id": "t", "command": 5, "timeoutSeconds": "soon", "history": "none", "status": "FAILED",
        "statusReason": {"code": "RECORD_MALFORMED", "message": "m"}, "description": "mine",
    });
    let task = Task::salvaged(serde_dynamo::to_item(record).unwrap()).unwrap();
    assert_eq!(
        (task.status, task.command, task.description.as_deref()),
        (Status::Failed, None, Some("mine"))
    );
    assert_eq!(task.status_reason.unwrap().code, "RECORD_MALFORMED");
    assert!(Task::salvaged(serde_dynamo::to_item(json!({"id": 5})).unwrap()).is_err());
}

#[test]
fn a_command_is_split_without_a_shell() {
    assert_eq!(
        parse_argv("echo 'a b' \"c\" $HOME; rm -rf /").unwrap(),
        ["echo", "a b", "c", "$HOME;", "rm", "-rf", "/"]
    );
}

proptest! {
    #[test]
    fn no_string_anywhere_makes_the_parser_panic(id in ".*", command in ".*", script in ".*", target in ".*") {
        let _ = parse(json!({"id": id, "command": command, "engine": "lammps", "script": script, "target": target}));
    }

    #[test]
    fn a_script_path_that_is_accepted_stays_below_its_folder(script in "[a./~ \\\\]{0,12}") {
        if let Ok(path) = crate::task::relative_path("script", &script) {
            let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            prop_assert!(plain && path.is_relative(), "{script:?} became {path:?}");
        }
    }
}

#[test]
fn the_alias_of_not_before_gives_way_to_what_the_dispatcher_wrote() {
    let (asked, written) = ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.000Z");
    for (record, expected) in [
        (json!({"id": "t", "scheduledTime": asked}), Some(asked)),
        (json!({"id": "t", "scheduledTime": asked, "notBefore": null}), Some(asked)),
        (json!({"id": "t", "scheduledTime": "yesterday", "notBefore": written}), Some(written)),
        (json!({"id": "t", "scheduledTime": null, "notBefore": written}), Some(written)),
        (json!({"id": "t", "scheduledTime": null}), None),
    ] {
        let task = Task::from_json(record.clone()).unwrap();
        assert_eq!(task.not_before, expected.and_then(At::parse), "{record}");
        assert_eq!(Task::salvaged(serde_dynamo::to_item(&record).unwrap()).unwrap(), task);
    }
}

#[test]
fn outputs_are_paths_of_the_job_folder_and_not_too_many() {
    let task =
        |outputs: Value| Task::from_json(serde_json::json!({"id": "t", "command": "x", "outputs": outputs}));
    assert!(task(serde_json::json!(["a.dat", "out/**/*.vtk"])).unwrap().validate().is_ok());
    assert!(task(Value::Null).unwrap().outputs.is_none());
    for (outputs, code) in [
        (serde_json::json!(["/etc/passwd"]), Code::PathUnsafe),
        (serde_json::json!(["../*"]), Code::PathUnsafe),
        (serde_json::json!([""]), Code::PathUnsafe),
        (serde_json::json!(vec!["a"; 101]), Code::RecordTooLarge),
        (serde_json::json!(["a".repeat(1_025)]), Code::RecordTooLarge),
    ] {
        assert_eq!(task(outputs).unwrap().validate().unwrap_err().code, code);
    }
}

#[test]
fn a_binary_attribute_of_somebody_elses_leaves_the_record_readable() {
    use aws_sdk_dynamodb::primitives::Blob;
    let mut item: Item = serde_dynamo::to_item(json!({"id": "t", "command": "true"})).unwrap();
    let plain = Task::from_item(item.clone()).unwrap();
    item.insert("thumbnail".into(), AttributeValue::B(Blob::new([0, 159, 146, 150])));
    item.insert("nested".into(), AttributeValue::L(vec![AttributeValue::B(Blob::new([1]))]));
    assert_eq!(Task::from_item(item.clone()).unwrap(), plain);
    assert_eq!(Task::salvaged(item).unwrap(), plain);
}
