//! The sandbox: bubblewrap's namespaces around a process. It sees the machine's files read-only, a `/tmp` of its
//! own, of all job folders only its own, no other process, and no network unless it may have one.
//!
//! The programs have to lie where they are still seen: not below `/tmp`, `/run`, the worker's `work_dir` or a
//! hidden folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::store::Address;
use crate::{Config, ConfigError};

/// Where bubblewrap may be. Not searched on `path`: what a task's programs come from is no place for it.
const PLACES: [&str; 3] = ["/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"];
/// Folders that are empty inside, and the sandbox's own. In `/run` are the sockets of daemons (docker's among
/// them, through which anything could be had) and the secrets that are mounted into containers.
const PRIVATE: [&str; 3] = ["/tmp", "/var/tmp", "/run"];
/// Where the worker's user has keys, below its home.
const KEYS: [&str; 9] = [
    ".aws",
    ".ssh",
    ".gnupg",
    ".docker",
    ".kube",
    ".config/containers",
    ".config/gcloud",
    ".netrc",
    ".git-credentials",
];
/// Variables of the worker that name a file with keys.
const KEY_VARIABLES: [&str; 3] =
    ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"];
/// With a network, names are resolved by what lies here on many machines.
const RESOLVER: &str = "/run/systemd/resolve";
/// Where `fenicsx` keeps its compiled forms, below `work_dir`: in the sandbox a new one for each process.
const CACHE: &str = ".cache";
/// What each folder in memory may hold, where the worker's configuration does not limit memory: what lies there
/// is counted with no process.
const ROOM_BYTES: u64 = 1 << 30;
const MEBIBYTE: u64 = 1 << 20;
/// bubblewrap takes no more.
const MOST_ROOM_BYTES: u64 = u64::MAX >> 1;
/// What programs for graphics processors open beside the devices themselves.
const GPU_DEVICES: [&str; 6] = [
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/kfd",
    "/dev/dri",
];

/// A bubblewrap that works here.
#[derive(Clone, Debug)]
pub(super) struct Sandbox {
    bwrap: PathBuf,
    work_dir: PathBuf,
    keys: Vec<PathBuf>,
    /// What each folder in memory may hold.
    room_bytes: u64,
}

/// What is one attempt's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub job_dir: &'a Path,
    pub network: bool,
    /// The graphics processors that it was given.
    pub gpus: &'a [String],
}

/// What is hidden: folders become empty, files cannot be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hidden {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Sandbox {
    /// Finds bubblewrap and tries it once: whether namespaces may be made is the kernel's and the container's
    /// affair, and no task is to be the first to learn of it.
    pub fn find(config: &Config) -> Result<Self, ConfigError> {
        let invalid = |why: String| ConfigError::Invalid { setting: "sandbox", why };
        let bwrap = PLACES.iter().map(PathBuf::from).find(|place| place.is_file()).ok_or_else(|| {
            invalid(format!(
                "is \"bubblewrap\" and there is no {}; install it (Debian: apt-get install bubblewrap)",
                PLACES.join(", ")
            ))
        })?;
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let named = KEY_VARIABLES.iter().filter_map(std::env::var_os).map(PathBuf::from);
        let further = config.webhook_secret_file.iter().chain(&config.sandbox_hidden).cloned();
        let keys = KEYS.iter().map(|name| home.join(name)).chain(named).chain(further).chain(store(config));
        let sandbox = Self {
            bwrap,
            work_dir: config.work_dir.clone(),
            keys: keys.collect(),
            room_bytes: room_bytes(config),
        };
        sandbox.probe().map_err(|why| {
            invalid(format!(
                "is \"bubblewrap\", which does not work here: {why}; it must be 0.7 or later and not setuid; allow user namespaces \
                 (kernel.unprivileged_userns_clone, AppArmor, the container's seccomp profile), or set it to \"off\""
            ))
        })?;
        Ok(sandbox)
    }

    fn probe(&self) -> Result<(), String> {
        let cell = Cell { job_dir: &self.work_dir, network: false, gpus: &[] };
        let output = Command::new(&self.bwrap)
            .args(self.arguments(&cell))
            .arg(&self.bwrap)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} ({})", said.lines().next_back().unwrap_or("it says nothing"), output.status))
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.bwrap
    }

    /// Its arguments before the program's own.
    pub fn arguments(&self, cell: &Cell<'_>) -> Vec<OsString> {
        let private = PRIVATE.iter().map(PathBuf::from);
        let hidden = Hidden::among(private.chain(self.keys.iter().cloned()));
        arguments(cell, &self.work_dir, &hidden, self.room_bytes)
    }
}

