//! Every recording once more through its engine as a worker runs it: planned from a record, read line by line,
//! judged. What is reported and what it comes to is a snapshot each (`cargo insta review`).
//!
//! The tables of the recordings' README files say which there are and how they ended: a recording that is in none
//! fails the test, and so does a row without a recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");

/// The inputs of recordings that have none beside them, as far as they decide what is shown.
const INPUTS: [(&str, &str, &str); 16] = [
    ("lammps", "melt-2025", "run 1000"),
    ("lammps", "melt-mpirun2", "run 2000"),
    ("lammps", "melt", "variable nsteps index 5000\nrun ${nsteps}"),
    ("lammps", "restart", "read_restart melt.restart.1\nrun 2000 upto"),
    ("lammps", "broken", "pair_style lj/cutt 2.5\nrun 100"),
    ("lammps", "", "run 50000"),
    ("openfoam", "icoFoam", "endTime 0.5; deltaT 0.005;"),
    ("openfoam", "restart", "startFrom latestTime; endTime 0.012; deltaT 0.0005;"),
    ("openfoam", "diverge", "startTime 0; endTime 2; deltaT 0.02;"),
    ("openfoam", "simpleFoam", "startTime 0; endTime 500; deltaT 1;"),
    ("openfoam", "pimpleFoam", "startTime 0; endTime 0.25; deltaT 0.001; adjustTimeStep yes;"),
    ("openfoam", "", "endTime 0.25; deltaT 0.0005;"),
    ("vasp", "md", "IBRION = 0\nNSW = 5\nEDIFF = 1E-1\n"),
    ("vasp", "relax-nsw", "IBRION = 2\nNSW = 4\nEDIFF = 1E-5\n"),
    ("vasp", "relax", "IBRION = 2\nNSW = 20\nEDIFF = 1E-5\n"),
    ("vasp", "", "NELM = 8\nEDIFF = 1E-5\n"),
];

/// A row of a README's table.
struct Recording {
    engine: &'static str,
    name: String,
    exit: Exit,
    /// The input that its row names.
    input: Option<String>,
}

/// A folder with programs that are there only by name.
struct Place {
    _dir: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().canonicalize().unwrap().join("bin");
        let inputs = bin.with_file_name("inputs");
        fs::create_dir(&bin).unwrap();
        for name in [
            "lmp",
            "pw.x",
            "vasp_std",
            "python3",
            "mpirun",
            "blockMesh",
            "icoFoam",
            "simpleFoam",
            "pimpleFoam",
            "decomposePar",
            "reconstructPar",
        ] {
            fs::write(bin.join(name), "").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let config = Config {
            inputs_dir: inputs,
            path: bin.display().to_string(),
            openfoam_dir: bin.clone(),
            fenicsx_python: "python3".to_owned(),
            ..Config::default()
        };
        Self { _dir: dir, config }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.config.inputs_dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The record of a recording, with its input in place.
    fn record(&self, recording: &Recording, stdout: &str) -> serde_json::Value {
        let Recording { engine, name, input, .. } = recording;
        let text = input.clone().unwrap_or_else(|| {
            let known = INPUTS.iter().find(|(of, prefix, _)| of == engine && name.starts_with(prefix));
            known.map_or("", |(_, _, text)| text).to_owned()
        });
        let (script, params) = match *engine {
            "openfoam" => {
                let program = stdout.lines().find_map(|line| line.strip_prefix("Exec   : "));
                let program = program.and_then(|line| line.split(' ').next()).unwrap_or("icoFoam");
                let program = program.rsplit('/').next().unwrap();
                let solver = if program.ends_with("Foam") { program } else { "icoFoam" };
                self.write("box/system/controlDict", &format!("application {solver}; {text}"));
                ("box", json!({"steps": program}))
            }
            "vasp" => {
                for (file, text) in [("INCAR", text.as_str()), ("POSCAR", "x"), ("POTCAR", "x")] {
                    self.write(&format!("box/{file}"), text);
                }
                ("box", json!({}))
            }
            "fenicsx" => {
                self.write("run.py", &text);
                ("run.py", json!({}))
            }
            _ => {
                self.write("run.in", &text);
                ("run.in", json!({}))
            }
        };
        let cpus = if name.contains("mpirun") { 2 } else { 1 };
        json!({"id": "t", "engine": engine, "script": script, "params": params, "resources": {"cpus": cpus}})
    }

    fn plan(&self, record: serde_json::Value) -> ChildPlan {
        let task: Task = serde_json::from_value(record).unwrap();
        let site = Site { config: &self.config, job_dir: Path::new("/case"), resume: None };
        match Engines::builtin().plan(&task, &site) {
            Ok(Execution::Child(plan)) => plan,
            Ok(Execution::Inline(_)) => panic!("no process"),
            Err(failure) => panic!("{failure:?}"),
        }
    }
}

/// The rows of the table in an engine's README: names, what ran, and the exit code, 0 where no column has it.
fn recordings(engine: &'static str) -> Vec<Recording> {
    let folder = Path::new(RECORDINGS).join(engine);
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut rows = Vec::new();
    for line in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let codes: Vec<i32> =
            cells.get(2).map_or(vec![0], |cell| cell.split(", ").map(|code| code.parse().unwrap()).collect());
        let named = quoted(cells[1]).into_iter().find(|name| name.ends_with(".in") && *name != ".in");
        for (index, name) in quoted(cells[0]).into_iter().enumerate() {
            let own = folder.join(format!("{name}.in"));
            let input = named.as_ref().map(|named| folder.join(named)).filter(|path| path.is_file());
            let input = if own.is_file() { Some(own) } else { input };
            let code = codes.get(index).or(codes.last()).copied().unwrap();
            let exit = match code {
                0.. => Exit { code: Some(code), signal: None },
                _ => Exit { code: None, signal: Some(-code) },
            };
            let input = input.map(|path| fs::read_to_string(path).unwrap());
            rows.push(Recording { engine, name, exit, input });
        }
    }
    rows
}

