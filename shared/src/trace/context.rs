//! The W3C trace context (Trace Context, level 1): what `traceparent` says.

use std::fmt;
use std::hash::Hasher;

use crate::hash::Fnv;
use crate::task::{Attempt, TaskId};

/// A span among all traces, and whether it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
    /// Whether whoever made it records it.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. What is not one, is none: no trace is worth a task.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hexadecimal(parts.next()?, 2)?;
        let (trace, span) = (hexadecimal(parts.next()?, 32)?, hexadecimal(parts.next()?, 16)?);
        let flags = hexadecimal(parts.next()?, 2)?;
        // Later versions may say more; the first says no more, and 255 is none.
        let known = version < 255 && (version > 0 || parts.next().is_none());
        let (span, sampled) = (u64::try_from(span).ok()?, flags & 1 == 1);
        (known && trace != 0 && span != 0).then_some(Self { trace, span, sampled })
    }

    /// A new span of a new trace.
    pub fn fresh(sampled: bool) -> Self {
        Self { trace: uuid::Uuid::new_v4().as_u128(), span: fresh_span(), sampled }
    }

    /// A new span of this trace.
    pub fn child(self) -> Self {
        Self { span: fresh_span(), ..self }
    }

    /// The span of an attempt of a task, in this trace.
    pub fn of_attempt(self, id: &TaskId, attempt: Attempt) -> Self {
        Self { span: hashed(&[id.as_str(), "#", &attempt.to_string()]).max(1), ..self }
    }
}

/// The trace of a task whose record names none.
pub(super) fn trace_of(id: &TaskId) -> u128 {
    let high = hashed(&["stageline/trace/high/", id.as_str()]);
    let low = hashed(&["stageline/trace/low/", id.as_str()]);
    (u128::from(high) << 64 | u128::from(low)).max(1)
}

fn fresh_span() -> u64 {
    // The lower half of a random UUID: 62 random bits.
    (uuid::Uuid::new_v4().as_u128() as u64).max(1)
}

fn hashed(parts: &[&str]) -> u64 {
    let mut hash = Fnv::default();
    parts.iter().for_each(|part| hash.write(part.as_bytes()));
    // FNV leaves alike what is alike; collectors and samplers expect ids to be spread (finaliser of splitmix64).
    let mut bits = hash.finish();
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Lower-case digits only, as the specification asks.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_survives_its_text_and_nothing_else_is_one() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!((context.to_string().as_str(), context.sampled), (GOOD, true));
        assert!(!TraceContext::parse(&GOOD.replace("-01", "-00")).unwrap().sampled);
        // A later version may say more.
        assert!(TraceContext::parse(&format!("01{}-more", &GOOD[2..])).is_some());
        for bad in [
            "",
            "00",
            &format!("{GOOD}-more"),
            &format!("ff{}", &GOOD[2..]),
            &GOOD.to_uppercase(),
            &GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("0af", "+af"),
            &GOOD[1..],
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tasks_trace_and_attempts_are_known_to_everybody() {
        let (a, b): (TaskId, TaskId) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(trace_of(&a), trace_of(&a));
        assert_ne!(trace_of(&a), trace_of(&b));
        let context = TraceContext { trace: trace_of(&a), span: 1, sampled: true };
        let first = context.of_attempt(&a, Attempt(1));
        assert_eq!((first, first.trace), (context.of_attempt(&a, Attempt(1)), context.trace));
        assert_ne!(first.span, context.of_attempt(&a, Attempt(2)).span);
    }
}
