//! A command of the worker's operator: run in an environment without secrets, with the summary on its standard
//! input, ended when it takes too long.

use std::process::Stdio;
use std::time::Duration;

use stageline::task::Task;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::summary::Summary;
use crate::child::{Tree, job_dir, scrubbed};
use crate::context::Context;

/// Bytes of the end of its standard error that are kept.
const KEPT: usize = 500;
/// How long its pipe may stay open once it has ended, and how long it may take to die.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("{program} could not be started: {error}")]
    NotStarted { program: String, error: std::io::Error },
    #[error("{program} ended with {status}{said}")]
    Ended { program: String, status: std::process::ExitStatus, said: String },
    #[error("{program} took longer than {limit:?}")]
    TooLong { program: String, limit: Duration },
}

/// Runs it to its end; nothing of it is left afterwards, also when this is dropped.
pub(super) async fn run(
    context: &Context,
    task: &Task,
    argv: &[String],
    summary: &Summary,
    limit: Duration,
) -> Result<(), HookError> {
    let program = argv.first().cloned().unwrap_or_default();
    let not_started = |error| HookError::NotStarted { program: program.clone(), error };
    let input = serde_json::to_vec(summary).map_err(|error| not_started(error.into()))?;
    let marker = uuid::Uuid::new_v4().simple().to_string();
    let mut command = Command::new(&program);
    command
        .args(argv.iter().skip(1))
        .env_clear()
        .envs(environment(context, task, summary, &marker))
        .current_dir(&context.config.work_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let (mut child, leader) = context.custody.spawn(&mut command).map_err(not_started)?;
    let tree = Tree::of(&context.custody, leader, &marker);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let fed = async {
        if let Some(mut stdin) = stdin {
            // One that does not read it need not.
            let _not_wanted = stdin.write_all(&input).await;
        }
    };
    let mut said = tokio::spawn(end_of(stderr));
    let work = async { tokio::join!(fed, child.wait()).1 };
    let ended = tokio::time::timeout(limit, work).await;
    if ended.is_err() {
        let _reaped_later = tokio::time::timeout(LAST_BYTES, child.kill()).await;
    }
    tree.end().await;
    match ended {
        Err(_elapsed) => {
            said.abort();
            Err(HookError::TooLong { program, limit })
        }
        Ok(Err(error)) => Err(HookError::NotStarted { program, error }),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let said = match tokio::time::timeout(LAST_BYTES, &mut said).await {
                Ok(Ok(text)) if !text.is_empty() => format!(": {text}"),
                _ => String::new(),
            };
            Err(HookError::Ended { program, status, said })
        }
    }
}

/// An engine's environment, and what is known of the attempt. Later values win.
fn environment(context: &Context, task: &Task, summary: &Summary, marker: &str) -> Vec<(String, String)> {
    let dir = job_dir(&context.config, task);
    let mut env = scrubbed(task, &context.config, &context.id, &dir, marker, &[]);
    // The job folder may not be there yet, or not any more.
    let home = context.config.work_dir.to_string_lossy().into_owned();
    let temporary = std::env::temp_dir().to_string_lossy().into_owned();
    let ours = [
        ("HOME", home),
        ("TMPDIR", temporary),
        ("STAGELINE_EVENT", summary.event.to_owned()),
        ("STAGELINE_ENGINE", summary.engine.clone()),
        ("STAGELINE_STATUS", summary.status.unwrap_or_default().to_owned()),
        ("STAGELINE_REASON", summary.code.clone().unwrap_or_default()),
    ];
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// The end of what it says, in one line.
async fn end_of(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..count]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_end_of_what_a_command_says_is_kept() {
        let long = format!("{}the end\n", "noise ".repeat(100_000));
        let kept = end_of(Some(long.as_bytes())).await;
        assert!(kept.len() <= KEPT && kept.ends_with("the end"), "{kept}");
    }
}
