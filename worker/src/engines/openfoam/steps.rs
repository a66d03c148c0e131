//! Which programs a case is run with, and in which order.

use stageline::Code;
use stageline::protocol::outcome::Failure;

/// Programs of OpenFOAM that are no solvers. None of them takes a command or a path from its name alone.
const UTILITIES: [&str; 33] = [
    "addEmptyPatch",
    "applyBoundaryLayer",
    "blockMesh",
    "changeDictionary",
    "checkMesh",
    "collapseEdges",
    "createBaffles",
    "createPatch",
    "decomposePar",
    "extrudeMesh",
    "flattenMesh",
    "foamListTimes",
    "foamToEnsight",
    "foamToVTK",
    "makeFaMesh",
    "mapFields",
    "mapFieldsPar",
    "mirrorMesh",
    "potentialFoam",
    "postProcess",
    "reconstructPar",
    "reconstructParMesh",
    "refineMesh",
    "refineHexMesh",
    "renumberMesh",
    "setExprFields",
    "setFields",
    "snappyHexMesh",
    "splitMeshRegions",
    "stitchMesh",
    "surfaceFeatureExtract",
    "surfaceFeatures",
    "topoSet",
];

/// Solvers whose names do not end as solvers' names do.
const OTHER_SOLVERS: [&str; 2] = ["foamRun", "foamMultiRun"];

/// How many steps a task may have.
const MOST_STEPS: usize = 32;
const LONGEST_NAME: usize = 64;

/// A program of OpenFOAM and the way it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Whether it advances the time.
    pub solver: bool,
    /// Processes; 1 is without MPI.
    pub processes: u32,
}

/// What of a case decides about the steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Case {
    /// It describes its mesh by blocks.
    pub has_block_mesh: bool,
    /// It brings its mesh along.
    pub has_mesh: bool,
    /// The folders `processor0`, `processor1`, … that it brings along.
    pub processors: u32,
}

