//! A program for tasks whose every move a test sees, and whose end it decides.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline_tests::system::{eventually, id};
use tempfile::TempDir;

/// Each start is a line: the attempt, and whether the process of another one was still there. It prints what
/// LAMMPS prints, waits until its attempt may end, and then says that it has.
const SCRIPT: &str = r#"#!/bin/sh
marks=$(dirname "$0")
test -e "$marks/deaf" && trap ': > "$marks/termed.$STAGELINE_ATTEMPT"' TERM
# An attempt's process is known by this script's path in its command line: numbers may be used again.
others=alone
for other in "$marks"/pid.*; do
  grep -qs "$marks/run.sh" "/proc/$(cat "$other" 2>/dev/null)/cmdline" && others="beside ${other##*.}"
done
echo $$ > "$marks/new.$$"
mv "$marks/new.$$" "$marks/pid.$STAGELINE_ATTEMPT"
echo "$STAGELINE_ATTEMPT $others" >> "$marks/starts"
echo 'Per MPI rank memory allocation (min/avg/max) = 3.4 | 3.4 | 3.4 Mbytes'
echo '   Step          Temp'
echo "         0   $STAGELINE_ATTEMPT"
until test -e "$marks/go.$STAGELINE_ATTEMPT"; do
  test -d "$marks" || exit 1
  sleep 0.05
done
echo "       100   $STAGELINE_ATTEMPT"
echo 'Loop time of 0.1 on 1 procs for 100 steps with 256 atoms'
echo "$STAGELINE_ATTEMPT" >> "$marks/ends"
"#;

/// The program of one task.
pub struct Engine {
    marks: TempDir,
}

impl Engine {
    pub fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let marks = tempfile::tempdir()?;
        let script = marks.path().join("run.sh");
        std::fs::write(&script, SCRIPT)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { marks })
    }

    /// The same, and it goes on after TERM.
    pub fn deaf() -> Result<Self> {
        let engine = Self::new()?;
        std::fs::write(engine.path("deaf"), "")?;
        Ok(engine)
    }

    /// A record of a task that runs it.
    pub fn task(&self, name: &str) -> Value {
        json!({"id": id(name), "command": format!("sh {}", self.script().display())})
    }

    /// A record of a task that runs it as LAMMPS, with stages, where it is the worker's `lammps_program`.
    pub fn lammps_task(&self, name: &str) -> Value {
        let params = json!({"nsteps": 100});
        json!({"id": id(name), "engine": "lammps", "script": "lammps/melt/in.melt", "params": params})
    }

    pub fn script(&self) -> PathBuf {
        self.path("run.sh")
    }

    /// Lets this attempt end, now or when it comes.
    pub fn let_go(&self, attempt: u32) -> Result<()> {
        Ok(std::fs::write(self.path(&format!("go.{attempt}")), "")?)
    }

    /// Waits until the process of this attempt is there.
    pub async fn started(&self, attempt: u32) -> Result<()> {
        let begins = format!("{attempt} ");
        eventually("the attempt's process starts", || async {
            Ok(self.starts().iter().any(|line| line.starts_with(&begins)).then_some(()))
        })
        .await
    }

    /// Waits until the process of this attempt, which is deaf, was told to end.
    pub async fn told_to_end(&self, attempt: u32) -> Result<()> {
        let mark = self.path(&format!("termed.{attempt}"));
        eventually("the process gets TERM", || async { Ok(mark.exists().then_some(())) }).await
    }

    /// Waits until the process of this attempt is gone.
    pub async fn gone(&self, attempt: u32) -> Result<()> {
        eventually("the attempt's process is gone", || async { Ok((!self.is_there(attempt)?).then_some(())) })
            .await
    }

    /// Whether the process of this attempt is there.
    pub fn is_there(&self, attempt: u32) -> Result<bool> {
        let pid =
            std::fs::read_to_string(self.path(&format!("pid.{attempt}"))).context("it never started")?;
        let line = std::fs::read(Path::new("/proc").join(pid.trim()).join("cmdline")).unwrap_or_default();
        Ok(String::from_utf8_lossy(&line).contains(&*self.script().to_string_lossy()))
    }

    /// The starts so far, such as `1 alone` or `2 beside 1`.
    pub fn starts(&self) -> Vec<String> {
        self.lines("starts")
    }

    /// The attempts whose processes ended by themselves.
    pub fn ends(&self) -> Vec<String> {
        self.lines("ends")
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.marks.path().join(name)
    }
}
