//! The runs of `docs/scale.md`: 10^3, 10^6 and 10^8 tasks a day, of a minute and of a second.

use serde::{Deserialize, Serialize};

use crate::limit_use::{LimitUse, uses};
use crate::limits::Limits;
use crate::load::{Arrivals, RunTime};
use crate::month::{Bill, PerTask, Setup, Standing, month};
use crate::outcome::Outcome;
use crate::parameters::Parameters;
use crate::prices::Prices;

/// What was run and what it came to: all that a table needs beside limits and prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The plan.
    pub plan: Plan,
    /// What it came to.
    pub outcome: Outcome,
}

/// One run with what follows from it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// The plan.
    pub plan: Plan,
    /// What it came to.
    pub outcome: Outcome,
    /// Counts a task.
    pub each: PerTask,
    /// Limits, the fullest first.
    pub limits: Vec<LimitUse>,
    /// A month of such days.
    pub bill: Bill,
}

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Tasks a day.
    pub tasks: f64,
    /// Their mean run time in seconds.
    pub run_seconds: f64,
    /// How many accounts write them.
    pub accounts: u32,
    /// How many hours, at the rate of the day's peak; none: a whole day with its curve.
    pub peak_hours: Option<f64>,
}

/// The plans of the study. Of the greatest load 100 accounts write; what one account comes to is shown by an hour.
pub fn plans(largest: f64) -> Vec<Plan> {
    let mut plans = Vec::new();
    for tasks in [1e3, 1e6, 1e8].into_iter().filter(|tasks| *tasks <= largest) {
        let accounts = if tasks > 1e7 { 100 } else { 1 };
        for run_seconds in [60.0, 1.0] {
            plans.push(Plan { tasks, run_seconds, accounts, peak_hours: None });
        }
        if accounts > 1 {
            plans.push(Plan { tasks, run_seconds: 60.0, accounts: 1, peak_hours: Some(1.0) });
        }
    }
    plans
}

impl Plan {
    /// All parameters of the run.
    pub fn parameters(&self, limits: &Limits, seed: u64) -> Parameters {
        let run = RunTime::Exponential(self.run_seconds);
        let mut parameters = Parameters { seed, limits: limits.clone(), ..Parameters::day(self.tasks, run) };
        parameters.accounts = self.accounts;
        if let Some(hours) = self.peak_hours {
            let peak = self.tasks / crate::load::DAY * 1.6;
            parameters.arrivals = Arrivals::Poisson { rate: peak };
            parameters.until = crate::calendar::seconds(hours * 3_600.0);
        }
        parameters
    }

    /// Its name.
    pub fn name(&self) -> String {
        let tasks = format!("10^{:.0}", self.tasks.log10());
        let accounts =
            if self.accounts == 1 { "1 account".into() } else { format!("{} accounts", self.accounts) };
        match self.peak_hours {
            None => format!("{tasks} a day, {} s, {accounts}", self.run_seconds),
            Some(hours) => {
                format!("{tasks} a day, {} s, {accounts}, {hours} h at the peak's rate", self.run_seconds)
            }
        }
    }
}

/// Carries out one plan.
pub fn carry_out(plan: Plan, limits: &Limits, seed: u64) -> Done {
    Done { plan, outcome: crate::run(&plan.parameters(limits, seed)) }
}

/// What follows from a run.
pub fn case(done: Done, limits: &Limits, prices: &Prices) -> Case {
    let Done { plan, outcome } = done;
    let parameters = plan.parameters(limits, 0);
    let setup = Setup::of_slots(parameters.worker.slots);
    let each = PerTask::of(&outcome, &parameters);
    let records_kb = plan.tasks * setup.kept_days * each.record_kb;
    let standing = Standing::of(outcome.workers, parameters.worker.slots, records_kb, &setup);
    Case {
        name: plan.name(),
        plan,
        limits: uses(&outcome, &parameters, &setup),
        bill: month(plan.tasks, &each, &standing, &setup, prices),
        each,
        outcome,
    }
}

/// The loads of the month-cost table. Without tasks it shows what an idle deployment costs.
pub const PLAIN_LOADS: [(&str, f64); 4] = [("no", 0.0), ("10^3", 1e3), ("10^6", 1e6), ("10^8", 1e8)];

/// The month-cost table of tasks that only start and end: no progress, and counts as given.
pub fn plain_bills(each: &PerTask, prices: &Prices, days: f64) -> Vec<Bill> {
    let setup = Setup::of_slots(8);
    let bill = |tasks: f64| {
        let records_kb = tasks * setup.kept_days * each.record_kb;
        let workers = tasks * each.worker_hours / 24.0;
        month(tasks, each, &Standing::of(workers, 8, records_kb, &setup), &setup, prices)
    };
    PLAIN_LOADS.map(|(_, tasks)| bill(tasks / days)).into()
}
