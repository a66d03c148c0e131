//! What queueing theory knows in closed form, and what has to hold whatever the parameters are.

use proptest::prelude::*;
use stageline_simulator::{
    Arrivals, Dispatcher, Fleet, Outcome, Parameters, Progress, RunTime, SECOND, Scaling, Worker, run,
    seconds,
};

/// 300,000 tasks of a second on average on one worker with `slots`, each taken `load` of the time.
fn bare(run_time: RunTime, slots: u32, load: f64) -> Outcome {
    let rate = load * f64::from(slots);
    let until = seconds(300_000.0 / rate);
    run(&Parameters::bare(Arrivals::Poisson { rate }, run_time, until, 1, slots))
}

/// The probability of waiting in M/M/c, by Erlang's formula.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = load * f64::from(servers);
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

fn close(found: f64, expected: f64, within: f64) -> bool {
    (found / expected - 1.0).abs() <= within
}

#[test]
fn waits_of_m_m_c_are_erlangs() {
    for (slots, load) in [(1, 0.5), (1, 0.7), (2, 0.7), (4, 0.75), (8, 0.75)] {
        let outcome = bare(RunTime::Exponential(1.0), slots, load);
        let expected = erlang_c(slots, load) / (f64::from(slots) * (1.0 - load));
        assert!(
            close(outcome.waits.mean, expected, 0.05),
            "{slots} {load}: {} {expected}",
            outcome.waits.mean
        );
        assert!(close(outcome.utilisation, load, 0.02), "{slots} {load}: {}", outcome.utilisation);
        // The waiting time is 0 or exponentially distributed.
        let waits = erlang_c(slots, load);
        let p99 = (waits / 0.01).ln() / (f64::from(slots) * (1.0 - load));
        assert!(close(outcome.waits.p99, p99, 0.08), "{slots} {load}: {} {p99}", outcome.waits.p99);
    }
}

#[test]
fn waits_of_m_d_1_are_half_of_those_of_m_m_1() {
    for load in [0.5f64, 0.8, 0.9] {
        let outcome = bare(RunTime::Fixed(1.0), 1, load);
        let expected = load / (2.0 * (1.0 - load));
        assert!(close(outcome.waits.mean, expected, 0.05), "{load}: {} {expected}", outcome.waits.mean);
    }
}

#[test]
fn littles_law_holds_for_the_queue_and_for_the_slots() {
    let day = Parameters::day(100_000.0, RunTime::Exponential(20.0));
    for outcome in [bare(RunTime::Exponential(1.0), 8, 0.9), run(&day)] {
        let rate = outcome.tasks as f64 / outcome.seconds;
        assert!(close(outcome.waiting, rate * outcome.waits.mean, 0.001), "{outcome:?}");
    }
    let outcome = run(&Parameters { fleet: Fleet::Fixed(50), ..day });
    let held = 20.0 + 0.018;
    assert!(close(outcome.running, outcome.tasks as f64 / outcome.seconds * held, 0.01), "{outcome:?}");
}

#[test]
fn more_slots_never_wait_longer_and_more_load_never_shorter() {
    let at = |slots, load: f64| {
        let arrivals = Arrivals::Poisson { rate: 8.0 * load };
        let run_time = RunTime::Exponential(1.0);
        run(&Parameters::bare(arrivals, run_time, seconds(5_000.0), 1, slots)).waits.mean
    };
    let by_slots: Vec<_> = [8, 9, 12, 16].map(|slots| at(slots, 0.9)).into();
    assert!(by_slots.is_sorted_by(|fewer, more| fewer >= more), "{by_slots:?}");
    let by_load: Vec<_> = [0.3, 0.6, 0.8, 0.95].map(|load| at(8, load)).into();
    assert!(by_load.is_sorted(), "{by_load:?}");
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let day = Parameters::day(20_000.0, RunTime::Exponential(30.0));
    assert_eq!(run(&day), run(&day));
    assert_ne!(run(&day), run(&Parameters { seed: 2, ..day }));
}

#[test]
fn one_account_is_held_back_by_its_index_key_and_many_are_not() {
    let hour = |accounts| {
        let arrivals = Arrivals::Poisson { rate: 150.0 };
        let mut parameters = Parameters::bare(arrivals, RunTime::Fixed(0.5), seconds(1_200.0), 20, 8);
        // A tenth of the real ones, so that it takes a tenth of the tasks.
        parameters.limits.dynamodb.partition_write_units = 100.0;
        parameters.limits.dynamodb.new_table_write_units = 1_000.0;
        run(&Parameters { accounts, ..parameters })
    };
    let (one, many) = (hour(1), hour(20));
    // 50 a second too many for 20 minutes, less the reserve of 30,000 units.
    assert!(close(one.waits.longest, 300.0, 0.1), "{:?}", one.waits);
    assert!(many.waits.longest < 10.0, "{:?}", many.waits);
    assert_eq!(one.completed, one.tasks);
}

