//! Records that should never have been written.

use serde_json::{Value, json};
use stageline_tests::system::id;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let malformed = |what, record, words| Case::new(what, record, "RECORD_MALFORMED", words);
    let with = |name: &str, value: Value| {
        let mut record = json!({"command": "true"});
        record[name] = value;
        record
    };
    let own = id("hostile");
    let deep = format!("{}1{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000));
    vec![
        Case::new("nothing but an id", json!({}), "COMMAND_INVALID", "needs `command`"),
        Case::new(
            "an `id` that climbs: `../../ID`",
            json!({"id": format!("../../{own}"), "command": "true"}),
            "ID_INVALID",
            "starts with a dot",
        ),
        Case::new(
            "an `id` of 2,000 bytes",
            json!({"id": own.repeat(60)[..2_000], "command": "true"}),
            "ID_INVALID",
            "longer than 128 bytes",
        ),
        Case::new("an engine that is none", json!({"engine": "lamps"}), "ENGINE_UNKNOWN", "use one of"),
        Case::new(
            "an engine with a name of 200 KB",
            json!({"engine": "x".repeat(200_000)}),
            "RECORD_TOO_LARGE",
            "`engine`",
        ),
        malformed("a number as `command`", with("command", json!(17)), "attribute `command`"),
        malformed(
            "numbers as texts: `\"timeoutSeconds\": \"5\"`",
            with("timeoutSeconds", json!("5")),
            "attribute `timeoutSeconds`",
        ),
        malformed("`timeoutSeconds` 0", with("timeoutSeconds", json!(0)), "0 is not 1 to"),
        malformed("`timeoutSeconds` -1", with("timeoutSeconds", json!(-1)), "attribute `timeoutSeconds`"),
        malformed(
            "`timeoutSeconds` of a billion years",
            with("timeoutSeconds", json!(31_622_400_000_000_000_u64)),
            "attribute `timeoutSeconds`",
        ),
        malformed(
            "`timeoutSeconds` 1e100",
            with("timeoutSeconds", json!(1e100)),
            "attribute `timeoutSeconds`",
        ),
        malformed(
            "`softTimeoutSeconds` beyond `timeoutSeconds`",
            json!({"command": "true", "timeoutSeconds": 5, "softTimeoutSeconds": 6}),
            "attribute `softTimeoutSeconds`",
        ),
        malformed("`resources.cpus` -1", with("resources", json!({"cpus": -1})), "attribute `resources"),
        malformed(
            "`resources.cpus` of four billion",
            with("resources", json!({"cpus": 4_000_000_000_u32})),
            "attribute `resources",
        ),
        malformed(
            "`resources.memoryMb` 0",
            with("resources", json!({"memoryMb": 0})),
            "attribute `resources",
        ),
        malformed("`resources` as a text", with("resources", json!("all of them")), "attribute `resources`"),
        Case::new(
            "a graphics processor that the worker has not got",
            with("resources", json!({"gpus": 1})),
            "RESOURCES_UNAVAILABLE",
            "gpus",
        ),
        malformed("a `priority` that is none", with("priority", json!("SOON")), "attribute `priority`"),
        malformed("`priority` 21", with("priority", json!(21)), "attribute `priority`"),
        Case::new(
            "a `target` with `/../`",
            with("target", json!("default/../default")),
            "TARGET_UNROUTABLE",
            "default/../default",
        ),
        Case::new(
            "a `target` that nobody takes",
            with("target", json!("nowhere/at/all")),
            "TARGET_UNROUTABLE",
            "nowhere/at/all",
        ),
        malformed(
            "a `notBefore` that is no time",
            with("notBefore", json!("tomorrow")),
            "attribute `notBefore`",
        ),
        malformed(
            "a `retry` of four billion and one attempts",
            with("retry", json!({"maxRetries": 4_294_967_297_u64})),
            "attribute `retry",
        ),
        malformed("`params` nested 1,000 deep, as text", with("params", json!(deep)), "attribute `params`"),
        malformed("`params` as a list", with("params", json!([1])), "attribute `params`"),
        Case::new(
            "`params` of 300 KB",
            with("params", json!({"x": "x".repeat(300_000)})),
            "RECORD_TOO_LARGE",
            "`params`",
        ),
        Case::new(
            "a `command` of 100 KB",
            json!({"command": format!("true {}", "x".repeat(100_000))}),
            "RECORD_TOO_LARGE",
            "`command`",
        ),
        Case::new(
            "a thousand `inputs`",
            with("inputs", json!(vec!["a"; 1_000])),
            "RECORD_TOO_LARGE",
            "`inputs`",
        ),
        malformed("`dependsOn` with a number", with("dependsOn", json!([1])), "attribute `dependsOn"),
        Case::new(
            "`dependsOn` itself",
            json!({"id": own, "command": "true", "dependsOn": [own]}),
            "COMPLETED",
            "exitCode",
        ),
        Case::new(
            "nulls for every attribute that is not needed",
            json!({"command": "true", "engine": null, "params": null, "inputs": null, "target": null, "priority": null, "timeoutSeconds": null, "resources": null}),
            "COMPLETED",
            "exitCode",
        ),
        Case::new(
            "an `attempt`, a `result` and a `workerNodeId` made up",
            json!({"command": "true", "attempt": 5, "result": {"made": "up"}, "workerNodeId": "me"}),
            "COMPLETED",
            "exitCode",
        ),
    ]
}
