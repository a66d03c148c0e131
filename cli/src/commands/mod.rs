//! One file a command.

mod dev;
mod doctor;
mod list;
mod logs;
mod request;
mod status;
mod submit;
mod watch;

use crate::args::{Args, Command};
use crate::connection::{connect, connection};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stored;
use request::Wish;

/// Runs what was typed.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let (format, dir, artifacts) = (args.output, args.dir, args.artifacts);
    match args.command {
        Command::Dev(dev) => Box::pin(dev::run(dev, &dir, artifacts, format)).await,
        Command::Submit(submit) => submit::run(*submit, &dir, artifacts.as_deref(), format).await,
        Command::Watch(watch) => watch::run(&connect(&dir).await?, &watch.ids, format).await,
        Command::Status(task) => status::run(&connect(&dir).await?, &task.id, format).await,
        Command::Logs(logs) => {
            let connection = connection(&dir).await?;
            let store = stored::store(artifacts.as_deref(), &connection)?;
            logs::run(&connection, store, &logs, format).await
        }
        Command::Cancel(tasks) => request::run(&connect(&dir).await?, Wish::Cancel, &tasks.ids, format).await,
        Command::Pause(tasks) => request::run(&connect(&dir).await?, Wish::Pause, &tasks.ids, format).await,
        Command::Resume(tasks) => request::run(&connect(&dir).await?, Wish::Resume, &tasks.ids, format).await,
        Command::Retry(tasks) => request::run(&connect(&dir).await?, Wish::Retry, &tasks.ids, format).await,
        Command::List(list) => list::run(&connect(&dir).await?, &list, format).await,
        Command::Doctor(doctor) => doctor::run(&connection(&dir).await?, doctor.repair, format).await,
    }
}
