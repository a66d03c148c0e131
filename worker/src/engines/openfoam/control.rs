//! What `system/controlDict` says about a run.

use super::dict::{Dictionary, Known};

/// The plan of a run, as far as it stands there in plain words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Control {
    /// The solver's name.
    pub application: Option<String>,
    /// The time at which the run starts; unknown when it starts from what is on the disk.
    pub start: Option<f64>,
    /// The time at which it ends; unknown too when `stopAt` ends it elsewhere.
    pub end: Option<f64>,
    /// The time step, unless the solver adjusts it.
    pub step: Option<f64>,
    /// Whether the solver looks at the file again while it runs.
    pub reread: bool,
}

impl Control {
    /// Reads the text of a `controlDict`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let dictionary = Dictionary::parse(text);
        let number = |key| match dictionary.get(key) {
            Known::Word(word) => word.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        let says = |key, word: &str, default: bool| match dictionary.get(key) {
            Known::Word(said) => said == word,
            Known::Absent => default,
            Known::Unknown => false,
        };
        let switch = |key| match dictionary.get(key) {
            Known::Word(word) => Some(["yes", "on", "true", "y", "t"].contains(&word)),
            Known::Absent => Some(false),
            Known::Unknown => None,
        };
        Self {
            application: match dictionary.get("application") {
                Known::Word(word) => Some(word.to_owned()),
                _ => None,
            },
            start: number("startTime").filter(|_| says("startFrom", "startTime", false)),
            end: number("endTime").filter(|_| says("stopAt", "endTime", true)),
            step: number("deltaT").filter(|step| *step > 0.0 && switch("adjustTimeStep") == Some(false)),
            reread: switch("runTimeModifiable") == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "application icoFoam; startFrom startTime; startTime 0; stopAt endTime; endTime 0.5;\n\
                         deltaT 5e-3; runTimeModifiable yes;";

    fn with(change: &str) -> Control {
        Control::parse(&format!("{PLAIN}\n{change}\n"))
    }

    #[test]
    fn a_plain_plan_is_known() {
        let expected = Control {
            application: Some("icoFoam".into()),
            start: Some(0.0),
            end: Some(0.5),
            step: Some(0.005),
            reread: true,
        };
        assert_eq!(with(""), expected);
    }

    #[test]
    fn what_is_not_plain_is_not_guessed() {
        assert_eq!(with("startFrom latestTime;").start, None);
        assert_eq!(with("stopAt writeNow;").end, None);
        assert_eq!(with("endTime $x;").end, None);
        assert_eq!(with("endTime inf;").end, None);
        assert_eq!(with("endTime soon;").end, None);
        assert_eq!(with("deltaT 0;").step, None);
        assert_eq!(with("deltaT -1;").step, None);
        assert_eq!(with("adjustTimeStep on;").step, None);
        assert_eq!(with("adjustTimeStep $adjust;").step, None);
        assert_eq!(with("adjustTimeStep no;").step, Some(0.005));
        assert!(!with("runTimeModifiable false;").reread);
        assert_eq!(with("#include \"x\""), Control::default());
        assert_eq!(Control::parse("endTime 3;").end, Some(3.0));
    }
}
