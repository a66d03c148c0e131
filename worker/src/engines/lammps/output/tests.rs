//! Against recordings of two versions, and single lines where a recording has none.

use proptest::prelude::*;

use super::*;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/lammps/", $name, ".out"))
    };
}

fn events(text: &str) -> Vec<Event> {
    let mut output = Output::new();
    text.lines().flat_map(|line| output.line(line)).collect()
}

fn rows(text: &str) -> Vec<(u64, BTreeMap<String, f64>)> {
    let row = |event| match event {
        Event::Row { step, values } => Some((step, values)),
        _ => None,
    };
    events(text).into_iter().filter_map(row).collect()
}

fn steps(text: &str) -> Vec<u64> {
    rows(text).into_iter().map(|(step, _)| step).collect()
}

fn value(row: &BTreeMap<String, f64>, column: &str) -> f64 {
    row.get(column).copied().unwrap_or(f64::MIN)
}

#[test]
fn rows_before_the_header_do_not_count() {
    let before = recording!("melt").split("Step Temp").next().unwrap_or_default();
    assert!(before.contains("  1 by 1 by 1 MPI processor grid"));
    assert_eq!(events(before), []);
    assert_eq!(steps("       0  3.0\nStep Temp\n       0  3.0\n"), [0]);
}

#[test]
fn rows_after_the_loop_time_do_not_count() {
    assert_eq!(steps(recording!("melt")), (0..=50).map(|i| i * 100).collect::<Vec<_>>());
    let late = "Step Temp\n0 3.0\nLoop time of 1 on 1 procs for 0 steps with 4 atoms\n10 3.0\n";
    assert_eq!(steps(late), [0]);
}

#[test]
fn columns_come_from_the_header_in_old_and_new_style() {
    let started = |text| events(text).into_iter().find(|event| matches!(event, Event::RunStarted { .. }));
    let columns = |names: &[&str]| {
        Some(Event::RunStarted { columns: names.iter().map(|name| (*name).to_owned()).collect() })
    };
    assert_eq!(started(recording!("melt")), columns(&["Step", "Temp", "E_pair", "E_mol", "TotEng", "Press"]));
    let new = started(recording!("melt-2025"));
    assert_eq!(new, columns(&["Step", "Temp", "PotEng", "Press", "c_moved[4]"]));
    let melted = rows(recording!("melt-2025"));
    assert_eq!(melted.len(), 11);
    assert!(melted.last().is_some_and(|(step, row)| *step == 1000 && value(row, "c_moved[4]") > 0.0));
}

#[test]
fn the_step_may_stand_in_any_column() {
    let found = rows(recording!("nan"));
    assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 50, 100]);
    assert!(found.iter().all(|(_, row)| value(row, "PotEng") < -6.0 && value(row, "Temp") > 0.3));
}

#[test]
fn values_that_are_no_numbers_are_kept() {
    let found = rows(recording!("nan"));
    assert!(
        found.iter().all(|(_, row)| value(row, "v_big") == f64::INFINITY && value(row, "v_none").is_nan())
    );
    let one = rows("Step A B C\n 5 nan -inf -nan\n");
    assert!(one.iter().all(|(_, row)| row.len() == 3 && row.values().all(|value| !value.is_finite())));
    assert_eq!(one.len(), 1);
}

#[test]
fn blocks_of_the_multi_style_are_rows() {
    for text in [recording!("styles"), recording!("styles-2025")] {
        let found = rows(text);
        let complete = found.iter().rfind(|(step, row)| *step == 50 && row.contains_key("Press"));
        assert!(complete.is_some_and(|(_, row)| row.len() == 12 && value(row, "Temp") > 0.3), "{text}");
    }
}

#[test]
fn lists_of_the_yaml_style_are_rows() {
    let found = rows(recording!("styles-2025"));
    let last = found.last().map(|(step, row)| (*step, row.len()));
    assert_eq!(last, Some((150, 11)));
    assert_eq!(found.iter().filter(|(step, _)| *step == 150).count(), 1);
}

#[test]
fn a_row_cut_off_in_the_middle_does_not_count() {
    assert_eq!(steps("Step Temp Press\n 0 3.0 1.0\n 100 1.6\n 200 1.6 5.8 9\n 300 1.6 x\n"), [0]);
}

