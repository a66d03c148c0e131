//! One worker's post: whoever dies there is replaced, and what is planned for it is done to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use stageline::aws::Deployment;
use stageline::task::WorkerId;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::schedule::{Action, Planned};
use super::witness::{Testimony, Witness};
use super::{Options, logs};
use crate::faults::{Control, Fault, Plan, Proxy};
use crate::process::{Log, WorkerProcess};

/// How long a long task is waited for before a worker is stopped where it is.
const LONGEST_SEARCH: Duration = Duration::from_secs(8);

/// How often it is stopped until something is taken from it.
const MOST_STOPS: u32 = 3;

/// How long a worker may take to stop when it is asked to.
const LONGEST_STOP: Duration = Duration::from_secs(60);

/// How often in a row a worker may end before it takes anything.
const MOST_FAILED_STARTS: u32 = 3;

/// What all posts know.
pub(super) struct Field {
    pub options: Options,
    pub deployment: Deployment,
    pub witness: Arc<Witness>,
    /// Whether a task is a process of some seconds.
    pub is_long: Box<dyn Fn(&str) -> bool + Send + Sync>,
    pub begin: Instant,
}

/// A place for a worker.
pub(super) struct Post {
    number: u32,
    field: Arc<Field>,
    home: PathBuf,
    proxy: Proxy,
    worker: Option<(WorkerId, WorkerProcess)>,
    pub suffered: Suffered,
    pub logs: Vec<(String, Log)>,
    /// How many folders workers here have had.
    homes: usize,
}

/// What was done here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suffered {
    pub kills_same_folder: usize,
    pub kills_new_folder: usize,
    pub stops: usize,
    pub cut_offs: usize,
    /// Workers that ended before they took anything: their first heartbeat did not come through.
    pub failed_starts: usize,
    /// Workers that ended later though nobody did anything to them: there must be none.
    pub ended_by_themselves: usize,
    /// Workers that were asked to stop, with nothing in their way, and did not, or with another exit status
    /// than 0: there must be none.
    pub bad_stops: usize,
}

impl Post {
    /// Starts a worker behind a proxy with faults.
    pub async fn occupy(number: u32, field: Arc<Field>, folder: &Path, endpoint: &str) -> Result<Self> {
        let proxy = Proxy::start(endpoint).await?;
        let seed = field.options.seed.wrapping_mul(1_000).wrapping_add(u64::from(number));
        let plan = Plan::seeded(seed)
            .with(0.04, Fault::Throttle)
            .with(0.03, Fault::ServerError)
            .with(0.03, Fault::LostAnswer)
            .with(0.05, Fault::Slow(Duration::from_millis(50)));
        proxy.control().set_plan(plan);
        let mut post = Self {
            number,
            field,
            home: folder.join(format!("worker-{number}")),
            proxy,
            worker: None,
            suffered: Suffered::default(),
            logs: Vec::new(),
            homes: 0,
        };
        post.move_house()?;
        post.start().await?;
        Ok(post)
    }

    /// Does what is planned, each at its time or when the one before is over; then leaves a worker that lives
    /// and reaches AWS.
    pub async fn live_through(mut self, planned: Vec<Planned>) -> Result<Self> {
        let end = self.field.begin + self.field.options.faults;
        for Planned { at, action } in planned {
            sleep_until(self.field.begin + at).await;
            if Instant::now() >= end {
                break;
            }
            self.replace_if_ended().await?;
            match action {
                Action::Kill { same_folder } => self.kill(same_folder).await?,
                Action::Stop(time) => self.stop_where_it_is(time).await?,
                Action::CutOff(time) => self.cut_off(time).await,
            }
        }
        sleep_until(end).await;
        self.proxy.control().stop();
        self.replace_if_ended().await?;
        Ok(self)
    }

    /// Asks the worker to stop, and waits for it.
    pub async fn leave(&mut self) -> Result<()> {
        self.replace_if_ended().await?;
        if let Some((_, mut process)) = self.worker.take() {
            process.signal(Signal::SIGTERM)?;
            let stopped = match timeout(LONGEST_STOP, process.ended()).await {
                Ok(status) => status?.success(),
                Err(_) => {
                    process.kill().await?;
                    false
                }
            };
            self.suffered.bad_stops += usize::from(!stopped);
        }
        Ok(())
    }

