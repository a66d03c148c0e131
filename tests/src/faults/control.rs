//! The handle that a test keeps: which plan holds, whether anything gets through, and what was decided.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;

use super::call::Call;
use super::plan::{Fault, Plan};

/// Longer than any call takes on a busy machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many decisions are remembered, the newest ones.
const LOG: usize = 10_000;

/// Steers a faulty client or proxy while it is used. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    /// The next number of each operation.
    numbers: HashMap<String, u64>,
    counts: Counts,
    log: VecDeque<Decision>,
}

/// How many calls had which fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// None, those included that the plan is not about.
    pub passed: u64,
    /// [`Fault::Throttle`].
    pub throttled: u64,
    /// [`Fault::ServerError`].
    pub server_errors: u64,
    /// Refused for want of a permission.
    pub denied: u64,
    /// [`Fault::LostAnswer`].
    pub lost_answers: u64,
    /// [`Fault::Twice`].
    pub twice: u64,
    /// [`Fault::Slow`].
    pub slow: u64,
}

/// What was decided about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The call's number, from 0, among those of its operation since the plan was set.
    pub number: u64,
    /// The operation, such as `UpdateItem`.
    pub operation: String,
    /// The fault.
    pub fault: Fault,
}

impl Control {
    /// A handle with a plan; nothing is held.
    pub fn new(plan: Plan) -> Self {
        let state = State { plan, numbers: HashMap::new(), counts: Counts::default(), log: VecDeque::new() };
        let (held, waiting) = (watch::Sender::new(false), watch::Sender::new(0));
        Self(Arc::new(Shared { held, waiting, state: Mutex::new(state) }))
    }

    /// Puts another plan in place, which begins with call 0 of every operation. Counts and log go on.
    pub fn set_plan(&self, plan: Plan) {
        let mut state = self.state();
        state.plan = plan;
        state.numbers.clear();
    }

    /// No more faults, and nothing is held any more.
    pub fn stop(&self) {
        self.set_plan(Plan::none());
        self.release();
    }

    /// From now on every call waits before it is sent, and a call that is already sent waits with its
    /// answer: the worker is frozen, or cut off. A call that its caller gives up meanwhile is never sent.
    pub fn hold(&self) {
        self.0.held.send_replace(true);
    }

    /// Lets what is held go on.
    pub fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// Waits until at least so many calls are held.
    ///
    /// # Errors
    /// It takes longer than anything should.
    pub async fn until_waiting(&self, calls: usize) -> Result<()> {
        let mut waiting = self.0.waiting.subscribe();
        match tokio::time::timeout(DEADLINE, waiting.wait_for(|now| *now >= calls)).await {
            Ok(reached) => {
                reached?;
                Ok(())
            }
            Err(_) => bail!("{} of {calls} calls are held", *self.0.waiting.borrow()),
        }
    }

    /// How many calls had which fault so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// What was decided about the calls that the plan is about; the newest ten thousand.
    pub fn log(&self) -> Vec<Decision> {
        self.state().log.iter().cloned().collect()
    }

    /// Waits as long as calls are held.
    pub(super) async fn pass(&self) {
        let mut held = self.0.held.subscribe();
        if !*held.borrow_and_update() {
            return;
        }
        self.0.waiting.send_modify(|count| *count += 1);
        let _leaves = Waiting(&self.0.waiting);
        // The sender is in `self`, so this cannot end by its loss.
        let _ = held.wait_for(|held| !held).await;
    }

    /// Draws the fault of a call, and writes it down.
    pub(super) fn decide(&self, call: &Call, body: &[u8]) -> Fault {
        let mut state = self.state();
        if !state.plan.covers(call, body) {
            state.counts.passed += 1;
            return Fault::Pass;
        }
        let next = state.numbers.entry(call.operation.clone()).or_default();
        let number = *next;
        *next += 1;
        let fault = state.plan.decide(number, &call.operation);
        state.counts.add(fault);
        if state.log.len() == LOG {
            state.log.pop_front();
        }
        state.log.push_back(Decision { number, operation: call.operation.clone(), fault });
        fault
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// How many calls had any fault.
    pub fn faults(&self) -> u64 {
        self.throttled + self.server_errors + self.denied + self.lost_answers + self.twice + self.slow
    }

    fn add(&mut self, fault: Fault) {
        *match fault {
            Fault::Pass => &mut self.passed,
            Fault::Throttle => &mut self.throttled,
            Fault::ServerError => &mut self.server_errors,
            Fault::Denied => &mut self.denied,
            Fault::LostAnswer => &mut self.lost_answers,
            Fault::Twice => &mut self.twice,
            Fault::Slow(_) => &mut self.slow,
        } += 1;
    }
}

/// A held call; it leaves also when its caller gives it up.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
