//! Why a container did not succeed, by the exit code and the runtime's words.

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::ErrorKind;

use crate::engines::Exit;

/// The runtime failed before the program inside was started; 126 and 127 mean that it cannot be started.
const OF_THE_RUNTIME: i32 = 125;
const CANNOT_START: [i32; 2] = [126, 127];
/// 128 and the number of KILL: what the kernel sends when the memory is used up.
const KILLED: i32 = 137;

/// How docker and podman begin their own lines.
const OWN_WORDS: [&str; 2] = ["docker: ", "Error: "];
/// What they say of an image that is not there for whoever asks.
const NO_IMAGE: [&str; 9] = [
    "no such image",
    "image not known",
    "manifest unknown",
    "manifest for",
    "failed to resolve reference",
    "pull access denied",
    "repository does not exist",
    "requested access to the resource is denied",
    "did not resolve to an alias",
];
/// What they say where nobody answers them.
const UNREACHABLE: [&str; 6] = [
    "cannot connect to the docker daemon",
    "is the docker daemon running",
    "permission denied while trying to connect",
    "failed to connect to the docker api",
    "error during connect",
    "cannot connect to podman",
];
/// What makes an unresolved image the network's fault.
const OF_THE_NETWORK: [&str; 7] = [
    "timeout",
    "timed out",
    "no such host",
    "connection refused",
    "connection reset",
    "too many requests",
    "temporary failure",
];

/// What was printed on standard error.
pub(super) struct Said<'a> {
    /// The last line that begins as the runtime's own do.
    pub runtime: Option<&'a str>,
    pub last_line: &'a str,
}

/// Whether the runtime itself begins lines like this.
pub(super) fn is_of_the_runtime(line: &str) -> bool {
    OWN_WORDS.iter().any(|words| line.starts_with(words))
}

/// Whether a line is worth repeating: docker ends its own with a word about its help.
pub(super) fn says_something(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("Run 'docker ") && !line.starts_with("See 'docker ")
}

/// The failure; `None` for exit code 0. `limited` says whether the container had a memory limit.
pub(super) fn failure(program: &str, exit: Exit, said: &Said<'_>, limited: bool) -> Option<Failure> {
    let words = said.runtime.unwrap_or(said.last_line).trim();
    let failure = match exit.code {
        Some(OF_THE_RUNTIME) => {
            let (code, kind) = of_the_runtime(words);
            Failure { code, kind, ..exit.failure(program, words)? }
        }
        Some(code) if CANNOT_START.contains(&code) => exit.failure(program, words)?,
        Some(KILLED) if limited => {
            let message = "the container was ended by the kernel: it needed more memory than \
                           `resources.memoryMb`, or the worker's `max_memory_mb`";
            let failure = exit.failure(program, "")?;
            Failure {
                code: Code::OutOfMemory,
                kind: ErrorKind::OutOfMemory,
                message: message.to_owned(),
                ..failure
            }
        }
        _ => exit.failure("the container", said.last_line)?,
    };
    Some(failure)
}

fn of_the_runtime(words: &str) -> (Code, ErrorKind) {
    let words = words.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    if has(&UNREACHABLE) {
        return (Code::WorkerFault, ErrorKind::Retryable);
    }
    if has(&NO_IMAGE) && !has(&OF_THE_NETWORK) {
        return (Code::ImageMissing, ErrorKind::Fatal);
    }
    (Code::ExitNonZero, ErrorKind::Retryable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: i32, runtime: Option<&str>, last_line: &str, limited: bool) -> Option<(Code, ErrorKind)> {
        let exit = Exit { code: Some(code), signal: None };
        let failure = failure("docker", exit, &Said { runtime, last_line }, limited)?;
        Some((failure.code, failure.kind))
    }

    #[test]
    fn an_image_that_is_not_there_is_not_worth_a_retry() {
        for words in [
            "docker: Error response from daemon: No such image: python:9",
            "docker: Error response from daemon: pull access denied for x, repository does not exist or may require \
             'docker login'",
            "docker: Error response from daemon: manifest for python:9 not found: manifest unknown: manifest unknown",
            "docker: Error response from daemon: failed to resolve reference \"docker.io/library/x:9\": \
             docker.io/library/x:9: not found",
            "Error: python:9: image not known",
            "Error: short-name \"x\" did not resolve to an alias and no unqualified-search registries are defined",
        ] {
            assert_eq!(
                found(125, Some(words), "", false),
                Some((Code::ImageMissing, ErrorKind::Fatal)),
                "{words}"
            );
        }
    }

    #[test]
    fn a_daemon_or_a_registry_that_does_not_answer_may_answer_later() {
        for (words, code) in [
            (
                "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon \
                 running?",
                Code::WorkerFault,
            ),
            (
                "docker: permission denied while trying to connect to the Docker daemon socket",
                Code::WorkerFault,
            ),
            (
                "docker: Error response from daemon: failed to resolve reference \"a.b/x:1\": dial tcp: lookup a.b: no \
                 such host",
                Code::ExitNonZero,
            ),
            ("docker: Error response from daemon: toomanyrequests: Too Many Requests", Code::ExitNonZero),
            ("something new", Code::ExitNonZero),
        ] {
            assert_eq!(found(125, None, words, false), Some((code, ErrorKind::Retryable)), "{words}");
        }
    }

    #[test]
    fn a_container_that_was_killed_at_its_memory_limit_was_out_of_memory() {
        assert_eq!(found(137, None, "", true), Some((Code::OutOfMemory, ErrorKind::OutOfMemory)));
        assert_eq!(found(137, None, "", false), Some((Code::ExitNonZero, ErrorKind::Retryable)));
    }

    #[test]
    fn a_program_that_cannot_be_started_is_told_in_the_runtimes_words() {
        let words = "docker: Error response from daemon: exec: \"nope\": executable file not found in $PATH";
        let said = Said { runtime: Some(words), last_line: "Run 'docker run --help' for more information" };
        let exit = Exit { code: Some(127), signal: None };
        let failure = failure("docker", exit, &said, false).unwrap();
        assert_eq!(failure.kind, ErrorKind::Fatal);
        assert_eq!(failure.message, format!("docker ended with exit code 127: {words}"));
    }

    #[test]
    fn a_word_about_help_is_not_what_went_wrong() {
        assert!(!says_something("Run 'docker run --help' for more information") && !says_something(" "));
        assert!(says_something("unknown flag: --gpus"));
    }

    #[test]
    fn a_programs_own_words_are_its_failures() {
        assert_eq!(found(0, Some("docker: whatever"), "", true), None);
        let exit = Exit { code: Some(3), signal: None };
        let said = Said { runtime: Some("Error: of the program"), last_line: "last" };
        let failure = failure("docker", exit, &said, true).unwrap();
        assert_eq!(failure.message, "the container ended with exit code 3: last");
    }
}
