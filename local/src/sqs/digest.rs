//! The MD5 digests that clients check: of the body, and of the attributes in SQS's own encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::message::Attributes;

/// The digest of a body.
pub fn of_text(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// The digest of a set of attributes, or none when there are none. For each in the order of their names:
/// name, type, a byte for the kind of value, value; each length-prefixed.
pub fn of_attributes(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, value) in attributes {
        put(&mut digest, name.as_bytes());
        put(&mut digest, value.data_type.as_bytes());
        match (&value.string_value, &value.binary_value) {
            (Some(text), _) => {
                digest.update([1]);
                put(&mut digest, text.as_bytes());
            }
            (None, Some(encoded)) => {
                digest.update([2]);
                // What is no base64 could not be checked by any client either.
                put(&mut digest, &STANDARD.decode(encoded).unwrap_or_default());
            }
            (None, None) => {}
        }
    }
    Some(hex(&digest.finalize()))
}

fn put(digest: &mut Md5, bytes: &[u8]) {
    // Lengths are bounded by the message size, far below this type's range.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::message::AttributeValue;
    use super::*;

    fn text(value: &str) -> AttributeValue {
        AttributeValue {
            data_type: "String".to_owned(),
            string_value: Some(value.to_owned()),
            binary_value: None,
        }
    }

    #[test]
    fn digests_are_those_of_the_public_clients() {
        assert_eq!(of_text("hello world"), "5eb63bbbe01eeed093cb22bb8f5acdc3");
        assert_eq!(of_attributes(&Attributes::new()), None);
        // Known from AWS's documentation of the algorithm as implemented by its Java client.
        let one = Attributes::from([("timestamp".to_owned(), {
            AttributeValue { data_type: "Number".to_owned(), ..text("1493147359900") }
        })]);
        assert_eq!(of_attributes(&one).as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
    }

    #[test]
    fn the_digest_of_attributes_does_not_depend_on_the_order_of_sending() {
        let a = Attributes::from([("b".to_owned(), text("2")), ("a".to_owned(), text("1"))]);
        let b = Attributes::from([("a".to_owned(), text("1")), ("b".to_owned(), text("2"))]);
        assert_eq!(of_attributes(&a), of_attributes(&b));
    }
}
