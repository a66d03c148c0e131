//! Whether a task costs more when there are many.

use anyhow::{Context, Result};
use serde_json::json;

use crate::load::SETTLED;
use crate::meter::Tally;
use crate::process::WorkerProcess;
use crate::records;
use crate::report::{Figure, Section, Table, number};
use crate::rig::{Rig, Role};
use crate::scope::Scope;
use crate::statistics::median;

const SLOTS: u32 = 16;
/// Tasks over all repetitions of a small backlog: the kernel counts CPU time in hundredths.
const AT_LEAST: usize = 1_000;

const STARTS: usize = 5;
/// Units a task that are as good as none: less than a thousandth of what a task costs.
const NOTHING: f64 = 0.001;

/// Of a large backlog, the short form waits for these only: while it is largest.
const FIRST: usize = 10_000;

/// One size of table and backlog, per task.
struct Size {
    tasks: usize,
    requests: f64,
    write_units: f64,
    read_units: f64,
    /// As often as this size was measured.
    cpu_micros: Vec<f64>,
}

impl Size {
    fn cpu(&self) -> f64 {
        median(&self.cpu_micros).unwrap_or_default()
    }
}

/// Measures it.
pub async fn measure(scope: &Scope) -> Section {
    let mut section = Section::new("Growth").how(
        "So many tasks in the table, all of them sent before the worker starts; then the worker takes them \
              all. The dispatcher gets the records that the stream would have, since the embedded one grows \
              slower with its length. A worker's start itself, measured without tasks, is subtracted from all figures. Targets are for the largest size \
              beside the smallest: 1.10 is 10 % more.",
    );
    if scope.quick {
        section.how.push(format!("The worker's part is that of the first {} at most.", number(FIRST as f64)));
    }
    // The smallest several times, around the largest: the machine is not as fast all the time.
    match all(&[100, 1_000, 10_000, 100, 100_000, 100], scope.of(FIRST, usize::MAX)).await {
        Ok(measured) => {
            section.tables.push(table(&measured));
            section.figures.extend(figures(&measured));
        }
        Err(error) => section.take("growth", Err(error)),
    }
    section
}

async fn all(sizes: &[usize], most: usize) -> Result<Vec<Size>> {
    let (mut starts, mut of_starts) = (Vec::new(), Tally::default());
    for _ in 0..STARTS {
        let start = bare_start().await?;
        starts.push(start.cpu);
        of_starts = of_starts.with(&start.worker);
    }
    let start = Work {
        taken: 0,
        cpu: median(&starts).context("no start")?,
        worker: of_starts.times(1.0 / STARTS as f64),
    };
    let mut all: Vec<Size> = Vec::new();
    for &tasks in sizes {
        let size = size(tasks, most, &start).await?;
        crate::say(&format!("  {tasks} tasks: {:.0} µs, {:.2} requests a task", size.cpu(), size.requests));
        match all.iter_mut().find(|known| known.tasks == tasks) {
            Some(known) => known.cpu_micros.extend(size.cpu_micros),
            None => all.push(size),
        }
    }
    Ok(all)
}

/// One size, less a worker's start.
async fn size(tasks: usize, most: usize, start: &Work) -> Result<Size> {
    let rounds = AT_LEAST.div_ceil(tasks);
    let (mut cpu, mut taken) = (0.0, 0);
    let (mut sent, mut worker) = (Tally::default(), Tally::default());
    for _ in 0..rounds {
        let (of_sending, work) = round(tasks, most).await?;
        sent = sent.with(&of_sending);
        worker = worker.with(&work.worker.since(&start.worker));
        cpu += work.cpu - start.cpu;
        taken += work.taken;
    }
    let total = sent.times(1.0 / (tasks * rounds) as f64).with(&worker.times(1.0 / taken as f64)).total();
    Ok(Size {
        tasks,
        requests: total.requests,
        write_units: total.write_units,
        read_units: total.read_units,
        cpu_micros: vec![cpu.max(0.0) / taken as f64 * 1e6],
    })
}

