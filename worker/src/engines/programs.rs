//! Finding programs and input files, inside the bounds that the worker's configuration sets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::{Input, Task, relative_path};

use super::{Content, Fetched, Placed, Site, Source};
use crate::Config;
use crate::store::Address;

/// The absolute path of `program`: itself when it is one, below the job folder when it has a slash,
/// otherwise the first of its name on the worker's path.
pub(crate) fn find(program: &str, site: &Site<'_>) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.is_absolute() {
        return is_executable(path).then(|| path.to_path_buf());
    }
    if program.contains('/') {
        // Staged there before the process starts, so it cannot be looked at yet.
        let below = relative_path("command", program).ok()?;
        return Some(site.job_dir.join(below));
    }
    std::env::split_paths(&site.config.path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A file below the inputs folder; symbolic links do not lead out of it.
pub(crate) fn input(attribute: &str, text: &str, site: &Site<'_>) -> Result<PathBuf, Failure> {
    let root = &site.config.inputs_dir;
    let relative = relative_path(attribute, text).map_err(|r| Failure::fatal(r.code, r.message))?;
    let path = root.join(relative).canonicalize().map_err(|error| {
        let message = format!(
            "`{attribute}` {text:?} cannot be read in the worker's inputs folder {}: {error}",
            root.display()
        );
        Failure::fatal(Code::InputMissing, message)
    })?;
    if !path.starts_with(root) {
        let message = format!("`{attribute}` {text:?} leads out of the inputs folder through a link");
        return Err(Failure::fatal(Code::PathUnsafe, message));
    }
    if !path.is_file() {
        return Err(Failure::fatal(Code::InputMissing, format!("`{attribute}` {text:?} is not a file")));
    }
    Ok(path)
}

/// The task's `inputs`, as files to put into the job folder. Whether the worker may read them is decided here;
/// what has an address or a hash is fetched later.
pub(crate) fn staged_inputs(task: &Task, site: &Site<'_>) -> Result<Vec<Placed>, Failure> {
    task.inputs.iter().flatten().map(|one| staged(one, site)).collect()
}

fn staged(one: &Input, site: &Site<'_>) -> Result<Placed, Failure> {
    let named = one.source();
    let to = relative_path("inputs", one.path()).map_err(|r| Failure::fatal(r.code, r.message))?;
    let source = if named.contains("://") {
        address("inputs", named, site.config)?
    } else {
        let path = input("inputs", named, site)?;
        if one.sha256().is_none() {
            return Ok(Placed::copy(path, to));
        }
        Source::File(path)
    };
    let sha256 = one.sha256().map(str::to_owned);
    Ok(Placed { to, content: Content::Fetched(Fetched { source, sha256, named: named.to_owned() }) })
}

/// What an address that stands in `attribute` names, if the configuration allows tasks to read it.
pub(crate) fn address(attribute: &str, text: &str, config: &Config) -> Result<Source, Failure> {
    let address = Address::parse(text)
        .map_err(|why| Failure::fatal(Code::PathUnsafe, format!("`{attribute}` {text:?} {why}")))?;
    match address {
        Address::S3 { bucket, .. } if !config.allows_bucket(&bucket) => {
            let message = format!(
                "`{attribute}` {text:?}: this worker fetches nothing from the bucket {bucket:?}; add it to \
                 `allowed_buckets` of the worker's configuration"
            );
            Err(Failure::fatal(Code::PathUnsafe, message))
        }
        Address::S3 { key, .. } if key.is_empty() => {
            Err(Failure::fatal(Code::PathUnsafe, format!("`{attribute}` {text:?} names no object")))
        }
        Address::S3 { bucket, key } => Ok(Source::Object { bucket, key }),
        Address::File(path) => {
            let missing =
                |why: String| Failure::fatal(Code::InputMissing, format!("`{attribute}` {text:?} {why}"));
            let allowed = |path: &Path| {
                std::iter::once(&config.inputs_dir)
                    .chain(&config.input_roots)
                    .any(|root| path.starts_with(root))
            };
            let outside = || {
                let message = format!(
                    "`{attribute}` {text:?} is neither below the inputs folder nor below one of `input_roots`, or leads \
                     out of it through a link"
                );
                Failure::fatal(Code::PathUnsafe, message)
            };
            // Asked of what is not allowed, whether it is there is nobody's business.
            let path = path.canonicalize().map_err(|error| match allowed(&path) {
                true => missing(format!("cannot be read: {error}")),
                false => outside(),
            })?;
            match path.is_file() {
                _ if !allowed(&path) => Err(outside()),
                true => Ok(Source::File(path)),
                false => Err(missing("is not a file".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_do_not_leave_their_folder() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(root.path().join("in"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let config = Config { inputs_dir: root.path().canonicalize().unwrap(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job"), resume: None };
        assert!(input("script", "./in", &site).is_ok());
        let code = |text: &str| input("script", text, &site).unwrap_err().code;
        assert_eq!(code("link"), Code::PathUnsafe);
        assert_eq!(code("../in"), Code::PathUnsafe);
        assert_eq!(code("/etc/passwd"), Code::PathUnsafe);
        assert_eq!(code("absent"), Code::InputMissing);
        assert_eq!(code("in/below"), Code::InputMissing);
    }

    #[test]
    fn programs_are_found_on_the_workers_path_only() {
        let config = Config { path: "/bin:relative".into(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job"), resume: None };
        assert_eq!(find("sh", &site), Some("/bin/sh".into()));
        assert_eq!(find("no-such-program", &site), None);
        assert_eq!(find("/bin", &site), None);
        assert_eq!(find("./run", &site), Some("/job/run".into()));
        assert_eq!(find("../run", &site), None);
    }

    #[test]
    fn addresses_are_read_only_where_the_configuration_allows_it() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(root.path().join("in"), "x").unwrap();
        std::fs::write(other.path().join("in"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        let config = Config {
            inputs_dir: root.path().canonicalize().unwrap(),
            input_roots: vec![other.path().canonicalize().unwrap()],
            artifacts_url: Some("s3://own-bucket/x".into()),
            allowed_buckets: vec!["public-data".into()],
            ..Config::default()
        };
        let below = |dir: &tempfile::TempDir, name: &str| {
            format!("file://{}/{name}", dir.path().canonicalize().unwrap().display())
        };
        for text in [below(&root, "in"), below(&other, "in")] {
            assert!(matches!(address("inputs", &text, &config), Ok(Source::File(_))), "{text}");
        }
        for text in ["s3://own-bucket/other/task", "s3://public-data/a"] {
            assert!(matches!(address("inputs", text, &config), Ok(Source::Object { .. })), "{text}");
        }
        let code = |text: &str| address("inputs", text, &config).unwrap_err().code;
        assert_eq!(code(&below(&root, "link")), Code::PathUnsafe);
        assert_eq!(code(&below(&root, "none")), Code::InputMissing);
        for text in
            ["file:///etc/passwd", "file:///no/such/file", "s3://foreign/a", "s3://own-bucket/", "ftp://x/y"]
        {
            assert_eq!(code(text), Code::PathUnsafe, "{text}");
        }
    }

    #[test]
    fn an_input_with_a_hash_is_fetched_so_that_it_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("in"), "x").unwrap();
        let config = Config { inputs_dir: root.path().canonicalize().unwrap(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job"), resume: None };
        let mut task = Task::new("t".parse().unwrap());
        let hashed = Input::Described { source: "in".into(), path: None, sha256: Some("00".into()) };
        task.inputs = Some(vec![Input::Path("in".into()), hashed]);
        let staged = staged_inputs(&task, &site).unwrap();
        assert!(matches!(staged[0].content, Content::CopyOf(_)));
        assert!(
            matches!(&staged[1].content, Content::Fetched(Fetched { sha256: Some(hash), .. }) if hash == "00")
        );
    }
}
