//! What the faulty function does to calls, without a pump.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::event::streams::DynamoDbBatchItemFailure;
use futures::FutureExt as _;
use serde_json::json;

use super::*;

/// Remembers the sequence numbers of each call, and lists those records as failed that it is told to.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<Vec<String>>>,
    failing: Vec<String>,
}

#[async_trait]
impl StreamFunction for Recorder {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        let seen: Vec<String> = event.records.iter().map(sequence).collect();
        let mut response = DynamoDbEventResponse::default();
        for failing in seen.iter().filter(|sequence| self.failing.contains(sequence)) {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = Some(failing.clone());
            response.batch_item_failures.push(failure);
        }
        self.calls.lock().unwrap().push(seen);
        Ok(response)
    }
}

fn sequence(record: &EventRecord) -> String {
    record.change.sequence_number.clone().unwrap()
}

/// A call with ten records of its own.
fn event(call: usize) -> Event {
    let mut event = Event::default();
    event.records = (0..10)
        .map(|n| {
            serde_json::from_value(json!({
                "eventID": "e", "eventName": "INSERT", "awsRegion": "r",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_700_000_000.0, "SizeBytes": 1,
                    "Keys": {"id": {"S": "t"}}, "NewImage": {"id": {"S": "t"}},
                    "SequenceNumber": format!("{call}-{n}"),
                },
            }))
            .unwrap()
        })
        .collect();
    event
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Ok(Vec<String>),
    Error,
    Panic,
}

async fn invoke(function: &FaultyFunction, call: usize) -> Answer {
    match AssertUnwindSafe(function.invoke(event(call))).catch_unwind().await {
        Ok(Ok(response)) => {
            let failures = response.batch_item_failures.into_iter();
            Answer::Ok(failures.filter_map(|failure| failure.item_identifier).collect())
        }
        Ok(Err(_)) => Answer::Error,
        Err(_) => Answer::Panic,
    }
}

/// Fifty calls by a plan: what the function saw, what the pump got, and the counts.
async fn run(plan: StreamPlan) -> (Vec<Vec<String>>, Vec<Answer>, StreamCounts) {
    let recorder = Arc::new(Recorder::default());
    let function = FaultyFunction::new(recorder.clone(), plan);
    let mut answers = Vec::new();
    for call in 0..50 {
        answers.push(invoke(&function, call).await);
    }
    let calls = recorder.calls.lock().unwrap().clone();
    (calls, answers, function.counts())
}

fn every_record() -> Vec<String> {
    (0..50).flat_map(|call| event(call).records.iter().map(sequence).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn the_same_seed_does_the_same_to_the_same_calls() {
    let plan = |seed| StreamPlan { seed, drop: 0.1, duplicate: 0.1, reorder: 0.3, fail: 0.1, panic: 0.1 };
    assert_eq!(run(plan(3)).await, run(plan(3)).await);
    assert_ne!(run(plan(3)).await, run(plan(4)).await);
}

#[tokio::test]
async fn without_faults_every_call_arrives_as_it_is() {
    let (calls, answers, counts) = run(StreamPlan::none()).await;
    assert_eq!(calls.concat(), every_record());
    assert!(answers.iter().all(|answer| *answer == Answer::Ok(vec![])));
    assert_eq!(counts, StreamCounts { calls: 50, ..StreamCounts::default() });
}

#[tokio::test]
async fn dropping_everything_acknowledges_everything_and_shows_nothing() {
    let (calls, answers, counts) = run(StreamPlan::drop_everything()).await;
    assert_eq!(calls, Vec::<Vec<String>>::new(), "not even an empty call");
    assert!(answers.iter().all(|answer| *answer == Answer::Ok(vec![])));
    assert_eq!(counts.dropped, 500);
}

#[tokio::test]
async fn copies_and_disorder_lose_no_record_and_invent_none() {
    let plan = StreamPlan { seed: 1, duplicate: 0.2, reorder: 0.5, ..StreamPlan::none() };
    let (calls, _, counts) = run(plan).await;
    let mut times = BTreeMap::<String, u64>::new();
    let mut later = 0;
    for (number, call) in calls.iter().enumerate() {
        for sequence in call {
            *times.entry(sequence.clone()).or_default() += 1;
            later += usize::from(!sequence.starts_with(&format!("{number}-")));
        }
    }
    assert_eq!(times.keys().count(), 500);
    assert!(every_record().iter().all(|sequence| (1..=2).contains(&times[sequence])));
    assert_eq!(times.values().sum::<u64>(), 500 + counts.duplicated);
    assert!(later > 0 && (later as u64) < counts.duplicated, "copies in the same call and in a later one");
    assert!(counts.reordered > 0 && calls.iter().any(|call| !call.is_sorted()));
}

#[tokio::test]
async fn what_is_dropped_is_counted_and_the_rest_arrives_in_order() {
    let (calls, _, counts) = run(StreamPlan { seed: 1, drop: 0.2, ..StreamPlan::none() }).await;
    let seen = calls.concat();
    assert_eq!(seen.len() as u64, 500 - counts.dropped);
    assert!(counts.dropped > 0);
    let expected: Vec<String> = every_record().into_iter().filter(|record| seen.contains(record)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn failing_calls_fail_before_the_function_or_after_it() {
    let (calls, answers, counts) =
        run(StreamPlan { seed: 1, fail: 0.3, panic: 0.3, ..StreamPlan::none() }).await;
    let count = |wanted: &Answer| answers.iter().filter(|answer| *answer == wanted).count() as u64;
    assert_eq!((count(&Answer::Error), count(&Answer::Panic)), (counts.failed, counts.panicked));
    assert!(counts.failed > 0 && counts.panicked > 0);
    let succeeded = count(&Answer::Ok(vec![]));
    assert!((calls.len() as u64) > succeeded, "some failed after the function");
    assert!(calls.len() < 50, "some failed before it");
}

#[tokio::test]
async fn the_functions_own_failures_are_answered_but_not_those_of_earlier_copies() {
    let recorder = Recorder { failing: vec!["0-4".to_owned(), "1-2".to_owned()], ..Recorder::default() };
    let recorder = Arc::new(recorder);
    let plan = StreamPlan { seed: 1, duplicate: 1.0, ..StreamPlan::none() };
    let function = FaultyFunction::new(recorder.clone(), plan);
    let first = invoke(&function, 0).await;
    assert!(matches!(&first, Answer::Ok(failures) if failures.contains(&"0-4".to_owned())), "{first:?}");
    function.set_plan(StreamPlan::none());
    // Make sure that the copy of interest is one that came later.
    function.state().later = event(0).records;
    assert_eq!(invoke(&function, 1).await, Answer::Ok(vec!["1-2".to_owned()]));
    assert!(recorder.calls.lock().unwrap()[1].contains(&"0-4".to_owned()));
}
