//! Counts requests by route and status code. The route is its template rather than the request path, so
//! clients cannot create series.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use wasmill_model::{Histogram, LATENCY_SECONDS};

use super::exposition::Metric;

/// Requests since the server started.
#[derive(Debug, Default)]
pub(super) struct HttpMetrics(Mutex<BTreeMap<String, Vec<RouteStats>>>);

/// Requests of one method to one route.
#[derive(Debug)]
struct RouteStats {
    method: &'static str,
    seconds: Histogram,
    codes: Vec<(StatusCode, u64)>,
}

impl HttpMetrics {
    pub(super) fn add(&self, method: &'static str, route: &str, code: StatusCode, took: Duration) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let methods = match routes.get_mut(route) {
            Some(methods) => methods,
            None => routes.entry(route.to_owned()).or_default(),
        };
        let index = methods.iter().position(|one| one.method == method).unwrap_or_else(|| {
            methods.push(RouteStats { method, seconds: Histogram::new(LATENCY_SECONDS), codes: Vec::new() });
            methods.len() - 1
        });
        let one = &mut methods[index];
        one.seconds.observe_time(took);
        match one.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, requests)) => *requests += 1,
            None => one.codes.push((code, 1)),
        }
    }

    pub(super) fn metrics(&self) -> [Metric; 2] {
        let mut requests = Metric::counter(
            "wasmill_http_requests",
            "HTTP responses by status code and route, which is its template, such as /task/{id}",
        );
        let mut seconds = Metric::histogram(
            "wasmill_http_request_seconds",
            "Time from the request head to the response head",
        );
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (route, methods) in &*routes {
            for RouteStats { method, seconds: histogram, codes } in methods {
                for (code, answered) in codes {
                    let labels = [("method", *method), ("route", route.as_str()), ("code", code.as_str())];
                    requests.add(&labels, *answered as f64);
                }
                seconds.add_histogram(&[("method", *method), ("route", route.as_str())], histogram.clone());
            }
        }
        [requests, seconds]
    }
}
