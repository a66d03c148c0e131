//! Plans of whole cases, with programs that are there only by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;
use crate::Config;

const CONTROL: &str = "application icoFoam; startTime 0; endTime 1; deltaT 0.1; runTimeModifiable yes;";

struct Worker {
    dir: tempfile::TempDir,
    config: Config,
}

impl Worker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["bin", "foam", "inputs/box/system", "inputs/box/0"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["blockMesh", "icoFoam", "decomposePar", "reconstructPar", "mpirun"] {
            fs::write(root.join("bin").join(name), "").unwrap();
            fs::set_permissions(root.join("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let config = Config {
            inputs_dir: root.join("inputs"),
            path: root.join("bin").display().to_string(),
            openfoam_dir: root.join("foam"),
            ..Config::default()
        };
        let worker = Self { dir, config };
        worker.write("box/system/controlDict", CONTROL);
        worker.write("box/system/blockMeshDict", "");
        worker.write("box/0/p", "");
        worker
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.config.inputs_dir.join(name), text).unwrap();
    }

    fn plan(&self, change: Value) -> Result<ChildPlan, Failure> {
        let mut record = json!({ "id": "t", "engine": "openfoam", "script": "box" });
        record.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let task: Task = serde_json::from_value(record).unwrap();
        let site = Site { config: &self.config, job_dir: Path::new("/job"), resume: None };
        match Openfoam.plan(&task, &site)? {
            Execution::Child(plan) => Ok(plan),
            Execution::Inline(_) => panic!("no process"),
        }
    }

    /// The commands, without the folders of their programs.
    fn commands(&self, change: Value) -> Vec<String> {
        let bin = format!("{}/", self.config.path);
        let line = |step: Step| {
            let words = std::iter::once(step.program.into_os_string()).chain(step.args);
            words.map(|word| word.to_string_lossy().replace(&bin, "")).collect::<Vec<_>>().join(" ")
        };
        self.plan(change).unwrap().steps.into_iter().map(line).collect()
    }

    fn refusal(&self, change: Value) -> (Code, String) {
        let failure = self.plan(change).err().unwrap();
        (failure.code, failure.message)
    }
}

fn content<'a>(plan: &'a ChildPlan, name: &str) -> &'a Content {
    &plan.files.iter().find(|placed| placed.to == Path::new(name)).unwrap().content
}

#[test]
fn a_case_is_meshed_and_solved_in_its_own_folder() {
    let worker = Worker::new();
    let solver = "icoFoam -opt-switch stopAtWriteNowSignal=15";
    assert_eq!(worker.commands(json!({})), ["blockMesh", solver]);
    assert_eq!(worker.commands(json!({ "script": "box/system/controlDict" })), ["blockMesh", solver]);
    assert_eq!(worker.commands(json!({ "params": { "steps": ["icoFoam"] } })), [solver]);
    assert_eq!(
        worker.commands(json!({ "params": { "steps": "blockMesh, icoFoam" } })),
        ["blockMesh", solver]
    );
    let plan = worker.plan(json!({})).unwrap();
    let staged: Vec<_> = plan.files.iter().map(|placed| placed.to.display().to_string()).collect();
    assert_eq!(staged, ["0/p", "system/blockMeshDict", "system/controlDict"]);
    let foam = worker.dir.path().canonicalize().unwrap().join("foam").display().to_string();
    assert_eq!(plan.env, [("WM_PROJECT_DIR".to_owned(), foam)]);
    assert_eq!(plan.soft_stop, SoftStop::Terminate);
}

#[test]
fn several_cpus_decompose_the_case_and_stop_by_its_control_dict() {
    let worker = Worker::new();
    let expected = [
        "blockMesh",
        "decomposePar -force",
        "mpirun -np 3 --oversubscribe icoFoam -parallel -opt-switch fileModificationSkew=0",
        "reconstructPar -latestTime",
    ];
    let three = json!({ "resources": { "cpus": 3 } });
    assert_eq!(worker.commands(three.clone()), expected);
    let plan = worker.plan(three.clone()).unwrap();
    let Content::Text(decomposition) = content(&plan, DECOMPOSITION) else { panic!() };
    assert!(decomposition.contains("numberOfSubdomains 3;"));
    assert!(plan.env.iter().any(|(name, value)| name == "OMPI_ALLOW_RUN_AS_ROOT" && value == "1"));
    let path = PathBuf::from("system/controlDict");
    assert_eq!(plan.soft_stop, SoftStop::File { path, content: format!("{CONTROL}\n\nstopAt writeNow;\n") });
    worker.write("box/system/controlDict", &CONTROL.replace("runTimeModifiable yes", "x y"));
    assert_eq!(worker.plan(three).unwrap().soft_stop, SoftStop::Terminate);
}

