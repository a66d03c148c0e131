//! Brings a file into the store: streamed in parts, hashed on the way, with memory for one part.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use super::deadline::Deadline;
use super::{Store, StoreError};

/// S3 takes parts from 5 MiB on, and at most 10,000 of them.
const PART_BYTES: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;
/// One of them is in memory at a time.
const LARGEST_PART_BYTES: u64 = 64 << 20;
/// What a file may have. A sparse one of any size costs its writer nothing.
pub(super) const MOST_BYTES: u64 = LARGEST_PART_BYTES * MOST_PARTS;

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub bytes: u64,
    pub sha256: String,
}

impl Store {
    /// Stores the content of `file`, from where it stands, under `key`. There is nothing under the key unless
    /// all of it was stored.
    pub(super) async fn put_file(&self, file: File, key: &Path) -> Result<Stored, StoreError> {
        let part_bytes = part_bytes(file_bytes(&file)?);
        let mut source = Source { file, hash: Sha256::new(), bytes: 0, spare: Vec::new() };
        let (mut part, mut ended);
        (source, part, ended) = source.next(part_bytes).await?;
        if ended {
            self.objects.put(key, PutPayload::from(part)).await?;
            return Ok(source.stored());
        }
        let mut upload = self.objects.put_multipart(key).await?;
        let all = async {
            loop {
                let sent = Bytes::from(part);
                upload.put_part(PutPayload::from(sent.clone())).await?;
                source.take_back(sent);
                if ended {
                    break;
                }
                (source, part, ended) = source.next(part_bytes).await?;
                if part.is_empty() {
                    break;
                }
            }
            upload.complete().await?;
            Ok(source.stored())
        };
        let stored = all.await;
        if stored.is_err() {
            // What is left of it costs money until a rule of the bucket removes it.
            let _removed_by_the_bucket = upload.abort().await;
        }
        stored
    }

    /// Stores bytes of a value under `key`; gives what they are.
    pub(super) async fn put_value(&self, bytes: Vec<u8>, key: &Path) -> Result<Stored, StoreError> {
        let stored = Stored { bytes: bytes.len() as u64, sha256: hexadecimal(&Sha256::digest(&bytes)) };
        self.put_bytes(bytes, key).await?;
        Ok(stored)
    }

    /// Stores a few bytes under `key`.
    pub(super) async fn put_bytes(&self, bytes: Vec<u8>, key: &Path) -> Result<(), StoreError> {
        self.objects.put(key, PutPayload::from(bytes)).await?;
        Ok(())
    }
}

/// The size of a file, if it is not too large: before anything of it is read.
fn file_bytes(file: &File) -> Result<u64, StoreError> {
    not_too_large(file.metadata()?.len())
}

/// Whether a file of so many bytes is stored.
pub(super) fn not_too_large(bytes: u64) -> Result<u64, StoreError> {
    if bytes > MOST_BYTES { Err(StoreError::TooLarge(MOST_BYTES)) } else { Ok(bytes) }
}

/// How large each part is, so that there are not too many.
fn part_bytes(file_bytes: u64) -> u64 {
    PART_BYTES.max(file_bytes.div_ceil(MOST_PARTS))
}

struct Source {
    file: File,
    hash: Sha256,
    bytes: u64,
    /// The memory of the part before: parts that are allocated by one thread and freed by another stay with the
    /// allocator, as many as there are threads.
    spare: Vec<u8>,
}

impl Source {
    /// Gives the memory of a part that was sent to the next one, if nobody else has it any more.
    fn take_back(&mut self, sent: Bytes) {
        if let Ok(unique) = sent.try_into_mut() {
            self.spare = unique.into();
        }
    }

