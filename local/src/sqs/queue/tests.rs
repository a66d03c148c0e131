use super::*;
use crate::sqs::message::Draft;

const START: Millis = Millis(1_000_000);
const VISIBILITY: Duration = Duration::from_secs(30);

fn after(seconds: u64) -> Millis {
    START + Duration::from_secs(seconds)
}

fn message(body: &str) -> Message {
    Message {
        id: body.to_owned(),
        draft: Draft { body: body.to_owned(), ..Draft::default() },
        sent_at: START,
        first_received_at: None,
        receives: 0,
        dead_letter_source: None,
    }
}

fn queue(bodies: &[&str]) -> Queue {
    let mut queue = Queue::new(Settings::default(), 7);
    for body in bodies {
        queue.put(message(body), START);
    }
    queue
}

impl Queue {
    fn find_receipt(&self, id: &str) -> Receipt {
        let of = |(sequence, kept): (&u64, &Kept)| Receipt {
            incarnation: self.incarnation,
            sequence: *sequence,
            receive: kept.message.receives,
        };
        let mut all = self.messages.iter();
        all.find(|(_, kept)| kept.message.id == id).map(of).unwrap()
    }
}

fn receive(queue: &mut Queue, now: Millis, max: usize) -> Vec<Delivery> {
    queue.receive(now, max, VISIBILITY, None).delivered
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|d| d.message.draft.body.as_str()).collect()
}

#[test]
fn messages_come_in_the_order_of_sending_and_at_most_as_many_as_asked() {
    let mut queue = queue(&["a", "b", "c"]);
    assert_eq!(bodies(&receive(&mut queue, START, 2)), ["a", "b"]);
    assert_eq!(bodies(&receive(&mut queue, START, 2)), ["c"]);
    assert_eq!(bodies(&receive(&mut queue, START, 2)), [""; 0]);
}

#[test]
fn a_message_not_deleted_comes_back_after_its_visibility_timeout() {
    let mut queue = queue(&["a"]);
    let first = receive(&mut queue, START, 1);
    assert_eq!(first[0].message.receives, 1);
    assert_eq!(receive(&mut queue, Millis(after(30).0 - 1), 1), []);
    let again = receive(&mut queue, after(30), 1);
    assert_eq!(again[0].message.receives, 2);
    assert_eq!(again[0].message.first_received_at, Some(START));
}

#[test]
fn a_deleted_message_never_comes_back() {
    let mut queue = queue(&["a"]);
    let first = receive(&mut queue, START, 1);
    queue.delete(&first[0].receipt);
    assert_eq!(receive(&mut queue, after(3600), 1), []);
    assert_eq!(queue.depth(after(3600)), Depth::default());
}

#[test]
fn a_stale_receipt_deletes_nothing() {
    let mut queue = queue(&["a"]);
    let first = receive(&mut queue, START, 1);
    let second = receive(&mut queue, after(31), 1);
    queue.delete(&first[0].receipt);
    assert_eq!(queue.depth(after(31)).in_flight, 1);
    queue.delete(&second[0].receipt);
    assert_eq!(queue.depth(after(31)), Depth::default());
}

#[test]
fn a_receipt_of_an_earlier_queue_of_the_same_name_touches_nothing() {
    let mut before = queue(&["a"]);
    let receipt = receive(&mut before, START, 1)[0].receipt;
    let mut queue = Queue::new(Settings::default(), 8);
    queue.put(message("b"), START);
    receive(&mut queue, START, 1);
    queue.delete(&receipt);
    assert_eq!(queue.depth(START).in_flight, 1);
    assert!(queue.change_visibility(START, &receipt, Duration::ZERO).is_err());
}

#[test]
fn a_visibility_of_zero_gives_the_message_once_a_receive() {
    let mut queue = queue(&["a", "b"]);
    let taken = queue.receive(START, 10, Duration::ZERO, None);
    assert_eq!(bodies(&taken.delivered), ["a", "b"]);
    assert_eq!(receive(&mut queue, START, 10).len(), 2);
}

