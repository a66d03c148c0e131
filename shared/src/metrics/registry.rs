//! The counts of one process. What is looked up once is an atomic number from then on; nothing waits for a
//! reader.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Kind, Metric};

/// Label sets of one metric. What would be more is counted under [`OTHER`].
const MOST_SERIES: usize = 250;
/// The label of what is beyond.
const OTHER: &str = "other";

/// A counter or a gauge.
#[derive(Clone, Debug, Default)]
pub struct Number(Arc<AtomicU64>);

impl Number {
    /// Adds.
    pub fn add(&self, by: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // The closure never refuses.
        let _added = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// Adds one.
    pub fn one(&self) {
        self.add(1.0);
    }

    /// Sets a gauge.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than bounds, for what is above all of them.
    counts: Vec<AtomicU64>,
    sum: Number,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum: Number::default() }))
    }

    /// Takes a value.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.iter().take_while(|bound| value > **bound).count();
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.add(value);
    }
}

#[derive(Clone, Debug)]
enum Cell {
    Number(Number),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    metric: Metric,
    series: BTreeMap<Vec<String>, Cell>,
}

/// The counts of one process.
#[derive(Debug, Default)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

impl Registry {
    // A panic while the lock was held leaves at worst a series without a count.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, metric: &Metric, labels: &[&str]) -> Cell {
        debug_assert_eq!(labels.len(), metric.labels.len(), "{} has other labels", metric.name);
        let mut families = self.lock();
        let series = &mut families
            .entry(metric.name)
            .or_insert_with(|| Family { metric: *metric, series: BTreeMap::new() })
            .series;
        let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        if series.len() >= MOST_SERIES && !series.contains_key(&labels) {
            labels.fill(OTHER.to_owned());
        }
        let cell = series.entry(labels).or_insert_with(|| match metric.kind {
            Kind::Histogram(bounds) => Cell::Histogram(Histogram::new(bounds)),
            Kind::Counter | Kind::Gauge => Cell::Number(Number::default()),
        });
        cell.clone()
    }

    /// The number of a counter or gauge with these values of its labels; it is there from now on.
    pub fn number(&self, metric: &Metric, labels: &[&str]) -> Number {
        match self.cell(metric, labels) {
            Cell::Number(number) => number,
            // The table says otherwise: counted, and not shown.
            Cell::Histogram(_) => Number::default(),
        }
    }

    /// The histogram with these values of its labels.
    pub fn histogram(&self, metric: &Metric, labels: &[&str]) -> Histogram {
        match self.cell(metric, labels) {
            Cell::Histogram(histogram) => histogram,
            Cell::Number(_) => Histogram::new(&[]),
        }
    }

    /// The sum over the series of a counter whose labels pass.
    pub fn sum(&self, metric: &Metric, pass: impl Fn(&[String]) -> bool) -> f64 {
        let families = self.lock();
        let series = families.get(metric.name).into_iter().flat_map(|family| &family.series);
        let numbers = series.filter(|(labels, _)| pass(labels)).map(|(_, cell)| match cell {
            Cell::Number(number) => number.get(),
            Cell::Histogram(_) => 0.0,
        });
        numbers.sum()
    }

    /// Sets every series of a gauge to 0, before those that are not are set.
    pub fn clear(&self, gauge: &Metric) {
        let families = self.lock();
        for cell in families.get(gauge.name).into_iter().flat_map(|family| family.series.values()) {
            if let Cell::Number(number) = cell {
                number.set(0.0);
            }
        }
    }

    /// All of it in the text format of Prometheus (0.0.4).
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for (name, Family { metric, series }) in &*self.lock() {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let help = metric.meaning.replace('\\', "\\\\");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (values, cell) in series {
                let labels = labelled(metric.labels, values);
                let _ = match cell {
                    Cell::Number(number) => writeln!(text, "{name}{} {}", braced(&labels), number.get()),
                    Cell::Histogram(Histogram(buckets)) => {
                        write_histogram(&mut text, name, &labels, buckets);
                        Ok(())
                    }
                };
            }
        }
        text
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = buckets.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    let mut count = 0;
    for (bound, counted) in bounds.zip(&buckets.counts) {
        count += counted.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
    }
    let braced = braced(labels);
    let _ = writeln!(text, "{name}_sum{braced} {}\n{name}_count{braced} {count}", buckets.sum.get());
}

fn labelled(names: &[&str], values: &[String]) -> String {
    let escaped = |value: &String| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs = names.iter().zip(values).map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

#[cfg(test)]
mod tests {
    use super::super::table::{CLAIMS, DRAINING, TASK_WAIT, WORKER_AWS_RETRIES};
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        registry.number(&CLAIMS, &["a\"b\\c\nd"]).add(2.5);
        registry.number(&DRAINING, &[]).set(1.0);
        let waits = registry.histogram(&TASK_WAIT, &[]);
        // A bound belongs to its own bucket.
        [0.1, 0.2, 1e9].into_iter().for_each(|seconds| waits.observe(seconds));
        let text = registry.to_prometheus();
        for line in [
            "# TYPE stageline_claims_total counter",
            r#"stageline_claims_total{result="a\"b\\c\nd"} 2.5"#,
            "# TYPE stageline_draining gauge",
            "stageline_draining 1",
            "# TYPE stageline_task_wait_seconds histogram",
            "stageline_task_wait_seconds_bucket{le=\"0.1\"} 1",
            "stageline_task_wait_seconds_bucket{le=\"0.5\"} 2",
            "stageline_task_wait_seconds_bucket{le=\"604800\"} 2",
            "stageline_task_wait_seconds_bucket{le=\"+Inf\"} 3",
            "stageline_task_wait_seconds_count 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn label_sets_are_bounded() {
        let registry = Registry::default();
        (0..1_000).for_each(|n| registry.number(&WORKER_AWS_RETRIES, &[&n.to_string()]).one());
        assert_eq!(registry.sum(&WORKER_AWS_RETRIES, |_| true), 1_000.0);
        assert_eq!(registry.sum(&WORKER_AWS_RETRIES, |labels| labels[0] == OTHER), 750.0);
    }

    #[test]
    fn nothing_is_lost_among_threads() {
        let number = Number::default();
        std::thread::scope(|scope| {
            (0..4).for_each(|_| {
                scope.spawn(|| (0..1_000).for_each(|_| number.one()));
            });
        });
        assert_eq!(number.get(), 4_000.0);
    }
}
