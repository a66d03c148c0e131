//! The kinds of simulation that `mock` pretends to be: those of the reference worker and of the reference
//! pipeline.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use stageline::protocol::outcome::Failure;

use crate::engines::simulated::{Curve, between, rounded};

/// A kind of simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vasp,
    QuantumEspresso,
    Lammps,
    Openfoam,
    Fenicsx,
}

/// A stage, and its part of the time.
pub(super) struct Stage {
    pub name: &'static str,
    pub message: &'static str,
    pub share: f64,
    pub total: Option<(u64, &'static str)>,
}

/// What one simulation comes to.
pub(super) struct Sketch {
    pub stages: Vec<Stage>,
    pub metrics: Vec<Curve>,
    pub result: Map<String, Value>,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Vasp, Self::QuantumEspresso, Self::Lammps, Self::Openfoam, Self::Fenicsx];

    pub fn name(self) -> &'static str {
        match self {
            Self::Vasp => "vasp",
            Self::QuantumEspresso => "quantum-espresso",
            Self::Lammps => "lammps",
            Self::Openfoam => "openfoam",
            Self::Fenicsx => "fenicsx",
        }
    }

    /// The kind of this name, however it is spelled; VASP without one, as in the reference worker.
    pub fn named(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::Vasp) };
        let name = text.to_lowercase().replace([' ', '_'], "-");
        let name = if name == "qe" { "quantum-espresso" } else { &name };
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            let shown = &text[..text.floor_char_boundary(100)];
            let message = format!("`params.kind` {shown:?} is not known; use one of {}", names.join(", "));
            Failure::fatal(stageline::Code::EngineInputInvalid, message)
        })
    }

    /// The story of a failure.
    pub fn way_to_fail(self) -> &'static str {
        match self {
            Self::Vasp => "the electronic steps do not converge",
            Self::QuantumEspresso => "convergence NOT achieved after 100 iterations: stopping",
            Self::Lammps => "Lost atoms",
            Self::Openfoam => "Floating point exception",
            Self::Fenicsx => "the linear solver did not converge",
        }
    }

    /// Draws a simulation.
    pub fn sketch(self, rng: &mut Rng) -> Sketch {
        match self {
            Self::Vasp => vasp(rng),
            Self::QuantumEspresso => quantum_espresso(rng),
            Self::Lammps => lammps(rng),
            Self::Openfoam => openfoam(rng),
            Self::Fenicsx => fenicsx(rng),
        }
    }
}

/// A first and a last stage of a tenth of the time each, and those in between that count.
fn stages(setup: &'static str, counted: &[(&'static str, u64, &'static str)]) -> Vec<Stage> {
    let share = 0.8 / counted.len() as f64;
    let quiet = |name, message| Stage { name, message, share: 0.1, total: None };
    let inner = counted.iter().map(|(name, total, unit)| Stage {
        name,
        message: "",
        share,
        total: Some((*total, *unit)),
    });
    std::iter::once(quiet("Setup", setup))
        .chain(inner)
        .chain([quiet("Finalize", "Collecting the results")])
        .collect()
}

