//! Metrics as data, and how they are written. Knows no figure by name.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use wasmill_model::Histogram;

/// What Prometheus asks for by default.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric with all its samples.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// Its name; that of a counter without `_total`, which is added, as is the `_info` of an info.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// What tells the samples of a metric apart.
pub(super) type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Spread(Histogram),
    /// The labels say it all.
    Info,
}

impl Metric {
    /// Something that goes up and down.
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Gauge, samples: Vec::new() }
    }

    /// Something that only goes up.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Counter, samples: Vec::new() }
    }

    /// How something is spread.
    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Histogram, samples: Vec::new() }
    }

    /// Something that stays as it is, told by labels.
    pub(super) fn info(name: &'static str, help: &'static str, labels: Labels) -> Self {
        Self { name, help, kind: MetricType::Info, samples: vec![(labels, Value::Info)] }
    }

    /// Adds the one sample of a metric without labels.
    pub(super) fn of(self, value: f64) -> Self {
        self.with(&[], value)
    }

    /// Adds a sample with these labels.
    pub(super) fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.add(labels, value);
        self
    }

    /// Adds a sample with these labels.
    pub(super) fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        self.samples.push((owned(labels), Value::Number(value)));
    }

    /// Adds how something with these labels is spread.
    pub(super) fn spread(mut self, labels: &[(&'static str, &str)], spread: Histogram) -> Self {
        self.add_spread(labels, spread);
        self
    }

    /// Adds how something with these labels is spread.
    pub(super) fn add_spread(&mut self, labels: &[(&'static str, &str)], spread: Histogram) {
        self.samples.push((owned(labels), Value::Spread(spread)));
    }

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.samples {
            match value {
                Value::Info => encoder.encode_info(labels)?,
                _ if labels.is_empty() => write(value, self.kind, &mut encoder)?,
                _ => write(value, self.kind, &mut encoder.encode_family(labels)?)?,
            }
        }
        Ok(())
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|&(name, value)| (name, value.to_owned())).collect()
}

fn write(value: &Value, kind: MetricType, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (value, kind) {
        (Value::Spread(spread), _) => {
            encoder.encode_histogram::<NoLabelSet>(spread.sum(), spread.count(), &spread.buckets(), None)
        }
        (Value::Number(number), MetricType::Counter) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(number, None)
        }
        (Value::Number(number), _) => encoder.encode_gauge(number),
        (Value::Info, _) => Ok(()),
    }
}

/// A page of metrics.
pub(super) struct Exposition(Registry);

#[derive(Debug)]
struct Page(Vec<Metric>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| metric.write(&mut encoder))
    }
}

impl Exposition {
    pub(super) fn new(metrics: Vec<Metric>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page(metrics)));
        Self(registry)
    }

    /// Writes all of them.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 << 10);
        text::encode(&mut page, &self.0)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_the_format_wants_it() {
        let mut spread = Histogram::new(&[0.5, 1.0]);
        spread.observe(0.75);
        spread.observe(3.0);
        let page = Exposition::new(vec![
            Metric::gauge("a_bytes", "Held").of(2.0),
            Metric::counter("b", "Done").with(&[("plugin", "x\"y")], 3.0).with(&[("plugin", "z")], 4.0),
            Metric::histogram("c_seconds", "Took").spread(&[("route", "/task/{id}")], spread),
            Metric::info("d", "Made", vec![("version", "1.2".to_owned())]),
        ]);
        let lines = [
            "# HELP a_bytes Held",
            "# TYPE a_bytes gauge",
            "a_bytes 2.0",
            "# HELP b Done",
            "# TYPE b counter",
            "b_total{plugin=\"x\\\"y\"} 3.0",
            "b_total{plugin=\"z\"} 4.0",
            "# HELP c_seconds Took",
            "# TYPE c_seconds histogram",
            "c_seconds_sum{route=\"/task/{id}\"} 3.75",
            "c_seconds_count{route=\"/task/{id}\"} 2",
            "c_seconds_bucket{le=\"0.5\",route=\"/task/{id}\"} 0",
            "c_seconds_bucket{le=\"1.0\",route=\"/task/{id}\"} 1",
            "c_seconds_bucket{le=\"+Inf\",route=\"/task/{id}\"} 2",
            "# HELP d Made",
            "# TYPE d info",
            "d_info{version=\"1.2\"} 1",
            "# EOF",
        ];
        assert_eq!(page.text().expect("written").lines().collect::<Vec<_>>(), lines);
    }
}
