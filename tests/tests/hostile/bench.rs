//! The system with one worker, and the folders around it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use stageline::task::Status;
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

use crate::case::{Case, Ended};

/// What stands in for the engines' programs: it plays what lies in its job folder. A signal that whoever runs the
/// tests has switched off, as shells do for what they run in the background, is switched on again.
const PLAYER: &str = r#"#!/bin/sh
case "$0" in */blockMesh) exit 0 ;; esac
cat out
if [ -f err ]; then cat err >&2; fi
if [ -f wait ]; then sleep 30; fi
read -r code <code
case "$code" in -*) exec env --default-signal sh -c 'kill "$1" $$; exit 1' sh "$code" ;; esac
exit "$code"
"#;
const PLAYED: [&str; 7] = ["lmp", "pw.x", "vasp_std", "blockMesh", "icoFoam", "dolfinx-python", "docker"];

pub struct Bench {
    stack: Stack,
    worker: RunningWorker,
    folder: tempfile::TempDir,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let stack = Stack::embedded().await?;
        let folder = tempfile::tempdir()?;
        let place = folder.path().canonicalize()?;
        let programs = place.join("programs");
        for folder in ["inputs", "programs", "outside"] {
            std::fs::create_dir(place.join(folder))?;
        }
        for name in PLAYED {
            let program = programs.join(name);
            std::fs::write(&program, PLAYER)?;
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
        }
        let config = stack.worker_config(24);
        let worker = stack.worker(Config {
            inputs_dir: place.join("inputs"),
            work_dir: place.join("jobs"),
            // As in production: what is not listed is not started.
            allow_any_program: false,
            allowed_programs: ["sh", "true", "cat", "./tool"].map(str::to_owned).into(),
            allowed_images: vec!["python:3.12".to_owned()],
            path: format!("{}:{}", programs.display(), config.path),
            lammps_program: "lmp".to_owned(),
            fenicsx_python: programs.join("dolfinx-python").to_string_lossy().into_owned(),
            openfoam_dir: programs,
            term_grace_seconds: 1,
            // The failures of one case are no reason not to try the next.
            breaker_failures: 0,
            ..config
        })?;
        Ok(Self { stack, worker, folder })
    }

    /// Its folder without links: `inputs`, `jobs`, and `outside`, where no task may read or write.
    pub fn place(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("it was made")
    }

    /// Writes a file below the inputs.
    pub fn input(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.place().join("inputs").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("inputs");
        std::fs::write(&path, content).expect("inputs");
        path
    }

    /// A script of the shell, as a record that runs it.
    pub fn script(&self, name: &str, text: &str) -> Value {
        let file = format!("{name}.sh");
        self.input(&file, text);
        json!({"command": format!("sh {file}"), "inputs": [file]})
    }

    /// Puts the record as a foreign client does.
    pub async fn submit(&self, case: &Case) -> Result<String> {
        let mut record = case.record.clone();
        let map = record.as_object_mut().context("a record")?;
        map.entry("id").or_insert_with(|| json!(id("hostile")));
        map.entry("status").or_insert_with(|| json!("PENDING"));
        let item: stageline::task::Item = serde_dynamo::to_item(&record).with_context(|| case.what)?;
        let table = &self.stack.deployment.tasks_table;
        self.stack
            .dynamodb()
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .send()
            .await
            .with_context(|| case.what)?;
        if let Some(path) = &case.vanishes {
            std::fs::remove_file(path)?;
        }
        Ok(record["id"].as_str().context("an id")?.to_owned())
    }

    /// Waits for the end of the task. Not every record can be read as one.
    pub async fn ended(&self, id: &str) -> Result<Ended> {
        let record = eventually(&format!("{id} ends"), || async {
            let get = self.stack.dynamodb().get_item().table_name(&self.stack.deployment.tasks_table);
            let item =
                get.key("id", AttributeValue::S(id.to_owned())).consistent_read(true).send().await?.item;
            let record: Value = serde_dynamo::from_item(item.context("the record is there")?)?;
            let status: Option<Status> = serde_json::from_value(record["status"].clone()).ok();
            Ok(status.is_some_and(|status| status.is_terminal()).then_some(record))
        })
        .await?;
        let stages = match id.parse() {
            Ok(id) => self.stack.aws.stages.of(&id).await?,
            Err(_) => Vec::new(),
        };
        let says = says(&record, &self.place());
        Ok(Ended { record, stages, says })
    }

    pub async fn end(self) -> Result<()> {
        self.worker.drained().await?;
        self.stack.shutdown().await;
        Ok(())
    }
}

/// Its message, or its result, with names for what differs from run to run.
pub fn says(record: &Value, place: &Path) -> String {
    let text = record["errorMessage"].as_str().map_or_else(|| record["result"].to_string(), str::to_owned);
    let id = record["id"].as_str().unwrap_or("-");
    text.replace(&*place.to_string_lossy(), "").replace(id, "ID")
}
