//! Delivers what is due: finds it in the store, tries it, notes how that went and when to try again.
//!
//! The binary starts it beside the server. It never decides what is to be delivered: the store holds that, made
//! durable in the same write as the end of the task, so whatever dies in between, receivers are told.

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

use super::in_flight::{EACH_MAX, Lanes};
use super::payload::{Told, delivery_id};
use super::post::{Answered, post};
use super::sign::SigningSecrets;

/// How long hints are trusted before it is looked anyway.
const POLL: Duration = Duration::from_secs(5);

/// How long to wait while the database cannot be read or written.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// How long deliveries under way may go on when the host stops; what is left is delivered by the next one.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The longest that a receiver may ask for with `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// How deliveries are made.
pub struct WebhookConfig {
    /// What they are signed with.
    pub secrets: SigningSecrets,
    /// Where they may go besides public addresses.
    pub allowed: Vec<AllowedDestination>,
    /// How often each is tried, at least once.
    pub attempts_max: u32,
    /// The waits between its tries.
    pub backoff: Backoff,
    /// How long one try may take.
    pub timeout: Duration,
    /// The way to receivers.
    pub connector: Connector,
}

/// Delivers until it is stopped. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    /// Held while deliveries are made.
    delivering: Arc<Mutex<()>>,
}

struct Shared {
    config: WebhookConfig,
    store: Store,
    clock: Arc<dyn Clock>,
    figures: Figures,
}

/// What was done since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

impl Figures {
    /// Returns how many tries went well, how many did not, and after how many of these it was given up.
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
    /// Makes what delivers for this store. Nothing is sent before [`Webhooks::run`].
    pub fn new(config: WebhookConfig, store: Store, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared { config, store, clock, figures: Figures::default() });
        Self { shared, stop: watch::Sender::new(false), delivering: Arc::default() }
    }

    /// Delivers what is due until it is stopped.
    pub async fn run(self) {
        let _delivering = self.delivering.lock().await;
        rounds(Arc::clone(&self.shared), self.stop.subscribe()).await;
    }

    /// Begins no more deliveries, and waits a moment for those under way.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        drop(self.delivering.lock().await);
    }

    /// Returns what was done since the start.
    pub(crate) fn figures(&self) -> &Figures {
        &self.shared.figures
    }
}

/// Deliveries under way, and who they are for.
#[derive(Default)]
struct Flights {
    lanes: Lanes,
    set: JoinSet<bool>,
    of: HashMap<Id, (String, TaskId)>,
}

impl Flights {
    fn begin(&mut self, shared: &Arc<Shared>, delivery: Delivery) {
        if !self.lanes.begin(&delivery) {
            return;
        }
        let of = (delivery.origin.clone(), delivery.task);
        let shared = Arc::clone(shared);
        let flight = self.set.spawn(async move { shared.deliver(delivery).await });
        self.of.insert(flight.id(), of);
    }

    fn end(&mut self, landed: Result<(Id, bool), JoinError>) {
        let (id, went_well) = match landed {
            Ok(landed) => landed,
            Err(error) => {
                tracing::error!(%error, "a delivery of a webhook ended badly");
                (error.id(), false)
            }
        };
        if let Some((origin, task)) = self.of.remove(&id) {
            self.lanes.end(&origin, task, went_well);
        }
    }
}