impl Hidden {
    /// Those of `paths` that are there, by their real names: a link cannot be mounted over.
    fn among(paths: impl Iterator<Item = PathBuf>) -> Self {
        let mut hidden = Self::default();
        for path in paths.filter_map(|path| path.canonicalize().ok()) {
            let kind = if path.is_dir() { &mut hidden.folders } else { &mut hidden.files };
            if path.parent().is_some() && !kind.contains(&path) {
                kind.push(path);
            }
        }
        hidden
    }
}

/// The folder of the artifact store, where it is one: all tasks' results are there.
fn store(config: &Config) -> Option<PathBuf> {
    match config.artifacts_address() {
        Ok(Some(Address::File(folder))) => Some(folder),
        _ => None,
    }
}

fn room_bytes(config: &Config) -> u64 {
    let limit = config.max_memory_mb.map(|mebibytes| mebibytes.saturating_mul(MEBIBYTE));
    limit.unwrap_or(ROOM_BYTES).clamp(1, MOST_ROOM_BYTES)
}

fn arguments(cell: &Cell<'_>, work_dir: &Path, hidden: &Hidden, room_bytes: u64) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&Path]| args.extend(words.iter().map(|word| word.as_os_str().to_owned()));
    let word = Path::new;
    let room = room_bytes.to_string();
    let in_memory = |folder| [word("--size"), word(&room), word("--tmpfs"), folder];
    add(&[word("--unshare-all")]);
    if cell.network {
        add(&[word("--share-net")]);
    }
    // With the worker dies the sandbox, and with that every process in it. (What counts as the parent is the
    // thread that starts it: one of the runtime's, which live as long as it does.)
    add(&[word("--die-with-parent")]);
    // A session of its own: nothing can be typed into the terminal that the worker may have.
    add(&[word("--new-session")]);
    // As root it would keep what it needs to mount everything anew.
    add(&[word("--cap-drop"), word("ALL")]);
    add(&[
        word("--ro-bind"),
        word("/"),
        word("/"),
        word("--dev"),
        word("/dev"),
        word("--proc"),
        word("/proc"),
    ]);
    add(&in_memory(word("/dev/shm")));
    for device in devices(cell.gpus) {
        add(&[word("--dev-bind-try"), &device, &device]);
    }
    // What lies in a hidden folder is hidden with it, and its place is gone.
    let is_within = |path: &Path| hidden.folders.iter().any(|f| f != path && path.starts_with(f));
    for folder in hidden.folders.iter().filter(|folder| !is_within(folder)) {
        add(&in_memory(folder));
    }
    for file in hidden.files.iter().filter(|file| !is_within(file)) {
        add(&[word("--ro-bind"), word("/dev/null"), file]);
    }
    if cell.network {
        add(&[word("--ro-bind-try"), word(RESOLVER), word(RESOLVER)]);
    }
    // After the hidden folders, since the worker's may lie in one of them.
    add(&in_memory(work_dir));
    add(&in_memory(&work_dir.join(CACHE)));
    add(&[word("--bind"), cell.job_dir, cell.job_dir]);
    // Nothing is to be written beside what is mounted in these two, which now is there.
    add(&[word("--remount-ro"), work_dir, word("--remount-ro"), word("/dev")]);
    add(&[word("--chdir"), cell.job_dir, word("--")]);
    args
}

