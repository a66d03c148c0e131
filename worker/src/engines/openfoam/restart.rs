//! What a case saves to go on from, and how its solver is told to.

use super::Files;
use super::steps::Program;
use crate::engines::{Checkpoint, Pick, Resume};

/// The times that the solver writes, where going on from one is safe: the programs before it make the mesh and
/// nothing else, since whatever sets fields would set those of the latest time, and it runs on one process.
pub(super) fn checkpoint(programs: &[Program]) -> Checkpoint {
    let safe = |one: &Program| {
        one.processes == 1 && (one.solver || matches!(one.name.as_str(), "blockMesh" | "checkMesh"))
    };
    if !programs.iter().all(safe) {
        return Checkpoint::default();
    }
    Checkpoint { files: vec!["*/**".to_owned()], pick: Pick::LatestTime }
}

/// `controlDict` for a run that goes on: the last entry of a name counts.
pub(super) fn going_on(control_dict: &str) -> String {
    format!("{control_dict}\n\nstartFrom latestTime;\n")
}

/// The time of what was saved.
pub(super) fn time(resume: &Resume) -> Option<f64> {
    resume.files.first()?.path.split('/').next()?.parse().ok()
}

/// Whether the case brings times of its own, beside which the saved one might not be the latest.
pub(super) fn has_later(files: &Files, time: f64) -> bool {
    let times = files.keys().filter_map(|path| path.iter().next()?.to_str()?.parse::<f64>().ok());
    times.into_iter().any(|own| own > time)
}

#[cfg(test)]
mod tests {
    use super::super::control::Control;
    use super::*;
    use crate::engines::SavedFile;

    fn program(name: &str, processes: u32) -> Program {
        Program { name: name.to_owned(), solver: name.ends_with("Foam"), processes }
    }

    #[test]
    fn only_plain_cases_on_one_process_are_gone_on_with() {
        let saves = |programs: &[Program]| !checkpoint(programs).files.is_empty();
        assert!(saves(&[program("blockMesh", 1), program("icoFoam", 1)]) && saves(&[program("icoFoam", 1)]));
        assert!(!saves(&[program("blockMesh", 1), program("setFields", 1), program("interFoam", 1)]));
        assert!(!saves(&[program("decomposePar", 1), program("icoFoam", 4)]));
    }

    #[test]
    fn the_saved_time_is_where_it_goes_on() {
        let text = going_on("startFrom startTime; startTime 0; endTime 1;");
        assert_eq!(Control::parse(&text).start, None);
        assert_eq!(Control::parse(&text).end, Some(1.0));
        let saved = SavedFile { path: "0.25/U".into(), at: "/x".into() };
        assert_eq!(time(&Resume { files: vec![saved] }), Some(0.25));
        let files: Files = [("0.5/U".into(), crate::engines::Content::Text(String::new()))].into();
        assert!(has_later(&files, 0.25) && !has_later(&files, 0.5));
    }
}
