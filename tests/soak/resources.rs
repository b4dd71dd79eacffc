//! Resources that the server holds, sampled every second, and whether they grow.

use std::path::Path;

use anyhow::{Context, Result};
use wasmill_tests::Server;

/// Maximum ratio of the last minute to the first.
const GROWTH_MAX: f64 = 1.05;

/// What is compared: name, unit, and tolerated random growth of small values.
const KINDS: [(&str, &str, f64); 6] = [
    ("memory", "MiB", 4.0),
    ("descriptors", "", 8.0),
    ("threads", "", 3.0),
    ("disk", "MiB", 8.0),
    ("waiting tasks", "", 2_000.0),
    ("finished tasks", "", 2_000.0),
];

/// One sample, in the order of [`KINDS`].
pub(crate) struct Sample([f64; KINDS.len()]);

/// All samples.
#[derive(Default)]
pub(crate) struct Samples(Vec<Sample>);

impl Sample {
    /// Takes a sample.
    pub(crate) async fn at(server: &Server) -> Result<Self> {
        let process = Path::new("/proc").join(server.pid().to_string());
        let count =
            |what: &str| Ok::<_, anyhow::Error>(std::fs::read_dir(process.join(what))?.count() as f64);
        let stats = server.client().get("/stats").await.json;
        let of = |state: &str| stats["stored"][state].as_f64().context("a count of tasks");
        Ok(Self([
            mib(server.memory("VmRSS")),
            count("fd")?,
            count("task")?,
            mib(disk(&server.folder().join("data"))?),
            of("waiting")?,
            of("completed")? + of("failed")? + of("cancelled")?,
        ]))
    }
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Prints the medians of the first and the last minute, and returns what has grown.
    pub(crate) fn compare(&self) -> Vec<String> {
        let span = (self.0.len() / 3).clamp(1, 60);
        let (first, last) = (&self.0[..span], &self.0[self.0.len() - span..]);
        let mut grown = Vec::new();
        for (place, (name, unit, chance)) in KINDS.into_iter().enumerate() {
            let (before, after) = (median(first, place), median(last, place));
            println!("  {name:<28} {before:>12.0} {after:>12.0} {unit}");
            if after > before * GROWTH_MAX && after > before + chance {
                grown.push(format!("{name} grew from {before:.1} to {after:.1} {unit}"));
            }
        }
        grown
    }
}

/// Returns the sum of all series of a metric.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn median(samples: &[Sample], place: usize) -> f64 {
    let mut values: Vec<_> = samples.iter().map(|sample| sample.0[place]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Returns the bytes of all files in a folder; files that vanish meanwhile are not counted.
fn disk(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(found) = path.symlink_metadata() else { continue };
        bytes += if found.is_dir() { disk(&path)? } else { found.len() };
    }
    Ok(bytes)
}
