//! What may go wrong, and how much of it.

/// What may go wrong, and what people may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A worker dies, or is told to stop and hands its tasks back.
    Death,
    /// A worker stops for longer than its lease and then goes on.
    Pause,
    /// A message or the whole queue vanishes.
    Loss,
    /// A message is delivered twice.
    Duplicate,
    /// A stream record is never delivered.
    Drop,
    /// The dispatcher crashes between its two steps.
    Crash,
    /// A write of a worker, its claim or the end of an attempt, is applied and its answer is lost.
    Answer,
    /// The write of an attempt's end stays on its way while its worker gives the call up and tries again.
    Late,
    /// A living worker takes longer than a lease to list a task.
    Slow,
    /// An engine fails; a task has one retry.
    Failure,
    /// A person asks for a task's end.
    Cancel,
}

impl Fault {
    pub const ALL: [Fault; 11] = {
        use Fault::{Answer, Cancel, Crash, Death, Drop, Duplicate, Failure, Late, Loss, Pause, Slow};
        [Death, Pause, Loss, Duplicate, Drop, Crash, Answer, Late, Slow, Failure, Cancel]
    };

    /// With both workers dead nothing goes on, and there is room for one late write; a second pause makes too
    /// many states.
    fn only_once(self) -> bool {
        matches!(self, Fault::Death | Fault::Pause | Fault::Late)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which faults may still happen, each once, and how many of all kinds together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget {
    kinds: u16,
    total: u8,
}

impl Budget {
    /// One of each of these, and no more than `total` together.
    pub fn of(total: u8, faults: &[Fault]) -> Self {
        Self { kinds: faults.iter().fold(0, |kinds, fault| kinds | fault.bit()), total }
    }

    /// One of each of these.
    pub fn each(faults: &[Fault]) -> Self {
        Self::of(u8::try_from(faults.len()).unwrap_or(u8::MAX), faults)
    }

    pub fn allows(self, fault: Fault) -> bool {
        self.kinds & fault.bit() != 0
    }

    pub fn spend(&mut self, fault: Fault) {
        if fault.only_once() {
            self.kinds &= !fault.bit();
        }
        self.total -= 1;
        // What can never be spent any more is the same as nothing: fewer states.
        if self.total == 0 {
            self.kinds = 0;
        }
    }
}
