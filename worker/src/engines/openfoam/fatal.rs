//! The words of `--> FOAM FATAL ERROR`, a block of lines on standard error.

/// More of a message than this helps nobody.
const LONGEST_WORDS: usize = 600;

/// Collects one block: of several processes that fail for the same reason, that of the first.
#[derive(Debug, Clone, Default)]
pub struct Fatal {
    block: Option<Block>,
    trapped: bool,
}

#[derive(Debug, Clone, Default)]
struct Block {
    /// The process that speaks, where several do at once: `[1] `.
    rank: Option<u32>,
    words: String,
    place: Option<String>,
    /// Neither ended nor gone over to OpenFOAM's own source.
    speaking: bool,
}

impl Fatal {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        let (rank, text) = rank(line);
        let text = text.trim();
        // Its own trap with the stack, and what Open MPI says of a process that died of it.
        self.trapped |=
            text.contains("sigFpe::sigHandler") || text.contains("signal 8 (Floating point exception)");
        let header = text.starts_with("--> FOAM FATAL ERROR") || text.starts_with("--> FOAM FATAL IO ERROR");
        // The first process is the one that names the files of the case.
        let better = |block: &Block| rank == Some(0) && block.rank != rank;
        if header && self.block.as_ref().is_none_or(better) {
            self.block = Some(Block { rank, speaking: true, ..Block::default() });
            return;
        }
        // Only the first line of what a process prints at once has its number.
        let Some(block) = &mut self.block else { return };
        if !block.speaking || (rank.is_some() && block.rank != rank) {
            return;
        }
        if header
            || ["FOAM exiting", "FOAM aborting", "FOAM parallel run"].iter().any(|end| text.starts_with(end))
        {
            block.speaking = false;
        } else if text.starts_with("From ") {
            // Where OpenFOAM's source found it: of no use to who wrote the case.
            block.speaking = false;
        } else if let Some(place) = text.strip_prefix("file: ") {
            block.place.get_or_insert_with(|| cut(place.trim_end_matches('.')).to_owned());
        } else if !text.is_empty() && block.words.len() < LONGEST_WORDS {
            if !block.words.is_empty() {
                block.words.push(' ');
            }
            block.words.push_str(cut(text));
        }
    }

    /// Whether a process was ended by its trap for floating point exceptions.
    #[must_use]
    pub fn trapped(&self) -> bool {
        self.trapped
    }

    /// The words, with the place in the case where there is one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let block = self.block.as_ref()?;
        let words = if block.words.is_empty() { "a fatal error without words" } else { cut(&block.words) };
        Some(match &block.place {
            Some(place) => format!("{words} (at {place})"),
            None => words.to_owned(),
        })
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_WORDS)]
}

fn rank(line: &str) -> (Option<u32>, &str) {
    let prefixed = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match prefixed.and_then(|(rank, text)| Some((rank.parse().ok()?, text))) {
        Some((rank, text)) => (Some(rank), text),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! recording {
        ($name:literal) => {
            include_str!(concat!("../../../tests/recordings/openfoam/", $name))
        };
    }

    fn message(text: &str) -> Option<String> {
        let mut fatal = Fatal::default();
        text.lines().for_each(|line| fatal.line(line));
        fatal.message()
    }

    #[test]
    fn recorded_errors_are_said_in_one_line_with_their_place() {
        for (recording, expected) in [
            (
                recording!("broken-controlDict.err"),
                "Entry 'deltaT' not found in dictionary \"/case/of/bad/system/controlDict\" \
                 (at /case/of/bad/system/controlDict from line 18 to line 46)",
            ),
            (
                recording!("broken-fvSolution.err"),
                "Unknown symmetric matrix solver type PCGG Valid symmetric matrix solver types : \
                 4(GAMG PBiCGStab PCG smoothSolver) (at /case/of/bad2/system/fvSolution.solvers.p from line 22 to \
                 line 25)",
            ),
            (
                recording!("no-mesh.err"),
                "Cannot find file \"points\" in directory \"polyMesh\" in times \"0\" down to constant",
            ),
            (recording!("no-env.err"), "Could not find mandatory etc entry (mode=ugo) 'controlDict'"),
        ] {
            assert_eq!(message(recording).as_deref(), Some(expected));
        }
        assert_eq!(message(recording!("mpirun-sigusr2.err")), None);
        assert_eq!(
            message(recording!("broken-mpirun2.err")).as_deref(),
            Some(
                "Unknown symmetric matrix solver type PCGG Valid symmetric matrix solver types : \
                 4(GAMG PBiCGStab PCG smoothSolver) (at /case/of/parbad/system/fvSolution.solvers.p from line 13 to \
                 line 16)"
            )
        );
    }

    #[test]
    fn of_several_processes_the_first_is_heard() {
        let text = "[2] --> FOAM FATAL ERROR: \n[1] --> FOAM FATAL ERROR: \n[2] one\n[1] other\ntwo\n\
                    FOAM parallel run exiting\n[2] three\n";
        assert_eq!(message(text).as_deref(), Some("one two"));
        let text = format!("{text}[0] --> FOAM FATAL ERROR: \n[0] zero\n");
        assert_eq!(message(&text).as_deref(), Some("zero"));
        assert_eq!(
            message("--> FOAM FATAL ERROR: (openfoam-2112)\n").as_deref(),
            Some("a fatal error without words")
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(lines in prop::collection::vec(".{0,2000}", 0..20)) {
            let text = format!("--> FOAM FATAL ERROR: \n{}", lines.join("\n"));
            prop_assert!(message(&text).unwrap().len() < 3 * LONGEST_WORDS);
        }
    }
}
