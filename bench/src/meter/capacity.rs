//! DynamoDB's units: asked for in each request and read from each answer.
//!
//! The embedded DynamoDB and ministack report `ConsumedCapacity` with the indexes' part. What an answer does not
//! report is computed by AWS's rule: a write costs the larger of the item before and after, in whole KB, and a
//! refused condition costs as much as the item that refused it, at least one unit. A batch of statements reports its
//! refused ones, unless all are.

use serde_json::Value;

use super::tally::Count;

const READS: [&str; 5] = ["GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"];
const WRITES: [&str; 5] = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];
const STATEMENTS: [&str; 3] = ["ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"];
const WRITE_UNIT_BYTES: usize = 1024;

/// Whether `operation` reads or writes, by its name or its first statement; none for what costs no units.
fn is_write(operation: &str, request: &Value) -> Option<bool> {
    if READS.contains(&operation) {
        return Some(false);
    }
    if WRITES.contains(&operation) {
        return Some(true);
    }
    if !STATEMENTS.contains(&operation) {
        return None;
    }
    let lists = ["Statements", "TransactStatements"];
    let first = lists.iter().find_map(|list| request.get(list)?.get(0)?.get("Statement"));
    let statement = first.or_else(|| request.get("Statement")).and_then(Value::as_str).unwrap_or_default();
    Some(!statement.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select")))
}

/// The table that a request speaks of, without its deployment's prefix; of a batch the first.
pub(super) fn table(request: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(request).ok()?;
    let first = || request["RequestItems"].as_object()?.keys().next().cloned();
    let statement = || {
        let text = request["Statements"][0]["Statement"].as_str().or(request["Statement"].as_str())?;
        // `UPDATE "table" SET …`
        text.split('"').nth(1).map(str::to_owned)
    };
    let name = request["TableName"].as_str().map(str::to_owned).or_else(first).or_else(statement)?;
    Some(name.rsplit_once('-').map_or(name.as_str(), |(_, last)| last).to_owned())
}

/// The request with the wish to be told its cost, if it has one; none when it stays as it is.
pub(super) fn asking(operation: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    is_write(operation, &request)?;
    request.as_object_mut()?.insert("ReturnConsumedCapacity".to_owned(), "INDEXES".into());
    serde_json::to_vec(&request).ok()
}

/// What a request cost, by its answer.
pub(super) fn units(operation: &str, request: &[u8], answer: &[u8]) -> Count {
    let request = serde_json::from_slice(request).unwrap_or(Value::Null);
    let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let mut count = Count { requests: 1.0, ..Count::default() };
    let Some(is_write) = is_write(operation, &request) else { return count };
    let reported = match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    };
    if is_write {
        count.write_units = reported + refused(&answer);
    } else {
        count.read_units = reported;
    }
    count
}

/// The units of conditions that were not fulfilled, where the answer does not report them.
fn refused(answer: &Value) -> f64 {
    let kind = answer["__type"].as_str().unwrap_or_default();
    if kind.ends_with("ConditionalCheckFailedException") {
        return write_units(&answer["Item"]);
    }
    let unreported = answer["Responses"].as_array().filter(|_| answer["ConsumedCapacity"].is_null());
    let responses = unreported.map(Vec::as_slice).unwrap_or_default();
    let failed = responses.iter().filter(|response| response["Error"]["Code"] == "ConditionalCheckFailed");
    failed
        .map(|response| {
            write_units(if response["Item"].is_null() {
                &response["Error"]["Item"]
            } else {
                &response["Item"]
            })
        })
        .sum()
}

fn write_units(item: &Value) -> f64 {
    let bytes: usize =
        item.as_object().into_iter().flatten().map(|(name, value)| name.len() + size(value)).sum();
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

/// The size of one typed value, by the rules of the developer guide: a number takes a byte for two digits and
/// one more, a list or map three and one an element.
fn size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S" | "B", Value::String(text)) => text.len(),
        ("N", Value::String(digits)) => digits.len().div_ceil(2) + 1,
        ("L", Value::Array(values)) => 3 + values.iter().map(|value| size(value) + 1).sum::<usize>(),
        ("M", Value::Object(values)) => {
            3 + values.iter().map(|(name, value)| name.len() + size(value) + 1).sum::<usize>()
        }
        ("SS" | "NS" | "BS", Value::Array(values)) => {
            values.iter().filter_map(Value::as_str).map(str::len).sum()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn counted(operation: &str, request: Value, answer: Value) -> (f64, f64) {
        let count = units(operation, request.to_string().as_bytes(), answer.to_string().as_bytes());
        assert_eq!(count.requests, 1.0);
        (count.read_units, count.write_units)
    }

    #[test]
    fn units_are_as_reported_and_by_the_kind_of_call() {
        let one = json!({"ConsumedCapacity": {"CapacityUnits": 2.0}});
        let two = json!({"ConsumedCapacity": [{"CapacityUnits": 1.5}, {"CapacityUnits": 1.0}]});
        let select = json!({"Statements": [{"Statement": " SELECT * FROM t"}]});
        let update = json!({"Statements": [{"Statement": "UPDATE t SET a=1"}]});
        for (operation, request, answer, expected) in [
            ("PutItem", json!({}), &one, (0.0, 2.0)),
            ("Query", json!({}), &one, (2.0, 0.0)),
            ("BatchExecuteStatement", select, &two, (2.5, 0.0)),
            ("BatchExecuteStatement", update, &two, (0.0, 2.5)),
            ("SendMessageBatch", json!({}), &one, (0.0, 0.0)),
        ] {
            assert_eq!(counted(operation, request, answer.clone()), expected, "{operation}");
        }
    }

    #[test]
    fn a_refused_condition_costs_the_item_that_refused_it() {
        let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
        let large = json!({"__type": kind, "Item": {"id": {"S": "x"}, "text": {"S": "y".repeat(1100)}}});
        assert_eq!(counted("UpdateItem", json!({}), large), (0.0, 2.0));
        assert_eq!(counted("UpdateItem", json!({}), json!({"__type": kind})), (0.0, 1.0));
        let refused = json!({"Error": {"Code": "ConditionalCheckFailed"}, "Item": {"id": {"S": "x"}}});
        let mixed =
            json!({"ConsumedCapacity": [{"CapacityUnits": 2.0}], "Responses": [{"Item": {}}, refused]});
        assert_eq!(counted("BatchExecuteStatement", json!({}), mixed), (0.0, 2.0));
        let all = json!({"Responses": [refused, refused]});
        assert_eq!(counted("BatchExecuteStatement", json!({}), all), (0.0, 2.0));
    }

    #[test]
    fn a_call_is_told_by_its_table() {
        for (request, expected) in [
            (json!({"TableName": "x-tasks"}), Some("tasks")),
            (json!({"RequestItems": {"x-stages": []}}), Some("stages")),
            (json!({"Statements": [{"Statement": "UPDATE \"x-control\" SET a=1"}]}), Some("control")),
            (json!({}), None),
        ] {
            assert_eq!(table(request.to_string().as_bytes()).as_deref(), expected, "{request}");
        }
    }

    #[test]
    fn only_what_costs_units_is_asked_for_them() {
        let asked: Value = serde_json::from_slice(&asking("UpdateItem", b"{\"a\":1}").unwrap()).unwrap();
        assert_eq!(asked, json!({"a": 1, "ReturnConsumedCapacity": "INDEXES"}));
        assert_eq!(asking("DescribeTable", b"{}"), None);
    }
}