/// The devices of the graphics processors with these ids. One that is called by a long name (`GPU-8f3a…`) does
/// not tell its number; then all are there, and `CUDA_VISIBLE_DEVICES` alone tells them apart.
fn devices(gpus: &[String]) -> Vec<PathBuf> {
    if gpus.is_empty() {
        return Vec::new();
    }
    let numbers: Option<Vec<u32>> = gpus.iter().map(|id| id.parse().ok()).collect();
    let numbers = numbers.unwrap_or_else(|| (0..16).collect());
    let own = numbers.into_iter().map(|n| PathBuf::from(format!("/dev/nvidia{n}")));
    GPU_DEVICES.iter().map(PathBuf::from).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(network: bool, gpus: &[&str], hidden: &Hidden) -> String {
        let gpus: Vec<_> = gpus.iter().map(|id| (*id).to_owned()).collect();
        let cell = Cell { job_dir: Path::new("/tmp/jobs/t/1"), network, gpus: &gpus };
        let args = arguments(&cell, Path::new("/tmp/jobs"), hidden, 4096);
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_own_folder_is_mounted_after_everything_that_hides_it() {
        let hidden = Hidden {
            folders: vec!["/tmp".into(), "/home/w/.aws".into()],
            files: vec!["/home/w/.netrc".into()],
        };
        assert_eq!(
            line(false, &[], &hidden),
            "--unshare-all --die-with-parent --new-session --cap-drop ALL --ro-bind / / --dev /dev --proc /proc \
             --size 4096 --tmpfs /dev/shm --size 4096 --tmpfs /tmp --size 4096 --tmpfs /home/w/.aws \
             --ro-bind /dev/null /home/w/.netrc --size 4096 --tmpfs /tmp/jobs --size 4096 --tmpfs /tmp/jobs/.cache \
             --bind /tmp/jobs/t/1 /tmp/jobs/t/1 --remount-ro /tmp/jobs --remount-ro /dev --chdir /tmp/jobs/t/1 --"
        );
    }

    #[test]
    fn a_network_is_there_only_when_it_is_given() {
        assert!(!line(false, &[], &Hidden::default()).contains("--share-net"));
        let with = line(true, &[], &Hidden::default());
        assert!(with.contains("--unshare-all --share-net") && with.contains(RESOLVER), "{with}");
    }

    #[test]
    fn only_the_given_devices_are_seen() {
        assert!(!line(false, &[], &Hidden::default()).contains("nvidia"));
        let two = line(false, &["2", "0"], &Hidden::default());
        assert!(
            two.contains("--dev-bind-try /dev/nvidia2 /dev/nvidia2") && !two.contains("nvidia1 "),
            "{two}"
        );
        assert!(line(false, &["GPU-8f3a"], &Hidden::default()).contains("/dev/nvidia7"));
    }

    #[test]
    fn a_file_in_a_hidden_folder_is_not_hidden_twice() {
        let hidden = Hidden {
            folders: vec!["/run/inner".into(), "/run".into()],
            files: vec!["/run/secrets/token".into()],
        };
        let line = line(false, &[], &hidden);
        assert!(
            !line.contains("token") && !line.contains("inner") && line.contains("--tmpfs /run "),
            "{line}"
        );
    }

    #[test]
    fn no_folder_in_memory_is_without_an_end() {
        let hidden = Hidden { folders: vec!["/tmp".into(), "/run".into()], files: Vec::new() };
        let line = line(true, &[], &hidden);
        assert_eq!(line.matches("--tmpfs ").count(), line.matches("--size 4096 --tmpfs ").count(), "{line}");
        let room = |max_memory_mb| room_bytes(&Config { max_memory_mb, ..Config::default() });
        assert_eq!((room(None), room(Some(3)), room(Some(u64::MAX))), (1 << 30, 3 << 20, u64::MAX >> 1));
    }

    #[test]
    fn the_store_is_hidden_where_it_is_a_folder() {
        let store = |url: &str| store(&Config { artifacts_url: Some(url.into()), ..Config::default() });
        assert_eq!(store("file:///srv/artifacts"), Some("/srv/artifacts".into()));
        assert_eq!((store("s3://bucket/x"), store("")), (None, None));
    }

    #[test]
    fn hidden_is_what_is_there_by_its_real_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("keys")).unwrap();
        std::fs::write(root.join("token"), "").unwrap();
        std::os::unix::fs::symlink(root.join("keys"), root.join("link")).unwrap();
        let paths = ["keys", "link", "token", "absent"].map(|name| root.join(name)).into_iter();
        let hidden = Hidden::among(paths.chain(["/".into(), PathBuf::new()]));
        assert_eq!(hidden, Hidden { folders: vec![root.join("keys")], files: vec![root.join("token")] });
    }
}
