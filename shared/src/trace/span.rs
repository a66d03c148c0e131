//! Spans: what one part of the system did for a task, and from when to when.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::context::{TraceContext, trace_of};
use super::export::Exporter;
use super::settings::{Sampler, Settings};
use crate::metrics::Number;
use crate::task::{Attempt, TaskId};

/// Spans that wait to be exported. What finds no room is dropped: no task waits for a collector.
const MOST_WAITING: usize = 4_096;
/// Spans of one post.
const BATCH: usize = 512;

/// The part of a span in a conversation, with its number in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Neither of the others.
    Internal = 1,
    /// It put something on a queue.
    Producer = 4,
    /// It took something from a queue.
    Consumer = 5,
}

/// A span that is over.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub context: TraceContext,
    pub parent: Option<u64>,
    pub name: &'static str,
    pub kind: Kind,
    pub began: u64,
    pub ended: u64,
    pub attributes: Vec<(&'static str, String)>,
    pub links: Vec<TraceContext>,
    pub error: Option<String>,
}

/// Where spans begin. Off unless a collector is configured.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Vec<Ended>>,
    dropped: Number,
    sampler: Sampler,
    exporter: Exporter,
}

impl Tracer {
    /// One that exports as `settings` say.
    ///
    /// # Errors
    /// The machine has no certificates, or the address is none.
    pub fn new(settings: Settings) -> Result<Self, std::io::Error> {
        let sampler = settings.sampler;
        let (waiting, dropped) = Default::default();
        Ok(Self(Some(Arc::new(Shared { waiting, dropped, sampler, exporter: Exporter::new(settings)? }))))
    }

    /// One as OpenTelemetry's variables say. What they say that cannot be done is logged, and nothing is
    /// exported: no task waits for its traces to be configured.
    pub fn from_env(service: &str, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let settings = match Settings::from_env(service, lookup) {
            Ok(Some(settings)) => settings,
            Ok(None) => return Self::default(),
            Err(error) => {
                tracing::error!(%error, "no traces are exported");
                return Self::default();
            }
        };
        Self::new(settings).unwrap_or_else(|error| {
            tracing::error!(%error, "no traces are exported");
            Self::default()
        })
    }

    /// Whether spans are exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span of a task's trace: below `parent`, where there is one.
    pub fn of_task(&self, name: &'static str, kind: Kind, id: &TaskId, parent: Option<&str>) -> Span {
        let parent = parent.and_then(TraceContext::parse);
        let Some(shared) = &self.0 else { return Span { context: parent, open: None } };
        let trace = parent.map_or_else(|| trace_of(id), |parent| parent.trace);
        let context =
            TraceContext { trace, sampled: shared.sampler.takes(trace, parent), ..TraceContext::fresh(true) };
        self.begin(name, kind, context, parent.map(|parent| parent.span)).with("stageline.task.id", id)
    }

    /// Begins a span of a trace of its own, or below `parent`.
    pub fn root(&self, name: &'static str, kind: Kind, parent: Option<&str>) -> Span {
        let parent = parent.and_then(TraceContext::parse);
        let Some(shared) = &self.0 else { return Span { context: parent, open: None } };
        let fresh = TraceContext::fresh(true);
        let trace = parent.map_or(fresh.trace, |parent| parent.trace);
        let context = TraceContext { trace, sampled: shared.sampler.takes(trace, parent), ..fresh };
        self.begin(name, kind, context, parent.map(|parent| parent.span))
    }

    fn begin(&self, name: &'static str, kind: Kind, context: TraceContext, parent: Option<u64>) -> Span {
        let (began, ended) = (now(), 0);
        let (attributes, links, error) = Default::default();
        let ended = Ended { context, parent, name, kind, began, ended, attributes, links, error };
        let open = context.sampled.then(|| Box::new((self.clone(), ended)));
        Span { context: Some(context), open }
    }

