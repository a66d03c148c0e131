//! What is in the store after tries that came to nothing.

use std::fmt;
use std::fs;
use std::path::Path;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::store::Address;

/// Calls `meanwhile` with each key that is put.
struct Watched<F> {
    inner: Arc<dyn ObjectStore>,
    meanwhile: F,
}

impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("watched")
    }
}

impl<F> fmt::Display for Watched<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("watched")
    }
}

type Key = object_store::path::Path;

#[async_trait]
impl<F: Fn(&str) -> Result<()> + Send + Sync + 'static> ObjectStore for Watched<F> {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        (self.meanwhile)(key.as_ref())?;
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Saves the `*.chk` of `job_dir` to `kept`.
fn saving(
    job_dir: &Path,
    kept: &Path,
    meanwhile: impl Fn(&str) -> Result<()> + Send + Sync + 'static,
) -> Saving {
    let sdk = aws_config::SdkConfig::builder().build();
    let mut store = Store::open(&Address::File(kept.into()), &sdk).unwrap();
    store.objects = Arc::new(Watched { inner: store.objects, meanwhile });
    let mut task = Task::new("t".parse().unwrap());
    task.attempt = stageline::task::Attempt(1);
    Saving {
        store,
        task,
        checkpoint: Checkpoint { files: vec!["*.chk".into()], pick: Pick::All },
        named: Arc::new(Vec::new),
        job_dir: job_dir.into(),
        meters: Arc::new(crate::meters::Meters::new(Arc::default())),
        number: 0,
        in_vain: Vec::new(),
        saved: Vec::new(),
        sets: Vec::new(),
    }
}

/// What is in the store of the task's first attempt.
fn kept(folder: &Path) -> Vec<String> {
    let root = folder.join("t/checkpoint/1");
    let patterns = ["**".to_owned()];
    beneath::find(&root, &patterns, 99, &Deadline::never()).unwrap().paths
}

#[tokio::test]
async fn a_try_in_vain_leaves_nothing_that_the_next_one_does_not_replace_or_remove() {
    let (job, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["a.chk", "b.chk"] {
        fs::write(job.path().join(name), "1").unwrap();
    }
    let b = job.path().join("b.chk");
    let writes = {
        let b = b.clone();
        move |key: &str| {
            if key.ends_with("b.chk") && fs::read(&b).is_ok_and(|text| text == b"1") {
                fs::write(&b, "22").unwrap();
            }
            Ok(())
        }
    };
    let mut saving = saving(job.path(), folder.path(), writes);
    assert_eq!(saving.look(Duration::ZERO).await.unwrap(), Look::InVain);
    assert_eq!(kept(folder.path()), ["1/files/a.chk", "1/files/b.chk"]);
    fs::rename(job.path().join("a.chk"), job.path().join("c.chk")).unwrap();
    assert_eq!(saving.look(Duration::ZERO).await.unwrap(), Look::Saved);
    assert_eq!(kept(folder.path()), ["1/files/b.chk", "1/files/c.chk", "1/manifest.json"]);
    fs::write(&b, "333").unwrap();
    assert_eq!(saving.look(Duration::ZERO).await.unwrap(), Look::Saved);
    assert_eq!(kept(folder.path()).iter().filter(|path| path.starts_with("2/")).count(), 3);
}

#[tokio::test]
async fn a_put_that_fails_keeps_the_number_until_the_manifest_is_written() {
    let (job, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(job.path().join("a.chk"), "1").unwrap();
    let refusals = std::sync::atomic::AtomicU32::new(2);
    let refuses = move |key: &str| {
        let order = std::sync::atomic::Ordering::SeqCst;
        if key.ends_with("manifest.json") && refusals.load(order) > 0 {
            refusals.fetch_sub(1, order);
            return Err(object_store::Error::NotImplemented {
                operation: "put".into(),
                implementer: "it".into(),
            });
        }
        Ok(())
    };
    let mut saving = saving(job.path(), folder.path(), refuses);
    for _ in 0..2 {
        assert!(saving.look(Duration::ZERO).await.is_err());
        assert_eq!(kept(folder.path()), ["1/files/a.chk"]);
    }
    assert_eq!(saving.look(Duration::ZERO).await.unwrap(), Look::Saved);
    assert_eq!(kept(folder.path()), ["1/files/a.chk", "1/manifest.json"]);
    assert_eq!(saving.look(Duration::ZERO).await.unwrap(), Look::Nothing);
}

#[tokio::test]
async fn nothing_is_stored_of_a_checkpoint_with_a_file_that_is_too_large() {
    let (job, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(job.path().join("a.chk"), "1").unwrap();
    fs::File::create(job.path().join("b.chk")).unwrap().set_len(15 << 40).unwrap();
    let mut saving = saving(job.path(), folder.path(), |_: &str| panic!("it is put"));
    assert!(matches!(saving.look(Duration::ZERO).await, Err(StoreError::TooLarge(_))));
}
