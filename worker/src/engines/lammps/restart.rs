//! Restart files: which ones a script writes, and how it is told of one to go on from.
//!
//! A script that goes on has to say so itself, since `read_restart` stands where it would make its box. It is
//! given the variable `restart`:
//!
//! ```text
//! if "$(is_defined(variable,restart))" then "read_restart ${restart}" else "include new.lammps"
//! ```

use stageline::task::relative_path;

use super::input;
use crate::engines::{Checkpoint, Pick};

/// The variable that names the file to go on from.
pub(super) const VARIABLE: &str = "restart";
/// What a restart file begins and ends with.
const MAGIC: &[u8] = b"LammpS RestartT\0";
/// Commands that are looked at.
const MOST: usize = 20;

/// The newest whole one of the files that the script writes.
pub(super) fn checkpoint(script: &str) -> Checkpoint {
    Checkpoint { files: files(script), pick: Pick::Newest { ends_with: MAGIC } }
}

/// The files of the commands `restart N …` and `write_restart …`, with `*` for what only the run knows.
fn files(script: &str) -> Vec<String> {
    let mut files = Vec::new();
    for words in input::commands(script, &["restart", "write_restart"]).into_iter().take(MOST) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            // Two files alternate; one gets the step in place of `*`, or at its end.
            ["restart", _, root] if root.contains('*') => files.push(pattern(root)),
            ["restart", _, root] => files.push(pattern(root).map(|root| format!("{root}.*"))),
            ["restart", _, root, "fileper" | "nfile", ..] => files.push(pattern(root)),
            ["restart", _, first, second, ..] => files.extend([pattern(first), pattern(second)]),
            ["write_restart", file, ..] => files.push(pattern(file)),
            _ => {}
        }
    }
    files.into_iter().flatten().collect()
}

/// The pattern of a file's name; none for files in several parts (`%`) and outside of the job folder.
fn pattern(name: &str) -> Option<String> {
    let mut pattern = String::new();
    let mut rest = name.trim_matches(['"', '\'']);
    while let Some(first) = rest.chars().next() {
        let taken = match rest.as_bytes() {
            [b'%', ..] => return None,
            [b'$', b'{', ..] => rest.find('}')? + 1,
            [b'$', b'(', ..] => rest.find(')')? + 1,
            [b'$', _, ..] => 2,
            _ => {
                pattern.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        pattern.push('*');
        rest = rest.get(taken..)?;
    }
    // Nothing but a variable would be every file.
    let said = pattern.chars().any(|letter| !matches!(letter, '*' | '/' | '.'));
    (said && relative_path("restart", &pattern).is_ok()).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_all_forms_of_the_commands_are_known() {
        for (script, expected) in [
            ("restart 1000 a.rst b.rst", vec!["a.rst", "b.rst"]),
            ("restart 1000 melt.restart  # kept", vec!["melt.restart.*"]),
            ("restart ${n} state.*.rst", vec!["state.*.rst"]),
            ("restart 100 &\n  out/a.rst out/b.rst", vec!["out/a.rst", "out/b.rst"]),
            ("restart 100 ${name}.a ${name}.b", vec!["*.a", "*.b"]),
            ("write_restart final-$t.rst", vec!["final-*.rst"]),
            ("restart 10 a b\nrun 5\nwrite_restart c", vec!["a", "b", "c"]),
        ] {
            assert_eq!(files(script), expected, "{script}");
        }
    }

    #[test]
    fn what_names_no_file_of_the_job_folder_is_left_out() {
        for script in [
            "restart 0",
            "read_restart a.rst",
            "restart 100 ${a} ${b}",
            "restart 100 base.%.rst",
            "restart 100 /tmp/a ../b",
            "# restart 100 a b",
            "print 'restart 100 a b'",
            "restart 10 ${a $(b",
            "",
        ] {
            assert_eq!(files(script), Vec::<String>::new(), "{script}");
        }
    }
}
