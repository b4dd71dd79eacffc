//! Reads due deliveries from the store and starts an attempt for each, within the limits.
//!
//! The binary runs it beside the server. It does not decide what to deliver: the store creates a delivery in
//! the same transaction that finishes its task, so no crash can lose one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use wasmill_model::{BoxFuture, Clock, TaskId, TimeDelta, Timestamp};
use wasmill_store::{Delivery, DueQuery, Store, StoreError};

use crate::attempt::{STORE_RETRY, Sender};
use crate::config::WebhookConfig;
use crate::in_flight::{InFlight, PER_RECEIVER_MAX, Reception};
use crate::stats::DeliveryStats;

/// Maximum time between polls of the store, in case a notification is missed.
const POLL: Duration = Duration::from_secs(5);

/// How long open deliveries may take when the host stops; the next host repeats the rest.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Handle to the deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    sender: Arc<Sender>,
    stop: watch::Sender<bool>,
    /// Held while the delivery loop runs.
    delivering: Arc<Mutex<()>>,
}

impl Webhooks {
    /// Creates the deliveries of this store. Nothing is sent before [`Webhooks::run`].
    pub fn new(config: WebhookConfig, store: Store, clock: Arc<dyn Clock>) -> Self {
        let sender = Arc::new(Sender { config, store, clock, stats: DeliveryStats::default() });
        Self { sender, stop: watch::Sender::new(false), delivering: Arc::default() }
    }

    /// Delivers due webhooks until stopped.
    pub fn run(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _delivering = self.delivering.lock().await;
            delivery_loop(&self.sender, self.stop.subscribe()).await;
        })
    }

    /// Starts no more deliveries, and waits a moment for open ones.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        drop(self.delivering.lock().await);
    }

    /// Returns the counters.
    pub fn stats(&self) -> &DeliveryStats {
        &self.sender.stats
    }
}

/// Open deliveries and their receivers.
struct Deliveries {
    in_flight: InFlight,
    set: JoinSet<Option<Reception>>,
    of: HashMap<Id, (String, TaskId)>,
}

impl Deliveries {
    fn new(sender: &Sender) -> Self {
        let in_flight = InFlight::new(sender.config.connector.connections_max());
        Self { in_flight, set: JoinSet::new(), of: HashMap::new() }
    }

    fn begin(&mut self, sender: &Arc<Sender>, delivery: Delivery) {
        if !self.in_flight.begin(&delivery) {
            return;
        }
        let of = (delivery.origin.clone(), delivery.task);
        let sender = Arc::clone(sender);
        let handle = self.set.spawn(async move { sender.deliver(delivery).await });
        self.of.insert(handle.id(), of);
    }

    fn end(&mut self, joined: Result<(Id, Option<Reception>), JoinError>) {
        let (id, reception) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                tracing::error!(%error, "a webhook delivery panicked");
                (error.id(), Some(Reception::NONE))
            }
        };
        if let Some((origin, task)) = self.of.remove(&id) {
            self.in_flight.end(&origin, task, reception);
        }
    }
}

/// One pass over the receivers: a query starts where the one before had to stop.
#[derive(Default)]
struct Round {
    /// The receiver where the next query starts.
    after: Option<String>,
    /// Earliest due time seen in this round.
    next_at: Option<Timestamp>,
    /// Whether a delivery may have become due behind the cursor.
    missed: bool,
}

/// The store is closed.
struct Closed;

impl Round {
    /// Starts due deliveries within the limits; returns how long to wait before the next query.
    async fn start_due(
        &mut self,
        sender: &Arc<Sender>,
        deliveries: &mut Deliveries,
    ) -> Result<Duration, Closed> {
        if deliveries.in_flight.free() == 0 || !sender.store.is_on_duty() {
            return Ok(POLL);
        }
        if self.after.is_none() {
            (self.next_at, self.missed) = (None, false);
        }
        let query = DueQuery {
            now: sender.clock.now(),
            after: self.after.clone(),
            busy_origins: deliveries.in_flight.full(),
            // Open deliveries are still due, and are listed first.
            per_origin: 2 * PER_RECEIVER_MAX,
            limit: deliveries.in_flight.free() + deliveries.in_flight.total(),
        };
        let due = match sender.store.due_deliveries(query).await {
            Ok(due) => due,
            Err(StoreError::Closed) => return Err(Closed),
            // The store has logged it.
            Err(_) => return Ok(STORE_RETRY),
        };
        for delivery in due.deliveries {
            deliveries.begin(sender, delivery);
        }
        self.next_at = self.next_at.into_iter().chain(due.next_at).min();
        self.after = due.stopped_at;
        if self.after.is_some() || self.missed {
            return Ok(Duration::ZERO);
        }
        let Some(next_at) = self.next_at else { return Ok(POLL) };
        let ahead: TimeDelta = next_at - sender.clock.now();
        Ok(ahead.to_std().unwrap_or_default().min(POLL))
    }
}

/// Iterates over the receivers round by round, and starts due deliveries within the limits.
async fn delivery_loop(sender: &Arc<Sender>, mut stopping: watch::Receiver<bool>) {
    let (mut deliveries, mut round) = (Deliveries::new(sender), Round::default());
    loop {
        while let Some(joined) = deliveries.set.try_join_next_with_id() {
            deliveries.end(joined);
            round.missed = true;
        }
        let start = Instant::now();
        let Ok(wait) = round.start_due(sender, &mut deliveries).await else { break };
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
                round.missed = true;
            }
            () = sender.store.wait_for_delivery() => round.missed = true,
            () = sleep(wait) => {}
        }
    }
    // On timeout the rest is aborted, and stays due for the next host.
    let _ = timeout(STOP_GRACE, async { while deliveries.set.join_next().await.is_some() {} }).await;
}
