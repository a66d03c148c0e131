//! Brings a file into the store: streamed in parts, hashed on the way, with memory for one part.

use std::fs::File;
use std::io::Read;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use super::{Store, StoreError};

/// S3 takes parts from 5 MiB on, and at most 10,000 of them.
const PART_BYTES: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;

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
        let part_bytes = part_bytes(file.metadata()?.len());
        let mut source = Source { file, hash: Sha256::new(), bytes: 0 };
        let (mut part, mut ended);
        (source, part, ended) = source.next(part_bytes).await?;
        if ended {
            self.objects.put(key, PutPayload::from(part)).await?;
            return Ok(source.stored());
        }
        let mut upload = self.objects.put_multipart(key).await?;
        let all = async {
            loop {
                upload.put_part(PutPayload::from(part)).await?;
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

    /// Stores a few bytes under `key`.
    pub(super) async fn put_bytes(&self, bytes: Vec<u8>, key: &Path) -> Result<(), StoreError> {
        self.objects.put(key, PutPayload::from(bytes)).await?;
        Ok(())
    }
}

/// How large each part is, so that there are not too many.
fn part_bytes(file_bytes: u64) -> u64 {
    PART_BYTES.max(file_bytes.div_ceil(MOST_PARTS))
}

struct Source {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Source {
    /// The next part, and whether it is the last.
    async fn next(mut self, most: u64) -> Result<(Self, Vec<u8>, bool), StoreError> {
        let read = tokio::task::spawn_blocking(move || {
            let mut part = Vec::new();
            (&self.file).take(most).read_to_end(&mut part)?;
            self.hash.update(&part);
            self.bytes += part.len() as u64;
            let ended = (part.len() as u64) < most;
            Ok::<_, std::io::Error>((self, part, ended))
        });
        Ok(read.await.map_err(std::io::Error::other)??)
    }

    fn stored(self) -> Stored {
        Stored { bytes: self.bytes, sha256: hexadecimal(&self.hash.finalize()) }
    }
}

/// Size and hash of what is in a file, without storing it.
pub(super) fn measured(file: File) -> std::io::Result<Stored> {
    let mut source = Source { file, hash: Sha256::new(), bytes: 0 };
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = source.file.read(&mut chunk)?;
        if count == 0 {
            return Ok(source.stored());
        }
        source.hash.update(&chunk[..count]);
        source.bytes += count as u64;
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
        for bytes in [1, PART_BYTES * 9_000, PART_BYTES * 9_000 + 1, 5 << 40] {
            assert!(bytes.div_ceil(part_bytes(bytes)) <= MOST_PARTS, "{bytes}");
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
            measured(tempfile::tempfile().unwrap()).unwrap(),
            Stored { bytes: 0, sha256: empty.into() }
        );
    }
}