    /// The next part, and whether it is the last.
    async fn next(mut self, most: u64) -> Result<(Self, Vec<u8>, bool), StoreError> {
        let read = tokio::task::spawn_blocking(move || {
            // As much as will be read: a vector that grows to its size takes twice as much meanwhile.
            let left = self.file.metadata()?.len().saturating_sub(self.bytes).min(most);
            let mut part = std::mem::take(&mut self.spare);
            part.clear();
            part.reserve_exact(usize::try_from(left + 1).unwrap_or_default());
            (&self.file).take(most).read_to_end(&mut part)?;
            self.hash.update(&part);
            self.bytes += part.len() as u64;
            // It may have grown.
            not_too_large(self.bytes)?;
            let ended = (part.len() as u64) < most;
            Ok((self, part, ended))
        });
        read.await.map_err(std::io::Error::other)?
    }

    fn stored(self) -> Stored {
        Stored { bytes: self.bytes, sha256: hexadecimal(&self.hash.finalize()) }
    }
}

/// Size and hash of what is in a file, without storing it; by `deadline`, since nobody can stop it.
pub(super) fn measured(file: File, deadline: &Deadline) -> Result<Stored, StoreError> {
    file_bytes(&file)?;
    let mut source = Source { file, hash: Sha256::new(), bytes: 0, spare: Vec::new() };
    let mut chunk = vec![0; 1 << 16];
    loop {
        deadline.check()?;
        let count = source.file.read(&mut chunk)?;
        if count == 0 {
            return Ok(source.stored());
        }
        source.hash.update(&chunk[..count]);
        source.bytes += count as u64;
        not_too_large(source.bytes)?;
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use aws_config::SdkConfig;

    use super::super::Address;
    use super::*;

    #[test]
    fn no_file_has_too_many_parts() {
        assert_eq!(part_bytes(0), PART_BYTES);
        for bytes in [1, PART_BYTES * 9_000, PART_BYTES * 9_000 + 1, MOST_BYTES] {
            assert!(bytes.div_ceil(part_bytes(bytes)) <= MOST_PARTS, "{bytes}");
            assert!(part_bytes(bytes) <= LARGEST_PART_BYTES, "{bytes}");
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_what_was_in_the_file_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(&Address::File(dir.path().join("made")), &SdkConfig::builder().build()).unwrap();
        for bytes in [0, 1, PART_BYTES as usize - 1, PART_BYTES as usize, 2 * PART_BYTES as usize + 7] {
            let content: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            file.rewind().unwrap();
            let key = store.key(&format!("t~1/1/out {bytes}.dat")).unwrap();
            let stored = store.put_file(file, &key).await.unwrap();
            let path = store.uri(&key);
            let found = std::fs::read(path.strip_prefix("file://").unwrap()).unwrap();
            assert!(found == content, "{bytes}");
            assert_eq!(stored.bytes, bytes as u64);
            let hash = hexadecimal(&Sha256::digest(&content));
            assert_eq!(stored.sha256, hash);
        }
    }

    #[test]
    fn the_hash_is_written_as_everybody_writes_it() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            measured(tempfile::tempfile().unwrap(), &Deadline::never()).unwrap(),
            Stored { bytes: 0, sha256: empty.into() }
        );
    }

    fn sparse(bytes: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        file
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Address::File(dir.path().into()), &SdkConfig::builder().build()).unwrap();
        let (file, key) = (sparse(MOST_BYTES + 1), store.key("t/1/x").unwrap());
        let refused = store.put_file(file.try_clone().unwrap(), &key).await.unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge(MOST_BYTES)), "{refused}");
        let refused = measured(file.try_clone().unwrap(), &Deadline::never()).unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge(MOST_BYTES)), "{refused}");
        assert_eq!((&file).stream_position().unwrap(), 0);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_file_is_not_measured_beyond_its_time() {
        let error = measured(sparse(MOST_BYTES), &Deadline::over()).unwrap_err();
        assert!(
            matches!(&error, StoreError::Local(why) if why.kind() == std::io::ErrorKind::TimedOut),
            "{error}"
        );
    }
}
