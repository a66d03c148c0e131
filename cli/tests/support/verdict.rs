//! What a failed task's record must say.

use serde_json::Value;

/// That the task has failed with this code, the same in every place that has it, and with these words.
#[track_caller]
pub fn failed_with(task: &Value, code: &str, words: &[&str]) {
    assert_eq!(task["status"], "FAILED", "{task}");
    assert_eq!(task["statusReason"]["code"], code, "{task}");
    assert_eq!(task["errorDetails"]["code"], code, "{task}");
    assert_eq!(task["errorMessage"], task["statusReason"]["message"]);
    assert!(task["completedAt"].is_string(), "{task}");
    for word in words {
        assert!(task["errorMessage"].as_str().unwrap().contains(word), "{word:?} is not in {task}");
    }
}
