//! What holds for events in any order.

use proptest::prelude::*;

use super::*;
use crate::engines::Exit;

fn any_event() -> impl Strategy<Value = Event> {
    let value = prop::collection::btree_map("[a-c]", any::<f64>(), 0..3);
    prop_oneof![
        Just(Event::RunStarted { columns: vec!["Step".to_owned()] }),
        (any::<u64>(), value).prop_map(|(step, values)| Event::Row { step, values }),
        (0_u64..1000).prop_map(|step| Event::Row { step, values: BTreeMap::new() }),
        (any::<f64>(), any::<u64>()).prop_map(|(loop_seconds, steps)| Event::RunFinished {
            loop_seconds,
            procs: 1,
            steps,
            atoms: 1
        }),
        any::<bool>().prop_map(|wall_time| Event::SoftStop { reason: "halt".to_owned(), wall_time }),
        Just(Event::Error { message: "lost".to_owned() }),
    ]
}

proptest! {
    #[test]
    fn done_never_goes_backwards_nor_past_the_total(
        events in prop::collection::vec(any_event(), 0..40),
        script in prop::sample::select(vec!["run 100", RESTART, "run 10\nread_restart a\nrun 500 upto", "jump SELF"]),
    ) {
        let mut progress = start(script);
        for event in events {
            let before = progress.done();
            progress.apply(&event);
            prop_assert!(progress.done() >= before);
            prop_assert!(progress.total().is_none_or(|total| total >= progress.done()));
            prop_assert!(progress.metrics().values().all(|value| value.is_finite()));
            let _ = (progress.message(), progress.verdict(CLEAN));
        }
    }

    #[test]
    fn an_error_line_is_never_completed(events in prop::collection::vec(any_event(), 0..20), code in any::<i32>()) {
        let mut progress = start("run 0");
        events.iter().for_each(|event| { progress.apply(event); });
        progress.apply(&Event::Error { message: "lost".to_owned() });
        let completed = matches!(progress.verdict(Exit { code: Some(code), signal: None }), Verdict::Completed { .. });
        prop_assert!(!completed);
    }
}
