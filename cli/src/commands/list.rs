//! `stageline list`: an account's tasks, newest first.

use serde_json::json;
use stageline::aws::Aws;

use crate::args::ListArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, colour};
use crate::plain::plain_line;

pub(super) async fn run(aws: &Aws, args: &ListArgs, format: Format) -> Result<Exit, Failure> {
    let tasks = aws.tasks.newest(&args.account, args.limit).await?;
    if format == Format::Json {
        output::json(&json!({ "tasks": tasks }));
        return Ok(Exit::Success);
    }
    if tasks.is_empty() {
        eprintln!("account {} has no tasks; submit one: stageline submit -- echo hello", args.account);
        return Ok(Exit::Success);
    }
    output::line(format_args!("{:<38} {:<10} {:<9} {:<24} WHAT", "ID", "STATUS", "ENGINE", "CREATED"));
    for task in tasks {
        let what = task.command.as_ref().or(task.script.as_ref()).or(task.description.as_ref());
        let what: String = what.map(|text| plain_line(text).chars().take(60).collect()).unwrap_or_default();
        let created = task.created_at.map(|at| at.to_string()).unwrap_or_default();
        let status = colour(task.status).apply_to(task.status);
        output::line(format_args!(
            "{:<38} {status:<10} {:<9} {created:<24} {what}",
            task.id.as_str(),
            plain_line(task.engine())
        ));
    }
    Ok(Exit::Success)
}
