//! Which shards of a stream to read, and when: a shard follows its parent.

use std::collections::HashMap;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::DisplayErrorContext;

use super::PumpError;

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub id: String,
    pub parent: Option<String>,
}

/// How far a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Reading,
    Done,
}

/// The listed shards that may be read now: not begun, and with no parent that has still to be read.
pub(crate) fn due<'a>(listed: &'a [Shard], begun: &HashMap<String, Progress>) -> Vec<&'a Shard> {
    let open =
        |id: &String| listed.iter().any(|shard| shard.id == *id) && begun.get(id) != Some(&Progress::Done);
    listed
        .iter()
        .filter(|shard| !begun.contains_key(&shard.id))
        .filter(|shard| !shard.parent.as_ref().is_some_and(open))
        .collect()
}

/// The ARN of a table's stream; the latest one where several are kept.
pub(crate) async fn stream_of(client: &Client, table: &str) -> Result<String, PumpError> {
    let failed = |error: String| PumpError::new("ListStreams", error);
    let listed = client.list_streams().table_name(table).send().await;
    let listed = listed.map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
    let streams = listed.streams().iter();
    streams
        .max_by_key(|stream| stream.stream_label().unwrap_or_default())
        .and_then(|stream| stream.stream_arn())
        .map(str::to_owned)
        .ok_or_else(|| failed(format!("table {table} has no stream")))
}

/// Every shard of a stream.
pub(crate) async fn list(client: &Client, stream: &str) -> Result<Vec<Shard>, PumpError> {
    let mut shards = Vec::new();
    let mut after = None;
    loop {
        let request = client.describe_stream().stream_arn(stream);
        let answer = request.set_exclusive_start_shard_id(after).send().await;
        let answer = answer.map_err(|error| PumpError::new("DescribeStream", DisplayErrorContext(error)))?;
        let Some(description) = answer.stream_description else {
            return Ok(shards);
        };
        shards.extend(description.shards().iter().map(|shard| Shard {
            id: shard.shard_id().unwrap_or_default().to_owned(),
            parent: shard.parent_shard_id().map(str::to_owned),
        }));
        after = description.last_evaluated_shard_id;
        if after.is_none() {
            return Ok(shards);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parent: Option<&str>) -> Shard {
        Shard { id: id.to_owned(), parent: parent.map(str::to_owned) }
    }

    #[test]
    fn a_shard_is_read_after_its_parent() {
        let listed = [shard("a", Some("trimmed")), shard("b", Some("a")), shard("c", None)];
        let ids = |begun: &[(&str, Progress)]| -> Vec<String> {
            let begun = begun.iter().map(|(id, p)| ((*id).to_owned(), *p)).collect();
            due(&listed, &begun).iter().map(|s| s.id.clone()).collect()
        };
        assert_eq!(ids(&[]), ["a", "c"]);
        assert_eq!(ids(&[("a", Progress::Reading), ("c", Progress::Reading)]), [""; 0]);
        assert_eq!(ids(&[("a", Progress::Done), ("c", Progress::Reading)]), ["b"]);
        assert_eq!(ids(&[("a", Progress::Done), ("b", Progress::Done), ("c", Progress::Done)]), [""; 0]);
    }
}
