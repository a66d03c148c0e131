//! Whether a task costs more when there are many.

use anyhow::{Context, Result};
use serde_json::json;

use crate::load::SETTLED;
use crate::meter::Tally;
use crate::process::WorkerProcess;
use crate::records;
use crate::report::{Figure, Section, Table, number};
use crate::rig::Rig;
use crate::scope::Scope;
use crate::statistics::median;

const SLOTS: u32 = 16;
/// Tasks over all repetitions of a small backlog: the kernel counts CPU time in hundredths.
const AT_LEAST: usize = 1_000;

const STARTS: usize = 5;

/// One size of table and backlog, per task.
struct Size {
    tasks: usize,
    requests: f64,
    write_units: f64,
    read_units: f64,
    cpu_micros: f64,
}

/// Measures it.
pub async fn measure(scope: &Scope) -> Section {
    let mut section = Section::new("Growth").how(
        "So many tasks in the table, all of them sent before the worker starts; then the worker takes them \
              all. The dispatcher gets the records that the stream would have, since the embedded one grows \
              slower with its length. A worker's start itself, measured without tasks, is subtracted from all figures. Targets are for the largest size \
              beside the smallest: 1.10 is 10 % more.",
    );
    let sizes: &[usize] = if scope.quick { &[100, 1_000, 10_000] } else { &[100, 1_000, 10_000, 100_000] };
    match all(sizes).await {
        Ok(measured) => {
            section.tables.push(table(&measured));
            section.figures.extend(figures(&measured));
        }
        Err(error) => section.take("growth", Err(error)),
    }
    section
}

async fn all(sizes: &[usize]) -> Result<Vec<Size>> {
    let (mut starts, mut of_starts) = (Vec::new(), Tally::default());
    for _ in 0..STARTS {
        let (cpu, tally) = bare_start().await?;
        starts.push(cpu);
        of_starts = of_starts.with(&tally);
    }
    let start = median(&starts).context("no start")?;
    let start_tally = of_starts.times(1.0 / STARTS as f64);
    let mut all = Vec::new();
    for &tasks in sizes {
        let rounds = AT_LEAST.div_ceil(tasks);
        let (mut cpu, mut tally) = (0.0, Tally::default());
        for _ in 0..rounds {
            let (round_cpu, round_tally) = round(tasks).await?;
            cpu += round_cpu - start;
            tally = tally.with(&round_tally.since(&start_tally));
        }
        let per = 1.0 / (tasks * rounds) as f64;
        let total = tally.times(per).total();
        all.push(Size {
            tasks,
            requests: total.requests,
            write_units: total.write_units,
            read_units: total.read_units,
            cpu_micros: cpu.max(0.0) * per * 1e6,
        });
        crate::say(&format!(
            "  {tasks} tasks: {:.0} µs, {:.2} requests a task",
            cpu * per * 1e6,
            total.requests
        ));
    }
    Ok(all)
}

/// The CPU seconds of a worker that finds nothing to do, and what it asks of AWS.
async fn bare_start() -> Result<(f64, Tally)> {
    let rig = Rig::for_many_tasks().await?;
    let before = rig.tally_of_all();
    let worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
    tokio::time::sleep(SETTLED).await;
    let measured = (worker.cpu()?, rig.tally_of_all().since(&before));
    drop(worker);
    rig.shutdown().await;
    Ok(measured)
}

/// The worker's CPU seconds from its beginning, and what all three asked of AWS.
async fn round(tasks: usize) -> Result<(f64, Tally)> {
    let rig = Rig::for_many_tasks().await?;
    let before = rig.tally_of_all();
    rig.put_and_send(records::tasks("growth", tasks, &json!({"engine": "noop"}))?).await?;
    let mut worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
    rig.ended("growth", tasks, &mut worker).await?;
    tokio::time::sleep(SETTLED).await;
    let measured = (worker.cpu()?, rig.tally_of_all().since(&before));
    drop(worker);
    rig.shutdown().await;
    Ok(measured)
}

fn table(sizes: &[Size]) -> Table {
    let columns = ["tasks", "requests", "write units", "read units", "worker CPU, µs"];
    let row = |size: &Size| {
        let figures = [size.requests, size.write_units, size.read_units, size.cpu_micros];
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
    let over = |name: &str, of: fn(&Size) -> f64| {
        let (small, large) = (of(first), of(last));
        // Nothing that stays nothing has not grown.
        let ratio = if small == large { 1.0 } else { large / small };
        let name =
            format!("{name} a task, {} tasks over {}", number(last.tasks as f64), number(first.tasks as f64));
        Figure::one(name, "×", ratio).at_most(1.10)
    };
    vec![
        over("requests", |size| size.requests),
        over("write units", |size| size.write_units),
        over("read units", |size| size.read_units),
        over("worker CPU", |size| size.cpu_micros),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn what_grows_by_more_than_a_tenth_misses() {
        let size = |tasks, requests, cpu_micros| Size {
            tasks,
            requests,
            write_units: 5.0,
            read_units: 0.0,
            cpu_micros,
        };
        let figures = figures(&[size(100, 5.0, 400.0), size(1_000, 9.0, 100.0), size(10_000, 5.4, 500.0)]);
        let verdicts: Vec<_> = figures.iter().map(Figure::verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Miss]);
    }
}
