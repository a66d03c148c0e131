//! What the workers' logs tell that the tables do not.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

const FENCED: &str = "outcome not written: the task has moved on";

/// Whether a worker says in this line that an attempt's end was refused.
pub(super) fn is_fenced(line: &Value) -> bool {
    line["message"] == FENCED
}

/// How often the workers said what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// An attempt's end that was refused: its task had moved on.
    pub fenced_outcomes: usize,
    /// A stage that was refused: a later attempt had written it.
    pub fenced_stages: usize,
    /// A task that was taken from a dead worker at its claim.
    pub rescued_at_claims: usize,
    /// A task that was taken from a former self at the start.
    pub rescued_at_starts: usize,
    /// A worker that stopped what it ran, as it could not beat.
    pub self_fences: usize,
    /// A worker that found itself taken for dead.
    pub taken_for_dead: usize,
    /// An attempt that was stopped since its task was somebody else's.
    pub abandoned: usize,
}

impl Told {
    /// Reads one worker's lines.
    pub fn add(&mut self, lines: &[Value]) {
        for line in lines {
            let message = line["message"].as_str().unwrap_or_default();
            // The one rescue happens in the span of an attempt, the other one before there are any.
            let in_attempt = line["span"]["name"] == "attempt";
            let counter = match message {
                FENCED => &mut self.fenced_outcomes,
                "progress not written: a later attempt has written it" => &mut self.fenced_stages,
                "rescued" if in_attempt => &mut self.rescued_at_claims,
                "rescued" => &mut self.rescued_at_starts,
                "no heartbeat could be written; everything that runs is stopped" => &mut self.self_fences,
                _ if message.starts_with("others took this worker for dead") => &mut self.taken_for_dead,
                _ if message.starts_with("abandoned: ") => &mut self.abandoned,
                _ => continue,
            };
            *counter += 1;
        }
    }
}

/// Writes lines into a file of this name.
pub(super) fn save(folder: &Path, name: &str, lines: &[Value]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(std::fs::write(folder.join(format!("{name}.log")), text)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rescues_at_claims_and_at_starts_are_told_apart() {
        let mut told = Told::default();
        told.add(&[
            json!({"message": "rescued", "span": {"name": "attempt"}}),
            json!({"message": "rescued"}),
            json!({"message": "worker started"}),
            json!("no JSON"),
        ]);
        let expected = Told { rescued_at_claims: 1, rescued_at_starts: 1, ..Told::default() };
        assert_eq!(told, expected);
    }
}