fn falls(name: &'static str, from: f64, to: f64) -> Curve {
    Curve { name, from, to, even: false }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn vasp(rng: &mut Rng) -> Sketch {
    let (atoms, ionic) = (rng.u64(2..=64), rng.u64(4..=20));
    let electronic = ionic * rng.u64(8..=16);
    let per_atom = between(rng, -9.0, -3.0);
    let energy = rounded(per_atom * atoms as f64, 6);
    let is_metal = rng.f64() < 0.3;
    let gap = if is_metal { 0.0 } else { rounded(between(rng, 0.3, 6.0), 4) };
    let force = rounded(between(rng, 0.001, 0.02), 5);
    Sketch {
        stages: stages(
            "Reading INCAR, POSCAR, KPOINTS and POTCAR",
            &[("Electronic minimisation", electronic, "steps"), ("Ionic relaxation", ionic, "steps")],
        ),
        metrics: vec![falls("energyEv", energy * 0.97, energy), falls("maxForceEvPerAngstrom", 2.5, force)],
        result: map(json!({
            "atoms": atoms, "totalEnergyEv": energy, "energyPerAtomEv": rounded(energy / atoms as f64, 6),
            "fermiEnergyEv": rounded(between(rng, -2.0, 9.0), 4), "bandGapEv": gap, "isMetal": is_metal,
            "maxForceEvPerAngstrom": force, "pressureKbar": rounded(between(rng, -5.0, 5.0), 2),
            "electronicSteps": electronic, "ionicSteps": ionic,
        })),
    }
}

fn quantum_espresso(rng: &mut Rng) -> Sketch {
    let (atoms, iterations, k_points) = (rng.u64(2..=40), rng.u64(8..=30), rng.u64(4..=64));
    let energy = rounded(between(rng, -20.0, -8.0) * atoms as f64, 8);
    let accuracy = rounded(between(rng, 1e-10, 1e-8), 12);
    Sketch {
        stages: stages(
            "Reading the pseudopotentials",
            &[("Self-consistent field", iterations, "iterations"), ("Bands", k_points, "k points")],
        ),
        metrics: vec![falls("totalEnergyRy", energy * 0.98, energy), falls("accuracyRy", 0.5, accuracy)],
        result: map(json!({
            "atoms": atoms, "totalEnergyRy": energy, "accuracyRy": accuracy, "iterations": iterations,
            "kPoints": k_points, "fermiEnergyEv": rounded(between(rng, 2.0, 12.0), 4),
            "totalForceRyPerBohr": rounded(between(rng, 1e-5, 1e-3), 6),
            "pressureKbar": rounded(between(rng, -10.0, 10.0), 2),
        })),
    }
}

fn lammps(rng: &mut Rng) -> Sketch {
    let (atoms, steps) = (rng.u64(500..=32_000), rng.u64(10..=100) * 1_000);
    let temperature = rounded(between(rng, 290.0, 310.0), 3);
    let energy = rounded(between(rng, -4.5, -3.0) * atoms as f64, 3);
    Sketch {
        stages: stages("Reading the input", &[("Minimize", 200, "iterations"), ("Run", steps, "steps")]),
        metrics: vec![
            falls("temperatureK", 600.0, temperature),
            falls("potentialEnergyEv", energy * 0.9, energy),
        ],
        result: map(json!({
            "atoms": atoms, "steps": steps, "temperatureK": temperature, "potentialEnergyEv": energy,
            "pressureBar": rounded(between(rng, -200.0, 200.0), 2),
            "densityGPerCm3": rounded(between(rng, 0.9, 9.0), 4),
            "stepsPerSecond": rounded(2e8 / atoms as f64 * between(rng, 0.005, 0.02), 1),
        })),
    }
}

fn openfoam(rng: &mut Rng) -> Sketch {
    let (cells, steps) = (rng.u64(10..=400) * 1_000, rng.u64(200..=2_000));
    let residual = rounded(between(rng, 1e-7, 1e-5), 9);
    Sketch {
        stages: stages("Reading the case", &[("Mesh", cells, "cells"), ("Solve", steps, "time steps")]),
        metrics: vec![falls("residual", 1.0, residual), falls("continuityError", 1e-3, residual / 100.0)],
        result: map(json!({
            "cells": cells, "timeSteps": steps, "finalResidual": residual,
            "maxCourantNumber": rounded(between(rng, 0.2, 0.95), 3),
            "dragCoefficient": rounded(between(rng, 0.2, 1.2), 4),
            "liftCoefficient": rounded(between(rng, -0.3, 0.3), 4),
            "pressureDropPa": rounded(between(rng, 10.0, 500.0), 2),
        })),
    }
}

fn fenicsx(rng: &mut Rng) -> Sketch {
    let (size, steps) = (rng.u64(16..=96), rng.u64(20..=200));
    let (cells, unknowns) = (2 * size * size, (size + 1) * (size + 1));
    // Of linear elements: the error falls with the square of the mesh size.
    let error = rounded(between(rng, 0.5, 2.0) / (size * size) as f64, 8);
    Sketch {
        stages: stages("Meshing", &[("Assemble", cells, "cells"), ("Solve", steps, "time steps")]),
        metrics: vec![falls("residual", 1.0, 1e-10), falls("l2Error", 0.5, error)],
        result: map(json!({
            "meshSize": size, "cells": cells, "degreesOfFreedom": unknowns, "timeSteps": steps,
            "l2Error": error, "maxValue": rounded(between(rng, 0.05, 1.5), 6),
            "solverIterations": steps * rng.u64(4..=12),
        })),
    }
}
