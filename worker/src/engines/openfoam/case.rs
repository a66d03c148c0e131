//! The case folder below the worker's inputs, and what of it is staged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::relative_path;

use crate::engines::{Content, Site};

/// The file that makes a folder a case.
pub(super) const CONTROL_DICT: &str = "system/controlDict";

/// What a case may hold. A larger one belongs on a shared disk, or is a finished run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Files and folders.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Folders in folders; ends a circle of links.
    pub depth: usize,
}

pub(super) const BOUNDS: Bounds = Bounds { entries: 20_000, bytes: 8 << 30, depth: 16 };

/// The files of a task, by where they go in the job folder.
pub(super) type Files = BTreeMap<PathBuf, Content>;

/// Every file of the case that `script` names: its folder, or the `controlDict` in it. Names that begin with a
/// dot stay behind.
pub(super) fn files(script: &str, site: &Site<'_>, bounds: Bounds) -> Result<Files, Failure> {
    let inputs = &site.config.inputs_dir;
    let relative = relative_path("script", script).map_err(|r| Failure::fatal(r.code, r.message))?;
    let missing = |why: &str| Failure::fatal(Code::InputMissing, format!("`script` {script:?} {why}"));
    let folder = match relative.ends_with(CONTROL_DICT) {
        true => relative.ancestors().nth(2).unwrap_or(Path::new("")),
        false => &relative,
    };
    let root = inputs.join(folder).canonicalize().map_err(|error| {
        missing(&format!("cannot be read in the worker's inputs folder {}: {error}", inputs.display()))
    })?;
    let mut walk = Walk { inputs, root: &root, script, bounds, found: Files::new(), entries: 0, bytes: 0 };
    walk.inside(&root)?;
    if !root.join(CONTROL_DICT).is_file() {
        return Err(missing("is no case: there is no `system/controlDict` in it"));
    }
    walk.folder(&root, Path::new(""), 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    inputs: &'a Path,
    root: &'a Path,
    script: &'a str,
    bounds: Bounds,
    found: Files,
    entries: usize,
    bytes: u64,
}

impl Walk<'_> {
    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> Result<(), Failure> {
        if depth > self.bounds.depth {
            return Err(
                self.refused(&format!("has folders deeper than {}, or links in a circle", self.bounds.depth))
            );
        }
        let entries = from.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(|error| self.unreadable(from, &error))? {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            self.entries += 1;
            if self.entries > self.bounds.entries {
                return Err(
                    self.refused(&format!("holds more than {} files and folders", self.bounds.entries))
                );
            }
            // The system's own answer, behind every link.
            let path = entry.path().canonicalize().map_err(|error| self.unreadable(&entry.path(), &error))?;
            self.inside(&path)?;
            let about = path.metadata().map_err(|error| self.unreadable(&path, &error))?;
            let to = to.join(name);
            if about.is_dir() {
                self.folder(&path, &to, depth + 1)?;
            } else if about.is_file() {
                self.bytes = self.bytes.saturating_add(about.len());
                if self.bytes > self.bounds.bytes {
                    return Err(self.refused(&format!("holds more than {} bytes", self.bounds.bytes)));
                }
                self.found.insert(to, Content::CopyOf(path));
            } else {
                return Err(
                    self.refused(&format!("holds {}, which is neither file nor folder", to.display()))
                );
            }
        }
        Ok(())
    }

    fn inside(&self, path: &Path) -> Result<(), Failure> {
        if path.starts_with(self.inputs) {
            return Ok(());
        }
        let message = format!("`script` {:?} leads out of the inputs folder through a link", self.script);
        Err(Failure::fatal(Code::PathUnsafe, message))
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::fatal(Code::EngineInputInvalid, format!("`script` {:?} {why}", self.script))
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> Failure {
        let shown = path.strip_prefix(self.root).unwrap_or(path).display();
        Failure::fatal(
            Code::InputMissing,
            format!("`script` {:?}: {shown} cannot be read: {error}", self.script),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Config;

    struct Inputs(tempfile::TempDir, Config);

    impl Inputs {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let case = dir.path().join("cases/box");
            fs::create_dir_all(case.join("system")).unwrap();
            fs::create_dir_all(case.join(".git")).unwrap();
            fs::write(case.join(".git/x"), "x").unwrap();
            fs::write(case.join(CONTROL_DICT), "application icoFoam;").unwrap();
            let config = Config { inputs_dir: dir.path().canonicalize().unwrap(), ..Config::default() };
            Self(dir, config)
        }

        fn case(&self) -> PathBuf {
            self.0.path().join("cases/box")
        }

        fn bounded(&self, script: &str, bounds: Bounds) -> Result<Vec<String>, Code> {
            let site = Site { config: &self.1, job_dir: Path::new("/job"), resume: None };
            let found = files(script, &site, bounds).map_err(|failure| failure.code)?;
            Ok(found.keys().map(|to| to.display().to_string()).collect())
        }

        fn files(&self, script: &str) -> Result<Vec<String>, Code> {
            self.bounded(script, BOUNDS)
        }
    }

    #[test]
    fn a_case_is_named_by_its_folder_or_its_control_dict() {
        let inputs = Inputs::new();
        for script in ["cases/box", "./cases/box/", "cases/box/system/controlDict"] {
            assert_eq!(inputs.files(script).unwrap(), [CONTROL_DICT], "{script}");
        }
        for script in ["cases", "cases/box/system", "cases/none", "cases/box/.git/x", "system/controlDict"] {
            assert_eq!(inputs.files(script), Err(Code::InputMissing), "{script}");
        }
        for script in ["", ".", "..", "/etc", "../box", "cases/box/../../.."] {
            assert_eq!(inputs.files(script), Err(Code::PathUnsafe), "{script}");
        }
    }

    #[test]
    fn links_inside_the_inputs_are_followed_and_others_refused() {
        let inputs = Inputs::new();
        fs::create_dir(inputs.0.path().join("mesh")).unwrap();
        fs::write(inputs.0.path().join("mesh/points"), "p").unwrap();
        symlink("../../mesh", inputs.case().join("constant")).unwrap();
        assert_eq!(inputs.files("cases/box").unwrap(), ["constant/points", CONTROL_DICT]);
        symlink("/etc/passwd", inputs.case().join("leak")).unwrap();
        assert_eq!(inputs.files("cases/box"), Err(Code::PathUnsafe));
        symlink("/", inputs.0.path().join("cases/root")).unwrap();
        assert_eq!(inputs.files("cases/root"), Err(Code::PathUnsafe));
    }

    #[test]
    fn what_is_no_file_or_does_not_end_is_refused() {
        let inputs = Inputs::new();
        symlink(".", inputs.case().join("again")).unwrap();
        assert_eq!(inputs.files("cases/box"), Err(Code::EngineInputInvalid));
        fs::remove_file(inputs.case().join("again")).unwrap();
        symlink("nowhere", inputs.case().join("dangling")).unwrap();
        assert_eq!(inputs.files("cases/box"), Err(Code::InputMissing));
        fs::remove_file(inputs.case().join("dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(inputs.case().join("socket")).unwrap();
        assert_eq!(inputs.files("cases/box"), Err(Code::EngineInputInvalid));
    }

    #[test]
    fn large_cases_are_refused() {
        let inputs = Inputs::new();
        fs::write(inputs.case().join("big"), [0; 100]).unwrap();
        assert!(inputs.bounded("cases/box", Bounds { bytes: 120, ..BOUNDS }).is_ok());
        for bounds in [Bounds { bytes: 119, ..BOUNDS }, Bounds { entries: 2, ..BOUNDS }] {
            assert_eq!(inputs.bounded("cases/box", bounds), Err(Code::EngineInputInvalid));
        }
    }
}