/// Goes through the receivers, round by round, and begins what is due and has room.
async fn rounds(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut flights = Flights::default();
    // Where the round goes on; when the next delivery is due that it has seen; whether something came up
    // behind it.
    let (mut after, mut next_at, mut missed) = (None, None, false);
    loop {
        while let Some(landed) = flights.set.try_join_next_with_id() {
            flights.end(landed);
            missed = true;
        }
        let start = Instant::now();
        let mut wait = POLL;
        if flights.lanes.free() > 0 {
            if after.is_none() {
                (next_at, missed) = (None, false);
            }
            let query = DueQuery {
                now: shared.clock.now(),
                after: after.clone(),
                busy_origins: flights.lanes.full(),
                // What is under way is still due, and stands before the rest.
                per_origin: 2 * EACH_MAX,
                limit: flights.lanes.free() + flights.lanes.total(),
            };
            match shared.store.due_deliveries(query).await {
                Ok(due) => {
                    for delivery in due.deliveries {
                        flights.begin(&shared, delivery);
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
                // The store has told of it.
                Err(_) => wait = STORE_RETRY,
            }
        }
        // However many receivers there are, looking takes half of the time at most.
        let pace = start.elapsed();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            () = sleep(pace) => {}
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            Some(landed) = flights.set.join_next_with_id(), if !flights.set.is_empty() => {
                flights.end(landed);
                missed = true;
            }
            () = shared.store.wait_for_delivery() => missed = true,
            () = sleep(wait) => {}
        }
    }
    // An error means that the grace is over; the rest is dropped, and is still due for the next host.
    let _ = timeout(STOP_GRACE, async { while flights.set.join_next().await.is_some() {} }).await;
}

impl Shared {
    /// Tries a delivery once, and notes how that went; says whether the receiver answered well.
    async fn deliver(&self, delivery: Delivery) -> bool {
        let task = match self.store.get(delivery.task).await {
            Ok(Some(task)) => task,
            // Deleted meanwhile, and the delivery with it.
            Ok(None) => return true,
            Err(_) => {
                sleep(STORE_RETRY).await;
                return true;
            }
        };
        let (at, start) = (self.clock.now(), Instant::now());
        let id = delivery_id(delivery.task);
        let body = serde_json::to_vec(&Told::of(task, at)).map_err(|error| error.to_string());
        let answered = match body {
            Ok(body) => self.send(&delivery, &id, at, body).await,
            Err(error) => Err(error),
        };
        let tried = DeliveryAttempt {
            at,
            took: start.elapsed(),
            status: answered.as_ref().ok().map(|answered| answered.status.as_u16()),
            error: what_went_wrong(&answered),
        };
        let after = self.after(&delivery, &answered, self.clock.now());
        self.figures.count(after);
        let Delivery { task, origin, attempts, .. } = &delivery;
        let (status, error) = (tried.status, &tried.error);
        tracing::debug!(%task, origin, attempts = attempts + 1, status, error, ?after, "a webhook was tried");
        if after == AttemptOutcome::GivenUp {
            tracing::info!(%task, origin, attempts = attempts + 1, status, error, "a webhook is given up");
        }
        loop {
            match self.store.record_attempt(&delivery, tried.clone(), after).await {
                Ok(_) | Err(StoreError::Closed) => break,
                // Until it is noted it would only be sent again at once.
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
    ) -> Result<Answered, String> {
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
        let most = self.config.timeout;
        timeout(most, sending)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(most))))
    }

    /// Decides what comes after a try.
    fn after(
        &self,
        delivery: &Delivery,
        answered: &Result<Answered, String>,
        now: Timestamp,
    ) -> AttemptOutcome {
        let status = answered.as_ref().ok().map(|answered| answered.status);
        if status.is_some_and(|status| status.is_success()) {
            return AttemptOutcome::Delivered;
        }
        // Of those since it was asked for: one that was given up is tried as often as at first.
        let attempts = delivery.attempts.saturating_sub(delivery.attempts_before).saturating_add(1);
        if status == Some(StatusCode::GONE) || attempts >= self.config.attempts_max {
            return AttemptOutcome::GivenUp;
        }
        let asked = answered.as_ref().ok().and_then(|answered| answered.retry_after.as_deref());
        let asked = asked.and_then(|text| retry_after(text, now)).unwrap_or_default();
        let wait = self.config.backoff.wait(attempts, rand::random()).max(asked.min(RETRY_AFTER_MAX));
        AttemptOutcome::RetryAt(now + TimeDelta::from_std(wait).unwrap_or_default())
    }
}

/// Says what went wrong where the status does not say it.
fn what_went_wrong(answered: &Result<Answered, String>) -> Option<String> {
    match answered {
        Err(error) => Some(error.clone()),
        Ok(Answered { status, .. }) if status.is_redirection() => {
            Some("redirects are not followed: give the URL that it leads to".to_owned())
        }
        Ok(Answered { status: StatusCode::GONE, .. }) => {
            Some("the receiver wants no more of this".to_owned())
        }
        Ok(_) => None,
    }
}

/// Reads `Retry-After`: seconds, or a date.
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
    fn a_receiver_says_when_to_come_again_in_seconds_or_by_a_date() {
        let now = DateTime::from_timestamp(1_445_412_400, 0).expect("in range");
        let seconds = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(80));
        assert_eq!(seconds("Wed, 21 Oct 2009 07:28:00 GMT"), None);
        assert_eq!(seconds("soon"), None);
    }
}