    /// What its proxy did.
    pub fn control(&self) -> &Control {
        self.proxy.control()
    }

    async fn kill(&mut self, same_folder: bool) -> Result<()> {
        if let Some((_, mut process)) = self.worker.take() {
            process.kill().await?;
        }
        if same_folder {
            self.suffered.kills_same_folder += 1;
        } else {
            self.suffered.kills_new_folder += 1;
            self.move_house()?;
        }
        self.start().await
    }

    /// Makes a zombie: while the worker is stopped its lease runs out and its tasks are taken from it; then
    /// it goes on with what it believes to have.
    async fn stop_where_it_is(&mut self, time: Duration) -> Result<()> {
        let Some((id, process)) = &self.worker else { return Ok(()) };
        let (witness, id) = (&self.field.witness, id.as_str());
        for _ in 0..MOST_STOPS {
            let is_long = |task: &&str| (self.field.is_long)(task);
            let runs_a_long_one = |seen: &Testimony| seen.held_by(id).iter().any(is_long);
            // Without one, whatever it runs will do: its end is written when the worker goes on.
            let _or_not = witness.until("it runs a long task", LONGEST_SEARCH, runs_a_long_one).await;
            let (taken_before, gone_before) =
                witness.tells(|seen| (seen.taken_from(id), seen.gone_on_without(id)));
            process.signal(Signal::SIGSTOP)?;
            self.suffered.stops += 1;
            sleep(time).await;
            let was_taken = |seen: &Testimony| seen.taken_from(id) > taken_before;
            let is_over = |seen: &Testimony| match was_taken(seen) {
                true => seen.gone_on_without(id) > gone_before,
                false => seen.held_by(id).is_empty(),
            };
            // The first one is to make a zombie for certain. Should it not, the run goes on and its verdict tells.
            let longest = self.field.options.lease.length() * if self.suffered.stops == 1 { 10 } else { 3 };
            let _or_not = witness.until("its tasks go on without it", longest, is_over).await;
            process.signal(Signal::SIGCONT)?;
            if witness.tells(was_taken) {
                // Nothing else is done to it before it has written what a zombie writes.
                let writes = process.log();
                let _or_not = timeout(longest, writes.until(logs::is_fenced)).await;
                break;
            }
            // What it held had ended in the moment of the stop: once more.
        }
        Ok(())
    }

    async fn cut_off(&mut self, time: Duration) {
        self.proxy.control().hold();
        sleep(time).await;
        self.proxy.control().release();
        self.suffered.cut_offs += 1;
    }

    /// What a service manager does.
    async fn replace_if_ended(&mut self) -> Result<()> {
        let ended = match &mut self.worker {
            Some((_, process)) => process.has_ended()?,
            None => true,
        };
        if ended {
            self.suffered.ended_by_themselves += 1;
            self.start().await?;
        }
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        let options = &self.field.options;
        let slots = options.slots.to_string();
        let settings = [
            ("STAGELINE_WORKER_SLOTS", slots.as_str()),
            ("STAGELINE_WORKER_POLL_WAIT_SECONDS", "2"),
            ("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "5"),
        ];
        for failed in 0.. {
            let process = WorkerProcess::start(
                &options.worker_program,
                &self.proxy.endpoint(),
                &self.field.deployment,
                &self.home,
                &settings,
            )?;
            self.logs.push((format!("worker-{}-{:02}", self.number, self.logs.len()), process.log()));
            match process.started().await {
                Ok(id) => {
                    self.worker = Some((id, process));
                    return Ok(());
                }
                // It ends by itself when its first heartbeat does not come through.
                Err(error) if failed == MOST_FAILED_STARTS => return Err(error),
                Err(_) => self.suffered.failed_starts += 1,
            }
        }
        Ok(())
    }

    fn move_house(&mut self) -> Result<()> {
        self.home.set_extension(self.homes.to_string());
        self.homes += 1;
        std::fs::create_dir_all(&self.home)?;
        Ok(())
    }
}
