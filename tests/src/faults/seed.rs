//! Random numbers that depend on nothing but what they are for.

use fastrand::Rng;

/// The generator of call `number` of `operation`. No state is kept between calls, so calls of other
/// operations in between change nothing.
pub(super) fn generator(seed: u64, operation: &str, number: u64) -> Rng {
    let start = Rng::with_seed(seed);
    let named = operation.bytes().fold(start, |rng, byte| absorb(rng, u64::from(byte)));
    absorb(named, number)
}

fn absorb(mut rng: Rng, value: u64) -> Rng {
    Rng::with_seed(rng.u64(..) ^ value)
}

/// Whether an event of this probability happens: never at 0, always at 1.
pub(super) fn happens(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}
