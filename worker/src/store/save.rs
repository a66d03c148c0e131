//! Saves checkpoints of a running attempt: every so often what is new and whole, and once more when the attempt
//! was stopped.
//!
//! A file is whole when its opened file has the same size and time twice, a moment apart, and still when it was
//! stored. Who replaces his checkpoint by renaming is always whole; who writes into it is when he pauses.

mod between;
mod held;
mod times;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stageline::task::Task;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::between::Between;
use self::held::{Held, Mark};
use super::checkpoint::{Manifest, Part, Place};
use super::deadline::Deadline;
use super::upload::not_too_large;
use super::{Store, StoreError, beneath};
use crate::context::Context;
use crate::engines::{Checkpoint, Pick};
use crate::meters::Meters;
use crate::notices::{Noticed, Notices};

/// Between the two looks at a file.
const MOMENT: Duration = Duration::from_secs(1);
/// After something was being written.
const SOON: Duration = Duration::from_secs(2);
/// For the last checkpoint of a stopped attempt.
const AT_THE_END: Duration = Duration::from_secs(30);
/// To find its files.
const TO_SEARCH: Duration = Duration::from_secs(30);
/// Files of one checkpoint; each is held open.
const MOST_FILES: usize = 256;
/// Names among which they are.
const MOST_NAMES: usize = 20_000;

/// Gives what the engine names itself.
pub(crate) type Named = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What is saved of an attempt, and how far that is.
struct Saving {
    store: Store,
    task: Task,
    checkpoint: Checkpoint,
    named: Named,
    job_dir: PathBuf,
    meters: Arc<Meters>,
    /// Of the last checkpoint that is in the store.
    number: u32,
    /// What tries in vain have stored under the number that follows: the next one takes the same place.
    in_vain: Vec<String>,
    /// What was seen when the last checkpoint was saved.
    saved: Vec<Mark>,
    /// The sets that are in the store, oldest first, with their files.
    sets: Vec<(Place, Vec<String>)>,
}

/// Saves beside the attempt, until it is told to end.
pub(crate) struct Saver {
    over: CancellationToken,
    saving: JoinHandle<Saving>,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// There is nothing new.
    Nothing,
    /// Something is being written.
    Busy,
    /// Something was written while it was stored.
    InVain,
    /// It was saved.
    Saved,
}

impl Saver {
    /// Begins; `None` where checkpoints are not stored.
    pub fn begin(
        checkpoint: Checkpoint,
        named: Named,
        task: &Task,
        job_dir: PathBuf,
        context: &Context,
    ) -> Option<Self> {
        let every = Duration::from_secs(context.config.checkpoint_seconds);
        let saving = Saving::begin(checkpoint, named, task, job_dir, context)?;
        let over = CancellationToken::new();
        let noticed = context.notices.subscribe();
        let saving = saving.every(every, over.clone(), noticed);
        let saving = tokio::spawn(tracing::Instrument::in_current_span(saving));
        Some(Self { over, saving })
    }

