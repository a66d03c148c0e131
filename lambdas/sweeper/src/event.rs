//! What invoked the Lambda: its schedule, or something that happened to an instance.

use serde_json::Value;

/// What happened to a machine: an EC2 instance, by its id, or an ECS task, by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceEvent {
    /// It runs no worker any more.
    Stopped {
        /// The instance.
        instance: String,
    },
    /// It is going to stop.
    Warned {
        /// The instance.
        instance: String,
    },
    /// It is likelier to be interrupted than others; it may also go on for days.
    AtRisk {
        /// The instance.
        instance: String,
    },
}

/// What the Lambda is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepEvent {
    /// The ordinary bounded sweep.
    Scheduled,
    /// Something happened to an instance.
    Instance(InstanceEvent),
    /// Nothing; the words say why.
    Ignored(&'static str),
}

impl SweepEvent {
    /// Reads the Lambda's input: an EventBridge event, or nothing at all.
    pub fn parse(input: &Value) -> Self {
        let empty = input.is_null() || input.as_object().is_some_and(serde_json::Map::is_empty);
        if empty {
            return Self::Scheduled;
        }
        let detail =
            |name: &str| input.get("detail").and_then(|detail| detail.get(name)).and_then(Value::as_str);
        let Some(kind) = input.get("detail-type").and_then(Value::as_str) else {
            return Self::Ignored("it is no event of EventBridge");
        };
        match kind {
            "Scheduled Event" => Self::Scheduled,
            "EC2 Instance State-change Notification" => match detail("state") {
                // Its workers may still be handing back what they run.
                Some("stopping" | "shutting-down") => warned(detail("instance-id")),
                Some("stopped" | "terminated") => stopped(detail("instance-id")),
                _ => Self::Ignored("the instance does not stop"),
            },
            "EC2 Spot Instance Interruption Warning" => warned(detail("instance-id")),
            "EC2 Instance Rebalance Recommendation" => {
                of(detail("instance-id"), |instance| InstanceEvent::AtRisk { instance })
            }
            "ECS Task State Change" => match (detail("lastStatus"), detail("desiredStatus")) {
                (Some("STOPPED"), _) => stopped(detail("taskArn")),
                (_, Some("STOPPED")) => warned(detail("taskArn")),
                _ => Self::Ignored("the ECS task does not stop"),
            },
            _ => Self::Ignored("an event of another kind"),
        }
    }
}

fn stopped(instance: Option<&str>) -> SweepEvent {
    of(instance, |instance| InstanceEvent::Stopped { instance })
}

fn warned(instance: Option<&str>) -> SweepEvent {
    of(instance, |instance| InstanceEvent::Warned { instance })
}

/// A worker that names no instance must never match an event that names none.
fn of(instance: Option<&str>, event: impl Fn(String) -> InstanceEvent) -> SweepEvent {
    match instance.filter(|name| !name.is_empty()) {
        Some(name) => SweepEvent::Instance(event(name.to_owned())),
        None => SweepEvent::Ignored("it names no instance"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_input_is_what_it_says() {
        let stopped = |name: &str| SweepEvent::Instance(InstanceEvent::Stopped { instance: name.to_owned() });
        let warned = |name: &str| SweepEvent::Instance(InstanceEvent::Warned { instance: name.to_owned() });
        let event =
            |kind: &str, detail: Value| json!({"version": "0", "detail-type": kind, "detail": detail});
        let ec2 = |state: &str| {
            event("EC2 Instance State-change Notification", json!({"instance-id": "i-1", "state": state}))
        };
        let ecs = |last: &str, desired: &str| {
            let detail = json!({"taskArn": "arn:t", "lastStatus": last, "desiredStatus": desired});
            event("ECS Task State Change", detail)
        };
        let spot = "EC2 Spot Instance Interruption Warning";
        for (input, expected) in [
            (json!({}), Some(SweepEvent::Scheduled)),
            (json!(null), Some(SweepEvent::Scheduled)),
            (event("Scheduled Event", json!({})), Some(SweepEvent::Scheduled)),
            (ec2("stopping"), Some(warned("i-1"))),
            (ec2("stopped"), Some(stopped("i-1"))),
            (ec2("shutting-down"), Some(warned("i-1"))),
            (ec2("terminated"), Some(stopped("i-1"))),
            (ec2("pending"), None),
            (ec2("running"), None),
            (event(spot, json!({"instance-id": "i-2", "instance-action": "terminate"})), Some(warned("i-2"))),
            (
                event("EC2 Instance Rebalance Recommendation", json!({"instance-id": "i-2"})),
                Some(SweepEvent::Instance(InstanceEvent::AtRisk { instance: "i-2".to_owned() })),
            ),
            (ecs("STOPPED", "STOPPED"), Some(stopped("arn:t"))),
            (ecs("RUNNING", "STOPPED"), Some(warned("arn:t"))),
            (ecs("DEPROVISIONING", "STOPPED"), Some(warned("arn:t"))),
            (ecs("PENDING", "RUNNING"), None),
            // What names no instance concerns no worker.
            (event(spot, json!({})), None),
            (event(spot, json!({"instance-id": ""})), None),
            (event(spot, json!({"instance-id": 5})), None),
            (event("ECS Task State Change", json!({"lastStatus": "STOPPED"})), None),
            (event("Something Else", json!({"instance-id": "i-1"})), None),
            (json!({"detail-type": 5}), None),
            (json!({"hello": "world"}), None),
            (json!("text"), None),
            (json!([]), None),
        ] {
            let read = SweepEvent::parse(&input);
            match expected {
                Some(expected) => assert_eq!(read, expected, "{input}"),
                None => assert!(matches!(read, SweepEvent::Ignored(_)), "{input}: {read:?}"),
            }
        }
    }
}
