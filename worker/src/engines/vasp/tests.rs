//! What the engine plans.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::Config;

struct Place {
    // Removed when it goes.
    _dir: tempfile::TempDir,
    config: Config,
}

impl Place {
    /// An inputs folder with these files in `si`, and a VASP that does nothing.
    fn with(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("si")).unwrap();
        for name in files {
            fs::write(root.join("si").join(name), "NSW = 3\n").unwrap();
        }
        let program = root.join("vasp_std");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = root.to_string_lossy().into_owned();
        Self { config: Config { inputs_dir: root, path, ..Config::default() }, _dir: dir }
    }

    fn plan(&self, script: &str, inputs: Value) -> Result<ChildPlan, Failure> {
        let record = json!({"id": "t", "engine": "vasp", "script": script, "inputs": inputs});
        let site = Site { config: &self.config, job_dir: Path::new("/job"), resume: None };
        match Vasp.plan(&Task::deserialize(record).unwrap(), &site)? {
            Execution::Child(plan) => Ok(plan),
            Execution::Inline(_) => panic!("it runs as a process"),
        }
    }

    fn staged(&self, script: &str, inputs: Value) -> Vec<String> {
        let plan = self.plan(script, inputs).unwrap();
        let mut names: Vec<_> = plan.files.iter().map(|file| file.to.display().to_string()).collect();
        names.sort();
        names
    }
}

const ALL: [&str; 4] = ["INCAR", "KPOINTS", "POSCAR", "POTCAR"];

#[test]
fn the_incar_or_its_folder_bring_the_files_beside_it() {
    let place = Place::with(&ALL);
    assert_eq!(place.staged("si", json!([])), ALL);
    assert_eq!(place.staged("./si/", json!([])), ALL);
    assert_eq!(place.staged("si/INCAR", json!([])), ALL);
    let without_points = Place::with(&["INCAR", "POSCAR", "POTCAR"]);
    assert_eq!(without_points.staged("si", json!([])), ["INCAR", "POSCAR", "POTCAR"]);
}

#[test]
fn an_incar_of_any_name_is_called_incar() {
    let place = Place::with(&["INCAR.relax", "POSCAR", "POTCAR"]);
    assert_eq!(place.staged("si/INCAR.relax", json!([])), ["INCAR", "POSCAR", "POTCAR"]);
}

#[test]
fn what_the_inputs_bring_is_not_taken_twice() {
    let place = Place::with(&["INCAR", "POSCAR", "POTCAR", "POSCAR.old"]);
    let inputs = json!([{"source": "si/POSCAR.old", "path": "POSCAR"}]);
    assert_eq!(place.staged("si", inputs), ["INCAR", "POSCAR", "POTCAR"]);
}

#[test]
fn what_is_missing_is_named() {
    let code = |place: &Place, script: &str| place.plan(script, json!([])).err().unwrap();
    let failure = code(&Place::with(&["INCAR", "POSCAR"]), "si");
    assert_eq!(failure.code, Code::InputMissing);
    assert!(failure.message.contains("VASP needs POTCAR"), "{}", failure.message);
    let mut place = Place::with(&ALL);
    assert_eq!(code(&place, "../si").code, Code::PathUnsafe);
    assert_eq!(code(&place, "absent").code, Code::InputMissing);
    place.config.vasp_program = "vasp-of-nobody".to_owned();
    let missing = code(&place, "si");
    assert_eq!(missing.code, Code::EngineMissing);
    assert!(missing.message.contains("proprietary"), "{}", missing.message);
}

#[test]
fn a_link_beside_the_incar_does_not_lead_out() {
    let place = Place::with(&["INCAR", "POSCAR"]);
    std::os::unix::fs::symlink("/etc/hostname", place.config.inputs_dir.join("si/POTCAR")).unwrap();
    assert_eq!(place.plan("si", json!([])).err().unwrap().code, Code::PathUnsafe);
}

#[test]
fn it_is_asked_to_stop_by_a_stopcar() {
    let plan = Place::with(&ALL).plan("si", json!([])).unwrap();
    let expected = SoftStop::File { path: "STOPCAR".into(), content: "LSTOP = .TRUE.\n".to_owned() };
    assert_eq!(plan.soft_stop, expected);
    assert!(plan.steps[0].program.ends_with("vasp_std") && plan.steps[0].args.is_empty());
}

#[test]
fn mpis_words_are_no_reason() {
    let reader = Log { output: Output::new(), progress: Progress::new(incar::read("")) };
    let noise = "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\nwith errorcode 1.\n";
    match Box::new(reader).verdict(Exit { code: Some(1), signal: None }, noise) {
        Outcome::Failed(failure) => assert_eq!(failure.message, "VASP ended with exit code 1"),
        other => panic!("{other:?}"),
    }
}
