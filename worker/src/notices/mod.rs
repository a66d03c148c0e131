//! Notices of the end of the machine: EC2 tells a Spot instance two minutes before it takes it back, an instance
//! of an Auto Scaling group that it is going to be terminated, and sometimes earlier that a Spot instance is at
//! risk. The instance metadata service is asked every five seconds, on its own beside everything else.
//!
//! An end drains the worker as a signal does, with no more grace than fits before it. A recommendation to
//! rebalance stops nothing: the worker leaves new tasks to others while there are such, since the instance may
//! well go on for days. Neither is ever taken back: it holds until the worker ends.

mod imds;
mod place;
mod read;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use stageline::Clock;
use stageline::aws::Notice;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::imds::{Imds, ImdsError};
pub use self::settings::{OnRebalance, SpotNotices};
use crate::Config;
use crate::context::Context;
use crate::fleet::another_may_take_over;

/// As often as AWS recommends.
const EVERY: Duration = Duration::from_secs(5);
/// Looks in vain at the beginning after which nobody is asked any more.
const TRIES: u32 = 3;
/// How long the first poll waits for the first look: a worker that is started anew on a machine that ends is to
/// take nothing.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// What the last checkpoint and the logs may take when a task was stopped.
const TO_STORE: Duration = Duration::from_secs(50);

const INSTANCE_ACTION: &str = "latest/meta-data/spot/instance-action";
const TARGET_STATE: &str = "latest/meta-data/autoscaling/target-lifecycle-state";
const REBALANCE: &str = "latest/meta-data/events/recommendations/rebalance";

/// What the worker knows of its machine's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Whether the first look is over, or there is none.
    looked: bool,
    /// The machine ends.
    end: Option<End>,
    /// It is likelier to end than others.
    at_risk: Option<Notice>,
    /// Whether new tasks are left to others.
    pub yields: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    notice: Notice,
    /// When tasks are stopped at the latest; none where nobody said when it ends.
    stop_at: Option<Instant>,
}

/// What the worker knows of its machine's end, and who is told of it.
pub(crate) struct Notices {
    endpoint: Option<String>,
    noticed: watch::Sender<Noticed>,
}

impl Notices {
    /// Nothing is known yet.
    pub fn new(config: &Config) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        let endpoint = place::endpoint(config.spot_notices, |name| std::env::var(name).ok(), file);
        Self { endpoint, noticed: watch::Sender::default() }
    }

    /// What is known, now and later.
    pub fn subscribe(&self) -> watch::Receiver<Noticed> {
        self.noticed.subscribe()
    }

    /// What the heartbeat says of it.
    pub fn notice(&self) -> Option<Notice> {
        let noticed = self.noticed.borrow();
        noticed.end.as_ref().map(|end| &end.notice).or(noticed.at_risk.as_ref()).cloned()
    }

    /// Somebody else has heard that the machine is at risk.
    pub fn recommended(&self) {
        let _known_already = self.is_at_risk(read::recommended(None));
    }

    /// Whether new tasks are left to others.
    pub fn yields(&self) -> bool {
        self.noticed.borrow().yields
    }

    /// Whether this is news.
    fn is_at_risk(&self, notice: Notice) -> bool {
        self.change(|noticed| {
            let is_news = noticed.at_risk.is_none();
            noticed.at_risk.get_or_insert(notice);
            is_news
        })
    }

    fn change(&self, change: impl FnOnce(&mut Noticed) -> bool) -> bool {
        self.noticed.send_if_modified(change)
    }

    /// Waits for the first look, but not for long.
    pub async fn first_look(&self) {
        let mut noticed = self.subscribe();
        let looked = noticed.wait_for(|noticed| noticed.looked);
        // Never closed: the sender is this one's.
        let _late_or_done = tokio::time::timeout(FIRST_LOOK, looked).await.map(drop);
    }

    /// Waits until tasks have had their time to end by themselves: `grace`, or less when the machine ends.
    pub async fn grace_is_over(&self, grace: Duration) {
        let over = Instant::now() + grace;
        let mut noticed = self.subscribe();
        loop {
            let stop_at = noticed.borrow_and_update().end.as_ref().and_then(|end| end.stop_at);
            tokio::select! {
                () = tokio::time::sleep_until(stop_at.map_or(over, |at| at.min(over))) => return,
                // Never closed, as above.
                Ok(()) = noticed.changed() => {}
            }
        }
    }

    /// Waits for news before which it is wise to save.
    pub async fn risk(noticed: &mut watch::Receiver<Noticed>) {
        while noticed.changed().await.is_ok() {
            let now = noticed.borrow_and_update();
            if now.end.is_some() || now.at_risk.is_some() {
                return;
            }
        }
        std::future::pending().await
    }
}

