//! An update as a PartiQL statement, many of which go into one `BatchExecuteStatement`.

use aws_sdk_dynamodb::types::AttributeValue;

use super::update::{Assigned, Condition, Update};

/// One statement, with what its question marks stand for, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::aws) struct Statement {
    /// Its text, which holds nothing of a record.
    pub text: String,
    /// The values.
    pub parameters: Vec<AttributeValue>,
    /// Whether it may be refused where the update would not be.
    pub wants_more: bool,
}

impl Update {
    /// The update of the item `key` = `id` of `table` as a statement that returns the new item if `returned`.
    /// It may be refused where the update is not, never the reverse: a statement can neither keep what is
    /// there nor begin a list, so it wants both to be there already, or to be as it writes them. `None` for what
    /// no statement says.
    pub fn statement(&self, table: &str, key: &str, id: &str, returned: bool) -> Option<Statement> {
        if !self.adds.is_empty() || !self.deletes.is_empty() || table.contains('"') {
            return None;
        }
        let mut wanted = Vec::new();
        let mut made =
            Statement { text: format!("UPDATE \"{table}\""), parameters: Vec::new(), wants_more: false };
        for (attribute, assigned) in &self.sets {
            match assigned {
                Assigned::To(value) | Assigned::IfAbsentAsFirst(value) => {
                    made.say(&[" SET \"", attribute, "\"=?"]);
                    made.parameters.push(value.clone());
                }
                Assigned::IfAbsent(_) => wanted.push(Condition::Present(attribute.clone())),
                Assigned::Appended(appended) => match &appended.is_first {
                    None => {
                        // In a function's argument a quoted name would be a string.
                        made.say(&[" SET \"", attribute, "\"=list_append(", attribute, ",?)"]);
                        made.parameters.push(AttributeValue::L(appended.then.clone()));
                    }
                    Some(is_first) => {
                        made.say(&[" SET \"", attribute, "\"=?"]);
                        made.parameters.push(appended.anew());
                        let none = Condition::Absent(attribute.clone());
                        wanted.push(Condition::Any(vec![none, is_first.clone()]));
                    }
                },
            }
        }
        for attribute in &self.removes {
            made.say(&[" REMOVE \"", attribute, "\""]);
        }
        made.say(&[" WHERE \"", key, "\"=?"]);
        made.parameters.push(AttributeValue::S(id.to_owned()));
        // A statement never makes an item, so its key is there.
        let its_key = Condition::Present(key.to_owned());
        made.wants_more = !wanted.is_empty();
        for condition in wanted.iter().chain(&self.conditions).filter(|condition| **condition != its_key) {
            made.text.push_str(" AND ");
            made.condition(condition);
        }
        if returned {
            made.text.push_str(" RETURNING ALL NEW *");
        }
        Some(made)
    }
}

impl Statement {
    fn say(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::Is(attribute, value) => {
                self.say(&["\"", attribute, "\"=?"]);
                self.parameters.push(value.clone());
            }
            Condition::AtMost(attribute, value) => {
                self.say(&["\"", attribute, "\"<=?"]);
                self.parameters.push(value.clone());
            }
            Condition::OneOf(attribute, values) => {
                let marks = vec!["?"; values.len()].join(",");
                self.say(&["\"", attribute, "\" IN [", &marks, "]"]);
                self.parameters.extend(values.iter().cloned());
            }
            Condition::Absent(attribute) => self.say(&["\"", attribute, "\" IS MISSING"]),
            Condition::AbsentOrNull(attribute) => {
                self.say(&["(\"", attribute, "\" IS MISSING OR \"", attribute, "\" IS NULL)"]);
            }
            Condition::Present(attribute) => self.say(&["\"", attribute, "\" IS NOT MISSING"]),
            Condition::Not(condition) => {
                if let Condition::Is(attribute, value) = &**condition {
                    self.say(&["(\"", attribute, "\" IS MISSING OR \"", attribute, "\"<>?)"]);
                    return self.parameters.push(value.clone());
                }
                self.text.push_str("NOT (");
                self.condition(condition);
                self.text.push(')');
            }
            Condition::Any(conditions) => self.joined(conditions, " OR "),
            Condition::All(conditions) => self.joined(conditions, " AND "),
        }
    }

    fn joined(&mut self, conditions: &[Condition], by: &str) {
        for (index, condition) in conditions.iter().enumerate() {
            self.text.push_str(if index == 0 { "(" } else { by });
            self.condition(condition);
        }
        self.text.push(')');
    }
}
