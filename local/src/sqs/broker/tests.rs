use super::*;
use crate::sqs::queue::Depth;

const START: Millis = Millis(1_000_000);

fn draft(body: &str) -> Draft {
    Draft { body: body.to_owned(), ..Draft::default() }
}

fn policy(max_receive_count: u32) -> AttributeMap {
    let policy =
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{max_receive_count}}}"#, queue_arn("dead"));
    AttributeMap::from([("RedrivePolicy".to_owned(), policy)])
}

fn with_dead_letters(max_receive_count: u32) -> Broker {
    let mut broker = Broker::default();
    broker.create(START, "dead", &AttributeMap::new(), 1).unwrap();
    broker.create(START, "work", &policy(max_receive_count), 2).unwrap();
    broker
}

fn depth(broker: &mut Broker, name: &str) -> Depth {
    broker.named(name).unwrap().queue.depth(START)
}

#[test]
fn the_same_name_again_is_the_same_queue() {
    let mut broker = with_dead_letters(3);
    broker.send(START, "work", draft("a"), None, "1".to_owned()).unwrap();
    broker.create(START, "work", &policy(3), 9).unwrap();
    broker.create(START, "work", &AttributeMap::new(), 9).unwrap();
    assert_eq!(depth(&mut broker, "work").visible, 1);
    assert_eq!(broker.create(START, "work", &policy(4), 9), Err(SqsError::QueueNameExists("RedrivePolicy")));
}

#[test]
fn names_that_aws_refuses_are_refused() {
    let long = "x".repeat(81);
    for name in ["", "a b", "a.fifo", &long] {
        let refused = Broker::default().create(START, name, &AttributeMap::new(), 1);
        assert!(refused.is_err(), "{name:?}");
    }
}

#[test]
fn a_redrive_policy_must_name_an_existing_queue() {
    let mut broker = Broker::default();
    assert!(broker.create(START, "work", &policy(3), 1).is_err());
    broker.create(START, "work", &AttributeMap::new(), 1).unwrap();
    assert!(broker.configure(START, "work", &policy(3)).is_err());
    let settings = &broker.named("work").unwrap().queue.settings;
    assert_eq!(settings.redrive, None);
}

#[test]
fn a_message_received_too_often_moves_to_the_dead_letter_queue_with_its_source() {
    let mut broker = with_dead_letters(2);
    broker.send(START, "work", draft("a"), None, "1".to_owned()).unwrap();
    let zero = Some(Duration::ZERO);
    for _ in 0..2 {
        let taken = broker.receive(START, "work", 1, zero).unwrap();
        assert_eq!(taken.deliveries.len(), 1);
        assert!(!taken.gave_up);
    }
    let taken = broker.receive(START, "work", 1, zero).unwrap();
    assert!(taken.deliveries.is_empty() && taken.gave_up);
    let dead = broker.receive(START, "dead", 1, None).unwrap().deliveries;
    let message = &dead[0].message;
    assert_eq!(message.id, "1");
    assert_eq!(message.dead_letter_source, Some(queue_arn("work")));
}

#[test]
fn nothing_is_given_up_while_the_dead_letter_queue_is_missing() {
    let mut broker = with_dead_letters(1);
    broker.send(START, "work", draft("a"), None, "1".to_owned()).unwrap();
    broker.delete("dead").unwrap();
    for _ in 0..3 {
        let taken = broker.receive(START, "work", 1, Some(Duration::ZERO));
        assert_eq!(taken.unwrap().deliveries.len(), 1);
    }
}

#[test]
fn a_message_waits_for_its_own_delay_or_else_the_queues() {
    let mut broker = Broker::default();
    let delay = AttributeMap::from([("DelaySeconds".to_owned(), "60".to_owned())]);
    broker.create(START, "slow", &delay, 1).unwrap();
    let mut send = |body: &str, own| broker.send(START, "slow", draft(body), own, body.to_owned());
    send("queue's", None).unwrap();
    send("none", Some(0)).unwrap();
    assert!(send("too long", Some(901)).is_err());
    assert!(send("negative", Some(-1)).is_err());
    let now = broker.receive(START, "slow", 10, None).unwrap();
    assert_eq!(now.deliveries.len(), 1);
    assert_eq!(now.deliveries[0].message.id, "none");
    let later = START + Duration::from_secs(60);
    let then = broker.receive(later, "slow", 10, None).unwrap();
    assert!(then.deliveries.iter().any(|d| d.message.id == "queue's"));
}

#[test]
fn messages_that_aws_refuses_are_refused() {
    let mut broker = Broker::default();
    broker.create(START, "q", &AttributeMap::new(), 1).unwrap();
    let mut send = |body: &str| broker.send(START, "q", draft(body), None, "1".to_owned());
    assert_eq!(send(""), Err(SqsError::MissingParameter("MessageBody")));
    assert_eq!(send("bell \u{7}"), Err(SqsError::InvalidMessageContents));
    assert!(send(&"x".repeat(1_048_577)).is_err());
    assert!(send(&"x".repeat(1_048_576)).is_ok());
}
