//! Reads what the worker has to know of an INCAR: what moves, and the bounds. What it does not say
//! plainly is unknown, never guessed.

use std::collections::BTreeMap;

use super::super::fortran::real;

/// The kinds of calculation that differ in what they show and in when they are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// The nuclei stay.
    Static,
    /// They go where the forces vanish.
    Relax,
    /// They move by themselves.
    Dynamics,
    /// Something else, or not to be seen.
    #[default]
    Other,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Incar {
    /// The kind of calculation.
    pub kind: Kind,
    /// The ionic steps of a dynamics, or the most of a relaxation.
    pub nsw: Option<u64>,
    /// The most electronic iterations of one ionic step.
    pub nelm: Option<u64>,
    /// The change of the energy in eV at which the electrons have converged.
    pub ediff: Option<f64>,
}

/// The defaults of VASP.
const NELM: u64 = 60;
const EDIFF: f64 = 1e-4;

/// Reads an INCAR.
pub fn read(text: &str) -> Incar {
    let tags = tags(text);
    let integer = |tag: &str, default: i64| match tags.get(tag) {
        None => Some(default),
        Some(value) => value.as_ref().and_then(|value| value.parse::<i64>().ok()),
    };
    let nsw = integer("NSW", 0);
    let ibrion = match (tags.get("IBRION"), nsw) {
        // The default depends on the steps.
        (None, Some(..=1)) => Some(-1),
        (None, Some(_)) => Some(0),
        (None, None) => None,
        (Some(_), _) => integer("IBRION", 0),
    };
    let ediff = tags.get("EDIFF").map_or(Some(EDIFF), |value| value.as_deref().and_then(real));
    Incar {
        kind: match (ibrion, nsw) {
            (Some(-1), _) | (Some(-1..=3), Some(..=0)) => Kind::Static,
            (Some(0), Some(_)) => Kind::Dynamics,
            (Some(1..=3), Some(_)) => Kind::Relax,
            _ => Kind::Other,
        },
        nsw: nsw.and_then(|steps| u64::try_from(steps).ok()),
        nelm: integer("NELM", NELM as i64).and_then(|most| u64::try_from(most).ok()),
        ediff: ediff.filter(|ediff| *ediff > 0.0),
    }
}

/// The first word of each tag; none where the tag is given twice with different values.
fn tags(text: &str) -> BTreeMap<String, Option<String>> {
    let mut tags: BTreeMap<String, Option<String>> = BTreeMap::new();
    let without_comment = |line: &str| line.split(['#', '!']).next().unwrap_or_default().to_owned();
    let joined: Vec<String> =
        text.replace("\\\r\n", " ").replace("\\\n", " ").lines().map(without_comment).collect();
    for (tag, value) in joined.iter().flat_map(|line| line.split(';')).filter_map(|one| one.split_once('=')) {
        let value = value.split_whitespace().next().unwrap_or_default().to_owned();
        tags.entry(tag.trim().to_ascii_uppercase())
            .and_modify(|known| {
                if known.as_ref() != Some(&value) {
                    *known = None;
                }
            })
            .or_insert(Some(value));
    }
    tags
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_found_among_comments_and_semicolons() {
        let incar = read(
            "SYSTEM = a = b\n nsw = 20 ; IBRION=2 ! relax; NSW = 3\n# NELM = 1\nNELM = \\\n 40\nEDIFF = 1d-6 eV\n",
        );
        let expected = Incar { kind: Kind::Relax, nsw: Some(20), nelm: Some(40), ediff: Some(1e-6) };
        assert_eq!(incar, expected);
    }

    #[test]
    fn the_defaults_are_those_of_vasp() {
        let expected = Incar { kind: Kind::Static, nsw: Some(0), nelm: Some(60), ediff: Some(1e-4) };
        assert_eq!(read(""), expected);
        assert_eq!(read("NSW = 100").kind, Kind::Dynamics);
        assert_eq!(read("NSW = 1").kind, Kind::Static);
        assert_eq!(read("IBRION = 2").kind, Kind::Static, "without steps nothing moves");
        assert_eq!(read("IBRION = 5\nNSW = 1").kind, Kind::Other, "vibrations");
    }

    #[test]
    fn what_is_not_said_plainly_is_unknown() {
        assert_eq!(read("NSW = 10\nNSW = 20\nIBRION = 2").nsw, None);
        let odd = read("NSW = many\nNELM = -5\nEDIFF = NaN\n");
        assert_eq!((odd.kind, odd.nsw, odd.nelm, odd.ediff), (Kind::Other, None, None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = (read(&text), read(&format!("NSW = {text}")), read(&format!("EDIFF={text};IBRION={text}")));
        }
    }
}
