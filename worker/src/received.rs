//! How far the worker has come in each lane, by SQS's clock: what is older and still missing is gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use stageline::At;
use stageline::task::Lane;

/// For each lane when the latest message was sent that the worker kept.
#[derive(Default)]
pub(crate) struct Received(Mutex<BTreeMap<Lane, At>>);

impl Received {
    /// Takes note of a message.
    pub fn note(&self, lane: Lane, sent_at: Option<At>) {
        if let Some(sent_at) = sent_at {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let latest = lanes.entry(lane).or_insert(sent_at);
            *latest = sent_at.max(*latest);
        }
    }

    /// As it is now.
    pub fn until(&self) -> BTreeMap<Lane, At> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_never_goes_back() {
        let (received, at) = (Received::default(), |ms| Some(At::from_millis(ms)));
        for (lane, sent) in [(Lane::High, at(5)), (Lane::High, at(3)), (Lane::Low, at(1)), (Lane::Low, None)]
        {
            received.note(lane, sent);
        }
        assert_eq!(
            received.until(),
            BTreeMap::from([(Lane::High, At::from_millis(5)), (Lane::Low, At::from_millis(1))])
        );
    }
}
