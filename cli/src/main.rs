//! The command `stageline`.

mod args;
mod commands;
mod connection;
mod exit;
mod failure;
mod output;
mod plain;
mod progress;
mod stored;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error),
    };
    let format = args.output;
    match commands::run(args).await {
        Ok(code) => code.into(),
        Err(failure) => {
            output::failure(format, &failure);
            failure.exit().into()
        }
    }
}
