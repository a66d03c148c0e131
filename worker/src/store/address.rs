//! Addresses of files: `file:///path` and `s3://bucket/key`.

use std::path::{Component, Path, PathBuf};

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A path of this machine, absolute and without `..`.
    File(PathBuf),
    /// An object, or the objects below a prefix.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key or the prefix; may be empty.
        key: String,
    },
}

impl Address {
    /// Reads an address; says why it is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(char::is_control) {
            return Err("holds a control character");
        }
        if let Some(path) = text.strip_prefix("file://") {
            let path = Path::new(path);
            let plain =
                path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            return match path.is_absolute() && plain {
                true => Ok(Self::File(path.to_path_buf())),
                false => Err("must be `file://` and an absolute path without `..`"),
            };
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err("must begin with `s3://` or `file://`");
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // The bucket becomes part of a host name or a path.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) || bucket.contains("..") {
            return Err("has no bucket: 3 to 63 lower-case letters, digits, dots and dashes after `s3://`");
        }
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("has a key that climbs");
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(Address::parse("file:///a/b"), Ok(Address::File("/a/b".into())));
        let s3 = |bucket: &str, key: &str| Ok(Address::S3 { bucket: bucket.into(), key: key.into() });
        assert_eq!(Address::parse("s3://my-bucket/a/b c"), s3("my-bucket", "a/b c"));
        assert_eq!(Address::parse("s3://my.bucket"), s3("my.bucket", ""));
    }

    #[test]
    fn what_climbs_or_is_no_address_is_refused() {
        for text in [
            "",
            "a/b",
            "http://x/y",
            "file://a",
            "file:///a/../b",
            "s3://",
            "s3://a",
            "s3://Bucket/x",
            "s3://buc ket/x",
            "s3://b@cket/x",
            "s3://bucket/../x",
            "s3://a..b/x",
            "file:///a\0",
            "s3://bucket/a\n",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
