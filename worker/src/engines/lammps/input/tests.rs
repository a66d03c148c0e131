//! The scripts' meaning was checked against LAMMPS itself; the recordings show some of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn plan(script: &str) -> Plan {
    planned_steps(script, &BTreeMap::new())
}

fn plan_with(script: &str, name: &str, value: &str) -> Plan {
    planned_steps(script, &BTreeMap::from([(name.to_owned(), value.to_owned())]))
}

fn total(script: &str) -> Option<u64> {
    plan(script).total()
}

#[test]
fn runs_add_up() {
    assert_eq!(total("run 100\nrun 50 pre no post no\nrun 0"), Some(150));
    assert_eq!(total(include_str!("../../../../tests/recordings/lammps/several-runs.in")), Some(270));
    assert_eq!(total("units lj"), Some(0));
}

#[test]
fn the_examples_are_planned() {
    let melt = include_str!("../../../../../examples/lammps/melt/in.melt");
    assert_eq!(total(melt), Some(8000));
    assert_eq!(plan_with(melt, "nsteps", "300").total(), Some(300));
    let broken = include_str!("../../../../../examples/lammps/broken/in.broken");
    assert_eq!(lines_of(broken, "pair_style      lennard/jones 2.8"), [12]);
}

#[test]
fn command_line_variables_win_over_the_scripts_own() {
    let script = "variable n index 5000\nvariable n index 7000\nrun ${n}";
    assert_eq!(total(script), Some(5000));
    assert_eq!(plan_with(script, "n", "40").total(), Some(40));
    assert_eq!(plan_with("run ${n}", "n", "40").total(), Some(40));
    assert_eq!(plan_with("variable n loop 3\nrun $n", "n", "40").total(), Some(40));
    assert_eq!(total("variable n string 5\nvariable n string 6\nrun $n"), Some(6));
}

#[test]
fn every_kind_of_reference_is_substituted() {
    assert_eq!(total("variable n index 5\nvariable nn index 70\nrun $n\nrun ${nn}\nrun $n$n"), Some(130));
    assert_eq!(total("variable n index 5\nrun $(v_n*2)\nrun $((v_n+1)*2)\nrun $(7/2:%.0f)"), Some(26));
    assert_eq!(total("variable n loop 3 9\nvariable m loop 4\nrun $n\nrun $m"), Some(4));
}

#[test]
fn continued_lines_are_one_command() {
    assert_eq!(total("run &\n   100 &  \n upto"), Some(100));
    assert_eq!(total("# this comment goes on &\nrun 100\nrun 3"), Some(3));
    assert_eq!(total("print x & # not continued\nrun 100"), Some(100));
    assert_eq!(total("print \"\"\"a\nrun 100\nb\"\"\"\nrun 7"), Some(7));
    assert_eq!(total("run 100 &"), Some(100));
}

#[test]
fn quotes_protect_comments_and_references() {
    assert_eq!(total("print 'a # b'\nrun 5 # run 6"), Some(5));
    assert_eq!(total("variable n index 5\nvariable m equal \"2*$n\"\nrun $m"), None);
    assert_eq!(total("print \"it's # one\"\nrun '5'"), Some(5));
}

#[test]
fn upto_counts_from_the_current_step() {
    assert_eq!(total("run 100\nrun 250 upto"), Some(250));
    assert_eq!(total("reset_timestep 1000\nrun 1200 upto"), Some(200));
    assert_eq!(total("run 100\nclear\nrun 50 upto"), Some(150));
    assert_eq!(total("run 100\nrun 50 upto"), None, "LAMMPS refuses to go back");
}

#[test]
fn upto_after_a_restart_is_known_only_by_its_end() {
    let plan = plan_with("read_restart a.restart\nrun ${total} upto", "total", "2000");
    assert_eq!(plan.runs, [RunPlan { steps: None, upto: Some(2000) }]);
    assert!(plan.exact && plan.bounded());
    assert_eq!(plan.total(), None);
    assert_eq!(total("read_restart a.restart\nrun 500"), Some(500));
}

#[test]
fn every_does_not_multiply_the_run() {
    assert_eq!(total("run 1000 every 100 \"print 'x'\" NULL"), Some(1000));
    assert_eq!(total("run 1000 start 0 stop 5000 upto every 100 NULL"), Some(1000));
    assert!(!plan("run 1000 every 100 \"run 5\"").exact);
}

#[test]
fn formulas_follow_lammps_precedences() {
    let cases = [
        ("2^3^2", "64"),
        ("2--3", "5"),
        ("-2^2", "4"),
        ("2+3*4^2", "50"),
        ("7%2*3", "3"),
        ("2*(3+4)", "14"),
        ("floor(2.7)+ceil(2.1)+round(2.5)+sqrt(16)", "12"),
        ("1.5e3", "1500"),
        ("1.e2*.5", "50"),
    ];
    for (formula, steps) in cases {
        let script = format!("variable n equal {formula}\nrun ${{n}}");
        assert_eq!(total(&script), steps.parse().ok(), "{formula}");
    }
    for formula in [
        "5/2",
        "5/0",
        "5%0",
        "1e15",
        "1e400",
        "-3",
        "step",
        "random(1,2,3)",
        "2**3",
        "2+",
        "(2",
        "1<2",
        "v_x",
    ] {
        let script = format!("variable n equal {formula}\nrun ${{n}}");
        assert_eq!(total(&script), None, "{formula}");
    }
}

