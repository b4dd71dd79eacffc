//! Delivers due webhooks: reads them from the store, sends them, and records each attempt and the time of the
//! next one.
//!
//! The binary runs it beside the server. It does not decide what to deliver: the store creates a delivery in
//! the same transaction that finishes its task, so no crash can lose one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use chrono::DateTime;
use tokio::sync::{Mutex, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use wasmill_egress::{AllowedDestination, Connector};
use wasmill_model::{Backoff, Clock, TaskId, TimeDelta, Timestamp};
use wasmill_store::{AttemptOutcome, Delivery, DeliveryAttempt, DueQuery, Store, StoreError};

use super::in_flight::{InFlight, PER_RECEIVER_MAX};
use super::payload::{Payload, delivery_id};
use super::post::{ReceiverResponse, post};
use super::sign::SigningSecrets;

/// Maximum time between polls of the store, in case a notification is missed.
const POLL: Duration = Duration::from_secs(5);

/// Delay before another attempt after a failed database access.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// How long open deliveries may take when the host stops; the next host repeats the rest.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Maximum `Retry-After` of a receiver.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Configuration of deliveries.
pub struct WebhookConfig {
    /// Signing secrets.
    pub secrets: SigningSecrets,
    /// Destinations allowed besides public addresses.
    pub allowed: Vec<AllowedDestination>,
    /// Maximum number of attempts of a delivery, at least 1.
    pub attempts_max: u32,
    /// Delays between attempts.
    pub backoff: Backoff,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// Connects to receivers.
    pub connector: Connector,
}

/// Handle to the deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    /// Held while the delivery loop runs.
    delivering: Arc<Mutex<()>>,
}

struct Shared {
    config: WebhookConfig,
    store: Store,
    clock: Arc<dyn Clock>,
    stats: DeliveryStats,
}

/// Counters since the server started.
#[derive(Debug, Default)]
pub(crate) struct DeliveryStats {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

impl DeliveryStats {
    /// Returns the numbers of successful attempts, failed attempts, and deliveries given up.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.delivered), read(&self.failed), read(&self.given_up))
    }

    fn count(&self, after: AttemptOutcome) {
        let count = if after == AttemptOutcome::Delivered { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if after == AttemptOutcome::GivenUp {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Webhooks {
    /// Creates the deliveries of this store. Nothing is sent before [`Webhooks::run`].
    pub fn new(config: WebhookConfig, store: Store, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared { config, store, clock, stats: DeliveryStats::default() });
        Self { shared, stop: watch::Sender::new(false), delivering: Arc::default() }
    }

    /// Delivers due webhooks until stopped.
    pub async fn run(self) {
        let _delivering = self.delivering.lock().await;
        delivery_loop(Arc::clone(&self.shared), self.stop.subscribe()).await;
    }

    /// Starts no more deliveries, and waits a moment for open ones.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        drop(self.delivering.lock().await);
    }

    /// Returns the counters.
    pub(crate) fn stats(&self) -> &DeliveryStats {
        &self.shared.stats
    }
}

/// Open deliveries and their receivers.
#[derive(Default)]
struct Deliveries {
    in_flight: InFlight,
    set: JoinSet<bool>,
    of: HashMap<Id, (String, TaskId)>,
}

impl Deliveries {
    fn begin(&mut self, shared: &Arc<Shared>, delivery: Delivery) {
        if !self.in_flight.begin(&delivery) {
            return;
        }
        let of = (delivery.origin.clone(), delivery.task);
        let shared = Arc::clone(shared);
        let handle = self.set.spawn(async move { shared.deliver(delivery).await });
        self.of.insert(handle.id(), of);
    }

    fn end(&mut self, joined: Result<(Id, bool), JoinError>) {
        let (id, succeeded) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                tracing::error!(%error, "a webhook delivery panicked");
                (error.id(), false)
            }
        };
        if let Some((origin, task)) = self.of.remove(&id) {
            self.in_flight.end(&origin, task, succeeded);
        }
    }
}

