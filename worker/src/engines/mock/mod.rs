//! `mock`: a simulation that only pretends, for tests of dashboards, retries and workflows: stages as of a
//! real engine, plausible results, failures at a chosen rate, all of it decided by a seed.

mod kinds;

use futures::FutureExt;
use serde_json::json;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;

use self::kinds::Kind;
use super::simulated::{Act, Fate, Params, Play, rounded};
use super::{Engine, Execution, Site};

/// What the reference worker's own takes.
const USUAL_SECONDS: f64 = 12.0;
const MOST_SECONDS: f64 = 86_400.0;

pub(super) struct Mock;

impl Engine for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn plan(&self, task: &Task, _site: &Site<'_>) -> Result<Execution, Failure> {
        let play = play(task)?;
        Ok(Execution::Inline(Box::new(move |sink| play.perform(move |report| sink.report(report)).boxed())))
    }
}

/// Decides all that will happen.
fn play(task: &Task) -> Result<Play, Failure> {
    let params = Params::of(task);
    let kind = Kind::named(params.text("kind")?)?;
    let seconds = params.number("seconds", USUAL_SECONDS, 0.0, MOST_SECONDS)?;
    let fate = Fate::of(task, &params, 0.0)?;
    let sketch = kind.sketch(&mut fate.rng("result"));
    let acts = sketch.stages.into_iter().map(|stage| Act {
        stage: stage.name,
        message: stage.message.to_owned(),
        seconds: seconds * stage.share,
        total: stage.total,
    });
    let (until, outcome) = match fate.fails {
        Some((share, way)) => (share, way.outcome(kind.way_to_fail())),
        None => {
            let mut result = json!({
                "kind": kind.name(),
                "seed": fate.seed,
                "converged": true,
                "simulatedSeconds": rounded(seconds, 3),
            });
            if let Some(result) = result.as_object_mut() {
                result.extend(sketch.result);
            }
            (1.0, Outcome::Succeeded { result })
        }
    };
    Ok(Play { acts: acts.collect(), metrics: sketch.metrics, until, outcome })
}

#[cfg(test)]
mod tests;