/// What a worker has done since its beginning.
struct Work {
    taken: usize,
    cpu: f64,
    worker: Tally,
}

/// Of a worker that finds nothing to do.
async fn bare_start() -> Result<Work> {
    let rig = Rig::for_many_tasks().await?;
    let worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
    tokio::time::sleep(SETTLED).await;
    let start = Work { taken: 0, cpu: worker.cpu()?, worker: rig.tally(Role::Worker) };
    drop(worker);
    rig.shutdown().await;
    Ok(start)
}

/// What client and dispatcher asked of AWS for all, and the worker for `most` of them at most.
async fn round(tasks: usize, most: usize) -> Result<(Tally, Work)> {
    let rig = Rig::for_many_tasks().await?;
    rig.put_and_send(records::tasks("growth", tasks, &json!({"engine": "noop"}))?).await?;
    let sent = rig.tally_of_all();
    let mut worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
    let taken = if tasks <= most {
        rig.ended("growth", tasks, &mut worker).await?;
        tokio::time::sleep(SETTLED).await;
        tasks
    } else {
        tasks - rig.at_most(tasks - most, &mut worker).await?
    };
    let work = Work { taken, cpu: worker.cpu()?, worker: rig.tally(Role::Worker) };
    drop(worker);
    rig.shutdown().await;
    Ok((sent, work))
}

fn table(sizes: &[Size]) -> Table {
    let columns = ["tasks", "requests", "write units", "read units", "worker CPU, µs"];
    let row = |size: &Size| {
        let figures = [size.requests, size.write_units, size.read_units, size.cpu()];
        std::iter::once(number(size.tasks as f64)).chain(figures.map(number)).collect()
    };
    Table {
        caption: "A task's figures by the number of tasks in table and backlog".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: sizes.iter().map(row).collect(),
    }
}

fn figures(sizes: &[Size]) -> Vec<Figure> {
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { return Vec::new() };
    let (few, many) = (number(first.tasks as f64), number(last.tasks as f64));
    let over = |name: &str, small: &[f64], large: f64| {
        if small.iter().all(|small| *small <= 0.0) {
            // No multiple of nothing says how much.
            let name = format!("{name} a task, {many} tasks, where {few} take none");
            return Figure::one(name, "", large).at_most(NOTHING);
        }
        let times: Vec<_> = small.iter().map(|small| large / small).collect();
        Figure::new(format!("{name} a task, {many} tasks over {few}"), "×", times).at_most(1.10)
    };
    vec![
        over("requests", &[first.requests], last.requests),
        over("write units", &[first.write_units], last.write_units),
        over("read units", &[first.read_units], last.read_units),
        over("worker CPU", &first.cpu_micros, last.cpu()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn size(tasks: usize, requests: f64, read_units: f64, cpu_micros: f64) -> Size {
        Size { tasks, requests, write_units: 5.0, read_units, cpu_micros: vec![cpu_micros] }
    }

    fn verdicts(sizes: &[Size]) -> Vec<Verdict> {
        figures(sizes).iter().map(Figure::verdict).collect()
    }

    #[test]
    fn what_grows_by_more_than_a_tenth_misses() {
        let sizes = [size(100, 5.0, 1.0, 400.0), size(1_000, 9.0, 2.0, 100.0), size(10_000, 5.4, 1.1, 500.0)];
        assert_eq!(verdicts(&sizes), [Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Miss]);
    }

    #[test]
    fn what_a_few_do_not_take_at_all_many_may_take_next_to_nothing_of() {
        let of_many =
            |read_units| verdicts(&[size(100, 5.0, 0.0, 1.0), size(100_000, 5.0, read_units, 1.0)])[2];
        assert_eq!([of_many(0.0), of_many(0.0001)], [Verdict::Ok; 2]);
        assert_eq!(of_many(0.002), Verdict::Miss);
    }
}
