//! The process tree of an attempt, and how all of it is ended.
//!
//! A process group is not enough: MPI ranks have groups or sessions of their own, and wrappers leave
//! orphans. The worker is a *child subreaper*, so whatever loses its parent becomes the worker's child,
//! and it is recognised by where it hangs in the tree, by its process group, or by a marker in its
//! environment. A process that has left all three is nobody's, and is ended too when the worker has the
//! whole process to itself.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::process::{Child, Command};

use super::environment::MARKER;

/// Rounds of ending what is left. A round ends every process that was seen; only one that forks faster
/// than it can be seen needs a second.
const ROUNDS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// The children a worker takes care of: the leaders of all its attempts.
#[derive(Debug, Default)]
pub struct Custody {
    whole_process: bool,
    /// Held for reading while a process starts, so that many start at a time: until it is among the leaders, whoever
    /// looks for strays would take it for one.
    starting: RwLock<()>,
    leaders: Mutex<HashSet<i32>>,
}

/// The leaders while none starts.
struct Settled<'a> {
    leaders: MutexGuard<'a, HashSet<i32>>,
    _none_starts: RwLockWriteGuard<'a, ()>,
}

impl Custody {
    /// For a worker that has its process to itself: orphans become its children, and a child that no
    /// attempt knows is ended.
    ///
    /// # Errors
    /// When the system refuses (Linux before 3.4).
    pub fn of_whole_process() -> io::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self { whole_process: true, ..Self::default() })
    }

    /// For a worker among others in one process, as in tests: leaves alone what it does not know.
    ///
    /// # Errors
    /// When the system refuses (Linux before 3.4).
    pub fn shared() -> io::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self::default())
    }

    /// Starts a process that leads an attempt's tree.
    ///
    /// # Errors
    /// When the system does not start it.
    pub fn spawn(&self, command: &mut Command) -> io::Result<(Child, i32)> {
        let _starting = self.starting.read().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        // Only a child that was waited for has no id.
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        self.leaders().insert(leader);
        Ok((child, leader))
    }

    fn leaders(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> Settled<'_> {
        let none_starts = self.starting.write().unwrap_or_else(PoisonError::into_inner);
        Settled { leaders: self.leaders(), _none_starts: none_starts }
    }

    /// Whether the kernel says that no process has lost its parent to this one but leaders. Spares the look at
    /// all processes after each of many short tasks.
    ///
    /// Orphans become children of the first thread that lives (`find_alive_thread` of the kernel's `exit.c`), which
    /// is the main one; what other threads have started themselves is in lists of their own.
    fn has_only_leaders(&self) -> bool {
        // Without the kernel's list of children, look at all processes.
        let Ok(list) = fs::read_to_string(format!("/proc/self/task/{}/children", getpid())) else {
            return false;
        };
        let leaders = self.leaders();
        list.split_whitespace().all(|pid| pid.parse().is_ok_and(|pid| leaders.contains(&pid)))
    }
}

/// The tree of one attempt. Ends what is left of it when dropped.
#[derive(Debug)]
pub struct Tree<'a> {
    custody: &'a Custody,
    leader: Pid,
    marker: String,
    /// Whether the leader is a sandbox: when it ends, everything in it is killed.
    sandboxed: bool,
    ended: AtomicBool,
}

impl<'a> Tree<'a> {
    /// The tree below `leader`, which [`Custody::spawn`] started, leads a process group of its own and
    /// carries `marker`.
    pub fn of(custody: &'a Custody, leader: i32, marker: &str) -> Self {
        Self {
            custody,
            leader: Pid::from_raw(leader),
            marker: format!("{MARKER}={marker}"),
            sandboxed: false,
            ended: AtomicBool::new(false),
        }
    }

    /// The tree whose leader is a sandbox, or not.
    #[must_use]
    pub fn sandboxed(mut self, sandboxed: bool) -> Self {
        self.sandboxed = sandboxed;
        self
    }

    /// Every process of the tree, now.
    pub fn pids(&self) -> Vec<Pid> {
        self.members(&self.custody.settled().leaders)
    }

    /// Sends `signal` to every process of the tree. A sandbox does not hear of TERM: its end would leave the
    /// program in it no time to end by itself.
    pub fn signal(&self, signal: Signal) {
        let settled = self.custody.settled();
        let mut members = self.members(&settled.leaders);
        if self.sandboxed && signal == Signal::SIGTERM {
            members.retain(|pid| *pid != self.leader);
        }
        // The leader first: it is to hear of the signal before it hears of its children's ends.
        members.sort_by_key(|pid| *pid != self.leader);
        for pid in members {
            let _gone_already = kill(pid, signal);
        }
    }

