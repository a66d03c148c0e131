//! What an attempt is told while it runs: by the worker's looks at the record, and by its own fence.

use tokio::sync::watch;

/// What is to become of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It runs.
    Go,
    /// Its processes are to be stopped where they are.
    Pause,
    /// It is to be stopped: somebody asked for its end.
    Cancel,
    /// It is to be stopped: its worker cannot renew its lease.
    Interrupt,
    /// It is to be stopped, and nothing is to be written: the task is not this worker's any more.
    Abandon(&'static str),
}

impl Order {
    /// Whether the attempt goes on under this order, now or later.
    pub fn goes_on(self) -> bool {
        matches!(self, Order::Go | Order::Pause)
    }
}

/// The end that gives orders.
pub(crate) struct Control(watch::Sender<Order>);

impl Control {
    /// Both ends.
    pub fn new(first: Order) -> (Self, Orders) {
        let (sender, receiver) = watch::channel(first);
        (Self(sender), Orders(receiver))
    }

    /// Gives an order. An end is final: nothing brings stopped processes back.
    pub fn give(&self, order: Order) {
        self.0.send_if_modified(|current| {
            let changes = current.goes_on() && *current != order;
            if changes {
                *current = order;
            }
            changes
        });
    }

    /// The order that stands.
    pub fn standing(&self) -> Order {
        *self.0.borrow()
    }
}

/// The attempt's end.
pub(crate) struct Orders(watch::Receiver<Order>);

impl Orders {
    /// The order that stands; [`Orders::changed`] waits for another one than this.
    pub fn latest(&mut self) -> Order {
        *self.0.borrow_and_update()
    }

    /// Waits for another order; for ever when nobody is left to give one.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_final_and_the_rest_follows_the_latest_order() {
        let (control, mut orders) = Control::new(Order::Go);
        control.give(Order::Pause);
        assert_eq!(orders.latest(), Order::Pause);
        control.give(Order::Go);
        assert_eq!(orders.latest(), Order::Go);
        control.give(Order::Cancel);
        for later in [Order::Go, Order::Pause, Order::Interrupt, Order::Abandon("gone")] {
            control.give(later);
            assert_eq!(control.standing(), Order::Cancel);
        }
    }
}