/// Iterates over the receivers round by round, and starts due deliveries within the limits.
async fn delivery_loop(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut deliveries = Deliveries::default();
    // Cursor of the round; earliest due time seen in it; whether a delivery may have become due behind the
    // cursor.
    let (mut after, mut next_at, mut missed) = (None, None, false);
    loop {
        while let Some(joined) = deliveries.set.try_join_next_with_id() {
            deliveries.end(joined);
            missed = true;
        }
        let start = Instant::now();
        let mut wait = POLL;
        if deliveries.in_flight.free() > 0 {
            if after.is_none() {
                (next_at, missed) = (None, false);
            }
            let query = DueQuery {
                now: shared.clock.now(),
                after: after.clone(),
                busy_origins: deliveries.in_flight.full(),
                // Open deliveries are still due, and are listed first.
                per_origin: 2 * PER_RECEIVER_MAX,
                limit: deliveries.in_flight.free() + deliveries.in_flight.total(),
            };
            match shared.store.due_deliveries(query).await {
                Ok(due) => {
                    for delivery in due.deliveries {
                        deliveries.begin(&shared, delivery);
                    }
                    next_at = next_at.into_iter().chain(due.next_at).min();
                    after = due.stopped_at;
                    if after.is_some() || missed {
                        wait = Duration::ZERO;
                    } else if let Some(next_at) = next_at {
                        let ahead: TimeDelta = next_at - shared.clock.now();
                        wait = ahead.to_std().unwrap_or_default().min(POLL);
                    }
                }
                Err(StoreError::Closed) => break,
                // The store has logged it.
                Err(_) => wait = STORE_RETRY,
            }
        }
        // Sleeps as long as the query took, so polling takes at most half of the time however many receivers
        // there are.
        let pace = start.elapsed();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            () = sleep(pace) => {}
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            Some(joined) = deliveries.set.join_next_with_id(), if !deliveries.set.is_empty() => {
                deliveries.end(joined);
                missed = true;
            }
            () = shared.store.wait_for_delivery() => missed = true,
            () = sleep(wait) => {}
        }
    }
    // On timeout the rest is aborted, and stays due for the next host.
    let _ = timeout(STOP_GRACE, async { while deliveries.set.join_next().await.is_some() {} }).await;
}

impl Shared {
    /// Makes and records one attempt; returns true if the receiver accepted it.
    async fn deliver(&self, delivery: Delivery) -> bool {
        let task = match self.store.get(delivery.task).await {
            Ok(Some(task)) => task,
            // The task was deleted, and its delivery with it.
            Ok(None) => return true,
            Err(_) => {
                sleep(STORE_RETRY).await;
                return true;
            }
        };
        let (at, start) = (self.clock.now(), Instant::now());
        let id = delivery_id(delivery.task);
        let body = serde_json::to_vec(&Payload::of(task, at)).map_err(|error| error.to_string());
        let response = match body {
            Ok(body) => self.send(&delivery, &id, at, body).await,
            Err(error) => Err(error),
        };
        let tried = DeliveryAttempt {
            at,
            took: start.elapsed(),
            status: response.as_ref().ok().map(|response| response.status.as_u16()),
            error: error_text(&response),
        };
        let after = self.after(&delivery, &response, self.clock.now());
        self.stats.count(after);
        let Delivery { task, origin, attempts, .. } = &delivery;
        let (status, error) = (tried.status, &tried.error);
        tracing::debug!(%task, origin, attempts = attempts + 1, status, error, ?after, "webhook delivery \
                                                                                        attempt finished");
        if after == AttemptOutcome::GivenUp {
            tracing::info!(%task, origin, attempts = attempts + 1, status, error, "webhook delivery given \
                                                                                   up");
        }
        loop {
            match self.store.record_attempt(&delivery, tried.clone(), after).await {
                Ok(_) | Err(StoreError::Closed) => break,
                // An unrecorded attempt would be repeated at once.
                Err(_) => sleep(STORE_RETRY).await,
            }
        }
        after == AttemptOutcome::Delivered
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
        let sending =
            post(&self.config.connector, &self.config.allowed, &delivery.url, headers, Bytes::from(body));
        let limit = self.config.timeout;
        timeout(limit, sending)
            .await
            .unwrap_or_else(|_| Err(format!("no response within {}", humantime::format_duration(limit))))
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
