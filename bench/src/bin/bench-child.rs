//! The program of tasks that are measured.
//!
//! - `bench-child ADDRESS` says its task's id on a connection and waits until that is closed. Who listens sees its
//!   start, and its death, at which the kernel closes the connection.
//! - `bench-child progress UPDATES SECONDS` tells its progress by the contract, so many times at that distance.
//! - `bench-child second` fails in its task's first attempt.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["second"] => return second(),
        ["progress", updates, seconds] => progress(updates, seconds),
        [address] => report(address),
        _ => Err("usage: bench-child ADDRESS | progress UPDATES SECONDS | second".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-child: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let task = std::env::var("STAGELINE_TASK_ID")?;
    let mut connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.write_all(format!("{task}\n").as_bytes())?;
    connection.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn progress(updates: &str, seconds: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (updates, pause): (u32, _) = (updates.parse()?, Duration::try_from_secs_f64(seconds.parse()?)?);
    let mut out = std::io::stdout();
    for done in 1..=updates {
        writeln!(out, "::stageline {{\"stage\": \"Solve\", \"done\": {done}, \"total\": {updates}}}")?;
        out.flush()?;
        std::thread::sleep(pause);
    }
    Ok(())
}

fn second() -> ExitCode {
    let is_first = std::env::var("STAGELINE_ATTEMPT").is_ok_and(|attempt| attempt == "1");
    if is_first { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
