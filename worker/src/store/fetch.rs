//! Brings an object, or a file of this machine, into a new file: streamed, hashed on the way, bounded.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::upload::{Stored, hexadecimal};
use super::{Store, StoreError};

/// A store that says nothing for so long does not say anything any more.
const SILENCE: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 1 << 16;
/// Pieces of an answer that wait to be written.
const WAITING: usize = 16;

impl Store {
    /// Fetches `key` into the new file `to`, at most `most` bytes.
    pub(super) async fn fetch(&self, key: &Path, to: PathBuf, most: u64) -> Result<Stored, StoreError> {
        let found = silent_at_most(self.objects.get(key)).await??;
        if found.meta.size > most {
            return Err(StoreError::TooLarge(most));
        }
        let mut stream = found.into_stream();
        let (pieces, mut waiting) = mpsc::channel(WAITING);
        let written = tokio::task::spawn_blocking(move || {
            let mut sink = Sink::new(&to, most)?;
            while let Some(piece) = waiting.blocking_recv() {
                sink.take(piece)?;
            }
            Ok::<_, StoreError>(sink.stored())
        });
        while let Some(piece) = silent_at_most(stream.next()).await? {
            let piece: Vec<u8> = piece?.into();
            if pieces.send(piece).await.is_err() {
                // The other end says why.
                break;
            }
        }
        drop(pieces);
        written.await.map_err(std::io::Error::other)?
    }

    /// The few bytes under `key`, at most `most`.
    pub(super) async fn read(&self, key: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
        let found = silent_at_most(self.objects.get(key)).await??;
        if found.meta.size > most {
            return Err(StoreError::TooLarge(most));
        }
        Ok(silent_at_most(found.bytes()).await??.into())
    }
}

/// Copies a file of this machine to the new file `to`.
pub(super) fn copy(from: &FilePath, to: &FilePath, most: u64) -> Result<Stored, StoreError> {
    let mut source = File::open(from)?;
    let mut sink = Sink::new(to, most)?;
    sink.file.set_permissions(source.metadata()?.permissions())?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = source.read(&mut chunk)?;
        if count == 0 {
            return Ok(sink.stored());
        }
        chunk.truncate(count);
        sink.take(chunk)?;
    }
}

async fn silent_at_most<T>(answer: impl Future<Output = T>) -> Result<T, StoreError> {
    tokio::time::timeout(SILENCE, answer).await.map_err(|_| StoreError::Silent(SILENCE.as_secs()))
}

struct Sink {
    file: File,
    hash: Sha256,
    bytes: u64,
    most: u64,
}

impl Sink {
    fn new(to: &FilePath, most: u64) -> Result<Self, StoreError> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(Self { file: File::create_new(to)?, hash: Sha256::new(), bytes: 0, most })
    }

    fn take(&mut self, piece: Vec<u8>) -> Result<(), StoreError> {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.bytes > self.most {
            return Err(StoreError::TooLarge(self.most));
        }
        self.hash.update(&piece);
        Ok(self.file.write_all(&piece)?)
    }

    fn stored(self) -> Stored {
        Stored { bytes: self.bytes, sha256: hexadecimal(&self.hash.finalize()) }
    }
}