#[test]
fn a_full_flight_holds_receives_back_and_loses_nothing() {
    let mut parameters =
        Parameters::bare(Arrivals::Burst { tasks: 2_000 }, RunTime::Exponential(0.5), SECOND, 10, 8);
    parameters.limits.sqs.in_flight = 40;
    let outcome = run(&parameters);
    assert_eq!((outcome.completed, outcome.peaks.in_flight), (2_000, 40));
}

#[test]
fn spot_interruptions_cost_time_and_no_task() {
    let mut parameters = Parameters::day(20_000.0, RunTime::Exponential(120.0));
    let quiet = run(&Parameters {
        fleet: Fleet::Scaled(Scaling { interruptions: 0.0, ..Scaling::default() }),
        ..parameters.clone()
    });
    parameters.fleet = Fleet::Scaled(Scaling { interruptions: 2.0, ..Scaling::default() });
    let outcome = run(&parameters);
    assert_eq!((outcome.completed, quiet.interruptions), (outcome.tasks, 0));
    assert!(outcome.interruptions > 100, "{}", outcome.interruptions);
    assert!(outcome.workers > quiet.workers);
    assert_eq!(outcome.requests.ends, outcome.completed + outcome.interruptions);
}

fn any_parameters() -> impl Strategy<Value = Parameters> {
    let load = (1u64..3_000, 0.05f64..30.0, any::<bool>(), 0u8..3);
    let worker = (1u32..=64, 1u64..=20, 0u64..50_000);
    let fleet = (0u32..3, 0.2f64..1.0, 0.0f64..20.0, 1u64..200, any::<bool>());
    let dispatcher = (1u32..200, 1u32..10, 0u64..500_000);
    let limits = (1u64..200, 1u32..5, 1u32..50);
    (any::<u64>(), load, worker, fleet, dispatcher, limits).prop_map(
        |(seed, (tasks, mean, fixed, kind), (slots, poll, receive), fleet, dispatcher, limits)| {
            let run_time = if fixed { RunTime::Fixed(mean) } else { RunTime::Exponential(mean) };
            let rate = tasks as f64 / 600.0;
            let day = Parameters::day(1.0, run_time);
            let (least, target, interruptions, boot, is_fixed) = fleet;
            let scaling =
                Scaling { least, target, interruptions, boot: boot * SECOND, most: 50, ..Scaling::default() };
            let mut parameters = Parameters {
                seed,
                arrivals: match kind {
                    0 => Arrivals::Poisson { rate },
                    1 => Arrivals::Daily { rate, swing: 0.5 },
                    _ => Arrivals::Burst { tasks },
                },
                until: seconds(600.0),
                progress: Progress { edges: 1, counters: None },
                dispatcher: Dispatcher {
                    batch: dispatcher.0,
                    parallel: dispatcher.1,
                    poll: dispatcher.2,
                    ..Dispatcher::default()
                },
                worker: Worker { slots, poll: poll * SECOND, receive, ..Worker::default() },
                fleet: if is_fixed { Fleet::Fixed(least + 1) } else { Fleet::Scaled(scaling) },
                ..day
            };
            parameters.limits.sqs.in_flight = limits.0;
            parameters.limits.lambda.concurrency = limits.1;
            // Few units, so that writes are throttled.
            parameters.limits.dynamodb.partition_write_units = f64::from(limits.2) * 20.0;
            parameters.limits.dynamodb.burst_seconds = 1.0;
            parameters
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn every_task_completes_once_and_no_limit_is_exceeded(parameters in any_parameters()) {
        let outcome = run(&parameters);
        let (limits, peaks, requests) = (&parameters.limits, &outcome.peaks, &outcome.requests);
        prop_assert_eq!(outcome.tasks, outcome.completed);
        prop_assert_eq!(requests.puts, outcome.tasks);
        prop_assert_eq!(requests.claims, outcome.completed + outcome.interruptions);
        prop_assert_eq!(requests.marks, requests.claims, "each claim had its message");
        prop_assert_eq!(requests.ends, requests.claims);
        prop_assert!(requests.sends >= requests.claims.div_ceil(10) && requests.sends <= requests.claims);
        prop_assert!(requests.receives >= requests.claims.div_ceil(10));
        prop_assert!(requests.deletes <= requests.claims);
        prop_assert!(requests.calls <= requests.sends && requests.calls * u64::from(parameters.dispatcher.batch) >= requests.claims);
        prop_assert!(peaks.in_flight <= limits.sqs.in_flight);
        prop_assert!(peaks.calls <= limits.lambda.concurrency);
        prop_assert!(outcome.utilisation <= 1.0 + 1e-9);
        prop_assert!(outcome.waits.p50 <= outcome.waits.p95 && outcome.waits.p95 <= outcome.waits.p99);
        // To within the classes of the histogram.
        prop_assert!(outcome.waits.p99 <= outcome.waits.longest * 1.01 + 1e-3);
        if let Fleet::Scaled(scaling) = parameters.fleet {
            prop_assert!(peaks.workers <= scaling.most + 50, "draining ones are let finish");
        }
    }
}
