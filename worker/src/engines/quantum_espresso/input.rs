//! Reads what the worker has to know of a `pw.x` input: the kind of calculation, its bounds, and where
//! the file goes that stops it. What the input does not say plainly is unknown, never guessed.

use std::path::PathBuf;

use stageline::task::relative_path;

use super::super::fortran::real;
use super::namelist::{self, Group};
use super::restart::{self, Restart};

/// The kinds of calculation that differ in what they show and in when they are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Calculation {
    /// One self-consistent cycle.
    Scf,
    /// Bands in a given potential: `nscf` and `bands`.
    Bands,
    /// Geometry optimisation: `relax` and `vc-relax`.
    Relax,
    /// Molecular dynamics: `md` and `vc-md`.
    Dynamics,
    /// Something else, or not to be seen.
    #[default]
    Unknown,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// The kind of calculation.
    pub calculation: Calculation,
    /// As the input calls it.
    pub calculation_name: Option<String>,
    /// The accuracy in Ry at which a cycle has converged.
    pub conv_thr: Option<f64>,
    /// The most iterations of one cycle.
    pub electron_maxstep: Option<u64>,
    /// The steps of a dynamics, or the most cycles of an optimisation.
    pub nstep: Option<u64>,
    /// The file below the job folder that stops it, if it lies there.
    pub exit_file: Option<PathBuf>,
    /// Whether what it has saved when it was stopped can be gone on from.
    pub restart: Restart,
}

/// The defaults of `pw.x`.
const CONV_THR: f64 = 1e-6;
const ELECTRON_MAXSTEP: u64 = 100;
const NSTEP: u64 = 50;

/// Reads an input file.
pub fn read(text: &str) -> Input {
    let groups = namelist::groups(text);
    let group = |name: &str| groups.iter().find(|group| group.name == name);
    let Some(control) = group("control") else { return Input::default() };
    let calculation_name = control.value("calculation").unwrap_or("scf").trim().to_owned();
    let electrons = group("electrons");
    let electron = |name: &str| electrons.and_then(|group| group.value(name));
    let calculation = match calculation_name.as_str() {
        "scf" => Calculation::Scf,
        "nscf" | "bands" => Calculation::Bands,
        "relax" | "vc-relax" => Calculation::Relax,
        "md" | "vc-md" => Calculation::Dynamics,
        _ => Calculation::Unknown,
    };
    let nstep = (calculation == Calculation::Relax).then_some(NSTEP);
    Input {
        calculation,
        conv_thr: electron("conv_thr").map_or(Some(CONV_THR), real).filter(|thr| *thr > 0.0),
        electron_maxstep: electron("electron_maxstep")
            .map_or(Some(ELECTRON_MAXSTEP), |steps| steps.parse().ok()),
        nstep: control.value("nstep").map_or(nstep, |steps| steps.parse().ok()),
        exit_file: exit_file(control),
        restart: restart::of(&groups),
        calculation_name: Some(calculation_name),
    }
}

/// `PREFIX.EXIT` in `outdir`.
fn exit_file(control: &Group) -> Option<PathBuf> {
    let prefix = control.value("prefix").unwrap_or("pwscf").trim();
    let outdir = control.value("outdir").unwrap_or("./").trim();
    if prefix.is_empty() || prefix.contains('/') {
        return None;
    }
    let outdir = if outdir.is_empty() { "." } else { outdir };
    relative_path("outdir", &format!("{outdir}/{prefix}.EXIT")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_file(control: &str) -> Option<String> {
        read(&format!("&control {control} /")).exit_file.map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn the_example_is_understood() {
        let input = read(include_str!("../../../../examples/quantum-espresso/silicon/si.scf.in"));
        assert_eq!((input.calculation, input.calculation_name.as_deref()), (Calculation::Scf, Some("scf")));
        assert_eq!((input.conv_thr, input.electron_maxstep), (Some(1e-9), Some(100)));
        assert_eq!(input.exit_file, Some("out/silicon.EXIT".into()));
    }

    #[test]
    fn the_defaults_are_those_of_pw() {
        let input = read("&control\n/\n");
        assert_eq!((input.calculation, input.conv_thr), (Calculation::Scf, Some(1e-6)));
        assert_eq!(input.exit_file, Some("pwscf.EXIT".into()));
        assert_eq!((input.electron_maxstep, input.nstep), (Some(100), None));
        let nstep = |control: &str| read(&format!("&control {control} /")).nstep;
        assert_eq!(
            (nstep("calculation='vc-relax'"), nstep("calculation='relax', nstep=7")),
            (Some(50), Some(7))
        );
    }

    #[test]
    fn what_is_not_said_plainly_is_unknown() {
        assert_eq!(read(""), Input::default());
        assert_eq!(read("&control calculation='cp-wf' /").calculation, Calculation::Unknown);
        let odd = read("&control nstep = many /\n&electrons conv_thr=-1, electron_maxstep=2.5 /");
        assert_eq!((odd.nstep, odd.conv_thr, odd.electron_maxstep), (None, None, None));
        assert_eq!(read("&control /\n&electrons conv_thr = NaN /").conv_thr, None);
    }

    #[test]
    fn the_exit_file_stays_in_the_job_folder() {
        assert_eq!(exit_file("outdir='./a/b/', prefix='x'").as_deref(), Some("a/b/x.EXIT"));
        assert_eq!(exit_file("outdir=''").as_deref(), Some("pwscf.EXIT"));
        for outside in
            ["outdir='/scratch'", "outdir='../x'", "outdir='a/../..'", "prefix='../x'", "prefix=''"]
        {
            assert_eq!(exit_file(outside), None, "{outside}");
        }
    }
}
