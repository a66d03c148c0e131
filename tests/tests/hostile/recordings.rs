//! What real engines printed when they failed, played to their engines again.

use std::path::Path;

use serde_json::json;

use crate::bench::Bench;
use crate::case::Case;

/// An engine's folder of recordings, the recording, its exit code (below zero: the signal), and the verdict.
struct Recorded(&'static str, &'static str, i32, &'static str, &'static str);

const RECORDED: &[Recorded] = &[
    Recorded("lammps", "broken", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "broken-2025", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "broken-mpirun", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "missing-file", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "lost", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "lost-2025", 1, "LAMMPS_ERROR", ""),
    Recorded("lammps", "nan", 0, "COMPLETED", ""),
    Recorded("lammps", "timer-timeout", 0, "LAMMPS_INCOMPLETE", ""),
    Recorded("lammps", "sigterm-serial", -15, "EXIT_SIGNAL", ""),
    Recorded("lammps", "sigterm-mpirun", 1, "EXIT_NON_ZERO", ""),
    Recorded("openfoam", "broken-controlDict", 1, "OPENFOAM_ERROR", ""),
    Recorded("openfoam", "broken-fvSolution", 1, "OPENFOAM_ERROR", ""),
    Recorded("openfoam", "broken-mpirun2", 1, "OPENFOAM_ERROR", ""),
    Recorded("openfoam", "no-env", 1, "OPENFOAM_ERROR", ""),
    Recorded("openfoam", "no-mesh", 1, "OPENFOAM_ERROR", ""),
    Recorded("openfoam", "diverge-sigfpe", -8, "DIVERGED", ""),
    Recorded("openfoam", "diverge-mpirun2", 136, "DIVERGED", ""),
    Recorded("openfoam", "diverge-nan", 1, "DIVERGED", ""),
    Recorded("openfoam", "sigterm", -15, "EXIT_SIGNAL", ""),
    Recorded("openfoam", "mpirun-sigterm", 1, "EXIT_NON_ZERO", ""),
    Recorded("openfoam", "stopAt-writeNow", 0, "OPENFOAM_INCOMPLETE", ""),
    Recorded("quantum-espresso", "bad-namelist", 1, "QE_ERROR", ""),
    Recorded("quantum-espresso", "missing-file", 1, "QE_ERROR", ""),
    Recorded("quantum-espresso", "missing-pseudo", 1, "QE_ERROR", ""),
    Recorded("quantum-espresso", "nscf-without-scf", 1, "QE_ERROR", ""),
    Recorded("quantum-espresso", "not-converged", 2, "QE_NOT_CONVERGED", ""),
    Recorded("quantum-espresso", "relax-nstep", 3, "QE_NOT_CONVERGED", ""),
    Recorded("quantum-espresso", "exit-file", 2, "QE_INCOMPLETE", ""),
    Recorded("quantum-espresso", "max-seconds", 255, "QE_INCOMPLETE", ""),
    Recorded("quantum-espresso", "sigterm", -15, "EXIT_SIGNAL", ""),
    Recorded("vasp", "error", 0, "VASP_ERROR", ""),
    Recorded("vasp", "error-box", 0, "VASP_ERROR", ""),
    Recorded("vasp", "unconverged", 0, "VASP_NOT_CONVERGED", ""),
    Recorded("vasp", "relax-nsw", 0, "VASP_NOT_CONVERGED", ""),
    Recorded("vasp", "relax-stopped", 0, "VASP_INCOMPLETE", ""),
    Recorded("vasp", "diverges", 0, "DIVERGED", ""),
    Recorded("fenicsx", "bad", 1, "SCRIPT_ERROR", ""),
    Recorded("fenicsx", "bad-mpirun2", 1, "SCRIPT_ERROR", ""),
    Recorded("fenicsx", "heat-sigterm", -15, "EXIT_SIGNAL", ""),
    Recorded("fenicsx", "heat-sigint", -2, "EXIT_SIGNAL", ""),
];

pub fn cases(bench: &Bench) -> Vec<Case> {
    bench.input("empty.in", "run 50000\n");
    bench.input("flow/system/controlDict", "application icoFoam;\nendTime 0.5;\ndeltaT 0.005;\n");
    bench.input("scf.in", "&control\n calculation='scf'\n/\n");
    bench.input("bad.py", "");
    for (name, text) in
        [("INCAR", "NSW = 4\nIBRION = 2\nNELM = 8\nEDIFF = 1E-5\n"), ("POSCAR", "x\n"), ("POTCAR", "x\n")]
    {
        bench.input(&format!("solid/{name}"), text);
    }
    RECORDED.iter().map(|one| case(bench, one)).collect()
}

fn case(bench: &Bench, Recorded(engine, name, code, end, words): &Recorded) -> Case {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/tests/recordings").join(engine);
    let mut inputs = Vec::new();
    for (ending, to) in [("out", "out"), ("err", "err")] {
        if let Ok(text) = std::fs::read(folder.join(format!("{name}.{ending}"))) {
            let input = format!("recorded/{engine}/{name}.{ending}");
            bench.input(&input, text);
            inputs.push(json!({"source": input, "path": to}));
        }
    }
    bench.input(&format!("recorded/{code}"), format!("{code}\n"));
    inputs.push(json!({"source": format!("recorded/{code}"), "path": "code"}));
    // The input that was run, where it lies beside the recording.
    let own = folder.join(format!("{name}.in"));
    let script = match *engine {
        "lammps" | "quantum-espresso" if own.is_file() => {
            let input = format!("recorded/{engine}/{name}.in");
            bench.input(&input, std::fs::read(own).expect("it is there"));
            input
        }
        "lammps" => "empty.in".to_owned(),
        "quantum-espresso" => "scf.in".to_owned(),
        "openfoam" => "flow".to_owned(),
        "vasp" => "solid".to_owned(),
        _ => "bad.py".to_owned(),
    };
    let what: &'static str = Box::leak(format!("{engine}: `{name}`").into_boxed_str());
    let mut record = json!({"engine": engine, "script": script, "inputs": inputs});
    if *engine == "openfoam" {
        record["params"] = json!({"steps": "icoFoam"});
    }
    Case::new(what, record, end, words)
}