    fn take(&self, mut span: Ended) {
        let Some(shared) = &self.0 else { return };
        span.ended = now().max(span.began);
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push(span);
        } else {
            shared.dropped.one();
        }
    }

    /// Exports what waits, within `limit`. What the collector does not take is dropped, with a line in the log.
    pub async fn flush(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let spans = std::mem::take(&mut *shared.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + limit;
        for batch in spans.chunks(BATCH) {
            let exported = tokio::time::timeout_at(deadline, shared.exporter.post(batch)).await;
            let failed = match exported {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_elapsed) => "no answer in time".to_owned(),
            };
            shared.dropped.add(batch.len() as f64);
            tracing::warn!(spans = batch.len(), why = failed, "spans not exported; they are dropped");
        }
    }

    /// How many spans were dropped so far.
    pub fn dropped(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |shared| shared.dropped.get())
    }
}

impl Sampler {
    fn takes(self, trace: u128, parent: Option<TraceContext>) -> bool {
        match parent {
            Some(parent) if self.by_parent => parent.sampled,
            // The lower 56 bits are random in every trace id that follows the specification.
            _ => {
                (trace as u64 & ((1 << 56) - 1)) as f64 / (1u64 << 56) as f64 <= self.ratio
                    && self.ratio > 0.0
            }
        }
    }
}

/// A span that has begun. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    /// What those below it name as their parent; none when there is no trace.
    context: Option<TraceContext>,
    open: Option<Box<(Tracer, Ended)>>,
}

impl Span {
    /// What goes into `traceparent` for what follows from this.
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// Says something of it. Short and without secrets.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// Says something of it.
    pub fn set(&mut self, name: &'static str, value: &impl ToString) {
        if let Some(open) = &mut self.open {
            open.1.attributes.push((name, value.to_string()));
        }
    }

    /// Makes it the span of an attempt, which others can name, and links it to the attempt before.
    #[must_use]
    pub fn of_attempt(mut self, id: &TaskId, attempt: Attempt) -> Self {
        let context = self.context;
        if let (Some(open), Some(context)) = (&mut self.open, context) {
            open.1.context = context.of_attempt(id, attempt);
            if attempt.0 > 1 {
                open.1.links.push(context.of_attempt(id, Attempt(attempt.0 - 1)));
            }
            self.context = Some(open.1.context);
        }
        self.with("stageline.attempt", &attempt)
    }

    /// Says that what it is about did not succeed.
    pub fn fail(&mut self, why: impl Into<String>) {
        if let Some(open) = &mut self.open {
            open.1.error = Some(why.into());
        }
    }

    /// It began earlier than it was known to.
    #[must_use]
    pub fn begun_at(mut self, at: SystemTime) -> Self {
        if let Some(open) = &mut self.open {
            open.1.began = nanoseconds(at);
        }
        self
    }

    /// A span below it.
    pub fn child(&self, name: &'static str) -> Span {
        self.current().map_or(Span { context: None, open: None }, |current| current.child(name))
    }

    fn current(&self) -> Option<Current> {
        let tracer = self.open.as_ref().map_or_else(Tracer::default, |open| open.0.clone());
        Some(Current { tracer, context: self.context? })
    }

    /// Runs `work` below this span: its steps are this one's children.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let (current, work) = (self.current(), Box::pin(work));
        async move {
            match current {
                Some(current) => CURRENT.scope(current, work).await,
                None => work.await,
            }
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let (tracer, ended) = *open;
            tracer.take(ended);
        }
    }
}

/// The span that the running code is part of.
#[derive(Clone, Debug)]
pub struct Current {
    tracer: Tracer,
    context: TraceContext,
}

impl Current {
    /// A span below it; where nothing is recorded, its context is handed on.
    pub fn child(&self, name: &'static str) -> Span {
        if !self.tracer.is_on() {
            return Span { context: Some(self.context), open: None };
        }
        self.tracer.begin(name, Kind::Internal, self.context.child(), Some(self.context.span))
    }
}

tokio::task_local! {
    static CURRENT: Current;
}

/// The context of the span that the running code is part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|current| current.context).ok()
}

/// Runs `work` as a step of the span that the running code is part of. On the heap: what is passed through
/// functions would be in the caller's future twice.
pub fn step<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> + use<F> {
    let work = Box::pin(work);
    async move {
        match CURRENT.try_with(|current| current.child(name)) {
            Ok(span) => span.around(work).await,
            Err(_no_span) => work.await,
        }
    }
}

fn now() -> u64 {
    nanoseconds(SystemTime::now())
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
