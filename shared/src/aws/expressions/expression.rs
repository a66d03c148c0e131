//! An update as the expressions of `UpdateItem` and `PutItem`.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;

use super::update::{Appended, Assigned, Condition, Update};

/// The expressions of one update, with what their placeholders stand for.
#[derive(Clone, Debug, Default)]
pub(in crate::aws) struct Expression {
    /// The update expression; empty when nothing is updated.
    pub update: String,
    /// The condition expression; empty when there is none.
    pub condition: String,
    /// Placeholder → attribute name.
    pub names: HashMap<String, String>,
    /// Placeholder → value. None is unused: DynamoDB would refuse it.
    pub values: HashMap<String, AttributeValue>,
}

impl Update {
    /// The update as expressions.
    pub fn expression(self) -> Expression {
        let mut made = Expression::default();
        let mut clauses: [(&str, Vec<String>); 4] =
            [("SET", vec![]), ("REMOVE", vec![]), ("ADD", vec![]), ("DELETE", vec![])];
        for (attribute, assigned) in self.sets {
            let name = made.name(&attribute);
            clauses[0].1.push(match assigned {
                Assigned::To(value) => format!("{name} = {}", made.value(value)),
                Assigned::IfAbsent(value) | Assigned::IfAbsentAsFirst(value) => {
                    format!("{name} = if_not_exists({name}, {})", made.value(value))
                }
                Assigned::Appended(Appended { first, then, .. }) => {
                    let (first, then) =
                        (made.value(AttributeValue::L(first)), made.value(AttributeValue::L(then)));
                    format!("{name} = list_append(if_not_exists({name}, {first}), {then})")
                }
            });
        }
        clauses[1].1 = self.removes.iter().map(|attribute| made.name(attribute)).collect();
        for (clause, changes) in [(2, self.adds), (3, self.deletes)] {
            for (attribute, value) in changes {
                let change = format!("{} {}", made.name(&attribute), made.value(value));
                clauses[clause].1.push(change);
            }
        }
        for (clause, parts) in clauses.iter().filter(|(_, parts)| !parts.is_empty()) {
            let space = if made.update.is_empty() { "" } else { " " };
            let _never_fails = write!(made.update, "{space}{clause} {}", parts.join(", "));
        }
        let conditions: Vec<_> = self.conditions.into_iter().map(|one| made.condition(one)).collect();
        made.condition = conditions.join(" AND ");
        made
    }
}

impl Expression {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn condition(&mut self, condition: Condition) -> String {
        match condition {
            Condition::Is(attribute, value) => {
                format!("{} = {}", self.name(&attribute), self.value(value))
            }
            Condition::AtMost(attribute, value) => {
                format!("{} <= {}", self.name(&attribute), self.value(value))
            }
            Condition::OneOf(attribute, values) => {
                let values: Vec<_> = values.into_iter().map(|value| self.value(value)).collect();
                format!("{} IN ({})", self.name(&attribute), values.join(", "))
            }
            Condition::Absent(attribute) => format!("attribute_not_exists({})", self.name(&attribute)),
            Condition::AbsentOrNull(attribute) => {
                let null = self.value(AttributeValue::S("NULL".to_owned()));
                let name = self.name(&attribute);
                format!("(attribute_not_exists({name}) OR attribute_type({name}, {null}))")
            }
            Condition::Present(attribute) => format!("attribute_exists({})", self.name(&attribute)),
            Condition::Not(condition) => format!("NOT {}", self.condition(*condition)),
            Condition::Any(conditions) => self.joined(conditions, " OR "),
            Condition::All(conditions) => self.joined(conditions, " AND "),
        }
    }

    fn joined(&mut self, conditions: Vec<Condition>, by: &str) -> String {
        let conditions: Vec<_> = conditions.into_iter().map(|one| self.condition(one)).collect();
        format!("({})", conditions.join(by))
    }
}
