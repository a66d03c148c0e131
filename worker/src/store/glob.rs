//! Patterns of paths: `*` and `?` stand for parts of a name, `**` for any number of folders. Pure.
//!
//! Patterns and names are both hostile, so nothing here tries one way after another: all ways are followed at
//! once, as the states of an automaton, name by name of a path and character by character of a name.

use std::collections::HashMap;

/// What the paths below some folder are held against.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug)]
enum Part {
    Folders,
    Name(Name),
}

/// How many of a pattern's parts a path may have used up; more than one number where there are several ways.
#[derive(Clone, Debug)]
pub(super) struct Reached(Vec<usize>);

impl Pattern {
    /// Reads it. It is without `..`.
    pub fn of(text: &str) -> Self {
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        Self(
            parts.map(|part| if part == "**" { Part::Folders } else { Part::Name(Name::of(part)) }).collect(),
        )
    }

    /// In the folder itself.
    pub fn begin(&self) -> Reached {
        self.reached(std::iter::once(0))
    }

    /// One name further down.
    pub fn step(&self, from: &Reached, name: &str) -> Reached {
        self.reached(from.0.iter().filter_map(|at| match self.0.get(*at)? {
            Part::Folders => Some(*at),
            Part::Name(part) => part.matches(name).then_some(at + 1),
        }))
    }

    /// Whether a path has the pattern's form.
    pub fn is_whole(&self, reached: &Reached) -> bool {
        reached.0.last() == Some(&self.0.len())
    }

    /// Whether something below can have it.
    pub fn leads_on(&self, reached: &Reached) -> bool {
        reached.0.first().is_some_and(|at| *at < self.0.len())
    }

    /// These, rising, and what follows where `**` stands for no folder.
    fn reached(&self, all: impl Iterator<Item = usize>) -> Reached {
        let mut reached: Vec<usize> = Vec::new();
        for mut at in all {
            while reached.last().is_none_or(|last| *last < at) {
                reached.push(at);
                if matches!(self.0.get(at), Some(Part::Folders)) {
                    at += 1;
                }
            }
        }
        Reached(reached)
    }
}

/// A pattern of names. Bit `i` of its state says that the pattern's first `i` characters, without the stars, are
/// used up.
#[derive(Debug)]
struct Name {
    length: usize,
    /// The bits that a character may lead to, if it is one of the pattern's.
    named: HashMap<char, Vec<u64>>,
    /// Those that any other leads to: `?`.
    any: Vec<u64>,
    /// The bits that stay whatever comes: a star follows them.
    stars: Vec<u64>,
}

impl Name {
    fn of(text: &str) -> Self {
        let set = |bits: &mut Vec<u64>, bit: usize| bits[bit / 64] |= 1 << (bit % 64);
        let length = text.chars().filter(|one| *one != '*').count();
        let none = vec![0; length / 64 + 1];
        let (mut any, mut stars, mut at) = (none.clone(), none, 0);
        for one in text.chars() {
            match one {
                '*' => set(&mut stars, at),
                one => {
                    at += 1;
                    if one == '?' {
                        set(&mut any, at);
                    }
                }
            }
        }
        let mut named: HashMap<char, Vec<u64>> = HashMap::new();
        for (at, one) in text.chars().filter(|one| *one != '*').enumerate() {
            if one != '?' {
                set(named.entry(one).or_insert_with(|| any.clone()), at + 1);
            }
        }
        Self { length, named, any, stars }
    }

    /// As many steps as the name has characters, of as many words as the pattern has characters by 64; and a
    /// pattern that is longer than the name takes none.
    fn matches(&self, name: &str) -> bool {
        if name.len() < self.length {
            return false;
        }
        let mut state = vec![0; self.any.len()];
        state[0] = 1;
        for one in name.chars() {
            let leads = self.named.get(&one).unwrap_or(&self.any);
            let (mut carried, mut alive) = (0, 0);
            for ((word, leads), stars) in state.iter_mut().zip(leads).zip(&self.stars) {
                let moved = (*word << 1) | carried;
                carried = *word >> 63;
                *word = (moved & leads) | (*word & stars);
                alive |= *word;
            }
            if alive == 0 {
                return false;
            }
        }
        state[self.length / 64] >> (self.length % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(pattern: &Pattern, path: &str) -> Reached {
        path.split('/')
            .filter(|name| !name.is_empty())
            .fold(pattern.begin(), |reached, name| pattern.step(&reached, name))
    }

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::of(pattern);
        pattern.is_whole(&reached(&pattern, path))
    }

    fn leads_into(pattern: &str, folder: &str) -> bool {
        let pattern = Pattern::of(pattern);
        pattern.leads_on(&reached(&pattern, folder))
    }

    /// What a name's pattern says, by trying every way.
    fn slowly(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            (['*', rest @ ..], _) => (0..=name.len()).any(|taken| slowly(rest, &name[taken..])),
            ([one, rest @ ..], [first, others @ ..]) => (*one == '?' || one == first) && slowly(rest, others),
            (_, []) => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn it_says_what_trying_every_way_says(pattern in "[ab?*]{1,8}", name in "[abü]{1,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            // As a part of a path, two stars are something else.
            let found = Name::of(&pattern).matches(&name);
            assert_eq!(found, slowly(&chars(&pattern), &chars(&name)), "{pattern} {name}");
        }
    }

    #[test]
    fn long_patterns_are_matched_across_the_words_of_their_state() {
        for length in [62, 63, 64, 65, 127, 128, 129, 250] {
            let name = "ab".repeat(length).chars().take(length).collect::<String>();
            for pattern in
                [name.clone(), "?".repeat(length), format!("*{name}*"), format!("{}*", &name[..length - 1])]
            {
                assert!(Name::of(&pattern).matches(&name), "{pattern}");
                assert_eq!(
                    Name::of(&pattern).matches(&format!("{name}x")),
                    pattern.ends_with('*'),
                    "{pattern}"
                );
            }
            assert!(!Name::of(&format!("{name}?")).matches(&name));
        }
    }

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
        let begun = std::time::Instant::now();
        let (pattern, name) = (Pattern::of(&("*a".repeat(200) + "b")), "a".repeat(255));
        let tail = Pattern::of(&format!("*{}b", "a".repeat(127)));
        let folders = Pattern::of(&("**/a/".repeat(200) + "b"));
        for _ in 0..1_000 {
            for pattern in [&pattern, &tail] {
                assert!(!pattern.is_whole(&pattern.step(&pattern.begin(), &name)));
            }
        }
        assert!(!folders.is_whole(&reached(&folders, &"a/".repeat(200))));
        // Trying every way takes longer than there is time.
        assert!(begun.elapsed() < std::time::Duration::from_secs(60));
    }
}
