//! What goes wrong with which call: a seed, a share for each fault, and which calls it is about. Pure.

use std::ops::Range;
use std::time::Duration;

use super::call::{Call, holds_all};
use super::seed;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Refused as too many, and not applied. The SDK tries again.
    Throttle,
    /// Refused with status 500, and not applied. The SDK tries again.
    ServerError,
    /// Refused for want of a permission, and not applied.
    Denied,
    /// Applied, but the caller never learns it.
    LostAnswer,
    /// Applied two times, one after the other; the caller gets the second answer. Meant for sends, by
    /// [`Plan::only`]: what a first receive took would be hidden until its visibility time-out.
    Twice,
    /// Late by this much.
    Slow(Duration),
}

/// The faults of a run. Without shares it lets everything pass.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    shares: Vec<(f64, Fault)>,
    operations: Vec<String>,
    containing: Vec<String>,
    calls: Range<u64>,
}

impl Plan {
    /// No faults.
    pub fn none() -> Self {
        Self::seeded(0)
    }

    /// No faults yet; what [`Plan::with`] adds is drawn by this seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, shares: Vec::new(), operations: Vec::new(), containing: Vec::new(), calls: 0..u64::MAX }
    }

    /// This fault with every call.
    pub fn always(fault: Fault) -> Self {
        Self::none().with(1.0, fault)
    }

    /// Gives `fault` this share of the calls, from 0 to 1. The shares add up; what is left of 1 passes.
    #[must_use]
    pub fn with(mut self, share: f64, fault: Fault) -> Self {
        self.shares.push((share, fault));
        self
    }

    /// Only calls of this operation, such as `UpdateItem`; given again, of this one too.
    #[must_use]
    pub fn only(mut self, operation: &str) -> Self {
        self.operations.push(operation.to_owned());
        self
    }

    /// Only calls whose body holds this text, such as a table's name; given again, this one too.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing.push(text.to_owned());
        self
    }

    /// Only calls with these numbers: `0..1` is the first of each operation.
    #[must_use]
    pub fn calls(mut self, numbers: Range<u64>) -> Self {
        self.calls = numbers;
        self
    }

    /// Whether the plan is about this call. Other calls pass and have no number.
    pub fn covers(&self, call: &Call, body: &[u8]) -> bool {
        (self.operations.is_empty() || self.operations.contains(&call.operation))
            && holds_all(body, &self.containing)
    }

    /// The fault of the call `number`, from 0, among the calls of `operation` that the plan covers.
    pub fn decide(&self, number: u64, operation: &str) -> Fault {
        if !self.calls.contains(&number) {
            return Fault::Pass;
        }
        let mut rest = seed::generator(self.seed, operation, number).f64();
        for (share, fault) in &self.shares {
            if rest < *share {
                return *fault;
            }
            rest -= share;
        }
        Fault::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan::seeded(seed).with(0.2, Fault::Throttle).with(0.1, Fault::LostAnswer)
    }

    fn decisions(plan: &Plan, operation: &str) -> Vec<Fault> {
        (0..10_000).map(|number| plan.decide(number, operation)).collect()
    }

    #[test]
    fn the_seed_and_the_operation_and_the_number_alone_decide() {
        assert_eq!(decisions(&plan(7), "PutItem"), decisions(&plan(7), "PutItem"));
        assert_ne!(decisions(&plan(7), "PutItem"), decisions(&plan(8), "PutItem"));
        assert_ne!(decisions(&plan(7), "PutItem"), decisions(&plan(7), "GetItem"));
    }

    #[test]
    fn the_shares_are_kept_whatever_the_seed() {
        for seed in 0..20 {
            let decided = decisions(&plan(seed), "PutItem");
            let count = |wanted| decided.iter().filter(|fault| **fault == wanted).count();
            assert!((1_800..2_200).contains(&count(Fault::Throttle)), "{}", count(Fault::Throttle));
            assert!((850..1_150).contains(&count(Fault::LostAnswer)), "{}", count(Fault::LostAnswer));
        }
    }

    #[test]
    fn a_share_of_one_is_every_call_and_none_is_no_call() {
        assert!(decisions(&Plan::always(Fault::Twice), "PutItem").iter().all(|f| *f == Fault::Twice));
        assert!(decisions(&Plan::none(), "PutItem").iter().all(|f| *f == Fault::Pass));
    }

    #[test]
    fn a_plan_covers_the_calls_that_it_names() {
        let put = Call::of(Some("DynamoDB_20120810.PutItem"));
        let send = Call::of(Some("AmazonSQS.SendMessageBatch"));
        let plan = Plan::none().only("PutItem").containing("tasks");
        assert!(plan.covers(&put, br#"{"TableName":"tasks"}"#));
        assert!(!plan.covers(&put, br#"{"TableName":"control"}"#));
        assert!(!plan.covers(&send, b"tasks"));
        assert!(Plan::none().covers(&Call::of(None), b""));
    }

    #[test]
    fn a_plan_for_the_first_call_leaves_the_second_alone() {
        let plan = Plan::always(Fault::LostAnswer).calls(0..1);
        assert_eq!(plan.decide(0, "UpdateItem"), Fault::LostAnswer);
        assert_eq!(plan.decide(1, "UpdateItem"), Fault::Pass);
    }
}
