//! Real simulations through the whole embedded system: LAMMPS under MPI (without it is in `end_to_end`), OpenFOAM,
//! Quantum ESPRESSO, Python and FEniCSx, each to its end, cancelled on its way, and with a wrong input. Run with
//! `cargo test -p stageline-tests --test engines`.
//!
//! An engine that is not on this machine is said to be missing, and its tests are counted as ignored.
//! `scripts/get-engines` installs what it can.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod fenicsx;
mod found;
mod going_on;
mod lammps;
mod openfoam;
mod place;
mod python;
mod quantum_espresso;

use anyhow::Result;
use found::Engine;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (engine, tests) in [
        (found::lammps(), lammps::trials()),
        (found::openfoam(), openfoam::trials()),
        (found::quantum_espresso(), quantum_espresso::trials()),
        (found::quantum_espresso(), going_on::trials()),
        (found::python(), python::trials()),
        (found::fenicsx(), fenicsx::trials()),
    ] {
        trials.extend(tests.into_iter().map(|test| of(&engine, test, &arguments)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A property of an engine, and how it is tried.
type Test = (&'static str, fn() -> Result<()>);

/// The trial of it; an ignored one where the engine is missing.
fn of(engine: &Engine, (property, run): Test, arguments: &Arguments) -> Trial {
    let name = format!("{}::{property}", engine.name);
    let wanted = !arguments.list && arguments.filter.as_ref().is_none_or(|filter| name.contains(filter));
    if let Some(missing) = engine.missing.as_ref().filter(|_| wanted) {
        eprintln!("SKIPPED: {name}: {missing}");
    }
    let run = move || run().map_err(|error| Failed::from(format!("{error:#}")));
    Trial::test(name, run).with_ignored_flag(engine.missing.is_some())
}
