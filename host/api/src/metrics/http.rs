//! Counts requests by route and code. The route is the template of the table, never the path that a client
//! sent, so that no client can make more series.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use wasmill_model::{Histogram, LATENCY_SECONDS};

use super::Metrics;
use super::exposition::Metric;

/// Stands for every path that no route has.
const UNMATCHED: &str = "unmatched";

/// The requests since the start.
#[derive(Debug, Default)]
pub(super) struct Http(Mutex<BTreeMap<String, Vec<OneRoute>>>);

/// The requests of one method to one route.
#[derive(Debug)]
struct OneRoute {
    method: &'static str,
    seconds: Histogram,
    codes: Vec<(StatusCode, u64)>,
}

/// The outermost layer: sees every answer as it leaves.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    metrics.inner.http.add(method, route, response.status(), start.elapsed());
    response
}

/// Names a method; clients may send any word.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

impl Http {
    fn add(&self, method: &'static str, route: &str, code: StatusCode, took: Duration) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let methods = match routes.get_mut(route) {
            Some(methods) => methods,
            None => routes.entry(route.to_owned()).or_default(),
        };
        let place = methods.iter().position(|one| one.method == method).unwrap_or_else(|| {
            methods.push(OneRoute { method, seconds: Histogram::new(LATENCY_SECONDS), codes: Vec::new() });
            methods.len() - 1
        });
        let one = &mut methods[place];
        one.seconds.observe_time(took);
        match one.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, requests)) => *requests += 1,
            None => one.codes.push((code, 1)),
        }
    }

    pub(super) fn metrics(&self) -> [Metric; 2] {
        let mut requests = Metric::counter("wasmill_http_requests", "Answered requests, by route and code");
        let mut seconds = Metric::histogram(
            "wasmill_http_request_seconds",
            "Time from the head of a request to that of its answer",
        );
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (route, methods) in &*routes {
            for OneRoute { method, seconds: spread, codes } in methods {
                for (code, answered) in codes {
                    let labels = [("method", *method), ("route", route.as_str()), ("code", code.as_str())];
                    requests.add(&labels, *answered as f64);
                }
                seconds.add_spread(&[("method", *method), ("route", route.as_str())], spread.clone());
            }
        }
        [requests, seconds]
    }
}
