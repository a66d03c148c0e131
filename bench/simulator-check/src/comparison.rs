//! The model with the same tasks, and both side by side.

use std::fmt::Write;

use stageline_simulator::{Arrivals, Dispatcher, Fleet, Outcome, Parameters, RunTime, Worker, run, seconds};

use crate::calibration::Measured;
use crate::rig::{Real, SLOTS, Went};

/// One figure of both.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub real: f64,
    pub model: f64,
}

/// Both sides.
#[derive(Clone, Debug)]
pub struct Comparison {
    tasks: usize,
    load: f64,
    figures: Vec<Figure>,
    /// Requests by kind, a task; shown, not judged.
    kinds: Vec<Figure>,
}

impl Figure {
    /// By which part of the real one they differ.
    fn differs(&self) -> f64 {
        (self.model - self.real) / self.real
    }
}

impl Comparison {
    /// Runs the model, and compares.
    pub fn of(real: &Real, measured: &Measured) -> Self {
        let model = run(&parameters(&real.tasks, measured));
        let waits: Vec<_> = real.tasks.iter().map(Went::wait).collect();
        let wait = |name, of: &dyn Fn(&[f64]) -> f64| Figure {
            name,
            unit: "s",
            real: of(&waits),
            model: of(&model.each),
        };
        let kinds = kinds(real, &model);
        let all = |side: &dyn Fn(&Figure) -> f64| kinds.iter().map(side).sum::<f64>();
        let requests = Figure {
            name: "requests a task",
            unit: "",
            real: all(&|kind| kind.real),
            model: all(&|kind| kind.model),
        };
        let figures = vec![
            wait("mean wait", &|waits| waits.iter().sum::<f64>() / waits.len() as f64),
            wait("p50", &|waits| quantile(waits, 0.5)),
            wait("p95", &|waits| quantile(waits, 0.95)),
            requests,
        ];
        let time = real.tasks.iter().map(|task| task.completed).fold(0.0, f64::max);
        let taken: f64 = real.tasks.iter().map(|task| task.completed - task.started).sum();
        Self { tasks: real.tasks.len(), load: taken / time / f64::from(SLOTS), figures, kinds }
    }

    /// The greatest difference.
    pub fn worst(&self) -> f64 {
        // A figure that is no number is no agreement.
        let differs = |figure: &Figure| figure.differs().abs();
        self.figures
            .iter()
            .map(differs)
            .fold(0.0, |a, b| if b.is_finite() { a.max(b) } else { f64::INFINITY })
    }

    /// All of it in a line.
    pub fn line(&self) -> String {
        let figure = |one: &Figure| {
            let Figure { name, unit, real, model } = one;
            format!("{name} {real:.3} {unit} real, {model:.3} {unit} model ({:+.1} %)", one.differs() * 100.0)
        };
        let figures: Vec<_> = self.figures.iter().map(figure).collect();
        let text = format!(
            "{} tasks on {SLOTS} slots, {:.0} % taken: {}; worst {:.1} %",
            self.tasks,
            self.load * 100.0,
            figures.join("; "),
            self.worst() * 100.0
        );
        text.replace("  ", " ").replace(" ,", ",")
    }

    /// Requests by kind, for people.
    pub fn details(&self) -> String {
        let mut text = "requests a task, real and model:".to_owned();
        for Figure { name, real, model, .. } in &self.kinds {
            let _never = write!(text, "\n  {name:24} {real:8.3} {model:8.3}");
        }
        text
    }

    /// The line, and the requests as a table.
    pub fn markdown(&self) -> String {
        let mut text = format!("> {}\n\n| requests a task | real | model |\n|---|--:|--:|\n", self.line());
        for Figure { name, real, model, .. } in &self.kinds {
            let _never = writeln!(text, "| {name} | {real:.3} | {model:.3} |");
        }
        text
    }
}

fn parameters(tasks: &[Went], measured: &Measured) -> Parameters {
    let recorded =
        tasks.iter().map(|task| (seconds(task.written), seconds(task.completed - task.started))).collect();
    let until = seconds(tasks.last().map_or(0.0, |task| task.written) + 1.0);
    let plain = Parameters::bare(Arrivals::Recorded(recorded), RunTime::Fixed(1.0), until, 1, SLOTS);
    let on_the_way = (measured.written_to_started - measured.receive).max(0.0);
    Parameters {
        dispatcher: Dispatcher {
            poll: 0,
            cold: 0,
            record: 0,
            invoke: 0,
            send: seconds(on_the_way),
            ..plain.dispatcher
        },
        worker: Worker {
            receive: seconds(measured.receive),
            claim: 0,
            end: seconds((measured.between - measured.receive).max(0.0)),
            ..plain.worker
        },
        fleet: Fleet::Fixed(1),
        ..plain
    }
}

fn kinds(real: &Real, model: &Outcome) -> Vec<Figure> {
    let count = |operation: &str| real.requests.get(operation).copied().unwrap_or_default();
    let requests = &model.requests;
    // A worker alone reads its running tasks in one request.
    let rows = [
        ("SendMessageBatch", count("SendMessageBatch"), requests.sends),
        ("ReceiveMessage", count("ReceiveMessage"), requests.receives),
        ("DeleteMessageBatch", count("DeleteMessageBatch"), requests.deletes),
        (
            "UpdateItem",
            count("UpdateItem"),
            requests.marks + requests.claims + requests.ends + requests.beats,
        ),
        ("PutItem (registry)", count("PutItem"), requests.registry),
        ("BatchGetItem", count("BatchGetItem"), (model.seconds / 60.0) as u64),
    ];
    let tasks = real.tasks.len() as f64;
    let a_task = |(name, real, model): (_, u64, u64)| Figure {
        name,
        unit: "",
        real: real as f64 / tasks,
        model: model as f64 / tasks,
    };
    rows.map(a_task).into()
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let index = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}