#[test]
fn formulas_are_evaluated_where_they_are_used() {
    assert_eq!(total("variable n equal v_m*2\nvariable m equal 30\nrun $n"), Some(60));
    assert_eq!(total("variable m index 3\nvariable n equal ${m}\nvariable m delete\nrun $n"), Some(3));
    assert_eq!(
        total("variable n equal 1/3\nvariable m equal ${n}*3e15\nrun $(v_m)"),
        Some(999_999_999_999_999)
    );
}

#[test]
fn what_only_the_run_knows_makes_the_plan_inexact() {
    let scripts = [
        "label top\nvariable i loop 3\nrun 10\nnext i\njump SELF top",
        "minimize 1e-4 1e-6 100 1000\nrun 10",
        "rerun dump.lammpstrj dump x y z",
        "include more.in\nrun 10",
        "if \"${x} > 2\" then \"run 20\" else \"run 30\"",
        "if 1 then &\n 'quit'",
        "partition yes 1 run 100",
        "${command} 100",
        "variable ${name} index 100",
        "print \"never closed",
    ];
    for script in scripts {
        assert!(!plan(script).exact, "{script}");
        assert_eq!(total(script), None, "{script}");
    }
    assert_eq!(total("if \"$x > 2\" then \"print 'large'\"\nrun 5"), Some(5));
    assert_eq!(total("variable n getenv STEPS\nrun $n"), None);
    assert!(plan("variable n getenv STEPS\nrun $n").exact);
}

#[test]
fn commands_after_quit_do_not_count() {
    assert_eq!(total("run 5\nquit\nrun 7"), Some(5));
}

#[test]
fn a_count_that_lammps_refuses_is_not_counted() {
    for count in ["1.5", "1e3", "-5", "many", "1,000", "99999999999999999999"] {
        assert_eq!(total(&format!("run {count}")), None, "{count}");
    }
    assert_eq!(total("run 18446744073709551615\nrun 1"), None);
}

#[test]
fn the_failing_line_is_found_as_lammps_echoes_it() {
    let script = "# first\nvariable n index 5\nrun &\n  ${n}   upto  # hi\nrun 5\nfix 1 all nve\nrun 5";
    assert_eq!(lines_of(script, "run   ${n}   upto  # hi"), [3]);
    assert_eq!(lines_of(script, "run ${n} upto # hi"), [3]);
    assert_eq!(lines_of(script, "run 5"), [5, 7]);
    assert!(lines_of(script, "run 6").is_empty() && lines_of(script, "").is_empty());
}

#[test]
fn hostile_scripts_take_bounded_work() {
    let doubling = "variable a string 99\n".to_owned() + &"variable a string $a$a\n".repeat(40) + "run $a";
    assert_eq!(total(&doubling), None);
    let towers = (1..200).map(|i| format!("variable x{i} equal v_x{}+v_x{}\n", i - 1, i - 1));
    let tower = "variable x0 equal 1\n".to_owned() + &towers.collect::<String>() + "run $(v_x30)\n";
    assert_eq!(total(&tower), None);
    assert_eq!(total("variable a equal v_b\nvariable b equal v_a\nrun $a"), None);
    assert_eq!(total(&format!("run $({}1)", "(".repeat(100_000))), None);
    assert_eq!(total(&format!("run $({}1)", "-".repeat(100_000))), Some(1));
    let wide = format!("variable a string {}\nprint {}", "9".repeat(200), "$a".repeat(10_000));
    assert!(!plan(&wide).exact);
    assert_eq!(plan(&"run 1\n".repeat(LONGEST_SCRIPT)), Plan::default());
}

proptest! {
    #[test]
    fn any_text_is_planned_without_panic(script in any::<String>(), value in any::<String>()) {
        let planned = plan_with(&script, "n", &value);
        prop_assert!(planned.runs.len() <= script.lines().count());
        let _ = lines_of(&script, &value);
    }

    #[test]
    fn any_mixture_of_script_words_is_planned_without_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "run", "variable", "n", "index", "equal", "string", "loop", "upto", "every", "if", "\n", "&\n", "\"",
            "'", "\"\"\"", "$", "$n", "${", "}", "$(", ")", "(", "v_n", "-", "^", "%", ":%.0f", "1e", "100", "#",
            "reset_timestep", "read_restart", "quit", "ä", " ",
        ]), 0..80),
    ) {
        let script: String = words.join(" ");
        let _ = plan_with(&script, "n", "3").total();
        let _ = plan(&words.concat()).total();
    }

    #[test]
    fn a_script_of_plain_runs_plans_their_sum(counts in prop::collection::vec(0_u64..1_000_000, 0..20)) {
        let script: String = counts.iter().map(|count| format!("run {count}\n")).collect();
        prop_assert_eq!(total(&script), Some(counts.iter().sum()));
    }
}
