//! Short programs beside an attempt's own processes: what follows them, and what stops them where they are when
//! they run under somebody else.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tracing::warn;

use super::environment::MARKER;
use super::tree::Tree;
use crate::context::Context;
use crate::engines::{Pausing, Step};

/// How long a stopped program is waited for: one in the kernel's hands may not even die.
const LAST: Duration = Duration::from_secs(2);
/// How long it may take to stop processes where they are, or to let them go on.
const TO_PAUSE: Duration = Duration::from_secs(5);

/// The process of a step in an attempt's folder, without its streams.
pub(super) fn command(step: &Step, env: &[(String, String)], folder: &Path) -> Command {
    let mut command = Command::new(&step.program);
    command
        .args(&step.args)
        .env_clear()
        .envs(env.iter().cloned())
        .current_dir(folder)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Runs a program to its end, which is `what`; whether it succeeded within `limit`. Nothing of it is left.
pub(super) async fn run(
    context: &Context,
    mut command: Command,
    marker: &str,
    what: &str,
    limit: Duration,
) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (mut child, leader) = match context.custody.spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) => {
            warn!(%error, program = ?command.as_std().get_program(), "{what} was not started");
            return false;
        }
    };
    let tree = Tree::of(&context.custody, leader, marker);
    let succeeded = match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => true,
        Ok(ended) => {
            warn!(?ended, "{what} did not succeed");
            false
        }
        Err(_elapsed) => {
            warn!(?limit, "{what} takes too long, ended");
            if let Err(error) = child.start_kill() {
                warn!(%error, "it cannot be ended");
            }
            let _reaped_later = tokio::time::timeout(LAST, child.wait()).await;
            false
        }
    };
    tree.end().await;
    succeeded
}

/// Who stops an attempt's processes where they are when a signal does not reach them.
pub(super) struct Pauser<'a> {
    pub pausing: &'a Pausing,
    pub context: &'a Context,
    pub env: &'a [(String, String)],
    pub folder: &'a Path,
}

impl Pauser<'_> {
    /// Stops them, or lets them go on; whether that is so now. Broken off when the attempt has to end.
    pub async fn hold(&self, still: bool) -> bool {
        let mut fenced = self.context.running.fenced();
        tokio::select! {
            held = self.ask(still, TO_PAUSE) => held,
            () = self.context.stop.cancelled() => false,
            Ok(_) = fenced.wait_for(|fenced| *fenced) => false,
        }
    }

    /// Asks for it, for so long.
    pub async fn ask(&self, still: bool, limit: Duration) -> bool {
        let (step, what) = match still {
            true => (&self.pausing.pause, "the pause"),
            false => (&self.pausing.go_on, "the end of the pause"),
        };
        // Not one of the attempt's: with its end, nothing that carries the attempt's own mark may end.
        let marker = uuid::Uuid::new_v4().simple().to_string();
        let mut command = command(step, self.env, self.folder);
        command.env(MARKER, &marker);
        run(self.context, command, &marker, what, limit).await
    }
}
