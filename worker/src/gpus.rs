//! The graphics processors of a worker, and who has them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;

use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};

/// The devices that no attempt has.
pub(crate) struct Gpus {
    count: usize,
    /// As many permits as there are free devices, so that many can be waited for at once: whoever came first
    /// gets them first, and nobody holds some while it waits for more.
    permits: Arc<Semaphore>,
    free: Mutex<BTreeSet<String>>,
}

/// Devices that an attempt has, until this is dropped.
pub(crate) struct Assigned {
    ids: Vec<String>,
    gpus: Option<Arc<Gpus>>,
    /// Given back after the devices are: fields are dropped after their owner's `drop`.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gpus {
    /// All of a worker.
    pub fn new(ids: &[String]) -> Arc<Self> {
        let free: BTreeSet<_> = ids.iter().cloned().collect();
        let permits = Arc::new(Semaphore::new(free.len()));
        Arc::new(Self { count: free.len(), permits, free: Mutex::new(free) })
    }

    /// Whether the worker has any.
    pub fn any(&self) -> bool {
        self.count > 0
    }

    /// Why so many can never be had here.
    pub fn refusal(&self, wanted: u32) -> Option<Failure> {
        let count = self.count;
        (wanted as usize > count).then(|| {
            let message = format!(
                "the task asks for {wanted} GPUs (`resources.gpus`) and this worker has {count}; send it to a pool \
                 with more, or list them in `gpus` of the worker's configuration"
            );
            Failure::fatal(Code::ResourcesUnavailable, message)
        })
    }

    /// Waits until so many are free, and takes them. For ever if there are not so many at all.
    pub async fn take(self: &Arc<Self>, wanted: u32) -> Assigned {
        if wanted == 0 {
            return Assigned { ids: Vec::new(), gpus: None, _permit: None };
        }
        let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(wanted).await else {
            // Nobody closes it.
            return std::future::pending().await;
        };
        let mut free = self.free();
        let ids: Vec<_> = (0..wanted).filter_map(|_| free.pop_first()).collect();
        drop(free);
        Assigned { ids, gpus: Some(Arc::clone(self)), _permit: Some(permit) }
    }

    fn free(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Assigned {
    /// The devices' ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        if let Some(gpus) = &self.gpus {
            gpus.free().extend(self.ids.drain(..));
        }
    }
}

/// Waits until the devices that `task` asks for are free, as long as its orders let it. A pause that is asked for
/// meanwhile begins with the process. `confines_itself` is the plan's.
///
/// # Errors
/// What the attempt came to instead.
pub(crate) async fn assigned(
    confines_itself: bool,
    task: &Task,
    context: &Context,
    orders: &mut Orders,
) -> Result<Assigned, Result<Outcome, Abandoned>> {
    let asked = task.resources.as_ref().and_then(|resources| resources.gpus).unwrap_or(0);
    // Without devices of its own to give, the worker leaves it to whoever does the work.
    let wanted = if confines_itself && !context.gpus.any() { 0 } else { asked };
    if let Some(failure) = context.gpus.refusal(wanted) {
        return Err(Ok(Outcome::Failed(failure)));
    }
    let taken = context.gpus.take(wanted);
    tokio::pin!(taken);
    let mut waits = false;
    loop {
        match orders.latest() {
            Order::Go | Order::Pause => {}
            Order::Cancel => return Err(Ok(Outcome::Cancelled)),
            Order::Interrupt => return Err(Ok(Outcome::Interrupted)),
            Order::Abandon(why) => return Err(Err(Abandoned(why))),
        }
        tokio::select! {
            biased;
            assigned = &mut taken => return Ok(assigned),
            () = context.stop.cancelled() => return Err(Ok(Outcome::Interrupted)),
            () = orders.changed() => {}
            () = std::future::ready(()), if !waits => {
                info!(wanted, "waits for free GPUs");
                waits = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    fn three() -> Arc<Gpus> {
        Gpus::new(&["0", "1", "2"].map(str::to_owned))
    }

    #[tokio::test]
    async fn no_device_is_given_twice_and_all_come_back() {
        let gpus = three();
        let (first, second) = (gpus.take(2).await, gpus.take(1).await);
        assert_eq!(
            (first.ids(), second.ids()),
            (&["0".to_owned(), "1".to_owned()][..], &["2".to_owned()][..])
        );
        assert!(gpus.take(1).now_or_never().is_none());
        drop(first);
        assert_eq!(gpus.take(2).now_or_never().unwrap().ids(), ["0", "1"]);
        drop(second);
        assert_eq!(gpus.take(3).now_or_never().unwrap().ids().len(), 3);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_leaves_nothing_taken() {
        let gpus = three();
        let held = gpus.take(2).await;
        let waiting = tokio::time::timeout(Duration::from_millis(20), gpus.take(3)).await;
        assert!(waiting.is_err());
        drop(held);
        assert_eq!(gpus.take(3).now_or_never().unwrap().ids().len(), 3);
    }

    #[tokio::test]
    async fn a_task_for_many_is_not_overtaken_for_ever_by_tasks_for_one() {
        let gpus = three();
        let held = gpus.take(1).await;
        let mut many = Box::pin(gpus.take(3));
        assert!(many.as_mut().now_or_never().is_none());
        assert!(gpus.take(1).now_or_never().is_none(), "two are free, and the first in line needs them");
        drop(held);
        assert_eq!(many.await.ids().len(), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_at_a_time_never_share_a_device() {
        let gpus = three();
        let in_use = Arc::new(Mutex::new(BTreeSet::new()));
        let tasks = (0..200u32).map(|n| {
            let (gpus, in_use) = (Arc::clone(&gpus), Arc::clone(&in_use));
            tokio::spawn(async move {
                let assigned = gpus.take(n % 4).await;
                for id in assigned.ids() {
                    assert!(in_use.lock().unwrap().insert(id.clone()), "{id} is in use");
                }
                tokio::task::yield_now().await;
                for id in assigned.ids() {
                    in_use.lock().unwrap().remove(id);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }

    #[test]
    fn more_than_there_are_is_refused_with_what_to_do() {
        let gpus = three();
        assert!(gpus.refusal(0).is_none() && gpus.refusal(3).is_none());
        let failure = gpus.refusal(4).unwrap();
        assert_eq!(failure.code, Code::ResourcesUnavailable);
        assert!(failure.message.contains("4 GPUs") && failure.message.contains("has 3"));
        assert!(Gpus::new(&[]).refusal(1).is_some() && !Gpus::new(&[]).any());
        assert!(gpus.refusal(u32::MAX).is_some());
    }
}
