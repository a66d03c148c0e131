//! Single lines, and lines that no engine prints.

use proptest::prelude::*;

use super::*;

fn events(text: &str) -> Vec<Event> {
    let mut output = Output::new();
    let mut events: Vec<_> = text.lines().filter_map(|line| output.line(line)).collect();
    events.extend(output.end());
    events
}

fn one(line: &str) -> Option<Event> {
    Output::new().line(line)
}

#[test]
fn energies_are_those_of_iterations_and_cycles() {
    assert_eq!(one("     total energy              =     -15.85229270 Ry"), Some(Event::Energy(-15.8522927)));
    assert_eq!(
        one("!    total energy              =     -15.85237974 Ry"),
        Some(Event::Energy(-15.85237974))
    );
    assert_eq!(one("!!   total all-electron energy =       -577.1 Ry"), None);
    assert_eq!(one("     The total energy is the sum of the following terms:"), None);
    assert_eq!(one("     total energy              =     -15.8 eV"), None);
}

#[test]
fn accuracies_are_read_in_both_forms_and_when_they_do_not_fit() {
    assert_eq!(one("     estimated scf accuracy    <       0.00000082 Ry"), Some(Event::Accuracy(8.2e-7)));
    assert_eq!(one("     estimated scf accuracy    <          3.5E-09 Ry"), Some(Event::Accuracy(3.5e-9)));
    assert_eq!(
        one("     estimated scf accuracy    <  ************** Ry"),
        Some(Event::Accuracy(f64::INFINITY))
    );
    assert!(
        matches!(one("     estimated scf accuracy    <   NaN Ry"), Some(Event::Accuracy(now)) if now.is_nan())
    );
    assert_eq!(one("     estimated scf accuracy    ="), None);
}

#[test]
fn convergence_and_its_absence_are_told_apart() {
    assert_eq!(one("     convergence has been achieved in   8 iterations"), Some(Event::Converged(8)));
    assert_eq!(
        one("     convergence NOT achieved after   3 iterations: stopping"),
        Some(Event::NotConverged(3))
    );
    assert_eq!(one("     convergence NOT achieved"), Some(Event::NotConverged(0)));
    assert_eq!(
        one("     bfgs converged in   6 scf cycles and   5 bfgs steps"),
        Some(Event::IonsConverged(Some(5)))
    );
    let failed = "     bfgs failed after   6 scf cycles and   5 bfgs steps, convergence not achieved";
    assert_eq!(one(failed), Some(Event::IonsFailed));
    assert_eq!(
        one("     Damped Dynamics: convergence achieved in  12 steps"),
        Some(Event::IonsConverged(None))
    );
}

#[test]
fn an_error_counts_only_in_its_frame() {
    assert_eq!(events("     Error in routine x (1):\n     text\n"), []);
    let frame = "%".repeat(78);
    let error =
        |routine: &str, text: &str| Event::Error { routine: routine.to_owned(), text: text.to_owned() };
    let framed = format!(
        " {frame}\n     Error in routine  cdiaghg (159):\n      S matrix\n   not positive\n {frame}\n"
    );
    assert_eq!(events(&framed), [error("cdiaghg (159)", "S matrix not positive")]);
    let cut = format!(" {frame}\n     Error in routine  davcio (10):\n     error while writing");
    assert_eq!(events(&cut), [error("davcio (10)", "error while writing")]);
    assert_eq!(events(&format!("{frame}\n{frame}\n     JOB DONE.\n")), [Event::JobDone]);
}

#[test]
fn the_text_of_an_error_is_bounded() {
    let frame = "%".repeat(78);
    let endless = format!("{frame}\nError in routine x (1):\n{}", "words of an error\n".repeat(1_000));
    assert!(matches!(&events(&endless)[..], [Event::Error { text, .. }] if text.len() <= 800));
}

#[test]
fn wall_time_is_read_in_every_unit() {
    for (text, seconds) in [
        ("     PWSCF        :      1.24s CPU      1.34s WALL", 1.34),
        ("     PWSCF        :      1m 5.02s CPU      1m 6.50s WALL", 66.5),
        ("     PWSCF        :   2h 3m CPU   2h 4m WALL", 7440.0),
        ("     PWSCF        :   1d 2h 3m CPU   1d 2h 4m WALL", 93_840.0),
    ] {
        assert_eq!(one(text), Some(Event::WallSeconds(seconds)), "{text}");
    }
    assert_eq!(one("     PWSCF        :  CPU  x WALL"), None);
}

#[test]
fn a_line_of_ten_megabytes_says_nothing() {
    assert_eq!(one(&format!("!    total energy = {}", "1".repeat(10_000_000))), None);
}

#[test]
fn numbers_out_of_all_bounds_do_no_harm() {
    assert_eq!(one("     iteration #99999999999999999999     ecut="), None);
    assert_eq!(one("     iteration #***     ecut="), None);
    assert_eq!(one("     Total force = 1.0E+999"), Some(Event::Force(f64::INFINITY)));
}

proptest! {
    #[test]
    fn any_lines_are_taken(lines in prop::collection::vec("(%%%%%%%%|!|total energy|estimated scf accuracy|iteration #|PWSCF :|Error in routine)?[ =<>:0-9.EdNaéRy*hms]{0,40}|\\PC{0,80}", 0..40)) {
        let _ = events(&lines.join("\n"));
    }
}