#[test]
fn what_the_script_prints_is_no_header() {
    assert_eq!(steps("Step 1 of 2\n 5 6 7 8\n"), [0; 0]);
    assert_eq!(steps("Step Temp\n 0 3.0\nStep done\n 100 1.6\nat 100\n"), [0, 100]);
    let found = events(recording!("several-runs"));
    let count = |wanted: fn(&Event) -> bool| found.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::RunFinished { .. })), 7);
}

#[test]
fn the_end_of_a_run_is_read_with_its_speed() {
    let found = events(recording!("melt"));
    let finished = Event::RunFinished { loop_seconds: 10.3474, procs: 1, steps: 5000, atoms: 4000 };
    assert!(found.contains(&finished));
    assert!(found.contains(&Event::Performance { timesteps_per_second: 483.215 }));
    assert_eq!(found.last(), Some(&Event::WallTime { seconds: 10 }));
    let found = events(
        "Performance: 2.1 ns/day, 11.4 hours/ns, 24.3 timesteps/s, 1.5 Matom-step/s\nTotal wall time: 30:01:05",
    );
    assert_eq!(
        found,
        [Event::Performance { timesteps_per_second: 24.3 }, Event::WallTime { seconds: 108_065 }]
    );
}

#[test]
fn errors_of_both_versions_name_the_last_command() {
    let error = |message: &str| Event::Error { message: message.to_owned() };
    let command = |command: &str| Event::LastCommand { command: command.to_owned() };
    let old =
        [error("Unrecognized pair style 'lj/cutt' (src/force.cpp:278)"), command("pair_style lj/cutt 2.5")];
    assert_eq!(events(recording!("broken")), old);
    assert_eq!(events(recording!("broken-mpirun")), old);
    let new = "Unrecognized pair style 'lennard/jones' (src/src/force.cpp:275)";
    assert_eq!(events(recording!("broken-2025")), [error(new), command("pair_style lennard/jones 2.8")]);
}

#[test]
fn errors_without_a_command_are_errors() {
    let missing = "Cannot open input script in.nonexist: No such file or directory (src/lammps.cpp:520)";
    assert_eq!(events(recording!("missing-file")), [Event::Error { message: missing.to_owned() }]);
    let lost = Event::Error { message: "Lost atoms: original 256 current 8".to_owned() };
    assert_eq!(events(recording!("lost-2025")).last(), Some(&lost));
}

#[test]
fn a_soft_stop_is_told_from_a_warning() {
    let stop = |reason: &str, wall_time| Event::SoftStop { reason: reason.to_owned(), wall_time };
    assert!(events(recording!("timer-timeout")).contains(&stop("Wall time limit reached", true)));
    let halt = stop("Fix halt condition for fix-id stop met on step 60 with value 1", false);
    assert!(events(recording!("halt")).contains(&halt));
    assert!(events(recording!("halt-2025")).contains(&halt));
    let warning =
        Event::Warning { message: "No fixes defined, atoms won't move (src/verlet.cpp:55)".to_owned() };
    assert_eq!(events("WARNING: No fixes defined, atoms won't move (src/verlet.cpp:55)"), [warning]);
}

proptest! {
    #[test]
    fn any_lines_are_read_without_panic(lines in prop::collection::vec(any::<String>(), 0..30)) {
        let mut output = Output::new();
        for line in lines {
            let _ = output.line(&line);
        }
    }

    #[test]
    fn no_numbers_are_rows_without_a_header(lines in prop::collection::vec("[ 0-9.e+-]{0,40}", 0..30)) {
        prop_assert_eq!(events(&lines.join("\n")), []);
    }

    #[test]
    fn likely_pieces_are_read_without_panic(lines in prop::collection::vec(prop::sample::select(vec![
        "Step Temp", "---------------- Step 5 ----- CPU = 0", "Temp = 3", "Temp = ", "Loop time of ", "ERROR on proc ",
        "ERROR: ", "Per MPI rank memory", "---", "keywords: ['Step', 'Temp', ]", "  - [1, 2, ]", "1 2", "- [", "= = =",
        "Loop time of nan on 1 procs for 1 steps with 1 atoms", "Performance: 1 timesteps/s", "Total wall time: 1:2:3:4:5",
        "Total wall time: 99999999999999999999:1", "Last command: (unknown)", "Setting up Verlet run ...",
    ]), 0..30)) {
        let _ = events(&lines.join("\n"));
    }
}
