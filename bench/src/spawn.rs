//! How many processes a second the worker's own code starts, beside the bare rate.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use stageline_worker::child::{Custody, Tree};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::procfs::cpu_seconds;
use crate::report::Figure;
use crate::scope::Scope;

const IN_FLIGHT: usize = 16;
const PROGRAM: &str = "/bin/true";
const REPETITIONS: usize = 3;

/// Processes a second, and CPU microseconds of the parent for each.
struct Rate {
    a_second: f64,
    cpu_micros: f64,
}

/// Measures both in turns.
///
/// # Errors
/// A process cannot be started.
pub async fn measure(scope: &Scope) -> Result<Vec<Figure>> {
    let count = scope.of(2_000, 6_000);
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        bare.push(rated(count, tokio::task::spawn_blocking(move || bare_spawns(count))).await?);
        own.push(rated(count, tokio::spawn(own_spawns(count))).await?);
    }
    let each = |rates: &[Rate], of: fn(&Rate) -> f64| rates.iter().map(of).collect::<Vec<_>>();
    let ratios: Vec<_> = own.iter().zip(&bare).map(|(own, bare)| own.a_second / bare.a_second).collect();
    Ok(vec![
        Figure::new("spawn rate, part of the bare rate, 16 in flight", "×", ratios).at_least(0.8),
        Figure::new("spawns a second, the worker's code", "", each(&own, |rate| rate.a_second)),
        Figure::new("spawns a second, bare `std::process::Command`", "", each(&bare, |rate| rate.a_second)),
        Figure::new("parent's CPU a spawn, the worker's code", "µs", each(&own, |rate| rate.cpu_micros)),
        Figure::new("parent's CPU a spawn, bare", "µs", each(&bare, |rate| rate.cpu_micros)),
    ])
}

async fn rated(count: usize, work: tokio::task::JoinHandle<Result<()>>) -> Result<Rate> {
    let me = std::process::id();
    let (begun, before) = (Instant::now(), cpu_seconds(me)?);
    work.await??;
    Ok(Rate {
        a_second: count as f64 / begun.elapsed().as_secs_f64(),
        cpu_micros: (cpu_seconds(me)? - before) * 1e6 / count as f64,
    })
}

fn bare_spawns(count: usize) -> Result<()> {
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        let one = || {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let mut command = std::process::Command::new(PROGRAM);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                ensure!(command.spawn()?.wait()?.success(), "{PROGRAM} failed");
            }
            anyhow::Ok(())
        };
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_panic) => anyhow::bail!("a spawning thread panicked"),
            }
        }
        Ok(())
    })
}

/// As an attempt starts its process: through the worker's custody, in a group of its own, with an environment
/// from nothing, both streams read to their ends and nothing left of its tree.
async fn own_spawns(count: usize) -> Result<()> {
    let custody = Arc::new(Custody::shared()?);
    let left = Arc::new(AtomicUsize::new(count));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (custody, left) = (Arc::clone(&custody), Arc::clone(&left));
        all.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let mut command = Command::new(PROGRAM);
                command
                    .env_clear()
                    .env("PATH", "/usr/bin:/bin")
                    .current_dir("/")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .process_group(0)
                    .kill_on_drop(true);
                let (mut child, leader) = custody.spawn(&mut command)?;
                let tree = Tree::of(&custody, leader, "bench");
                let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
                let (mut o, mut e) = (Vec::new(), Vec::new());
                if let (Some(out), Some(err)) = (&mut out, &mut err) {
                    tokio::try_join!(out.read_to_end(&mut o), err.read_to_end(&mut e))?;
                }
                let ended = child.wait().await?;
                tree.end().await;
                ensure!(ended.success(), "{PROGRAM} failed");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}
