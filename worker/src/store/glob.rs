//! Patterns of paths: `*` and `?` stand for parts of a name, `**` for any number of folders. Pure.

/// Whether a path below some folder has the pattern's form. Both are without `.` and `..`.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    all(&parts(pattern), &parts(path))
}

/// Whether something below this folder can have the pattern's form.
pub(super) fn leads_into(pattern: &str, folder: &str) -> bool {
    fn leads(pattern: &[&str], folder: &[&str]) -> bool {
        match (pattern, folder) {
            (_, []) | (["**", ..], _) => true,
            ([first, rest @ ..], [name, below @ ..]) => {
                !rest.is_empty() && name_matches(first, name) && leads(rest, below)
            }
            ([], _) => false,
        }
    }
    leads(&parts(pattern), &parts(folder))
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

/// Line by line of the table "the pattern's first `i` parts fit the path's first `j`": patterns are hostile, and
/// trying every way out takes for ever.
fn all(pattern: &[&str], path: &[&str]) -> bool {
    let mut fits = vec![false; path.len() + 1];
    fits[0] = true;
    for part in pattern {
        let mut next = vec![false; path.len() + 1];
        if *part == "**" {
            let mut any = false;
            for (before, now) in fits.iter().zip(&mut next) {
                any |= *before;
                *now = any;
            }
        } else {
            for (index, name) in path.iter().enumerate() {
                next[index + 1] = fits[index] && name_matches(part, name);
            }
        }
        fits = next;
    }
    fits.last() == Some(&true)
}

/// The classic with one place to go back to: at most length times length steps.
fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                back = Some((at, in_name));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match back {
                Some((star, taken)) => {
                    back = Some((star, taken + 1));
                    (at, in_name) = (star + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_parts_of_names_and_two_of_them_for_folders() {
        for (pattern, path) in [
            ("a.txt", "a.txt"),
            ("./a.txt", "a.txt"),
            ("*.txt", "a.txt"),
            ("a?c", "aüc"),
            ("out/*/x.*", "out/1/x.dat"),
            ("**", "a/b/c"),
            ("**/x", "x"),
            ("**/x", "a/b/x"),
            ("a/**/x", "a/x"),
            ("a/**", "a/b"),
            ("*a*b*", "xxaxxbxx"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a.txt", "b.txt"),
            ("*.txt", "a/b.txt"),
            ("*", ""),
            ("a?c", "ac"),
            ("**/x", "a/y"),
            ("a/b", "a"),
            ("a", "a/b"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn only_folders_on_the_way_are_entered() {
        assert!(leads_into("out/*/x", "out") && leads_into("out/*/x", "out/1") && leads_into("**/x", "a/b"));
        assert!(!leads_into("out/*/x", "in") && !leads_into("*.txt", "out") && !leads_into("out/x", "out/x"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let (pattern, name) = ("*a".repeat(200) + "b", "a".repeat(255));
        assert!(!matches(&pattern, &name));
        assert!(!matches(&("**/a/".repeat(200) + "b"), &"a/".repeat(200)));
    }
}
