//! Where it was measured.

use serde::Serialize;

/// The machine, as far as it matters to figures.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// How many threads it runs at once.
    pub threads: usize,
    /// Memory in GB (10^9 bytes).
    pub memory_gb: f64,
    /// The kernel.
    pub kernel: String,
    /// What else it did: the load of the last minute before and after.
    pub load: [f64; 2],
}

impl Machine {
    /// This one. What cannot be found out stays empty.
    pub fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: f64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gb: kib * 1024.0 / 1e9,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: [load(), 0.0],
        }
    }

    /// Notes the load at the end.
    pub fn at_the_end(&mut self) {
        self.load[1] = load();
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
