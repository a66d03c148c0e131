//! The artifact store as whoever is no worker sees it: clients that put large `params` into it, and read results
//! and logs.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use aws_config::SdkConfig;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stageline::task::{Artifact, Attempt, LARGEST_REFERENCED_BYTES, Reference, TaskId};

use super::params::{is_meant, open_file, read_file};
use super::upload::{Stored, hexadecimal};
use super::{Address, Store, StoreError, log_parts, task_part};

/// Why something is not in the store, or cannot be had from it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ArtifactError(String);

impl From<StoreError> for ArtifactError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<object_store::Error> for ArtifactError {
    fn from(error: object_store::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for ArtifactError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The store of a deployment: what its workers have as `artifacts_url`.
#[derive(Clone, Debug)]
pub struct Artifacts(Store);

/// A log, or what is there of one.
#[derive(Debug)]
pub struct Log {
    /// Whether it is the whole one, which does not grow any more.
    pub is_whole: bool,
    /// Its size, in bytes.
    pub bytes: u64,
    pieces: Vec<(Piece, u64)>,
}

/// Where a piece of a log is.
#[derive(Debug)]
enum Piece {
    File(PathBuf),
    Object(Store, Key),
}

impl Artifacts {
    /// The store at `url`, `s3://bucket/prefix` or `file:///folder`.
    ///
    /// # Errors
    /// When the address is none, or the folder cannot be used.
    pub fn open(url: &str, sdk: &SdkConfig) -> Result<Self, ArtifactError> {
        let address = Address::parse(url).map_err(|why| ArtifactError(format!("{url:?} {why}")))?;
        Ok(Self(Store::open(&address, sdk)?))
    }

    /// Stores the `params` of a task that is to be; gives what stands for them on its record.
    ///
    /// # Errors
    /// When they cannot be stored, or no worker would take so much.
    pub async fn put_params(
        &self,
        id: &TaskId,
        params: &Map<String, Value>,
    ) -> Result<Reference, ArtifactError> {
        let json = serde_json::to_vec(params).map_err(std::io::Error::other)?;
        if json.len() as u64 > LARGEST_REFERENCED_BYTES {
            return Err(StoreError::TooLarge(LARGEST_REFERENCED_BYTES).into());
        }
        // Called by what they are: a task of the same id that is there already keeps its own.
        let name = hexadecimal(&Sha256::digest(&json));
        let key = self.0.key(&format!("{}/params/{name}.json", task_part(id)))?;
        let Stored { bytes, sha256 } = self.0.put_value(json, &key).await?;
        Ok(Reference { uri: self.0.uri(&key), size_bytes: bytes, sha256 })
    }

    /// The log of an attempt, whole or so far; `None` when nothing of it is here.
    ///
    /// # Errors
    /// When the store does not answer, or refuses.
    pub async fn log(&self, id: &TaskId, attempt: Attempt, name: &str) -> Result<Option<Log>, ArtifactError> {
        let whole = self.0.key(&format!("{}/{attempt}/{name}", task_part(id)))?;
        match self.0.objects.head(&whole).await {
            Ok(found) => {
                return Ok(Some(Log::of(true, vec![(Piece::Object(self.0.clone(), whole), found.size)])));
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let prefix = self.0.key(&log_parts::folder(id, attempt, name))?;
        let mut parts: Vec<_> = self.0.objects.list(Some(&prefix)).try_collect().await?;
        parts.sort_by(|a, b| a.location.cmp(&b.location));
        let pieces = parts.into_iter().map(|part| (Piece::Object(self.0.clone(), part.location), part.size));
        let pieces: Vec<_> = pieces.collect();
        Ok((!pieces.is_empty()).then(|| Log::of(false, pieces)))
    }
}

impl Log {
    fn of(is_whole: bool, pieces: Vec<(Piece, u64)>) -> Self {
        Self { is_whole, bytes: pieces.iter().map(|(_, bytes)| bytes).sum(), pieces }
    }

    /// The log that a record names among its artifacts; `None` for an address that is not that of this attempt's
    /// log, whatever else it may name.
    ///
    /// # Errors
    /// When it is not there, or its store refuses.
    pub async fn of_artifact(
        artifact: &Artifact,
        id: &TaskId,
        attempt: Attempt,
        sdk: &SdkConfig,
    ) -> Result<Option<Self>, ArtifactError> {
        if !artifact.uri.ends_with(&format!("/{}/{attempt}/{}", task_part(id), artifact.name)) {
            return Ok(None);
        }
        Ok(Some(match Address::parse(&artifact.uri) {
            Err(why) => return Err(ArtifactError(format!("{:?} {why}", artifact.uri))),
            Ok(Address::File(path)) => Self::of_file(path, true)?,
            Ok(Address::S3 { bucket, key }) => {
                let store = Store::open(&Address::S3 { bucket, key: String::new() }, sdk)?;
                let key = store.key(&key)?;
                let bytes = store.objects.head(&key).await?.size;
                Self::of(true, vec![(Piece::Object(store, key), bytes)])
            }
        }))
    }

    /// A log in a folder of this machine.
    ///
    /// # Errors
    /// When it is not there, or is no regular file.
    pub fn of_file(path: PathBuf, is_whole: bool) -> Result<Self, ArtifactError> {
        let bytes = open_file(&path)?.metadata()?.len();
        Ok(Self::of(is_whole, vec![(Piece::File(path), bytes)]))
    }

    /// What stands at `from`: at most `most` bytes, none at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self, from: u64, most: u64) -> Result<Vec<u8>, ArtifactError> {
        let mut begins = 0;
        for (piece, bytes) in &self.pieces {
            let ends = begins + bytes;
            if from < ends {
                let range = from - begins..(from - begins).saturating_add(most).min(*bytes);
                return match piece {
                    Piece::Object(store, key) => Ok(store.objects.get_range(key, range).await?.into()),
                    Piece::File(path) => {
                        let mut content = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
                        let count = open_file(path)?.read_at(&mut content, range.start)?;
                        content.truncate(count);
                        Ok(content)
                    }
                };
            }
            begins = ends;
        }
        Ok(Vec::new())
    }
}

/// The value that stands elsewhere, if it is the one that is meant.
///
/// # Errors
/// When it cannot be had from here, or is another one.
pub async fn read_reference(reference: &Reference, sdk: &SdkConfig) -> Result<Value, ArtifactError> {
    if reference.size_bytes > LARGEST_REFERENCED_BYTES {
        return Err(StoreError::TooLarge(LARGEST_REFERENCED_BYTES).into());
    }
    let address =
        Address::parse(&reference.uri).map_err(|why| ArtifactError(format!("its address {why}")))?;
    let bytes = match address {
        Address::File(path) => read_file(path).await?,
        Address::S3 { bucket, key } => {
            let store = Store::open(&Address::S3 { bucket, key: String::new() }, sdk)?;
            store.read(&store.key(&key)?, LARGEST_REFERENCED_BYTES).await?
        }
    };
    is_meant(&bytes, reference)
        .map_err(|found| ArtifactError(format!("it was changed: its SHA-256 is {found}")))?;
    serde_json::from_slice(&bytes).map_err(|error| ArtifactError(format!("it is no JSON: {error}")))
}
