//! How much is measured, and with what.

use std::path::{Path, PathBuf};

use crate::prices::Prices;

/// What every measurement knows.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Whether it has to be over within minutes.
    pub quick: bool,
    /// A worker's program of an earlier revision; its folder is called after that.
    pub before: Option<PathBuf>,
    /// The price list.
    pub prices: Prices,
    /// The workspace.
    pub root: PathBuf,
    /// The peers' environment, if it could be installed.
    pub peers: Option<Peers>,
}

/// The peers' environment.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Its folder: `venv`, and `redis` if there is one.
    pub folder: PathBuf,
    /// Their programs, `bench/peers`.
    pub scripts: PathBuf,
}

impl Scope {
    /// `few` in the short form, `many` otherwise.
    pub fn of<T>(&self, few: T, many: T) -> T {
        if self.quick { few } else { many }
    }
}

impl Peers {
    /// Those in `folder`, if there are any.
    pub fn find(root: &Path, folder: &Path) -> Option<Self> {
        let peers = Self { folder: folder.to_owned(), scripts: root.join("bench/peers") };
        peers.python().is_file().then_some(peers)
    }

    /// Their Python.
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// One of their programs.
    pub fn script(&self, name: &str) -> PathBuf {
        self.scripts.join(name)
    }

    /// Where a Redis of the script's own has its libraries.
    pub fn redis_libraries(&self) -> String {
        let found =
            |folder: &str| std::fs::read_dir(self.folder.join(folder)).into_iter().flatten().flatten();
        let folders = found("redis/usr/lib").map(|entry| entry.path().display().to_string());
        folders.collect::<Vec<_>>().join(":")
    }

    /// The Redis server, of the script's own or of the machine.
    pub fn redis(&self) -> Option<PathBuf> {
        let own = self.folder.join("redis/usr/bin/redis-server");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let machine = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
        std::iter::once(own).chain(machine).find(|path| path.is_file())
    }
}
