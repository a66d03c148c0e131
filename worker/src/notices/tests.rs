use futures::FutureExt;
use stageline::At;

use super::imds::tests::{fake, says};
use super::*;

fn asking(address: &str, gives_up: bool) -> Asking {
    Asking {
        imds: Imds::new(address),
        clock: Clock::of(|| At::parse("2026-11-21T08:20:00Z").unwrap()),
        afterwards: Duration::from_secs(15),
        gives_up,
        ever_answered: false,
        in_vain: 0,
    }
}

fn notices() -> Notices {
    Notices::new(&Config { spot_notices: SpotNotices::Off, ..Config::default() })
}

/// A service with these answers, and 404 for the rest.
async fn service(answers: &'static [(&'static str, &'static str, &'static str)]) -> String {
    let answer = |head: &str| {
        let found = answers.iter().find(|(path, ..)| head.starts_with(&format!("GET /{path} ")));
        match found {
            Some((_, status, body)) => says(status, body),
            None if head.starts_with("PUT") => says("200 OK", "t"),
            None => says("404 Not Found", ""),
        }
    };
    fake(answer).await.0
}

const TERMINATE: &str = r#"{"action": "terminate", "time": "2026-11-21T08:22:00Z"}"#;

#[tokio::test]
async fn an_announced_end_drains_and_shortens_the_grace() {
    let address = service(&[
        (INSTANCE_ACTION, "200 OK", TERMINATE),
        (REBALANCE, "200 OK", r#"{"noticeTime": "2026-11-21T08:10:00Z"}"#),
    ])
    .await;
    let (notices, drain, mut asking) = (notices(), CancellationToken::new(), asking(&address, true));
    assert!(asking.look(&notices, &drain).await && drain.is_cancelled());
    let notice = notices.notice().unwrap();
    assert_eq!((notice.what.as_str(), notice.at), ("spot-terminate", At::parse("2026-11-21T08:22:00Z")));
    let stop_at = notices.noticed.borrow().end.as_ref().unwrap().stop_at.unwrap();
    let left = stop_at.duration_since(Instant::now());
    assert!((98..=100).contains(&left.as_secs()), "two minutes without what follows: {left:?}");
    // The same again is no news.
    let mut news = notices.subscribe();
    assert!(asking.look(&notices, &drain).await && !news.has_changed().unwrap());
    assert!(notices.noticed.borrow().at_risk.is_some());
    news.mark_unchanged();

    // A grace that is longer ends with the machine, one that is shorter as ever.
    notices.change(|noticed| {
        let end = noticed.end.as_mut().unwrap();
        end.stop_at = Some(Instant::now());
        true
    });
    tokio::time::timeout(Duration::from_secs(5), notices.grace_is_over(Duration::from_secs(600)))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_instance_that_its_group_terminates_drains_with_the_ordinary_grace() {
    let address = service(&[(TARGET_STATE, "200 OK", "Terminated")]).await;
    let (notices, drain) = (notices(), CancellationToken::new());
    asking(&address, true).look(&notices, &drain).await;
    assert!(drain.is_cancelled());
    assert_eq!(notices.noticed.borrow().end.as_ref().unwrap().stop_at, None);
    let over = notices.grace_is_over(Duration::from_millis(50));
    tokio::time::timeout(Duration::from_secs(5), over).await.unwrap();
}

#[tokio::test]
async fn a_recommendation_drains_nothing_and_has_the_checkpoints_saved() {
    let address = service(&[
        (REBALANCE, "200 OK", r#"{"noticeTime": "2026-11-21T08:10:00Z"}"#),
        (TARGET_STATE, "200 OK", "InService"),
    ])
    .await;
    let (notices, drain) = (notices(), CancellationToken::new());
    let mut noticed = notices.subscribe();
    notices.change(|noticed| !std::mem::replace(&mut noticed.looked, true));
    asking(&address, true).look(&notices, &drain).await;
    assert!(!drain.is_cancelled());
    assert_eq!(notices.notice().unwrap().what, "rebalance");
    // Also for whoever comes to wait only afterwards.
    tokio::time::timeout(Duration::from_secs(5), Notices::risk(&mut noticed)).await.unwrap();
    assert!(Notices::risk(&mut noticed).now_or_never().is_none());
}

#[tokio::test]
async fn one_answer_that_fails_does_not_hide_another() {
    let address = service(&[
        (TARGET_STATE, "500 Internal Server Error", ""),
        (REBALANCE, "200 OK", "garbage"),
        (INSTANCE_ACTION, "200 OK", TERMINATE),
    ])
    .await;
    let (notices, drain, mut asking) = (notices(), CancellationToken::new(), asking(&address, true));
    asking.look(&notices, &drain).await;
    assert!(drain.is_cancelled() && notices.noticed.borrow().at_risk.is_none());
    assert_eq!(asking.in_vain, 1);
}

#[tokio::test]
async fn who_never_answers_is_given_up_and_who_once_did_is_not() {
    let nobody = "http://127.0.0.1:1";
    let (notices, drain) = (notices(), CancellationToken::new());
    let mut by_itself = asking(nobody, true);
    let mut looks = 1;
    while by_itself.look(&notices, &drain).await {
        looks += 1;
    }
    assert_eq!(looks, TRIES);
    let mut told_to = asking(nobody, false);
    let mut fell_silent = Asking { ever_answered: true, ..asking(nobody, true) };
    for _ in 0..2 * TRIES {
        assert!(told_to.look(&notices, &drain).await && fell_silent.look(&notices, &drain).await);
    }
    assert!(!drain.is_cancelled() && notices.notice().is_none());
    // Without a service the first look is over at once all the same, or waited for in vain.
    let begun = Instant::now();
    notices.first_look().await;
    assert!(begun.elapsed() < FIRST_LOOK * 3);
}
