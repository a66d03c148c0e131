//! What the metadata service's words mean. Pure.

use std::time::Duration;

use serde::Deserialize;
use stageline::At;
use stageline::aws::Notice;

/// Nobody is told of the end of a Spot instance earlier, so that a later time says that clocks differ.
const LONGEST_NOTICE: Duration = Duration::from_secs(120);
/// What is left unused, for the last writes.
const RESERVE: Duration = Duration::from_secs(5);

/// Reads `spot/instance-action`.
pub(super) fn instance_action(body: &str) -> Option<Notice> {
    #[derive(Deserialize)]
    struct Action {
        action: String,
        time: At,
    }
    let Action { action, time } = serde_json::from_str(body).ok()?;
    let known = matches!(action.as_str(), "terminate" | "stop" | "hibernate");
    known.then(|| Notice { what: format!("spot-{action}"), at: Some(time) })
}

/// Reads `events/recommendations/rebalance`.
pub(super) fn rebalance(body: &str) -> Option<Notice> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recommendation {
        notice_time: At,
    }
    let Recommendation { notice_time } = serde_json::from_str(body).ok()?;
    Some(recommended(Some(notice_time)))
}

/// A recommendation to rebalance.
pub(super) fn recommended(at: Option<At>) -> Notice {
    Notice { what: "rebalance".to_owned(), at }
}

/// Reads `autoscaling/target-lifecycle-state`: only what ends the instance is a notice. Warm pools stop or
/// hibernate theirs.
pub(super) fn target_state(body: &str) -> Option<Notice> {
    let ends =
        matches!(body.trim(), "Terminated" | "Warmed:Terminated" | "Warmed:Stopped" | "Warmed:Hibernated");
    ends.then(|| Notice { what: "autoscaling-terminated".to_owned(), at: None })
}

/// How long tasks may still run before they are stopped, so that what stopping them takes (`afterwards`) fits
/// before the end; `None` where nobody said when that is.
pub(super) fn time_left(end: &Notice, now: At, afterwards: Duration) -> Option<Duration> {
    let left = end.at?.since(now).min(LONGEST_NOTICE);
    Some(left.saturating_sub(afterwards + RESERVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> At {
        At::parse(text).unwrap()
    }

    #[test]
    fn an_end_that_is_announced_is_read_with_its_time() {
        for action in ["terminate", "stop", "hibernate"] {
            let read =
                instance_action(&format!(r#"{{"action": "{action}", "time": "2026-11-21T08:22:00Z"}}"#));
            let at = Some(at("2026-11-21T08:22:00Z"));
            assert_eq!(read, Some(Notice { what: format!("spot-{action}"), at }));
        }
        let read = rebalance(r#"{"noticeTime": "2026-11-21T08:22:00Z"}"#).unwrap();
        assert_eq!((read.what.as_str(), read.at), ("rebalance", Some(at("2026-11-21T08:22:00Z"))));
        assert_eq!(target_state("Terminated\n").unwrap().what, "autoscaling-terminated");
    }

    #[test]
    fn what_makes_no_sense_is_no_notice() {
        for garbage in [
            "",
            "null",
            "[]",
            "<html>",
            r#"{"action": "terminate"}"#,
            r#"{"action": "terminate", "time": "soon"}"#,
            r#"{"action": "reboot", "time": "2026-11-21T08:22:00Z"}"#,
            r#"{"action": 1, "time": "2026-11-21T08:22:00Z"}"#,
            r#"{"noticeTime": 7}"#,
        ] {
            assert_eq!((instance_action(garbage), rebalance(garbage)), (None, None), "{garbage}");
        }
        for state in ["", "InService", "Standby", "Detached", "Warmed:Running", "Terminated!", "<html>"] {
            assert_eq!(target_state(state), None, "{state}");
        }
    }

    #[test]
    fn tasks_are_stopped_early_enough_to_be_handed_back_before_the_end() {
        let now = at("2026-11-21T08:20:00Z");
        let left = |end: &str, afterwards| {
            let end = Notice { what: String::new(), at: Some(at(end)) };
            time_left(&end, now, Duration::from_secs(afterwards)).map(|left| left.as_secs())
        };
        assert_eq!(left("2026-11-21T08:22:00Z", 60), Some(55));
        assert_eq!(left("2026-11-21T08:22:00Z", 300), Some(0));
        assert_eq!(left("2026-11-21T08:20:03Z", 0), Some(0), "hibernation begins at once");
        assert_eq!(left("2026-11-21T08:00:00Z", 0), Some(0), "it is over");
        assert_eq!(left("2026-11-21T19:22:00Z", 60), Some(55), "a clock that is late wins no time");
        assert_eq!(time_left(&Notice { what: String::new(), at: None }, now, Duration::ZERO), None);
    }
}
