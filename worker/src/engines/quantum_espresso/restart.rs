//! What `pw.x` saves in its `outdir` when its file `PREFIX.EXIT` stops it, and when and how it goes on from that.
//! A TERM leaves nothing that it could go on from, and nothing is saved while it runs.
//!
//! A process that goes on counts anew what the input allows. [`super::progress`] counts iterations and steps over
//! all of them; nobody does the seconds.

use std::path::Path;

use super::namelist::{self, Group};
use crate::engines::{Checkpoint, Pick, Resume};

/// Whether a calculation goes on from what it has saved as if it had not been stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Restart {
    /// It does not, or nobody has tried.
    #[default]
    Never,
    /// It does, but for a last part of it or the time that it may take: it is not stopped without need.
    WhenStopped,
    /// It does, as long as the worker counts its iterations and steps.
    Always,
}

/// Functionals without exact exchange, whose outer loop has not been tried.
const FUNCTIONALS: [&str; 6] = ["pbe", "pbesol", "pz", "lda", "blyp", "pw91"];
/// Switches of `&control` and `&system` whose state has not been tried.
const UNTRIED: [&str; 6] = ["lelfield", "lberry", "lorbm", "lfcp", "lfcpopt", "trism"];

/// What the namelists say of it. Molecular dynamics goes on too, but from other positions.
pub fn of(groups: &[Group]) -> Restart {
    let value = |group: &str, name: &str| {
        let group = groups.iter().find(|one| one.name == group)?;
        group.value(name).map(|value| value.trim().to_ascii_lowercase())
    };
    let bfgs = |group: &str, name: &str| value(group, name).is_none_or(|method| method == "bfgs");
    let functional = value("system", "input_dft");
    let untried = UNTRIED.iter().filter_map(|name| value("control", name).or_else(|| value("system", name)));
    if functional.is_some_and(|name| !FUNCTIONALS.contains(&name.as_str()))
        || untried.into_iter().any(|value| !value.trim_start_matches('.').starts_with('f'))
    {
        return Restart::Never;
    }
    let restart = match value("control", "calculation").as_deref().unwrap_or("scf") {
        "scf" | "nscf" | "bands" => Restart::Always,
        "relax" if bfgs("ions", "ion_dynamics") => Restart::Always,
        // Its last cycle is in a new basis, which what it saves then does not fit.
        "vc-relax" if bfgs("ions", "ion_dynamics") && bfgs("cell", "cell_dynamics") => Restart::WhenStopped,
        _ => Restart::Never,
    };
    // The next process would have all of its time again.
    let has_its_time = value("control", "max_seconds").is_some();
    if restart == Restart::Always && has_its_time { Restart::WhenStopped } else { restart }
}

/// The files to go on from; `exit_file` is the one that stops it. Beside them a folder `PREFIX.save` may hold
/// wave functions of another calculation, which the inputs bring again.
pub fn checkpoint(exit_file: &Path) -> Checkpoint {
    const BESIDE: [&str; 6] = ["wfc*", "mix*", "restart_*", "bfgs", "update", "hub*"];
    const IN_FOLDER: [&str; 4] = ["*.xml", "*.txt", "charge-density*", "ekin-density*"];
    let stem = exit_file.with_extension("");
    let stem = stem.to_string_lossy();
    let beside = BESIDE.iter().map(|name| format!("{stem}.{name}"));
    let in_folder = IN_FOLDER.iter().map(|name| format!("{stem}.save/{name}"));
    Checkpoint { files: beside.chain(in_folder).collect(), pick: Pick::All }
}

