//! What becomes of a process that ends after its soft limit.

use stageline::protocol::outcome::Outcome;

use crate::engines::{Exit, Reader};

/// The success of a process that came to its end although it had just been asked to stop.
pub(super) fn reached_end(reader: Box<dyn Reader>, exit: Exit, stderr: &str) -> Option<Outcome> {
    if exit.code != Some(0) || !reader.knows_its_end() {
        return None;
    }
    Some(reader.verdict(exit, stderr)).filter(|outcome| matches!(outcome, Outcome::Succeeded { .. }))
}

#[cfg(test)]
mod tests {
    use stageline::protocol::outcome::Failure;

    use super::*;
    use crate::engines::Stream;
    use crate::progress::Report;

    /// Says that it knows whether the end was reached, and whether it was.
    struct Words {
        knows: bool,
        reached: bool,
    }

    impl Reader for Words {
        fn line(&mut self, _stream: Stream, _line: &str) -> Vec<Report> {
            Vec::new()
        }

        fn knows_its_end(&self) -> bool {
            self.knows
        }

        fn verdict(self: Box<Self>, _exit: Exit, _stderr: &str) -> Outcome {
            if self.reached {
                Outcome::Succeeded { result: serde_json::Value::Null }
            } else {
                Outcome::Failed(Failure::of_the_worker("stopped before its end"))
            }
        }
    }

    #[test]
    fn after_the_soft_limit_only_an_end_that_the_engine_tells_of_is_a_success() {
        let succeeded = |knows, reached, code, signal| {
            reached_end(Box::new(Words { knows, reached }), Exit { code, signal }, "").is_some()
        };
        assert!(succeeded(true, true, Some(0), None));
        // Exit code 0 may mean that its state was saved.
        assert!(!succeeded(false, true, Some(0), None));
        assert!(!succeeded(true, false, Some(0), None));
        assert!(!succeeded(true, true, Some(1), None));
        assert!(!succeeded(true, true, None, Some(15)));
    }
}
