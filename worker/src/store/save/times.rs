//! Which of many files are those of the latest time that a solver has written. Pure.

/// What a whole file of OpenFOAM ends with, but for blanks.
pub(super) const ENDS_WITH: &[u8] = b"* //";

/// The files of the folder whose name is the greatest number, if they are all: each field of the earliest time
/// is among them.
pub(super) fn latest(found: Vec<String>) -> Vec<String> {
    let times: Vec<_> = found.iter().filter_map(|path| time(path)).collect();
    let latest = times.iter().copied().fold(0.0, f64::max);
    let earliest = times.iter().copied().fold(f64::INFINITY, f64::min);
    if latest <= earliest {
        return Vec::new();
    }
    let names =
        |wanted: f64| found.iter().filter(move |path| time(path) == Some(wanted)).map(|path| name(path));
    let has_all = names(earliest)
        .filter(|name| !name.starts_with("uniform/"))
        .all(|field| names(latest).any(|name| name == field));
    if !has_all {
        return Vec::new();
    }
    found.iter().filter(|path| time(path) == Some(latest)).cloned().collect()
}

/// The number that the first folder of a path is called.
fn time(path: &str) -> Option<f64> {
    let (folder, _) = path.split_once('/')?;
    let plain = folder.starts_with(|first: char| first.is_ascii_digit());
    folder.parse().ok().filter(|time: &f64| plain && time.is_finite())
}

/// A field's name below the folder of its time, however it is packed.
fn name(path: &str) -> &str {
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".gz").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[&str]) -> Vec<String> {
        latest(found.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn the_latest_time_is_the_greatest_number() {
        let all = ["0/U", "0.5/U", "0.5/uniform/time", "0.25/U", "1e-1/U", "constant/x", "inf/U", "nan/U"];
        assert_eq!(of(&all), ["0.5/U", "0.5/uniform/time"]);
        assert!(of(&["0/U"]).is_empty(), "that is what it began with");
        assert!(of(&["5/U", "constant/x"]).is_empty());
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn a_time_without_all_fields_is_still_being_written() {
        assert!(of(&["0/U", "0/p", "0.5/U", "0.5/uniform/time"]).is_empty());
        assert_eq!(of(&["0/U", "0/uniform/time", "0.5/U.gz"]), ["0.5/U.gz"]);
    }
}
