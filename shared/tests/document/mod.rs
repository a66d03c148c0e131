//! `docs/state_machine.md`, generated from the one table in the code. The committed file is the golden one:
//! a change of the table shows as a change of the document, or the test fails.

use std::fmt::Write;
use std::path::PathBuf;

use libtest_mimic::Failed;
use stageline::task::{Event, Status};

/// Set to write the file instead of comparing it.
const BLESS: &str = "STAGELINE_BLESS";

/// Prints the table and compares the document that holds it with the committed one.
pub fn is_as_committed() -> Result<(), Failed> {
    println!("{}", table());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/state_machine.md");
    let document = document();
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        std::fs::write(&path, document)?;
        println!("written: {}", path.display());
        return Ok(());
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == document {
        return Ok(());
    }
    let line = committed.lines().zip(document.lines()).position(|(is, should)| is != should);
    let line = line.map_or_else(|| "its end".to_owned(), |index| format!("line {}", index + 1));
    let message = "docs/state_machine.md is not what the code says, from";
    Err(format!("{message} {line} on; if the change is meant, write it with {BLESS}=1").into())
}

/// The table: for each state and event the next state.
fn table() -> String {
    let mut text = String::from("| State |");
    Event::ALL.iter().for_each(|event| write!(text, " {event} |").unwrap());
    text.push_str("\n|---|");
    Event::ALL.iter().for_each(|_| text.push_str("---|"));
    for status in Status::ALL {
        write!(text, "\n| {status} |").unwrap();
        for event in Event::ALL {
            match status.next(*event) {
                Ok(next) => write!(text, " {next} |").unwrap(),
                Err(_) => text.push_str(" · |"),
            }
        }
    }
    text.push('\n');
    text
}

/// One arrow for each pair of states, with all events that lead from the one to the other.
fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> PENDING\n    [*] --> WAITING\n");
    for from in Status::ALL {
        for to in Status::ALL {
            let leads = |event: &&Event| from.next(**event) == Ok(to);
            let events: Vec<_> = Event::ALL.iter().filter(leads).map(ToString::to_string).collect();
            if !events.is_empty() {
                writeln!(text, "    {from} --> {to}: {}", events.join(", ")).unwrap();
            }
        }
    }
    for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
        writeln!(text, "    {status} --> [*]").unwrap();
    }
    text
}

fn events() -> String {
    let mut text =
        String::from("| Event | What happened | Written by | From | To |\n|---|---|---|---|---|\n");
    for event in Event::ALL {
        let from: Vec<_> = event.sources().iter().map(|status| status.as_str()).collect();
        let (meaning, by, from, to) = (event.meaning(), event.by(), from.join(", "), event.target());
        writeln!(text, "| {event} | {meaning} | {by} | {from} | {to} |").unwrap();
    }
    text
}

fn document() -> String {
    format!(
        "<!-- Generated from shared/src/task/event.rs by `{BLESS}=1 cargo test -p stageline --test protocol`. -->\n\
         # The states of a task\n\n\
         One table says what can happen to a task. The condition of every DynamoDB write, this page and \
         [the model](model.md) are made from it.\n\n\
         ## Diagram\n\n```mermaid\n{}```\n\n\
         ## Table\n\n\
         Rows are states, columns are events, a cell is the next state. `·` means that the event does not \
         happen in that state: its write is refused.\n\n{}\n\
         ## Events\n\n{}",
        diagram(),
        table(),
        events(),
    )
}