    /// Ends what is left of the tree, and takes it out of the kernel's table. The leader itself was
    /// waited for by its owner.
    pub async fn end(&self) {
        let _gone_already = killpg(self.leader, Signal::SIGKILL);
        for _ in 0..ROUNDS {
            if self.is_alone() || self.kill_and_reap() == 0 {
                self.ended.store(true, Ordering::Relaxed);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let left = self.pids();
        if !left.is_empty() {
            tracing::error!(processes = ?left, "processes of the attempt cannot be ended");
        }
    }

    /// Whether nothing of it can be left. As long as the leader was not waited for, what hangs below it has not become
    /// this process's own.
    fn is_alone(&self) -> bool {
        kill(self.leader, None).is_err() && self.custody.has_only_leaders()
    }

    /// One round; how many processes it met. No child is started meanwhile.
    fn kill_and_reap(&self) -> usize {
        let settled = self.custody.settled();
        let members = self.members(&settled.leaders);
        for pid in &members {
            let _gone_already = kill(*pid, Signal::SIGKILL);
            // Only orphans are this process's children by now; for others this fails, harmlessly.
            if *pid != self.leader {
                let _not_ours = waitpid(*pid, Some(WaitPidFlag::WNOHANG));
            }
        }
        members.len()
    }

    /// Every process that belongs to the attempt.
    fn members(&self, leaders: &HashSet<i32>) -> Vec<Pid> {
        let processes = processes();
        let me = getpid().as_raw();
        let mut members = Vec::new();
        for (pid, process) in &processes {
            let (below_me, leader) = ancestry(*pid, &processes, me, leaders);
            // Its owner waits for a leader that has ended.
            let over = process.zombie && *pid == self.leader.as_raw();
            if *pid == me || !below_me || over {
                continue;
            }
            let ours = match leader {
                Some(leader) => leader == self.leader.as_raw(),
                None => process.group == self.leader.as_raw() || self.owns_stray(*pid, *process),
            };
            if ours {
                members.push(Pid::from_raw(*pid));
            }
        }
        members
    }

    /// Whether a child of the worker that hangs below no leader is to be ended with this attempt.
    fn owns_stray(&self, pid: i32, process: Process) -> bool {
        if process.zombie {
            // Its environment is gone; nothing is left to end, only to be taken out of the table.
            return self.custody.whole_process;
        }
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let mut variables = environment.split(|byte| *byte == 0);
        let marker = variables.find(|variable| variable.starts_with(MARKER.as_bytes()));
        match marker {
            Some(marker) => marker == self.marker.as_bytes(),
            None => self.custody.whole_process,
        }
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        // Also when the attempt's future is dropped half-way: then nobody waits for the rest.
        if !self.ended.load(Ordering::Relaxed) {
            let _gone_already = killpg(self.leader, Signal::SIGKILL);
            if !self.is_alone() {
                self.kill_and_reap();
            }
        }
        self.custody.leaders().remove(&self.leader.as_raw());
    }
}

#[derive(Clone, Copy, Debug)]
struct Process {
    parent: i32,
    group: i32,
    zombie: bool,
}

/// Every process of the machine.
fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parse_stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// `pid (name) state ppid pgrp …` (proc(5)); the name may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Process { parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, zombie })
}

/// Whether `pid` is `me` or hangs below it, and the leader it is or hangs below.
fn ancestry(
    pid: i32,
    processes: &HashMap<i32, Process>,
    me: i32,
    leaders: &HashSet<i32>,
) -> (bool, Option<i32>) {
    let (mut at, mut leader) = (pid, None);
    // Bounded: the table was not read in one moment, so it could hold a ring.
    for _ in 0..processes.len() {
        if at == me {
            return (true, leader);
        }
        if leaders.contains(&at) {
            leader = Some(at);
        }
        match processes.get(&at) {
            Some(process) if process.parent > 0 => at = process.parent,
            _ => break,
        }
    }
    (false, leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let process = parse_stat("42 (a) b (c)) S 7 40 40 0 -1").unwrap();
        assert_eq!((process.parent, process.group, process.zombie), (7, 40, false));
        assert!(parse_stat("42 (x) Z 1 1 1").unwrap().zombie);
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn a_process_belongs_to_the_leader_it_hangs_below() {
        let process = |parent| Process { parent, group: 0, zombie: false };
        let table = HashMap::from([
            (1, process(0)),
            (10, process(1)),
            (20, process(10)),
            (30, process(20)),
            (40, process(10)),
        ]);
        let leaders = HashSet::from([20]);
        assert_eq!(ancestry(30, &table, 10, &leaders), (true, Some(20)));
        assert_eq!(ancestry(20, &table, 10, &leaders), (true, Some(20)));
        assert_eq!(ancestry(40, &table, 10, &leaders), (true, None));
        assert!(!ancestry(1, &table, 10, &leaders).0);
    }
}