    /// Ends it, with a last checkpoint if one is worth it.
    pub async fn end(mut self, save: bool) {
        self.over.cancel();
        let Ok(mut saving) = (&mut self.saving).await else { return };
        if !save {
            return;
        }
        // Nobody writes any more.
        match tokio::time::timeout(AT_THE_END, saving.look(Duration::ZERO)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "last checkpoint not stored"),
            Err(_elapsed) => warn!(limit = ?AT_THE_END, "last checkpoint not stored in time"),
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Saving {
    /// Nothing saved yet; `None` where checkpoints are not stored.
    fn begin(
        checkpoint: Checkpoint,
        named: Named,
        task: &Task,
        job_dir: PathBuf,
        context: &Context,
    ) -> Option<Self> {
        let store = context.artifacts.clone().filter(|_| context.config.checkpoint_seconds > 0)?;
        let task = task.clone();
        Some(Self {
            store,
            task,
            checkpoint,
            named,
            job_dir,
            meters: Arc::clone(&context.meters),
            number: 0,
            in_vain: Vec::new(),
            saved: Vec::new(),
            sets: Vec::new(),
        })
    }

    async fn every(
        mut self,
        every: Duration,
        over: CancellationToken,
        mut noticed: watch::Receiver<Noticed>,
    ) -> Self {
        let mut wait = every;
        loop {
            tokio::select! {
                () = over.cancelled() => return self,
                () = tokio::time::sleep(wait) => {}
                () = Notices::risk(&mut noticed) => {}
            }
            let looked = tokio::select! {
                () = over.cancelled() => None,
                looked = self.look(MOMENT) => Some(looked),
            };
            wait = match looked {
                None => return self,
                Some(Ok(Look::Nothing | Look::InVain | Look::Saved)) => every,
                Some(Ok(Look::Busy)) => SOON.min(every),
                Some(Err(error)) => {
                    warn!(%error, "checkpoint not stored; tried again the next time");
                    every
                }
            };
        }
    }

    async fn look(&mut self, moment: Duration) -> Result<Look, StoreError> {
        let found = self.hold().await?;
        let marks: Vec<_> = found.iter().map(Held::mark).collect();
        if found.is_empty() || marks == self.saved {
            return Ok(Look::Nothing);
        }
        tokio::time::sleep(moment).await;
        let chosen = held::choose(found, self.checkpoint.pick)?;
        if chosen.is_empty() {
            return Ok(Look::Busy);
        }
        for held in &chosen {
            not_too_large(held.bytes())?;
        }
        let place = Place { attempt: self.task.attempt.0, number: self.number + 1 };
        self.forget_what_was_in_vain(place, &chosen).await;
        let mut files = Vec::new();
        for held in &chosen {
            let key = place.file(&self.store, &self.task, &held.path)?;
            let stored = self.store.put_file(held.content()?, &key).await?;
            if !self.in_vain.contains(&held.path) {
                self.in_vain.push(held.path.clone());
            }
            if !held.is_quiet() {
                return Ok(Look::InVain);
            }
            let (bytes, sha256) = (stored.bytes, stored.sha256);
            files.push(Part { path: held.path.clone(), bytes, sha256, modified: held.modified() });
        }
        let paths: Vec<_> = files.iter().map(|part| part.path.clone()).collect();
        let bytes: u64 = files.iter().map(|part| part.bytes).sum();
        let manifest = serde_json::to_vec(&Manifest::of(&self.task, files)).map_err(std::io::Error::other)?;
        self.store.put_bytes(manifest, &place.manifest(&self.store, &self.task)?).await?;
        self.meters.checkpoints.one();
        self.meters.checkpoint_bytes.add(bytes as f64);
        info!(number = place.number, files = paths.len(), "checkpoint stored");
        self.number = place.number;
        self.in_vain.clear();
        self.saved = marks;
        self.sets.push((place, paths));
        self.forget_all_but_two().await;
        Ok(Look::Saved)
    }

    /// The files that are there now, opened.
    async fn hold(&self) -> Result<Vec<Held>, StoreError> {
        let mut patterns = self.checkpoint.files.clone();
        for named in (self.named)() {
            patterns.push(format!("{named}/**"));
            patterns.push(named);
        }
        if patterns.is_empty() {
            return Ok(Vec::new());
        }
        let (job_dir, pick) = (self.job_dir.clone(), self.checkpoint.pick);
        let (deadline, _ends_the_search) = Deadline::until(Instant::now() + TO_SEARCH);
        let held = tokio::task::spawn_blocking(move || {
            let mut found = beneath::find(&job_dir, &patterns, MOST_NAMES, &deadline)?.paths;
            if pick == Pick::LatestTime {
                found = times::latest(found);
            }
            if found.len() > MOST_FILES {
                return Err(std::io::Error::other(format!("more than {MOST_FILES} files")));
            }
            // What is gone meanwhile was replaced, or is not wanted any more: the next look tells.
            Ok(found.into_iter().filter_map(|path| Held::open(&job_dir, path).ok()).collect())
        });
        Ok(held.await.map_err(std::io::Error::other)??)
    }

    /// Removes what is under the place's number and is not going to be replaced.
    async fn forget_what_was_in_vain(&mut self, place: Place, chosen: &[Held]) {
        let is_chosen = |path: &String| chosen.iter().any(|held| held.path == *path);
        while let Some(at) = self.in_vain.iter().position(|path| !is_chosen(path)) {
            if let Ok(key) = place.file(&self.store, &self.task, &self.in_vain[at]) {
                self.store.forget(&key).await;
            }
            self.in_vain.swap_remove(at);
        }
    }

    /// The last but one stays for a reader that has just found it.
    async fn forget_all_but_two(&mut self) {
        while self.sets.len() > 2 {
            let (place, paths) = self.sets.remove(0);
            // Without its manifest it is none, whatever stays of it.
            let mut keys = vec![place.manifest(&self.store, &self.task)];
            for path in &paths {
                keys.push(place.file(&self.store, &self.task, path));
            }
            for key in keys.into_iter().flatten() {
                self.store.forget(&key).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