impl Program {
    fn named(name: &str) -> Result<Self, Failure> {
        let plain =
            (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let utility = UTILITIES.contains(&name);
        let solver = !utility && (name.ends_with("Foam") || OTHER_SOLVERS.contains(&name));
        if !plain || !(utility || solver) {
            return Err(refused(format!(
                "{name:?} is no program of OpenFOAM that may be run: a solver is letters and digits and ends with \
                 `Foam`, and the utilities are {}",
                UTILITIES.join(", ")
            )));
        }
        Ok(Self { name: name.to_owned(), solver, processes: 1 })
    }

    /// The stage that it is shown as.
    pub fn stage(&self) -> &str {
        match self.name.as_str() {
            _ if self.solver => "Solve",
            "blockMesh" | "snappyHexMesh" | "refineMesh" | "extrudeMesh" => "Mesh",
            "decomposePar" => "Decompose",
            "reconstructPar" | "reconstructParMesh" => "Reconstruct",
            other => other,
        }
    }
}

/// The steps of a case: the named ones, or those that its files ask for; on several processes with the case taken
/// apart before the solver and put together behind it.
///
/// # Errors
/// A failure of the task, with the name that is refused or what is missing.
pub fn steps(
    named: Option<&[String]>,
    application: Option<&str>,
    case: Case,
    processes: u32,
) -> Result<Vec<Program>, Failure> {
    let names: Vec<&str> = match named {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => {
            let solver = application.ok_or_else(|| {
                refused(
                    "`system/controlDict` names no `application` in plain words; name the programs".into(),
                )
            })?;
            let mesh = (case.has_block_mesh && !case.has_mesh).then_some("blockMesh");
            mesh.into_iter().chain([solver]).collect()
        }
    };
    if names.is_empty() || names.len() > MOST_STEPS {
        return Err(refused(format!("{} programs are not 1 to {MOST_STEPS}", names.len())));
    }
    let mut programs = names.into_iter().map(Program::named).collect::<Result<Vec<_>, _>>()?;
    let mut solvers = programs.iter().enumerate().filter(|(_, program)| program.solver);
    let solver = solvers.next().map(|(index, _)| index);
    if let Some((_, second)) = solvers.next() {
        let name = &second.name;
        return Err(refused(format!(
            "{name} is a second solver: it would begin where `endTime` was reached; make it a task of its own"
        )));
    }
    if let Some(solver) = solver.filter(|_| processes > 1) {
        parallel(&mut programs, solver, case, processes)?;
    }
    Ok(programs)
}

fn parallel(programs: &mut Vec<Program>, solver: usize, case: Case, processes: u32) -> Result<(), Failure> {
    if case.processors > 0 && case.processors != processes {
        return Err(refused(format!(
            "the case is decomposed for {} processes, and `resources.cpus` is {processes}",
            case.processors
        )));
    }
    programs[solver].processes = processes;
    let other = |name: &str| Program { name: name.to_owned(), solver: false, processes: 1 };
    if !programs[solver..].iter().any(|program| program.stage() == "Reconstruct") {
        programs.insert(solver + 1, other("reconstructPar"));
    }
    let decomposed = case.processors > 0 || programs[..solver].iter().any(|p| p.name == "decomposePar");
    if !decomposed {
        programs.insert(solver, other("decomposePar"));
    }
    Ok(())
}

fn refused(why: String) -> Failure {
    Failure::fatal(Code::EngineInputInvalid, format!("`params.steps`: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCKS: Case = Case { has_block_mesh: true, has_mesh: false, processors: 0 };

    fn names(named: Option<&[&str]>, case: Case, processes: u32) -> Vec<String> {
        let named = named.map(|names| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let steps = steps(named.as_deref(), Some("icoFoam"), case, processes).unwrap();
        steps.iter().map(|one| format!("{}:{}", one.name, one.processes)).collect()
    }

    fn refusal(named: &[&str]) -> String {
        let named: Vec<_> = named.iter().map(|&name| name.to_owned()).collect();
        steps(Some(&named), None, BLOCKS, 1).unwrap_err().message
    }

    #[test]
    fn the_mesh_is_made_only_where_it_is_missing() {
        assert_eq!(names(None, BLOCKS, 1), ["blockMesh:1", "icoFoam:1"]);
        assert_eq!(names(None, Case { has_mesh: true, ..BLOCKS }, 1), ["icoFoam:1"]);
        assert_eq!(names(None, Case::default(), 1), ["icoFoam:1"]);
    }

    #[test]
    fn several_processes_take_the_case_apart_and_put_it_together() {
        let all = ["blockMesh:1", "decomposePar:1", "icoFoam:4", "reconstructPar:1"];
        assert_eq!(names(None, BLOCKS, 4), all);
        assert_eq!(names(Some(&["blockMesh", "decomposePar", "icoFoam", "reconstructPar"]), BLOCKS, 4), all);
        assert_eq!(
            names(None, Case { has_mesh: true, processors: 4, ..BLOCKS }, 4),
            ["icoFoam:4", "reconstructPar:1"]
        );
        assert_eq!(names(Some(&["blockMesh"]), BLOCKS, 4), ["blockMesh:1"]);
        let other = steps(None, Some("icoFoam"), Case { processors: 2, ..BLOCKS }, 4).unwrap_err();
        assert!(other.message.contains("decomposed for 2 processes"), "{}", other.message);
    }

    #[test]
    fn only_programs_of_openfoam_are_steps() {
        for name in [
            "",
            "sh",
            "rm",
            "-help",
            "../icoFoam",
            "/bin/icoFoam",
            "ico Foam",
            "icoFoam -case /",
            "foo;Foam",
            "ico\0Foam",
            "icoFoam\n",
            "Ⅳfoam",
            "éFoam",
            "foamExec",
            "wmake",
            "mpirun",
            "-caseFoam",
            "$HOMEFoam",
        ] {
            assert!(refusal(&[name]).contains("no program of OpenFOAM"), "{name:?}");
        }
        assert!(refusal(&[]).contains("0 programs"));
        assert!(refusal(&["blockMesh"; 33]).contains("33 programs"));
        assert!(refusal(&["icoFoam", "simpleFoam"]).contains("second solver"));
        assert!(refusal(&[&"x".repeat(70)[..]]).contains("no program"));
        assert!(steps(None, None, BLOCKS, 1).unwrap_err().message.contains("no `application`"));
        assert!(steps(None, Some("sh"), BLOCKS, 1).is_err());
    }

    #[test]
    fn potential_foam_prepares_and_does_not_solve() {
        assert_eq!(
            names(Some(&["potentialFoam", "simpleFoam"]), BLOCKS, 2),
            ["potentialFoam:1", "decomposePar:1", "simpleFoam:2", "reconstructPar:1"]
        );
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_plain_word(name in ".{0,12}(Foam)?") {
            if let Ok(steps) = steps(Some(std::slice::from_ref(&name)), None, BLOCKS, 1) {
                prop_assert!(steps[0].name.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }
    }
}
