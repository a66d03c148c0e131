//! The signature of a webhook's call, by which its receiver knows that the worker sent it, and when.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret that the worker shares with the receiver. Never printed.
#[derive(Clone)]
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    /// `None` when there is nothing in it.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        // A key of any length will do, but for none.
        (!bytes.is_empty()).then(|| Hmac::new_from_slice(bytes).ok().map(Self)).flatten()
    }

    /// `sha256=` and the HMAC-SHA256 of `TIMESTAMP.BODY` in hexadecimal. The time is signed too, so that a call
    /// that somebody recorded cannot be repeated later.
    pub fn sign(&self, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_others_compute() {
        let secret = Secret::of(b"key\n").unwrap();
        // printf '1.body' | openssl dgst -sha256 -hmac key
        let expected = "sha256=91b5374b153842ad05b2c4eab9349b8321b14703165bd3fb8b034dfb8be98ae5";
        assert_eq!(secret.sign(1, b"body"), expected);
        assert_ne!(secret.sign(2, b"body"), secret.sign(1, b"body"));
        assert!(Secret::of(b" \n").is_none());
    }
}
