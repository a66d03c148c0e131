//! What the processes of an attempt use of memory, all together. The kernel's own limits count what is mapped,
//! and of one process; a limit on what a tree really uses needs a control group, which a worker seldom may make.
//! So it is looked at every second: a tree that grows faster overshoots by what it takes in that time.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;
use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::ErrorKind;

use super::tree::Tree;

/// Between looks.
const LOOK: Duration = Duration::from_secs(1);
const KIBIBYTES: u64 = 1024;

/// Waits until the tree uses more than `limit_mb`; for ever without a limit.
pub(super) async fn exceeded(tree: &Tree<'_>, limit_mb: Option<u64>) -> Failure {
    let Some(limit_mb) = limit_mb else { return std::future::pending().await };
    let limit_kb = limit_mb.saturating_mul(KIBIBYTES);
    loop {
        tokio::time::sleep(LOOK).await;
        let pids = tree.pids();
        // The quick count takes what processes share as often as they share it. Only if that is too much, the
        // kernel is asked to count exactly, for which it walks through all pages.
        if total(&pids, quick) > limit_kb {
            let used = total(&pids, exact);
            if used > limit_kb {
                return failure(used / KIBIBYTES, limit_mb, pids.len());
            }
        }
    }
}

fn failure(used_mb: u64, limit_mb: u64, processes: usize) -> Failure {
    let message = format!(
        "its {processes} process(es) used {used_mb} MiB of memory, more than the {limit_mb} MiB that they may, and were \
         stopped; raise `resources.memoryMb` (or `max_memory_mb` of the worker's configuration), or make the task \
         smaller"
    );
    Failure { kind: ErrorKind::OutOfMemory, ..Failure::fatal(Code::OutOfMemory, message) }
}

/// In KiB. A process that has ended meanwhile uses nothing.
fn total(pids: &[Pid], of: impl Fn(Pid) -> Option<u64>) -> u64 {
    pids.iter().filter_map(|pid| of(*pid)).fold(0, u64::saturating_add)
}

fn quick(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(sum(&status, &["RssAnon:", "RssShmem:", "VmSwap:"]))
}

/// Each page by its share: the pages that `n` processes have in common count an nth in each.
fn exact(pid: Pid) -> Option<u64> {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) if rollup.contains("Pss_Anon:") => {
            Some(sum(&rollup, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]))
        }
        _ => quick(pid),
    }
}

/// The sum of lines such as `RssAnon:     120 kB`. Files that are mapped do not count: the kernel can drop them.
fn sum(text: &str, names: &[&str]) -> u64 {
    let value = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        names.contains(&name).then(|| words.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(value).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_cannot_be_dropped() {
        let status = "Name:\tpython3\nVmPeak:\t  900000 kB\nRssAnon:\t  1000 kB\nRssFile:\t 500 kB\nRssShmem:\t 20 kB\n\
                      VmSwap:\t 3 kB\n";
        assert_eq!(sum(status, &["RssAnon:", "RssShmem:", "VmSwap:"]), 1023);
        assert_eq!(sum("RssAnon: lots kB\n\nRssAnon:", &["RssAnon:"]), 0);
        assert_eq!(sum("", &["RssAnon:"]), 0);
    }

    #[test]
    fn this_process_uses_some_and_one_that_is_gone_uses_none() {
        let me = nix::unistd::getpid();
        let (quick, exact) = (quick(me).unwrap(), exact(me).unwrap());
        assert!(quick > 100 && exact > 100, "{quick} {exact}");
        let gone = Pid::from_raw(i32::MAX);
        assert_eq!(total(&[gone], super::exact) + total(&[gone], super::quick), 0);
    }

    #[test]
    fn the_failure_says_what_to_raise() {
        let failure = failure(600, 512, 3);
        assert_eq!((failure.code, failure.kind), (Code::OutOfMemory, ErrorKind::OutOfMemory));
        for words in ["600 MiB", "512 MiB", "resources.memoryMb"] {
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}
