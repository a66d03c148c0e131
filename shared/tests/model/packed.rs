//! Small values as one number, by which they are compared and hashed: tests are built without optimisation,
//! and nothing is done more often.

use std::cmp::Ordering;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::state::{Hand, Message, Record};

/// Different values have different numbers.
pub trait Packed {
    fn packed(&self) -> u64;
}

/// Fields that are each smaller than sixteen.
pub fn pack(fields: &[u8]) -> u64 {
    fields.iter().fold(0, |packed, field| packed << 4 | u64::from(*field))
}

/// Zero for none.
pub fn number(of: Option<u8>) -> u8 {
    of.map_or(0, |n| n + 1)
}

macro_rules! by_its_number {
    ($($type:ty),+) => {
        $(
            impl Hash for $type {
                fn hash<H: Hasher>(&self, state: &mut H) {
                    state.write_u64(self.packed());
                }
            }

            impl Ord for $type {
                fn cmp(&self, other: &Self) -> Ordering {
                    self.packed().cmp(&other.packed())
                }
            }

            impl PartialOrd for $type {
                fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                    Some(self.cmp(other))
                }
            }
        )+
    };
}

by_its_number!(Record, Message, Hand);

/// A hash for keys that nobody chooses in order to harm.
pub type Mixing = BuildHasherDefault<Mixer>;

/// Multiplies and folds.
#[derive(Debug, Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ n;
        let wide = u128::from(mixed) * 0xd6e8_feb8_6659_fd93;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }
}
