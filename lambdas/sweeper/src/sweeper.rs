//! The sweeper: what each kind of call does, in which order.

use std::collections::HashSet;

use stageline::aws::{Aws, Deployment, Signal, SweepMemory, WorkerItem, Write};
use stageline::protocol::lease::Observations;
use stageline::trace::Tracer;
use stageline::{At, Clock};
use stageline_dispatcher::Dispatcher;
use tracing::{info, warn};

use crate::due::DueIndex;
use crate::pass::{BY, OnPage, Pass};
use crate::{InstanceEvent, Limits, Report, SweepEvent};

/// Brings back what nobody else will.
#[derive(Debug)]
pub struct Sweeper {
    pub(crate) aws: Aws,
    pub(crate) deployment: Deployment,
    dispatcher: Dispatcher,
    pub(crate) clock: Clock,
    pub(crate) tracer: Tracer,
    due_index: DueIndex,
}

impl Sweeper {
    /// A sweeper for one deployment.
    pub fn new(aws: Aws, deployment: Deployment, clock: Clock) -> Self {
        let dispatcher = Dispatcher::named(aws.clone(), deployment.clone(), clock.clone(), BY);
        Self { aws, deployment, dispatcher, clock, tracer: Tracer::default(), due_index: DueIndex::default() }
    }

    /// The same, writing into the tasks' traces.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { dispatcher: self.dispatcher.traced(tracer.clone()), tracer, ..self }
    }

    /// Does what an event asks for; the report is also one line of the log.
    pub async fn handle(&self, event: SweepEvent, limits: Limits) -> Report {
        let report = match event {
            SweepEvent::Scheduled => Box::pin(self.scheduled(limits)).await,
            SweepEvent::Instance(event) => Box::pin(self.instance_event(event)).await,
            SweepEvent::Ignored(why) => {
                warn!(why, "event ignored");
                Report::default()
            }
        };
        // Numbers and texts always have a JSON text.
        let json = serde_json::to_string(&report).unwrap_or_default();
        info!(report = json, "swept");
        report
    }

    /// A bounded call, and a look at the queues.
    async fn scheduled(&self, limits: Limits) -> Report {
        let mut pass = self.pass(limits);
        pass.look_at_queues().await;
        self.whole_call(pass, false).await
    }

    /// One bounded call: dead workers, due tasks, some pages of the repair scan from where the last call
    /// stopped, and dead letters.
    pub async fn sweep(&self, limits: Limits) -> Report {
        self.whole_call(self.pass(limits), false).await
    }

    /// The same without limits: one whole pass over the table from its beginning, which sees every write that
    /// came before it. With `assume_queues_lost` every message that was sent before this call counts as gone,
    /// and no record is too fresh to be sent.
    pub async fn sweep_all(&self, assume_queues_lost: bool) -> Report {
        let mut pass = self.pass(Limits::NONE);
        pass.consistent = true;
        pass.queues_lost = assume_queues_lost.then(|| self.clock.now());
        self.whole_call(pass, true).await
    }

    /// One whole pass as [`Sweeper::sweep_all`], for somebody beside the scheduled sweeper: `observations` are
    /// the caller's own, begun a lease ago where a silent worker is to count as dead. The sweeper's memory is
    /// neither read nor written, since another machine's clock wrote the times in it. `on_page` is told what has
    /// been done after each page of the repair scan.
    pub async fn repair_all(&self, observations: Observations, on_page: &OnPage) -> Report {
        let mut pass = Pass { consistent: true, on_page, ..self.pass(Limits::NONE) };
        let mut memory = SweepMemory::of(observations);
        Self::all_parts(&mut pass, &mut memory, true).await;
        pass.report
    }

    /// Something happened to an instance: one that has stopped has dead workers, and one that is about to
    /// stop has workers that should take no more.
    pub async fn instance_event(&self, event: InstanceEvent) -> Report {
        let on = |item: &WorkerItem, instance: &str| {
            item.heartbeat.as_ref().is_some_and(|beat| beat.instance.as_deref() == Some(instance))
        };
        match event {
            InstanceEvent::Stopped { instance } => self.declare_dead(|item| on(item, &instance)).await,
            InstanceEvent::Warned { instance } => self.tell(&Signal::Drain, |item| on(item, &instance)).await,
            InstanceEvent::AtRisk { instance } => {
                self.tell(&Signal::Rebalance, |item| on(item, &instance)).await
            }
        }
    }

    /// Takes from these workers what they had and removes them, whatever their heartbeats say: for those who
    /// know sooner, such as a machine that sees its own processes.
    pub async fn declare_dead(&self, is_dead: impl Fn(&WorkerItem) -> bool) -> Report {
        let mut pass = self.pass(Limits::NONE);
        pass.declare_dead(is_dead).await;
        pass.report
    }

    async fn tell(&self, signal: &Signal, is_meant: impl Fn(&WorkerItem) -> bool) -> Report {
        let mut pass = self.pass(Limits::NONE);
        let items = match self.aws.workers.all().await {
            Ok(items) => items,
            Err(error) => {
                pass.failed("the workers cannot be read", &error);
                return pass.report;
            }
        };
        pass.report.workers_alive = items.len();
        for item in items.values().filter(|item| is_meant(item)) {
            match self.aws.workers.signal(&item.worker, signal).await {
                Ok(Write::Applied | Write::AlreadyApplied) => {
                    info!(worker.id = %item.worker, ?signal, "told");
                    pass.report.signals += 1;
                }
                // It has gone by itself.
                Ok(Write::NotFound | Write::Fenced) => {}
                Err(error) => pass.failed("a worker was not told of its machine's end", &error),
            }
        }
        pass.report
    }

    async fn whole_call(&self, mut pass: Pass<'_>, from_the_beginning: bool) -> Report {
        let (mut memory, known) = match self.aws.sweep.load().await {
            Ok(memory) => (memory, true),
            Err(error) => {
                pass.failed("the sweeper's memory cannot be read", &error);
                (SweepMemory::default(), false)
            }
        };
        Self::all_parts(&mut pass, &mut memory, from_the_beginning).await;
        // What was begun without a memory must not replace the one there is: workers would be waited for anew.
        if known && let Err(error) = self.aws.sweep.save(&memory).await {
            pass.failed("the sweeper's memory is not saved", &error);
        }
        pass.report
    }

    async fn all_parts(pass: &mut Pass<'_>, memory: &mut SweepMemory, from_the_beginning: bool) {
        let fleet = pass.look_at_workers(memory).await;
        pass.send_due().await;
        if from_the_beginning {
            // The bounded calls go on where they were.
            Box::pin(pass.scan(None, u32::MAX, fleet.as_ref())).await;
        } else {
            if memory.cursor.is_none() {
                memory.pace.read = 0;
            }
            let pages = pass.limits.scan_pages.of(memory.pace);
            let (cursor, read) = Box::pin(pass.scan(memory.cursor.take(), pages, fleet.as_ref())).await;
            memory.cursor = cursor;
            memory.pace.went(read, pass.report.pass_complete);
        }
        pass.drain_dead_letters().await;
    }

    fn pass(&self, limits: Limits) -> Pass<'_> {
        Pass {
            aws: &self.aws,
            deployment: &self.deployment,
            dispatcher: &self.dispatcher,
            clock: &self.clock,
            due_index: &self.due_index,
            limits,
            consistent: false,
            queues_lost: None::<At>,
            report: Report::default(),
            handled: HashSet::new(),
            rescues_left: limits.rescues,
            on_page: &unwatched,
        }
    }
}

fn unwatched(_: &Report) {}