#[test]
fn the_cases_own_decomposition_has_to_fit() {
    let worker = Worker::new();
    worker.write("box/system/decomposeParDict", "numberOfSubdomains 2; method simple;");
    assert_eq!(worker.commands(json!({ "resources": { "cpus": 2 } })).len(), 4);
    let (code, message) = worker.refusal(json!({ "resources": { "cpus": 4 } }));
    assert_eq!(code, Code::EngineInputInvalid);
    assert!(message.contains("`numberOfSubdomains` \"2\", and `resources.cpus` is 4"), "{message}");
    fs::create_dir(worker.config.inputs_dir.join("box/processor1")).unwrap();
    worker.write("box/processor1/x", "");
    assert!(!worker.commands(json!({ "resources": { "cpus": 2 } })).join(" ").contains("decomposePar"));
}

#[test]
fn the_tasks_inputs_replace_files_of_the_case() {
    let worker = Worker::new();
    worker.write("other", "application simpleFoam;");
    worker.write("points", "");
    let inputs = json!([{ "source": "other", "path": "system/controlDict" },
                        { "source": "points", "path": "constant/polyMesh/points" }]);
    let (code, message) = worker.refusal(json!({ "inputs": inputs }));
    assert_eq!(code, Code::EngineInputInvalid);
    assert!(message.contains("\"simpleFoam\" is not among the programs"), "{message}");
}

#[test]
fn a_program_is_missing_on_the_machine_only_where_openfoam_is_not() {
    let worker = Worker::new();
    let remove = |name: &str| fs::remove_file(Path::new(&worker.config.path).join(name)).unwrap();
    let made_up = json!({ "steps": ["noSuchFoam"] });
    assert_eq!(worker.refusal(json!({ "params": made_up })).0, Code::EngineInputInvalid);
    remove("decomposePar");
    assert_eq!(worker.refusal(json!({ "resources": { "cpus": 2 } })).0, Code::EngineMissing);
    remove("blockMesh");
    for params in [made_up, json!({ "steps": ["blockMesh"] })] {
        let (code, message) = worker.refusal(json!({ "params": params }));
        assert_eq!(code, Code::EngineMissing);
        assert!(message.contains("apt-get install openfoam"), "{message}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_with_the_reason() {
    let worker = Worker::new();
    for (params, expected) in [
        (json!({ "steps": 4 }), "must be a list of programs"),
        (json!({ "steps": "icoFoam -case /" }), "no program of OpenFOAM"),
        (json!({ "steps": "blockMesh,,icoFoam" }), "no program of OpenFOAM"),
        (json!({ "steps": [1] }), "must be a list of programs"),
        (json!({ "steps": ["../icoFoam"] }), "no program of OpenFOAM"),
        (json!({ "steps": ["icoFoam -case /"] }), "no program of OpenFOAM"),
        (json!({ "steps": ["mpirun"] }), "no program of OpenFOAM"),
        (json!({ "nsteps": 4 }), "`params.nsteps` is nothing that openfoam knows"),
    ] {
        let (code, message) = worker.refusal(json!({ "params": params }));
        assert_eq!(code, Code::EngineInputInvalid);
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(worker.refusal(json!({ "resources": { "cpus": 4_000_000 } })).0, Code::EngineInputInvalid);
    worker.write("box/system/controlDict", "application $solver;");
    assert!(worker.refusal(json!({})).1.contains("names no `application`"));
    worker.write("box/system/controlDict", "application \"sh -c x\";");
    assert!(worker.refusal(json!({})).1.contains("names no `application`"));
    worker.write("box/system/controlDict", "application rm;");
    assert!(worker.refusal(json!({})).1.contains("no program of OpenFOAM"));
}

#[test]
fn without_openfoams_folder_nothing_is_said_about_it() {
    let mut worker = Worker::new();
    worker.config.openfoam_dir = "/nowhere".into();
    assert_eq!(worker.plan(json!({})).unwrap().env, []);
}