fn outputs(engine: &str) -> Vec<String> {
    let files = fs::read_dir(Path::new(RECORDINGS).join(engine)).unwrap().map(|entry| entry.unwrap().path());
    let of_output = |path: &PathBuf| path.extension().is_some_and(|end| end == "out" || end == "err");
    let mut names: Vec<_> =
        files.filter(of_output).map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// A report in a line; of its metrics those that are not as they were.
fn told(report: &Report, known: &mut BTreeMap<String, f64>) -> String {
    let mut line = String::new();
    if let Some(stage) = &report.enter {
        write!(line, "[{stage}] ").unwrap();
    }
    let number = |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
    write!(line, "{} of {}", number(report.done), number(report.total)).unwrap();
    if let Some(message) = &report.message {
        write!(line, ": {message}").unwrap();
    }
    for (name, value) in report.metrics.iter().filter(|(name, value)| known.get(*name) != Some(value)) {
        write!(line, "; {name} {value:?}").unwrap();
    }
    known.clone_from(&report.metrics);
    line
}

/// What a worker is told by the recording, line by line, and the verdict.
fn golden(recording: &Recording) -> String {
    let read = |end: &str| {
        let path = Path::new(RECORDINGS).join(recording.engine).join(format!("{}.{end}", recording.name));
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let (stdout, stderr) = (read("out"), read("err"));
    let place = Place::new();
    let mut plan = place.plan(place.record(recording, &stdout));
    let (mut lines, mut known) = (Vec::new(), BTreeMap::new());
    let solver = plan.steps.len() - usize::from(plan.steps.len() > 1 && reconstructs(&plan));
    for step in 0..solver {
        lines.extend(plan.reader.step(step).iter().map(|report| told(report, &mut known)));
    }
    let mut diverged = None;
    for (stream, text) in [(Stream::Stderr, &stderr), (Stream::Stdout, &stdout)] {
        for line in text.lines() {
            lines.extend(plan.reader.line(stream, line).iter().map(|report| told(report, &mut known)));
            diverged =
                diverged.or_else(|| plan.reader.diverged().map(|failure| (lines.len(), failure.message)));
        }
    }
    if let Some((at, why)) = diverged {
        lines.insert(at, format!("DIVERGED: {why}"));
    }
    let verdict = match plan.reader.verdict(recording.exit, &stderr) {
        Outcome::Succeeded { result } => {
            format!("COMPLETED {}", serde_json::to_string_pretty(&result).unwrap())
        }
        Outcome::Failed(failure) => format!("{} ({:?}): {}", failure.code, failure.kind, failure.message),
        other => format!("{other:?}"),
    };
    lines.push(verdict);
    lines.join("\n")
}

/// Whether what comes after the solver is among the steps.
fn reconstructs(plan: &ChildPlan) -> bool {
    plan.steps.last().is_some_and(|step| step.program.ends_with("reconstructPar"))
}

#[test]
fn every_recording_is_told_and_judged_as_before() {
    let mut all = BTreeMap::new();
    for engine in ["fenicsx", "lammps", "openfoam", "quantum-espresso", "vasp"] {
        let rows = recordings(engine);
        let mut named: Vec<_> = rows.iter().map(|row| row.name.clone()).collect();
        named.sort();
        assert_eq!(named, outputs(engine), "the README of {engine} names its recordings");
        all.extend(rows.iter().map(|row| (format!("{engine}__{}", row.name), golden(row))));
    }
    assert!(all.len() > 70, "{} recordings", all.len());
    insta::with_settings!({snapshot_path => "../../tests/recordings/golden", prepend_module_to_snapshot => false, omit_expression => true}, {
        for (name, text) in all {
            insta::assert_snapshot!(name, text);
        }
    });
}
