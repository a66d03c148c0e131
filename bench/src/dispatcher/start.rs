//! From `exec` to the first `/next`.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process::function;
use crate::procfs;
use crate::report::Figure;
use crate::scope::Scope;
use crate::statistics::median;

const PATIENCE: Duration = Duration::from_secs(30);
/// Repetitions of the median that is one value of a figure.
const GROUPS: usize = 3;

/// A program that speaks to the Runtime API, killed when dropped.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One start.
#[derive(Clone, Copy)]
pub struct Start {
    /// To the first `/next`.
    pub millis: f64,
    /// Those of CPU among them.
    pub cpu: f64,
    /// Resident MB then.
    pub resident: f64,
}

/// Starts two programs, each with its variables, `count` times in turns.
///
/// # Errors
/// One cannot be started, or never asks for its first event.
pub fn starts<'a>(
    count: usize,
    both: impl Fn() -> [(Command, Vec<(&'a str, &'a str)>); 2],
) -> Result<[Vec<Start>; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..count {
        for (starts, (command, variables)) in all.iter_mut().zip(both()) {
            starts.push(start(command, &variables)?);
        }
    }
    Ok(all)
}

pub(super) async fn measure(scope: &Scope) -> Result<Vec<Figure>> {
    let starts = if scope.quick { 8 } else { 20 };
    let python = scope.peers.clone();
    tokio::task::spawn_blocking(move || {
        let dispatcher = function("stageline-dispatcher")?;
        let bare = function("bare-runtime")?;
        let peer = python.map(|peers| (peers.python(), vec![peers.script("function.py")]));
        let (mut ours, mut bares, mut peers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..GROUPS {
            let mut group = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..starts {
                group.0.push(start(Command::new(&dispatcher), &[])?);
                group.1.push(start(Command::new(&bare), &[])?);
                if let Some((program, arguments)) = peer.as_ref().filter(|_| turn % 4 == 0) {
                    let mut command = Command::new(program);
                    command.args(arguments);
                    group.2.push(start(command, &[])?);
                }
            }
            ours.push(group.0);
            bares.push(group.1);
            peers.push(group.2);
        }
        Ok(figures(&ours, &bares, &peers))
    })
    .await?
}

fn figures(ours: &[Vec<Start>], bares: &[Vec<Start>], peers: &[Vec<Start>]) -> Vec<Figure> {
    let each = |groups: &[Vec<Start>], of: fn(&Start) -> f64| -> Vec<f64> {
        groups.iter().filter_map(|group| median(&group.iter().map(of).collect::<Vec<_>>())).collect()
    };
    let (own, bare, peer) = (each(ours, |s| s.millis), each(bares, |s| s.millis), each(peers, |s| s.millis));
    let over = |top: &[f64], below: &[f64]| -> Vec<f64> {
        top.iter().zip(below).map(|(top, below)| top / below).collect()
    };
    let mut figures = vec![
        Figure::new("exec → first `/next`", "ms", own.clone()).beside("Python with boto3", median(&peer)),
        Figure::new("the same of the bare harness", "ms", bare.clone()),
        // 3.5 ms where the bare harness takes 1 ms: as a ratio it holds on any machine.
        Figure::new("start, times the bare harness's", "×", over(&own, &bare)).at_most(3.5),
    ];
    if !peer.is_empty() {
        figures.push(
            Figure::new("start, times faster than the Python peer's", "×", over(&peer, &own)).at_least(60.0),
        );
    }
    figures.push(
        // What a machine with other work leaves as it is.
        Figure::new("CPU until the first `/next`", "ms", each(ours, |s| s.cpu))
            .beside("Python with boto3", median(&each(peers, |s| s.cpu))),
    );
    figures.push(Figure::new("the same of the bare harness, CPU", "ms", each(bares, |s| s.cpu)));
    figures.push(
        Figure::new("resident memory at the first `/next`", "MB", each(ours, |s| s.resident))
            .at_most(8.0)
            .beside("Python with boto3", median(&each(peers, |s| s.resident))),
    );
    figures
}

/// Starts `command` as Lambda would, and waits for its first `/next`, which is never answered.
fn start(mut command: Command, variables: &[(&str, &str)]) -> Result<Start> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env(
            "STAGELINE_POOLS",
            r#"[{"name":"default","targets":["default/*"],"queues":{"high":"h","normal":"n","low":"l"}}]"#,
        )
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (sender, arrived) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Whoever waits has given up if nobody takes it.
        let _nobody = sender.send(next(&listener));
    });
    let begun = Instant::now();
    let function = Function(command.spawn().with_context(|| format!("{:?}", command.get_program()))?);
    let arrival = arrived.recv_timeout(PATIENCE);
    if arrival.is_err() {
        // Lets the listening thread go.
        TcpStream::connect(address).ok();
    }
    let (at, held) = arrival.with_context(|| format!("{:?} asked for nothing", command.get_program()))??;
    let cpu = procfs::threads_cpu_millis(function.0.id())?;
    let resident = procfs::resident_mb(function.0.id(), false)?;
    drop((function, held));
    Ok(Start { millis: (at - begun).as_secs_f64() * 1e3, cpu, resident })
}

/// The moment of the first request, and its connection.
fn next(listener: &TcpListener) -> Result<(Instant, TcpStream)> {
    let (mut stream, _) = listener.accept()?;
    let mut bytes = [0; 1024];
    let count = stream.read(&mut bytes)?;
    let at = Instant::now();
    let line = String::from_utf8_lossy(&bytes[..count]);
    ensure!(line.starts_with("GET /2018-06-01/runtime/invocation/next"), "the first request is {line:?}");
    Ok((at, stream))
}
