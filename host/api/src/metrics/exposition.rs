//! Metrics as data, and their encoding. It knows no metric by name.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use wasmill_model::Histogram;

/// The format that Prometheus requests by default.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric with all its samples.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// The name without the suffixes `_total` of counters and `_info` of infos, which the encoder adds.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// Labels of one sample.
pub(super) type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Histogram(Histogram),
    /// An info has only labels.
    Info,
}

impl Metric {
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Gauge, samples: Vec::new() }
    }

    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Counter, samples: Vec::new() }
    }

    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Histogram, samples: Vec::new() }
    }

    /// Creates an info: constant labels.
    pub(super) fn info(name: &'static str, help: &'static str, labels: Labels) -> Self {
        Self { name, help, kind: MetricType::Info, samples: vec![(labels, Value::Info)] }
    }

    /// Adds the only sample of a metric without labels.
    pub(super) fn value(self, value: f64) -> Self {
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

    /// Adds a histogram with these labels.
    pub(super) fn with_histogram(mut self, labels: &[(&'static str, &str)], histogram: Histogram) -> Self {
        self.add_histogram(labels, histogram);
        self
    }

    /// Adds a histogram with these labels.
    pub(super) fn add_histogram(&mut self, labels: &[(&'static str, &str)], histogram: Histogram) {
        self.samples.push((owned(labels), Value::Histogram(histogram)));
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
        (Value::Histogram(histogram), _) => encoder.encode_histogram::<NoLabelSet>(
            histogram.sum(),
            histogram.count(),
            &histogram.buckets(),
            None,
        ),
        (Value::Number(number), MetricType::Counter) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(number, None)
        }
        (Value::Number(number), _) => encoder.encode_gauge(number),
        (Value::Info, _) => Ok(()),
    }
}

/// Encodes all metrics of one response.
pub(super) fn encode(metrics: Vec<Metric>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(metrics)));
    let mut page = String::with_capacity(16 << 10);
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Page(Vec<Metric>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| metric.write(&mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_metric_is_encoded_as_openmetrics() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        histogram.observe(0.75);
        histogram.observe(3.0);
        let page = encode(vec![
            Metric::gauge("a_bytes", "Held").value(2.0),
            Metric::counter("b", "Done").with(&[("plugin", "x\"y")], 3.0).with(&[("plugin", "z")], 4.0),
            Metric::histogram("c_seconds", "Took").with_histogram(&[("route", "/task/{id}")], histogram),
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
        assert_eq!(page.expect("written").lines().collect::<Vec<_>>(), lines);
    }
}