/// Whether so many processes can go on from what was saved: each has a file of wave functions of its own.
pub fn fits(saved: &Resume, exit_file: &Path, processes: u32) -> bool {
    let stem = exit_file.with_extension("");
    let stem = format!("{}.wfc", stem.to_string_lossy());
    let of_a_process = |path: &str| {
        path.strip_prefix(&stem)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let files = saved.files.iter().filter(|file| of_a_process(&file.path)).count();
    u32::try_from(files) == Ok(processes.max(1))
}

/// The input with `restart_mode = 'restart'` in `&control`, everything else untouched; `None` when it has
/// no such namelist.
pub fn restarting(text: &str) -> Option<String> {
    const RESTART: &str = "'restart'";
    let groups = namelist::groups(text);
    let control = groups.iter().find(|group| group.name == "control")?;
    let spans: Vec<_> = control
        .assignments
        .iter()
        .filter(|one| one.name == "restart_mode")
        .map(|one| one.span.clone())
        .collect();
    let mut edited = String::with_capacity(text.len() + 64);
    let mut at = 0;
    if spans.is_empty() {
        at = control.begins;
        edited.push_str(&text[..at]);
        edited.push_str(&format!("\n  restart_mode = {RESTART}\n"));
    }
    for span in spans {
        edited.push_str(&text[at..span.start]);
        edited.push_str(RESTART);
        at = span.end;
    }
    edited.push_str(&text[at..]);
    Some(edited)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engines::SavedFile;

    fn mode(text: &str) -> Option<String> {
        let groups = namelist::groups(text);
        let control = groups.iter().find(|group| group.name == "control")?;
        control.value("restart_mode").map(str::to_owned)
    }

    #[test]
    fn only_calculations_that_go_on_as_if_they_had_not_been_stopped_are_stopped_for_a_checkpoint() {
        let restart =
            |control: &str, more: &str| of(&namelist::groups(&format!("&control {control} /\n{more}\n")));
        for (control, more) in [
            ("", ""),
            ("calculation='scf'", "&system input_dft='PBE' /"),
            ("calculation='nscf', lelfield=.false.", ""),
            ("calculation='bands'", ""),
            ("calculation='relax'", "&ions /"),
            ("calculation='relax'", "&ions ion_dynamics='bfgs' /"),
        ] {
            assert_eq!(restart(control, more), Restart::Always, "{control} {more}");
        }
        for control in ["calculation='vc-relax'", "max_seconds=3600", "calculation='relax', max_seconds=1.D4"]
        {
            assert_eq!(restart(control, ""), Restart::WhenStopped, "{control}");
        }
        for (control, more) in [
            ("calculation='md'", ""),
            ("calculation='md', max_seconds=60", ""),
            ("calculation='vc-md'", ""),
            ("calculation='relax'", "&ions ion_dynamics='damp' /"),
            ("calculation='vc-relax'", "&cell cell_dynamics='sd' /"),
            ("calculation='scf'", "&system input_dft='hse' /"),
            ("lelfield=.true.", ""),
            ("", "&system trism=T /"),
        ] {
            assert_eq!(restart(control, more), Restart::Never, "{control} {more}");
        }
        assert_eq!(of(&[]), Restart::Always, "as pw.x sees it");
    }

    #[test]
    fn the_state_is_saved_and_neither_inputs_nor_the_file_that_stops_it() {
        let files = checkpoint(Path::new("out/a.b.EXIT")).files;
        for wanted in ["out/a.b.wfc*", "out/a.b.restart_*", "out/a.b.bfgs", "out/a.b.save/*.xml"] {
            assert!(files.iter().any(|file| file == wanted), "{wanted} is not in {files:?}");
        }
        assert!(!files.iter().any(|file| file.ends_with("EXIT") || file.ends_with(".*")), "{files:?}");
    }

    #[test]
    fn only_as_many_processes_as_have_saved_go_on() {
        let saved = |paths: &[&str]| Resume {
            files: paths.iter().map(|path| SavedFile { path: (*path).into(), at: "/x".into() }).collect(),
        };
        let exit = Path::new("out/si.EXIT");
        let two = saved(&[
            "out/si.wfc1",
            "out/si.wfc2",
            "out/si.mix1",
            "out/si.save/wfc1.dat",
            "out/si.wfc",
            "si.wfc3",
        ]);
        assert!(fits(&two, exit, 2));
        assert!(!fits(&two, exit, 1) && !fits(&two, exit, 3));
        assert!(!fits(&saved(&["out/si.mix1"]), exit, 1), "nothing of its wave functions");
    }

    #[test]
    fn an_input_without_a_mode_gets_one() {
        let text = "&CONTROL\n  prefix = 'si'\n/\n&SYSTEM\n/\n";
        let edited = restarting(text).unwrap();
        assert_eq!(edited, "&CONTROL\n  restart_mode = 'restart'\n\n  prefix = 'si'\n/\n&SYSTEM\n/\n");
        assert_eq!(mode(&restarting("&control prefix='a' /").unwrap()).as_deref(), Some("restart"));
    }

    #[test]
    fn a_mode_is_replaced_in_its_place() {
        let text = "&control\n restart_mode=\"from_scratch\", prefix='a' ! restart_mode = 'x'\n/\nCARD restart_mode='y'\n";
        let expected =
            "&control\n restart_mode='restart', prefix='a' ! restart_mode = 'x'\n/\nCARD restart_mode='y'\n";
        assert_eq!(restarting(text).as_deref(), Some(expected));
        assert_eq!(restarting(expected).as_deref(), Some(expected), "a second time changes nothing");
    }

    #[test]
    fn an_input_without_control_is_left_alone() {
        assert_eq!(restarting("&system\n/\n"), None);
    }

    #[test]
    fn a_hostile_input_is_edited_in_one_pass() {
        let many = format!("&control\n{}/\n", "restart_mode='x',\n".repeat(100_000));
        assert_eq!(restarting(&many).unwrap().matches("'restart'").count(), 100_000);
    }

    proptest! {
        #[test]
        fn whatever_is_edited_restarts(body in "[a-c=!'\", \n(]{0,60}") {
            let edited = restarting(&format!("&control {body}")).unwrap();
            prop_assert!(mode(&edited).as_deref() == Some("restart"), "{}", edited);
        }
    }
}
