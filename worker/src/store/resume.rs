//! Finds what an earlier attempt saved and brings it to this machine, so that the engine can be asked to go on
//! from it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use stageline::task::Task;
use tracing::{info, warn};

use super::checkpoint::{Manifest, Place, folder};
use super::{Store, StoreError};
use crate::context::Context;
use crate::engines::{ChildPlan, Content, Placed};

/// What the name of a folder in which a checkpoint waits ends with.
pub(crate) const STAGING: &str = "resume";
/// Sets that are tried: the newest may be removed while it is read, or be broken.
const MOST_SETS: usize = 3;
const MOST_MANIFEST_BYTES: u64 = 4 << 20;
/// Many objects, few requests; it may take as long as the store does.
const TO_FORGET: Duration = Duration::from_secs(15);

/// What an earlier attempt saved, in a folder of its own until the job folder is made.
pub(crate) struct Resume {
    /// What the engine is told.
    pub told: crate::engines::Resume,
    _folder: Staging,
}

impl Resume {
    /// Lets the plan's job folder begin with it; it replaces what the plan puts there.
    pub fn put_into(&self, plan: &mut ChildPlan) {
        plan.resumed = true;
        plan.files.extend(self.told.files.iter().map(|saved| Placed {
            to: PathBuf::from(&saved.path),
            content: Content::Moved(saved.at.clone()),
        }));
    }
}

/// Removed with all that is still in it.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        let _not_there = std::fs::remove_dir_all(&self.0);
        if let Some(task_folder) = self.0.parent() {
            let _has_a_job_folder = std::fs::remove_dir(task_folder);
        }
    }
}

/// The newest checkpoint of an earlier attempt of `task`. Starting over is always right, so nothing here fails
/// the task.
pub(crate) async fn earlier_checkpoint(task: &Task, job_dir: &Path, context: &Context) -> Option<Resume> {
    let store = context.artifacts.as_ref().filter(|_| task.attempt.0 > 1)?;
    let places = match places(store, task).await {
        Ok(places) => places,
        Err(error) => {
            warn!(%error, "checkpoints cannot be listed; the task starts over");
            return None;
        }
    };
    for place in places.into_iter().take(MOST_SETS) {
        match fetched(store, task, place, job_dir, context.config.input_limit_bytes).await {
            Ok(Some(resume)) => {
                info!(attempt = place.attempt, number = place.number, "goes on from a checkpoint");
                return Some(resume);
            }
            Ok(None) => info!(attempt = place.attempt, "a checkpoint of something else, not used"),
            Err(error) => {
                warn!(%error, attempt = place.attempt, number = place.number, "checkpoint not usable")
            }
        }
    }
    None
}

/// Where earlier attempts have saved, newest first.
async fn places(store: &Store, task: &Task) -> Result<Vec<Place>, StoreError> {
    let listed = store.objects.list(Some(&store.key(&folder(task))?));
    let keys: Vec<_> = listed.map_ok(|object| object.location).try_collect().await?;
    let mut places: Vec<_> = keys.iter().filter_map(|key| Place::of_manifest(key.as_ref())).collect();
    places.retain(|place| place.is_before(task.attempt));
    places.sort_unstable_by(|a, b| b.cmp(a));
    Ok(places)
}

async fn fetched(
    store: &Store,
    task: &Task,
    place: Place,
    job_dir: &Path,
    most: u64,
) -> Result<Option<Resume>, StoreError> {
    let text = store.read(&place.manifest(store, task)?, MOST_MANIFEST_BYTES).await?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(std::io::Error::other)?;
    if !manifest.fits(task) {
        return Ok(None);
    }
    // Beside the job folder, to be moved into it without a copy.
    let folder = job_dir.with_extension(STAGING);
    let _not_there = std::fs::remove_dir_all(&folder);
    let folder = Staging(folder);
    let mut told = crate::engines::Resume::default();
    for part in manifest.files {
        let at = folder.0.join(&part.path);
        let stored = store.fetch(&place.file(store, task, &part.path)?, at.clone(), most).await?;
        if (stored.bytes, &stored.sha256) != (part.bytes, &part.sha256) {
            let why = format!("{:?} is not what was saved", part.path);
            return Err(StoreError::Local(std::io::Error::other(why)));
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(part.modified);
        File::options().write(true).open(&at)?.set_modified(modified)?;
        told.files.push(crate::engines::SavedFile { path: part.path, at });
    }
    Ok(Some(Resume { told, _folder: folder }))
}

/// Removes all checkpoints of a task that needs none any more, as well as can be.
pub(crate) async fn forget_checkpoints(task: &Task, context: &Context) {
    let Some(store) = &context.artifacts else { return };
    let Ok(prefix) = store.key(&folder(task)) else { return };
    let objects = store.objects.list(Some(&prefix)).map_ok(|object| object.location).boxed();
    let removed = store.objects.delete_stream(objects).try_for_each(|_| async { Ok(()) });
    match tokio::time::timeout(TO_FORGET, removed).await {
        Ok(Ok(())) | Ok(Err(object_store::Error::NotFound { .. })) => {}
        Ok(Err(error)) => warn!(%error, "checkpoints not removed"),
        Err(_elapsed) => warn!("checkpoints not removed in time"),
    }
}

impl Store {
    /// Removes an object, as well as can be.
    pub async fn forget(&self, key: &object_store::path::Path) {
        if let Err(error) = self.objects.delete(key).await {
            warn!(%error, %key, "not removed");
        }
    }
}
