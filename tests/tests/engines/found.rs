//! Which engines this machine has. Variables of the environment name others than the usual ones; `scripts/test`
//! sets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian's `quantum-espresso-data` has the pseudopotential of the example.
const PSEUDOPOTENTIAL: &str = "/usr/share/espresso/pseudo/Si.pz-vbc.UPF";

/// An engine, and why its tests cannot be run.
pub struct Engine {
    pub name: &'static str,
    pub missing: Option<String>,
}

pub fn openfoam_dir() -> PathBuf {
    std::env::var_os("STAGELINE_OPENFOAM_DIR").map_or_else(|| "/usr/share/openfoam".into(), PathBuf::from)
}

pub fn pw() -> String {
    std::env::var("STAGELINE_PW").unwrap_or_else(|_| "pw.x".to_owned())
}

pub fn fenicsx_python() -> String {
    std::env::var("STAGELINE_FENICSX_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned())
}

/// One that is built for the `mpirun` of this machine.
pub fn lammps() -> Engine {
    let lmp = stageline_tests::system::lammps_program();
    let help = Command::new(&lmp).arg("-h").stdin(Stdio::null()).output();
    let help = help.map(|run| String::from_utf8_lossy(&run.stdout).into_owned());
    let missing = match help {
        Err(_) => Some(not_there(&lmp)),
        Ok(text) if !text.contains("Open MPI") => Some(format!("{lmp} is not built for Open MPI")),
        Ok(_) => (!is_there("mpirun")).then(|| not_there("mpirun")),
    };
    Engine { name: "lammps", missing }
}

pub fn openfoam() -> Engine {
    let programs = ["blockMesh", "icoFoam", "decomposePar", "reconstructPar", "mpirun"];
    let missing = programs.into_iter().find(|name| !is_there(name)).map(not_there);
    let dir = openfoam_dir();
    let missing = missing.or_else(|| (!dir.is_dir()).then(|| format!("{} is not there", dir.display())));
    Engine { name: "openfoam", missing }
}

pub fn quantum_espresso() -> Engine {
    let pw = pw();
    let missing = (!is_there(&pw)).then(|| not_there(&pw));
    let data = || (!Path::new(PSEUDOPOTENTIAL).is_file()).then(|| not_there(PSEUDOPOTENTIAL));
    Engine { name: "quantum_espresso", missing: missing.or_else(data) }
}

pub fn python() -> Engine {
    Engine { name: "python", missing: (!is_there("python3")).then(|| not_there("python3")) }
}

pub fn fenicsx() -> Engine {
    let python = fenicsx_python();
    let import = Command::new(&python).args(["-c", "import dolfinx"]).stdin(Stdio::null()).output();
    let has = import.is_ok_and(|run| run.status.success());
    Engine { name: "fenicsx", missing: (!has).then(|| format!("{python} has no dolfinx")) }
}

fn not_there(what: &str) -> String {
    format!("{what} is not there; scripts/get-engines installs it")
}

/// Whether there is such a program: a path, or a name on `PATH`.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path stays as it is when it is joined.
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
