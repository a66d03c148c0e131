//! Whether a process of this machine is still at work.

use std::path::Path;

/// Whether process `pid` runs; a zombie, which only waits to be waited for, does not. On a system without
/// `/proc` every process counts as running.
pub fn is_running(pid: &str) -> bool {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return true;
    }
    // `pid (name) state …` (proc(5)); the name may hold spaces and parentheses.
    std::fs::read_to_string(processes.join(pid).join("stat")).is_ok_and(|stat| {
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        !matches!(state, Some("Z" | "X") | None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_does_not_run_even_before_it_is_waited_for() {
        assert!(is_running(&std::process::id().to_string()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().to_string();
        while is_running(&pid) {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
        assert!(!is_running(&pid));
    }
}
