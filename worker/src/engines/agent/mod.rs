//! `agent`: pretends to be an AI agent at work, with its tokens, cost, latency and failures. Calls nobody.

mod profiles;

use futures::FutureExt;
use serde_json::json;
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;

use self::profiles::{PROFILES, Profile};
use super::simulated::{Act, Curve, Fate, Params, Play, between, rounded};
use super::{Engine, Execution, Site};

const USUAL_COMPLEXITY: u64 = 5;
const HIGHEST_COMPLEXITY: u64 = 10;
const MOST_TOKENS: u64 = 10_000_000;
const MOST_STEPS: u64 = 10_000;
const MOST_SECONDS_PER_STEP: f64 = 3_600.0;
/// Of an agent at the limit of what it can do, if nothing else is asked for.
const USUAL_FAILURE_RATE: f64 = 0.05;
/// Of an agent with the speed 1.
const TOKENS_PER_SECOND: f64 = 40.0;
/// English text has about so many in a token.
const BYTES_PER_TOKEN: u64 = 4;

pub(super) struct Agent;

impl Engine for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn plan(&self, task: &Task, _site: &Site<'_>) -> Result<Execution, Failure> {
        let play = play(task)?;
        Ok(Execution::Inline(Box::new(move |sink| play.perform(move |report| sink.report(report)).boxed())))
    }
}

/// Decides all that will happen.
fn play(task: &Task) -> Result<Play, Failure> {
    let params = Params::of(task);
    let profile = profile(&params)?;
    let complexity = params.whole("complexity", 1, HIGHEST_COMPLEXITY)?.unwrap_or(USUAL_COMPLEXITY);
    if complexity > profile.most_complex {
        let message = format!(
            "`params.complexity` {complexity} is more than the {} that {} takes",
            profile.most_complex, profile.name
        );
        return Err(Failure::fatal(Code::EngineInputInvalid, message));
    }
    let effort = complexity as f64 / profile.most_complex as f64;
    let fate = Fate::of(task, &params, USUAL_FAILURE_RATE * effort * effort)?;
    let mut rng = fate.rng("work");
    // Drawn whether they are given or not, so that one parameter does not change the others' numbers.
    let drawn = (rng.u64(100..=400) * complexity, complexity + rng.u64(2..=4));
    let prompt = params.text("prompt")?.map(|text| (text.len() as u64).div_ceil(BYTES_PER_TOKEN).max(1));
    let input = params.whole("tokens", 1, MOST_TOKENS)?.or(prompt).unwrap_or(drawn.0);
    let steps = params.whole("steps", 1, MOST_STEPS)?.unwrap_or(drawn.1);
    let output = rng.u64(60..=180) * complexity;
    let cost = rounded((input + output) as f64 / 1_000.0 * profile.cost, 6);
    let latency = between(&mut rng, 0.2, 0.8) + output as f64 / (TOKENS_PER_SECOND * profile.speed);
    let quality = between(&mut rng, 0.9, 0.99) - 0.2 * effort * rng.f64();
    let a_step = params.number("secondsPerStep", 1.0, 0.0, MOST_SECONDS_PER_STEP)? / profile.speed;

    let act =
        |stage, message: &str, seconds, total| Act { stage, message: message.to_owned(), seconds, total };
    let acts = vec![
        act("Plan", "Breaking the task into steps", a_step, None),
        act("Work", "Working", a_step * steps as f64, Some((steps, "steps"))),
        act("Review", "Checking the answer", a_step, None),
    ];
    let evenly = |name, to| Curve { name, from: 0.0, to, even: true };
    let metrics = vec![evenly("outputTokens", output as f64), evenly("costUsd", cost)];
    let (until, outcome) = match fate.fails {
        Some((share, way)) => (share, way.outcome(reason(&mut rng))),
        None => {
            let result = json!({
                "profile": profile.name,
                "specialization": profile.specialization,
                "complexity": complexity,
                "seed": fate.seed,
                "inputTokens": input,
                "outputTokens": output,
                "totalTokens": input + output,
                "costUsd": cost,
                "steps": steps,
                "latencySeconds": rounded(latency, 3),
                "tokensPerSecond": rounded(output as f64 / latency, 2),
                "quality": rounded(quality, 3),
            });
            (1.0, Outcome::Succeeded { result })
        }
    };
    Ok(Play { acts, metrics, until, outcome })
}

fn profile(params: &Params<'_>) -> Result<&'static Profile, Failure> {
    let Some(text) = params.text("profile")? else { return Ok(&PROFILES[0]) };
    Profile::named(text).ok_or_else(|| {
        let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
        let shown = &text[..text.floor_char_boundary(100)];
        let message = format!("`params.profile` {shown:?} is not known; use one of {}", names.join(", "));
        Failure::fatal(Code::EngineInputInvalid, message)
    })
}

/// The story of a failure.
fn reason(rng: &mut fastrand::Rng) -> &'static str {
    const REASONS: [&str; 4] = [
        "the rate limit was exceeded",
        "the connection to the model was lost",
        "the model is overloaded",
        "the answer did not have the form that was asked for",
    ];
    REASONS[rng.usize(..REASONS.len())]
}

#[cfg(test)]
mod tests;
