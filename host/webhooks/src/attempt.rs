//! Makes one delivery attempt, records it, and decides what follows.
//!
//! The delivery loop calls it for each due delivery. The format of a delivery is that of Standard Webhooks 1.0.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep};
use wasmill_model::{Clock, TaskId, TimeDelta, Timestamp};
use wasmill_store::{AttemptOutcome, Delivery, DeliveryAttempt, Store, StoreError};

use crate::config::WebhookConfig;
use crate::in_flight::Reception;
use crate::post::{ReceiverResponse, post};
use crate::stats::DeliveryStats;

/// Delay before another attempt after a failed database access.
pub(crate) const STORE_RETRY: Duration = Duration::from_secs(1);

/// Maximum `Retry-After` of a receiver.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Returns the delivery id of a task. A task finishes once, so its own id determines it.
pub fn delivery_id(task: TaskId) -> String {
    format!("end-{task}")
}

/// What attempts need.
pub(crate) struct Sender {
    pub(crate) config: WebhookConfig,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: DeliveryStats,
}

impl Sender {
    /// Makes and records one attempt; returns what it says of the receiver, if it was made.
    pub(crate) async fn deliver(&self, delivery: Delivery) -> Option<Reception> {
        let task = match self.store.get(delivery.task).await {
            Ok(Some(task)) => task,
            // The task was deleted, and its delivery with it.
            Ok(None) => return None,
            Err(_) => {
                sleep(STORE_RETRY).await;
                return None;
            }
        };
        let (at, start) = (self.clock.now(), Instant::now());
        let id = delivery_id(delivery.task);
        let response = match (self.config.payload)(task, at) {
            Ok(body) => self.send(&delivery, &id, at, body).await,
            Err(error) => Err(error),
        };
        let tried = DeliveryAttempt {
            at,
            took: start.elapsed(),
            status: response.as_ref().ok().map(|response| response.status.as_u16()),
            error: error_text(&response),
        };
        let response_time = response.as_ref().ok().map(|response| response.time);
        let after = self.after(&delivery, &response, self.clock.now());
        self.stats.count(after);
        log(&delivery, &tried, after);
        loop {
            match self.store.record_attempt(&delivery, tried.clone(), after).await {
                Ok(_) | Err(StoreError::Closed) => break,
                // An unrecorded attempt would be repeated at once.
                Err(_) => sleep(STORE_RETRY).await,
            }
        }
        Some(Reception { is_accepted: after == AttemptOutcome::Delivered, response_time })
    }

    async fn send(
        &self,
        delivery: &Delivery,
        id: &str,
        at: Timestamp,
        body: Vec<u8>,
    ) -> Result<ReceiverResponse, String> {
        let timestamp = at.timestamp();
        let mut headers = HeaderMap::new();
        let mut add = |name, value: &str| {
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
            Ok::<_, String>(())
        };
        add("webhook-id", id)?;
        add("webhook-timestamp", &timestamp.to_string())?;
        if let Some(signature) = self.config.secrets.sign(id, timestamp, &body) {
            add("webhook-signature", &signature)?;
        }
        let WebhookConfig { connector, allowed, timeout, .. } = &self.config;
        post(connector, allowed, &delivery.url, headers, Bytes::from(body), *timeout).await
    }

    /// Decides what follows an attempt.
    fn after(
        &self,
        delivery: &Delivery,
        response: &Result<ReceiverResponse, String>,
        now: Timestamp,
    ) -> AttemptOutcome {
        let status = response.as_ref().ok().map(|response| response.status);
        if status.is_some_and(|status| status.is_success()) {
            return AttemptOutcome::Delivered;
        }
        // Only attempts since the last redelivery request count.
        let attempts = delivery.attempts.saturating_sub(delivery.attempts_before).saturating_add(1);
        if status == Some(StatusCode::GONE) || attempts >= self.config.attempts_max {
            return AttemptOutcome::GivenUp;
        }
        let asked = response.as_ref().ok().and_then(|response| response.retry_after.as_deref());
        let asked = asked.and_then(|text| retry_after(text, now)).unwrap_or_default();
        let wait = self.config.backoff.wait(attempts, rand::random()).max(asked.min(RETRY_AFTER_MAX));
        AttemptOutcome::RetryAt(now + TimeDelta::from_std(wait).unwrap_or_default())
    }
}

/// Logs an attempt, and at a higher level that it was the last one.
fn log(delivery: &Delivery, tried: &DeliveryAttempt, after: AttemptOutcome) {
    let Delivery { task, origin, attempts, .. } = delivery;
    let (status, error) = (tried.status, &tried.error);
    let attempts = attempts + 1;
    tracing::debug!(%task, origin, attempts, status, error, ?after, "webhook delivery attempt finished");
    if after == AttemptOutcome::GivenUp {
        tracing::info!(%task, origin, attempts, status, error, "webhook delivery given up");
    }
}

/// Describes the error, if the status does not say it.
fn error_text(response: &Result<ReceiverResponse, String>) -> Option<String> {
    match response {
        Err(error) => Some(error.clone()),
        Ok(ReceiverResponse { status, .. }) if status.is_redirection() => {
            Some("redirects are not followed; use the target URL".to_owned())
        }
        Ok(ReceiverResponse { status: StatusCode::GONE, .. }) => {
            Some("the receiver no longer wants this webhook".to_owned())
        }
        Ok(_) => None,
    }
}

/// Parses `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    (DateTime::parse_from_rfc2822(text.trim()).ok()?.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(1_445_412_400, 0).expect("in range");
        let seconds = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(80));
        assert_eq!(seconds("Wed, 21 Oct 2009 07:28:00 GMT"), None);
        assert_eq!(seconds("soon"), None);
    }
}
