use proptest::prelude::*;

use super::*;

fn sequences(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

fn replay(count: usize, max_retries: u32, bisect: bool) -> Replay {
    let rules = ReplayRules { max_retries, bisect };
    Replay::new(rules, sequences(count))
}

fn listed(places: &[usize]) -> Answer {
    Answer::Failures(places.iter().map(|n| Some(format!("s{n}"))).collect())
}

fn done() -> Answer {
    Answer::Failures(Vec::new())
}

/// One answer and what it must decide: acknowledged, given up (with attempts), tried next.
type Step = (Answer, Range<usize>, Option<(Range<usize>, u32)>, Option<Range<usize>>);

fn check(mut replay: Replay, steps: Vec<Step>) {
    for (number, (answer, acknowledged, given_up, next)) in steps.into_iter().enumerate() {
        let verdict = replay.answer(&answer);
        let decided = verdict.given_up.map(|g| (g.records, g.attempts));
        assert_eq!(verdict.acknowledged.len(), acknowledged.len(), "step {number}");
        if !acknowledged.is_empty() {
            assert_eq!(verdict.acknowledged, acknowledged, "step {number}");
        }
        assert_eq!(decided, given_up, "step {number}");
        assert_eq!(replay.current(), next, "step {number}");
    }
}

#[test]
fn an_empty_list_of_failures_is_success() {
    check(replay(3, 0, false), vec![(done(), 0..3, None, None)]);
}

#[test]
fn failures_rewind_to_the_first_listed_record_in_whatever_order_they_are_listed() {
    check(
        replay(5, 2, false),
        vec![(listed(&[4, 2, 3]), 0..2, None, Some(2..5)), (done(), 2..5, None, None)],
    );
}

#[test]
fn an_answer_that_names_no_record_of_the_batch_fails_all_of_it() {
    let unknown = |id: Option<&str>| Answer::Failures(vec![Some("s1".to_owned()), id.map(str::to_owned)]);
    for answer in [unknown(Some("")), unknown(Some("other")), unknown(None), Answer::Error] {
        check(replay(3, 1, false), vec![(answer, 0..0, None, Some(0..3))]);
    }
    // A record of the same batch that was not in this call is unknown to it too.
    check(
        replay(4, 1, true),
        vec![(Answer::Error, 0..0, None, Some(0..2)), (listed(&[3]), 0..0, None, Some(0..1))],
    );
}

#[test]
fn a_batch_that_used_its_retries_is_given_up_whole_without_bisect() {
    check(
        replay(3, 2, false),
        vec![
            (Answer::Error, 0..0, None, Some(0..3)),
            (Answer::Error, 0..0, None, Some(0..3)),
            (Answer::Error, 0..0, Some((0..3, 3)), None),
        ],
    );
}

#[test]
fn no_retries_means_one_try() {
    check(replay(2, 0, false), vec![(listed(&[1]), 0..1, Some((1..2, 1)), None)]);
}

#[test]
fn progress_gives_the_record_that_leads_now_its_own_retries() {
    check(
        replay(3, 1, false),
        vec![
            (listed(&[0]), 0..0, None, Some(0..3)),
            (listed(&[1]), 0..1, None, Some(1..3)),
            (listed(&[1]), 0..0, Some((1..3, 2)), None),
        ],
    );
}

#[test]
fn bisect_splits_in_the_middle_and_charges_no_retry_for_it() {
    check(
        replay(4, 1, true),
        vec![
            (Answer::Error, 0..0, None, Some(0..2)),
            (Answer::Error, 0..0, None, Some(0..1)),
            (Answer::Error, 0..0, None, Some(0..1)),
            (Answer::Error, 0..0, Some((0..1, 2)), Some(1..2)),
            (done(), 1..2, None, Some(2..4)),
            (done(), 2..4, None, None),
        ],
    );
}

#[test]
fn bisect_splits_at_the_listed_record_first_and_in_the_middle_when_it_leads() {
    check(
        replay(6, 0, true),
        vec![
            (listed(&[2]), 0..2, None, Some(2..6)),
            (listed(&[2]), 0..0, None, Some(2..4)),
            (listed(&[2]), 0..0, None, Some(2..3)),
            (listed(&[2]), 0..0, Some((2..3, 1)), Some(3..4)),
            (done(), 3..4, None, Some(4..6)),
        ],
    );
}

#[test]
fn records_that_became_too_old_are_given_up_and_the_others_are_tried() {
    let mut replay = replay(4, 5, false);
    replay.answer(&Answer::Error);
    let expired = replay.expire(|index| index < 2).unwrap();
    assert_eq!((expired.records, expired.attempts), (0..2, 1));
    assert_eq!(replay.current(), Some(2..4));
    assert_eq!(replay.expire(|_| false), None);
    assert_eq!(replay.expire(|_| true).unwrap().records, 2..4);
    assert_eq!(replay.current(), None);
    assert_eq!(replay.expire(|_| true), None);
}

#[test]
fn an_empty_batch_needs_no_call() {
    assert_eq!(replay(0, 3, true).current(), None);
}

/// How a function behaves on one call.
#[derive(Debug, Clone)]
enum Behaviour {
    Succeed,
    Throw,
    Blank,
    List(Vec<prop::sample::Index>),
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        3 => Just(Behaviour::Succeed),
        2 => Just(Behaviour::Throw),
        1 => Just(Behaviour::Blank),
        4 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Behaviour::List),
    ]
}