#[test]
fn changing_visibility_releases_or_holds_a_message_from_now() {
    let mut queue = queue(&["a"]);
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    queue.change_visibility(after(20), &receipt, Duration::from_secs(60)).unwrap();
    assert_eq!(receive(&mut queue, after(79), 1), []);
    queue.change_visibility(after(79), &receipt, Duration::ZERO).unwrap();
    assert_eq!(receive(&mut queue, after(79), 1).len(), 1);
}

#[test]
fn visibility_changes_only_for_the_present_holder() {
    let mut queue = queue(&["a"]);
    let stale = receive(&mut queue, START, 1)[0].receipt;
    assert_eq!(queue.change_visibility(after(30), &stale, VISIBILITY), Err(SqsError::MessageNotInflight));
    let current = receive(&mut queue, after(30), 1)[0].receipt;
    let refused = queue.change_visibility(after(31), &stale, VISIBILITY);
    assert!(matches!(refused, Err(SqsError::InvalidParameterValue { .. })));
    queue.delete(&current);
    let refused = queue.change_visibility(after(31), &current, VISIBILITY);
    assert!(matches!(refused, Err(SqsError::InvalidParameterValue { .. })));
}

#[test]
fn a_message_is_held_no_longer_than_twelve_hours_after_a_receive() {
    let mut queue = queue(&["a"]);
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    assert!(queue.change_visibility(after(1), &receipt, MAX_VISIBILITY).is_err());
    assert!(queue.change_visibility(START, &receipt, MAX_VISIBILITY).is_ok());
}

#[test]
fn the_next_due_moment_is_that_of_the_first_hidden_message() {
    let mut queue = queue(&["a"]);
    queue.put(message("later"), after(60));
    assert_eq!(queue.next_due(START), Some(after(60)));
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    assert_eq!(queue.next_due(START), Some(after(30)));
    queue.delete(&receipt);
    assert_eq!(queue.next_due(START), Some(after(60)));
    assert_eq!(queue.next_due(after(60)), None);
}

#[test]
fn depth_tells_visible_delayed_and_in_flight_apart() {
    let mut queue = queue(&["a", "b"]);
    queue.put(message("later"), after(60));
    receive(&mut queue, START, 1);
    let expected = Depth { visible: 1, in_flight: 1, delayed: 1 };
    assert_eq!(queue.depth(START), expected);
    assert_eq!(queue.depth(after(60)).visible, 3);
}

#[test]
fn a_message_received_too_often_is_given_up_instead_of_delivered() {
    let mut queue = queue(&["poison", "good"]);
    let hold = Duration::from_secs(60);
    assert_eq!(queue.receive(START, 2, hold, Some(2)).delivered.len(), 2);
    // Released by its holder and taken again, which is its second and last time.
    let poison = queue.find_receipt("poison");
    queue.change_visibility(START, &poison, Duration::ZERO).unwrap();
    let again = queue.receive(START, 2, hold, Some(2));
    assert_eq!(bodies(&again.delivered), ["poison"]);
    let taken = queue.receive(after(61), 10, VISIBILITY, Some(2));
    assert_eq!(bodies(&taken.delivered), ["good"]);
    assert_eq!(taken.dead.len(), 1);
    assert_eq!(taken.dead[0].receives, 2);
}

#[test]
fn a_message_older_than_the_retention_period_is_forgotten() {
    let retention = Settings::default().retention;
    let mut received = queue(&["a"]);
    assert_eq!(receive(&mut received, START + retention, 1), []);
    let mut counted = queue(&["a"]);
    counted.expire(START + retention);
    assert_eq!(counted.depth(START + retention), Depth::default());
    assert_eq!(counted.next_due(START), None);
}

#[test]
fn a_purge_forgets_visible_delayed_and_in_flight_messages() {
    let mut queue = queue(&["a", "b"]);
    queue.put(message("later"), after(60));
    let receipt = receive(&mut queue, START, 1)[0].receipt;
    queue.purge();
    assert_eq!(queue.depth(after(60)), Depth::default());
    // A new message is not mistaken for the purged one.
    queue.put(message("new"), after(60));
    queue.delete(&receipt);
    assert_eq!(bodies(&receive(&mut queue, after(60), 10)), ["new"]);
}
