//! What a task takes of its worker, and the bounds within which it may.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{Code, Rejection};

/// No machine has more; what is above is a slip.
const COUNTS: RangeInclusive<u32> = 1..=100_000;
/// A task may say that it needs none.
const GPUS: RangeInclusive<u32> = 0..=1024;
/// Up to 1 PiB, whose bytes are far within what the system calls take.
const MEBIBYTES: RangeInclusive<u64> = 1..=1024 * 1024 * 1024;
/// Below 16 no program gets as far as its first line.
const OPEN_FILES: RangeInclusive<u32> = 16..=1024 * 1024;
/// What Linux numbers at most.
const PROCESSES: RangeInclusive<u32> = 1..=4 * 1024 * 1024;

/// What a task takes of its worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Worker slots.
    pub slots: Option<u32>,
    /// Processor cores.
    pub cpus: Option<u32>,
    /// Memory of all its processes together, in MiB.
    pub memory_mb: Option<u64>,
    /// Graphics processors.
    pub gpus: Option<u32>,
    /// What each process may map, in MiB: memory and files, used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space_mb: Option<u64>,
    /// The largest file that it may write, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size_mb: Option<u64>,
    /// What its job folder may take of the disk, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u64>,
    /// Files that each process may have open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Processes and threads that its user may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether it needs a network, where its worker would give it none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
}

impl Resources {
    /// Checks that the numbers make sense, whatever the worker has.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), Rejection> {
        within("slots", self.slots, &COUNTS)?;
        within("cpus", self.cpus, &COUNTS)?;
        within("memoryMb", self.memory_mb, &MEBIBYTES)?;
        within("gpus", self.gpus, &GPUS)?;
        within("addressSpaceMb", self.address_space_mb, &MEBIBYTES)?;
        within("fileSizeMb", self.file_size_mb, &MEBIBYTES)?;
        within("diskMb", self.disk_mb, &MEBIBYTES)?;
        within("openFiles", self.open_files, &OPEN_FILES)?;
        within("processes", self.processes, &PROCESSES)
    }
}

fn within<T: PartialOrd + Display>(
    name: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) -> Result<(), Rejection> {
    match value {
        Some(n) if !range.contains(&n) => Err(Rejection::new(
            Code::RecordMalformed,
            format!("attribute `resources.{name}`: {n} is not {} to {}", range.start(), range.end()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::Task;

    fn rejected(resources: Value) -> String {
        let record = json!({"id": "t", "command": "true", "resources": resources});
        let checked = Task::from_json(record).and_then(|task| task.validate());
        let rejection = checked.expect_err(&resources.to_string());
        assert_eq!(rejection.code, Code::RecordMalformed);
        rejection.message
    }

    #[test]
    fn numbers_that_make_no_sense_are_rejected_by_name() {
        for name in
            ["slots", "cpus", "memoryMb", "addressSpaceMb", "fileSizeMb", "diskMb", "openFiles", "processes"]
        {
            for hostile in [json!(0), json!(-1), json!(1.5), json!(1e300), json!(u64::MAX), json!("4")] {
                let message = rejected(json!({name: hostile}));
                assert!(message.contains("resources"), "{name}: {hostile}: {message}");
            }
            assert!(rejected(json!({name: 0})).contains(name));
        }
        assert!(rejected(json!({"gpus": -1})).contains("resources"));
        assert!(rejected(json!({"gpus": 5000})).contains("`resources.gpus`: 5000 is not 0 to 1024"));
        assert!(rejected(json!({"network": "yes"})).contains("resources"));
    }

    #[test]
    fn what_is_absent_or_null_asks_for_nothing() {
        for resources in [json!({}), json!(null), json!({"memoryMb": null, "gpus": 0, "network": null})] {
            let record = json!({"id": "t", "command": "true", "resources": resources});
            Task::from_json(record).and_then(|task| task.validate()).unwrap();
        }
    }

    #[test]
    fn the_largest_numbers_are_still_bytes() {
        let bytes = MEBIBYTES.end().checked_mul(1024 * 1024).unwrap();
        assert!(i64::try_from(bytes).is_ok());
    }
}
