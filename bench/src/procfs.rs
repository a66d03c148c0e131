//! What the kernel says of a process: its CPU time and its memory, without its children.

use std::fs;

use anyhow::{Context, Result};

/// The kernel's unit of time in `/proc/PID/stat`: Linux shows hundredths to programs, whatever it counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system seconds of this process alone; children that it has waited for are not in it.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    cpu_of(&stat).with_context(|| format!("/proc/{pid}/stat cannot be read"))
}

/// The name in the second field may hold spaces and parentheses; what follows its last one is numbers.
fn cpu_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    // Fields 14 and 15 of the file; the first two are cut off.
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Milliseconds that the threads of a process have run, those that have ended not counted: exact where
/// [`cpu_seconds`] is coarse.
///
/// # Errors
/// There is no such process.
pub fn threads_cpu_millis(pid: u32) -> Result<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))?;
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Ok(nanos.sum::<f64>() / 1e6)
}

/// Nanoseconds that the calling thread has run.
///
/// # Errors
/// The kernel does not keep them.
pub fn thread_cpu_nanos() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().with_context(|| format!("{text:?} is no schedstat"))
}

/// The children of a process; none of one that is gone.
pub fn children(pid: u32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let all: Vec<String> = lists.collect();
    all.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process stands still by a signal, or is gone.
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z']))
}

/// Resident memory in MB (10^6 bytes): now, or the most it ever was.
///
/// # Errors
/// There is no such process.
pub fn resident_mb(pid: u32, at_most: bool) -> Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let field = if at_most { "VmHWM:" } else { "VmRSS:" };
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("/proc/{pid}/status has no {field}"))? * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("7 (x"), None);
    }

    #[test]
    fn children_are_found_and_seen_to_stand_still() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert!(children(std::process::id()).contains(&i32::try_from(child.id()).unwrap()));
        assert!(!is_stopped(child.id()));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        while !is_stopped(child.id()) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_stopped(child.id()));
    }

    #[test]
    fn this_process_has_memory_and_a_running_thread() {
        assert!(resident_mb(std::process::id(), false).unwrap() > 0.1);
        let before = thread_cpu_nanos().unwrap();
        let sum: u64 = std::hint::black_box((0..2_000_000_u64).fold(0, |a, b| a ^ b.wrapping_mul(a | 1)));
        assert!(thread_cpu_nanos().unwrap() > before, "{sum}");
    }
}