impl Behaviour {
    fn answer(&self, records: &Range<usize>) -> Answer {
        match self {
            Self::Succeed => done(),
            Self::Throw => Answer::Error,
            Self::Blank => Answer::Failures(vec![Some(String::new())]),
            Self::List(which) => {
                let places = which.iter().map(|i| records.start + i.index(records.len()));
                listed(&places.collect::<Vec<_>>())
            }
        }
    }
}

proptest! {
    #[test]
    fn every_record_is_resolved_exactly_once_and_in_order(
        count in 1_usize..40,
        max_retries in 0_u32..4,
        bisect: bool,
        // What is not scripted throws: the worst that a function can do.
        script in prop::collection::vec(behaviour(), 0..60),
    ) {
        let mut replay = replay(count, max_retries, bisect);
        let mut script = script.into_iter();
        let mut resolved = 0;
        let mut calls = 0_usize;
        while let Some(records) = replay.current() {
            prop_assert_eq!(records.start, resolved, "parts follow each other");
            let behaviour = script.next().unwrap_or(Behaviour::Throw);
            let verdict = replay.answer(&behaviour.answer(&records));
            prop_assert_eq!(verdict.acknowledged.start, resolved);
            resolved = verdict.acknowledged.end;
            if let Some(given_up) = verdict.given_up {
                prop_assert_eq!(given_up.records.start, resolved);
                prop_assert!(given_up.attempts > max_retries);
                resolved = given_up.records.end;
            }
            calls += 1;
            let retries = max_retries as usize + 1;
            prop_assert!(calls <= count * (retries + 2) * 2, "the pump gets past any function");
        }
        prop_assert_eq!(resolved, count);
    }

    #[test]
    fn with_bisect_only_the_poison_is_given_up(
        count in 1_usize..40,
        poison in prop::collection::btree_set(0_usize..40, 0..5),
        throws: bool,
    ) {
        let mut replay = replay(count, 1, true);
        let mut given_up = Vec::new();
        while let Some(records) = replay.current() {
            let bad: Vec<usize> = poison.iter().copied().filter(|p| records.contains(p)).collect();
            let answer = match bad.is_empty() {
                true => done(),
                false if throws => Answer::Error,
                false => listed(&bad),
            };
            given_up.extend(replay.answer(&answer).given_up.into_iter().flat_map(|g| g.records));
        }
        let expected: Vec<usize> = poison.into_iter().filter(|p| *p < count).collect();
        prop_assert_eq!(given_up, expected);
    }
}