/// Asks until `over`; an end drains the worker by `drain`.
pub(crate) async fn keep_watching(context: Arc<Context>, drain: CancellationToken, over: CancellationToken) {
    let notices = &context.notices;
    let mut asking = notices.endpoint.as_deref().map(|endpoint| Asking::new(endpoint, &context));
    let mut looked_around = None;
    loop {
        if let Some(asked) = &mut asking {
            let goes_on = tokio::select! {
                () = over.cancelled() => return,
                goes_on = asked.look(notices, &drain) => goes_on,
            };
            if !goes_on {
                asking = None;
            }
        }
        notices.change(|noticed| !std::mem::replace(&mut noticed.looked, true));
        tokio::select! {
            () = over.cancelled() => return,
            () = look_around(&context, &mut looked_around) => {}
        }
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Decides whether a machine at risk leaves new tasks to others.
async fn look_around(context: &Context, looked: &mut Option<Instant>) {
    let at_risk = context.notices.noticed.borrow().at_risk.is_some();
    let yields = at_risk && context.config.on_rebalance == OnRebalance::Yield;
    // What becomes of others shows within a lease.
    if !yields || looked.is_some_and(|looked| looked.elapsed() < context.lease.length()) {
        return;
    }
    *looked = Some(Instant::now());
    let others = another_may_take_over(context).await;
    if context.notices.change(|noticed| std::mem::replace(&mut noticed.yields, others) != others) {
        match others {
            true => info!("new tasks are left to the other workers of the pool"),
            false => info!("no other worker could take new tasks; this one goes on"),
        }
    }
}

/// Asks the metadata service, and remembers how that went.
struct Asking {
    imds: Imds,
    clock: Clock,
    /// What stopping tasks takes.
    afterwards: Duration,
    gives_up: bool,
    ever_answered: bool,
    /// Looks in vain since the last good one.
    in_vain: u32,
}

impl Asking {
    fn new(endpoint: &str, context: &Context) -> Self {
        let to_store = if context.artifacts.is_some() { TO_STORE } else { Duration::ZERO };
        Self {
            imds: Imds::new(endpoint),
            clock: context.clock.clone(),
            afterwards: context.config.term_grace() + to_store,
            gives_up: context.config.spot_notices == SpotNotices::Auto,
            ever_answered: false,
            in_vain: 0,
        }
    }

    /// One look; whether another one is worth it.
    async fn look(&mut self, notices: &Notices, drain: &CancellationToken) -> bool {
        let mut failed = None;
        for (path, read) in [
            (INSTANCE_ACTION, read::instance_action as fn(&str) -> Option<Notice>),
            (TARGET_STATE, read::target_state),
            (REBALANCE, read::rebalance),
        ] {
            let answer = match self.imds.get(path).await {
                Ok(answer) => answer,
                Err(error) => {
                    // Who does not answer at all is not waited for twice.
                    let silent = matches!(error, ImdsError::Silent | ImdsError::Unreachable(_));
                    failed.get_or_insert(error);
                    if silent {
                        break;
                    }
                    continue;
                }
            };
            let Some(body) = answer else { continue };
            match read(&body) {
                Some(notice) if path == REBALANCE => Self::at_risk(notice, notices),
                Some(notice) => self.ends(notice, notices, drain),
                // Most states of an instance of a group are no notice.
                None if path == TARGET_STATE => {}
                None => _ = failed.get_or_insert(ImdsError::Garbage(path)),
            }
        }
        self.went(failed)
    }

    fn at_risk(notice: Notice, notices: &Notices) {
        let at = notice.at.map(|at| at.to_string());
        if notices.is_at_risk(notice) {
            warn!(at, "this instance is at risk: a rebalance is recommended");
        }
    }

    fn ends(&self, notice: Notice, notices: &Notices, drain: &CancellationToken) {
        // An end whose time is known says more than one without.
        let is_news = |known: &Option<End>| match known {
            None => true,
            Some(known) => known.stop_at.is_none() && notice.at.is_some(),
        };
        if !is_news(&notices.noticed.borrow().end) {
            return;
        }
        let left = read::time_left(&notice, self.clock.now(), self.afterwards);
        let at = notice.at.map(|at| at.to_string());
        warn!(what = notice.what, at, ?left, "this machine ends; draining");
        let stop_at = left.map(|left| Instant::now() + left);
        notices.change(|noticed| {
            noticed.end = Some(End { notice, stop_at });
            true
        });
        drain.cancel();
    }

    /// Takes note of how a look went; whether another one is worth it. What fails is logged once.
    fn went(&mut self, failed: Option<ImdsError>) -> bool {
        let Some(error) = failed else {
            if self.in_vain > 0 {
                info!("the instance metadata service answers");
            }
            (self.ever_answered, self.in_vain) = (true, 0);
            return true;
        };
        self.in_vain = self.in_vain.saturating_add(1);
        if self.in_vain == 1 {
            warn!(%error, "notices of this machine's end are not read; tried again");
        }
        let over = self.gives_up && !self.ever_answered && self.in_vain >= TRIES;
        if over {
            warn!(%error, "nobody answers where the instance metadata service would be; given up");
        }
        !over
    }
}

#[cfg(test)]
mod tests;
