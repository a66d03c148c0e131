use serde_json::json;

use super::*;

fn record() -> Value {
    json!({
        "eventName": "INSERT",
        "version": 5,
        "tags": ["red", "blue"],
        "none": [],
        "nothing": null,
        "empty": "",
        "on": true,
        "dynamodb": {
            "SizeBytes": 112,
            "Keys": { "id": { "S": "t-1" } },
            "NewImage": { "status": { "S": "PENDING" }, "attempt": { "N": "0" } },
        },
    })
}

#[test]
fn patterns_match_as_lambda_documents_them() {
    let cases = [
        // Exact values, and several fields as AND.
        (r#"{}"#, true),
        (r#"{"eventName": ["INSERT"]}"#, true),
        (r#"{"eventName": ["insert"]}"#, false),
        (r#"{"eventName": ["MODIFY", "INSERT"]}"#, true),
        (r#"{"version": [5.0]}"#, true),
        (r#"{"version": ["5"]}"#, false),
        (r#"{"on": [true]}"#, true),
        (r#"{"on": [false]}"#, false),
        (r#"{"eventName": ["INSERT"], "on": [false]}"#, false),
        (r#"{"missing": ["x"]}"#, false),
        // Null and empty.
        (r#"{"nothing": [null]}"#, true),
        (r#"{"missing": [null]}"#, false),
        (r#"{"empty": [""]}"#, true),
        // Nesting.
        (r#"{"dynamodb": {"NewImage": {"status": {"S": ["PENDING"]}}}}"#, true),
        (r#"{"dynamodb": {"NewImage": {"status": {"S": ["DONE"]}}}}"#, false),
        (r#"{"dynamodb": {"OldImage": {"status": {"S": ["PENDING"]}}}}"#, false),
        (r#"{"eventName": {"deeper": ["INSERT"]}}"#, false),
        // A list in the record matches by any of its elements.
        (r#"{"tags": ["blue"]}"#, true),
        (r#"{"tags": ["green"]}"#, false),
        // Prefix.
        (r#"{"eventName": [{"prefix": "INS"}]}"#, true),
        (r#"{"eventName": [{"prefix": "SERT"}]}"#, false),
        (r#"{"version": [{"prefix": "5"}]}"#, false),
        // Anything-but needs a value to differ from.
        (r#"{"eventName": [{"anything-but": "REMOVE"}]}"#, true),
        (r#"{"eventName": [{"anything-but": ["REMOVE", "INSERT"]}]}"#, false),
        (r#"{"version": [{"anything-but": 5}]}"#, false),
        (r#"{"missing": [{"anything-but": "x"}]}"#, false),
        // Numbers; DynamoDB's are text.
        (r#"{"version": [{"numeric": ["=", 5]}]}"#, true),
        (r#"{"version": [{"numeric": [">", 0, "<=", 5]}]}"#, true),
        (r#"{"version": [{"numeric": [">", 5]}]}"#, false),
        (r#"{"version": [{"numeric": [">=", 5, "<", 6]}]}"#, true),
        (r#"{"dynamodb": {"SizeBytes": [{"numeric": ["<", 200]}]}}"#, true),
        (r#"{"dynamodb": {"NewImage": {"attempt": {"N": [{"numeric": ["=", 0]}]}}}}"#, false),
        (r#"{"dynamodb": {"NewImage": {"attempt": {"N": ["0"]}}}}"#, true),
        // Exists, on leaves only.
        (r#"{"on": [{"exists": true}]}"#, true),
        (r#"{"on": [{"exists": false}]}"#, false),
        (r#"{"nothing": [{"exists": true}]}"#, true),
        (r#"{"missing": [{"exists": true}]}"#, false),
        (r#"{"missing": [{"exists": false}]}"#, true),
        (r#"{"none": [{"exists": true}]}"#, false),
        (r#"{"dynamodb": [{"exists": true}]}"#, false),
        (r#"{"dynamodb": {"NewImage": {"flag": {"S": [{"exists": false}]}}}}"#, true),
        (r#"{"dynamodb": {"OldImage": {"status": {"S": [{"exists": false}]}}}}"#, true),
        (r#"{"dynamodb": {"NewImage": {"status": {"S": [{"exists": false}, "PENDING"]}}}}"#, true),
    ];
    for (pattern, expected) in cases {
        let parsed: FilterPattern = pattern.parse().unwrap();
        assert_eq!(parsed.matches(&record()), expected, "{pattern}");
    }
}

#[test]
fn several_patterns_are_alternatives_and_none_lets_everything_through() {
    let parse = |text: &str| text.parse::<FilterPattern>().unwrap();
    let insert = parse(r#"{"eventName": ["INSERT"]}"#);
    let remove = parse(r#"{"eventName": ["REMOVE"]}"#);
    assert!(passes(&[remove.clone(), insert], &record()));
    assert!(!passes(&[remove], &record()));
    assert!(passes(&[], &record()));
}

#[test]
fn a_pattern_that_could_never_match_is_refused() {
    let cases = [
        "",
        "[]",
        r#"{"a": "bare"}"#,
        r#"{"a": []}"#,
        r#"{"a": [["nested"]]}"#,
        r#"{"a": [{"suffix": "x"}]}"#,
        r#"{"a": [{"exists": "yes"}]}"#,
        r#"{"a": [{"prefix": 1}]}"#,
        r#"{"a": [{}]}"#,
        r#"{"a": [{"exists": true, "prefix": "x"}]}"#,
        r#"{"a": [{"numeric": []}]}"#,
        r#"{"a": [{"numeric": ["="]}]}"#,
        r#"{"a": [{"numeric": ["!", 1]}]}"#,
        r#"{"a": [{"numeric": ["<", "1"]}]}"#,
    ];
    for pattern in cases {
        assert!(pattern.parse::<FilterPattern>().is_err(), "{pattern}");
    }
    let refused = r#"{"a": {"b": "bare"}}"#.parse::<FilterPattern>();
    assert!(refused.unwrap_err().to_string().contains("`/a/b`"));
}
