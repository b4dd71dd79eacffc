//! Keeps the lease of this host: renews it, and takes others for dead that do not renew theirs.
//!
//! A task of the runtime of the store, with a connection of its own. It decides by this machine's steady clock alone:
//! a lease ends a while after its last renewal was sent, and another host is dead when no change of its row was seen
//! for longer than that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use wasmill_model::{Clock, boot_time};
use wasmill_store::{HostReport, Recovery};

use crate::cluster::floor_check;
use crate::cluster::hints::Peer;
use crate::cluster::membership::{Rescue, Suspect};
use crate::cluster::others::Others;
use crate::cluster::snapshot::{self, HELD_MIN, SnapshotWatch};
use crate::connection::database::{Connection, Params};
use crate::connection::fault::{Error, Result};
use crate::connection::server::{END_NAMED, Purpose, RECONNECT_WAIT, Server};
use crate::read::rows::{get, number};
use crate::writer::events::PruneEvents;
use crate::writer::thread::WriterQueue;

const RENEW: &str = "
    UPDATE host SET beat = beat + 1, renewed_at = clock_timestamp(), slots = $2, used = $3, memory_free = $4,
        is_draining = $5, plugins_version = $6
    WHERE id = $1 AND is_live";
const HOSTS: &str = "
    SELECT id, beat, is_live, connection, slots, used, is_draining FROM host ORDER BY started_at, id";
const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// How often old events are removed, and how often the oldest snapshot is looked for.
const DUTY_INTERVAL: Duration = Duration::from_secs(10);

/// How often a host looks for how many transactions a snapshot is held.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);

/// How far the clocks of host and database may differ.
const CLOCK_DIFFERENCE_MAX_MS: i64 = 1_000;

/// Keeps the lease of this host.
pub(crate) struct Keeper {
    server: Server,
    others: Arc<Others>,
    queue: WriterQueue,
    /// How long a lease is valid.
    period: Duration,
    clock: Arc<dyn Clock>,
    connection: Option<Arc<Connection>>,
    /// The last renewal of each other host, and since when it is known.
    seen: HashMap<i64, (i64, Duration)>,
    /// When all hosts were last looked at.
    looked_at: Duration,
    served_at: Duration,
    snapshot_watch: SnapshotWatch,
    /// When it was last looked for how many transactions a snapshot is held.
    snapshot_at: Duration,
    /// How often one of the hosts checks the floors of queues, and when this one did.
    floor_check: Duration,
    floors_at: Duration,
    rescuing: Option<JoinHandle<()>>,
    is_clock_off: bool,
}

impl Keeper {
    pub(crate) fn new(
        server: Server,
        others: Arc<Others>,
        queue: WriterQueue,
        period: Duration,
        clock: Arc<dyn Clock>,
        floor_check: Duration,
    ) -> Self {
        Self {
            server,
            others,
            queue,
            period,
            clock,
            connection: None,
            seen: HashMap::new(),
            looked_at: Duration::ZERO,
            served_at: boot_time(),
            snapshot_watch: SnapshotWatch::default(),
            snapshot_at: Duration::ZERO,
            floor_check,
            floors_at: boot_time(),
            rescuing: None,
            is_clock_off: false,
        }
    }

    /// Renews until the runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            let began = boot_time();
            let renewed = timeout(self.period / 2, self.renew()).await.unwrap_or(Err(Error::Silent));
            if let Err(error) = renewed {
                tracing::debug!(%error, "failed to renew the lease");
                if error.is_lost() {
                    self.connection = None;
                }
                sleep(RECONNECT_WAIT).await;
                continue;
            }
            let now = boot_time();
            let due = self.next_suspicion(now).unwrap_or(Duration::MAX).min(began + self.period / 4);
            sleep(due.saturating_sub(now)).await;
        }
    }

    /// Returns when the next host is to be taken for dead, unless it renews its lease before.
    fn next_suspicion(&self, now: Duration) -> Option<Duration> {
        let due = |(_, since): &(i64, Duration)| *since + self.silence_max() + Duration::from_millis(1);
        self.seen.values().map(due).filter(|due| *due > now).min()
    }

    /// Returns how long a live host is silent at most.
    fn silence_max(&self) -> Duration {
        self.period + self.period / 5
    }

    async fn renew(&mut self) -> Result<()> {
        let connection = self.connected().await?;
        let (term, sent) = (self.others.lease.term(), boot_time());
        let HostReport { slots, used, memory_free_bytes, is_draining } = self.others.own.report();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let plugins = self.others.own.plugins_version();
        let values = (number(slots), number(used), number(memory_free_bytes));
        let values: Params<'_> = &[&term, &values.0, &values.1, &values.2, &is_draining, &plugins];
        // One that no standby has is no renewal: a host of the next primary would not know of it.
        let renewed = connection.durably(connection.execute(RENEW, values)).await?;
        if renewed == 0 {
            self.queue.revoked(term).await;
            return Err(Error::Fenced);
        }
        self.others.lease.renew(term, sent + self.period);
        let hosts = connection.query(HOSTS, &[]).await?;
        self.look(&connection, term, &hosts).await?;
        self.look_after_floors(&connection).await?;
        self.check_clock(&connection).await
    }

    async fn connected(&mut self) -> Result<Arc<Connection>> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let connection = self.server.connect(Purpose::Lease).await?;
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Looks at all hosts.
    async fn look(&mut self, connection: &Connection, own: i64, hosts: &[Row]) -> Result<()> {
        let now = boot_time();
        if now.saturating_sub(self.looked_at) > self.period / 2 {
            // What did not change while nobody looked proves nothing.
            self.seen.clear();
        }
        self.looked_at = now;
        let silence_max = self.silence_max();
        let (mut live, mut peers, mut suspects, mut has_dead) = (Vec::new(), Vec::new(), Vec::new(), false);
        for row in hosts {
            let (id, beat): (i64, i64) = (get(row, 0)?, get(row, 1)?);
            if !get::<bool>(row, 2)? {
                has_dead = true;
                continue;
            }
            live.push(id);
            if id != own {
                peers.push(Peer {
                    id,
                    slots: number(row, 4)?,
                    used: number(row, 5)?,
                    is_draining: get(row, 6)?,
                });
            }
            let seen = self.seen.entry(id).or_insert((beat, now));
            if seen.0 != beat {
                *seen = (beat, now);
            } else if id != own && now.saturating_sub(seen.1) > silence_max {
                suspects.push(Suspect { id, beat, connection: get(row, 3)? });
            }
        }
        self.seen.retain(|id, _| live.contains(id));
        self.others.hints.set_peers(peers);
        let is_on_duty = live.first() == Some(&own);
        self.others.set_on_duty(is_on_duty);
        if (live.len() > 1) != self.others.is_any() {
            self.queue.catch_up();
        }
        for suspect in &suspects {
            // One that was stopped within a transaction has the turn.
            connection.query(END_NAMED, &[&suspect.connection]).await?;
        }
        if has_dead || !suspects.is_empty() {
            self.rescue(suspects);
        }
        if !is_on_duty {
            (self.served_at, self.snapshot_watch) = (now, SnapshotWatch::default());
            self.others.set_snapshot(None);
        } else if now.saturating_sub(self.served_at) > DUTY_INTERVAL {
            self.served_at = now;
            self.serve(connection).await?;
        }
        Ok(())
    }

    /// Does what one host does for all.
    async fn serve(&mut self, connection: &Connection) -> Result<()> {
        if self.others.is_any() {
            let queue = self.queue.clone();
            tokio::spawn(async move { queue.write(PruneEvents).await });
        }
        self.others.set_snapshot(self.snapshot_watch.look(connection, HELD_MIN).await?);
        Ok(())
    }

    /// Says whether claims are to note how far queues have been claimed, and checks what they have noted.
    async fn look_after_floors(&mut self, connection: &Connection) -> Result<()> {
        let now = boot_time();
        if now.saturating_sub(self.snapshot_at) > SNAPSHOT_INTERVAL {
            self.snapshot_at = now;
            self.others.set_held_transactions(snapshot::held_transactions(connection).await?);
        }
        let hosts = u32::try_from(self.others.hosts()).unwrap_or(u32::MAX);
        if now.saturating_sub(self.floors_at) > self.floor_check.saturating_mul(hosts) {
            self.floors_at = now;
            if floor_check::any(connection).await? {
                let is_held = self.others.floor_every().is_some();
                let (server, queue) = (self.server.clone(), self.queue.clone());
                tokio::spawn(async move {
                    if let Err(error) = floor_check::check(server, queue, is_held).await {
                        tracing::debug!(%error, "failed to check the floors of queues");
                    }
                });
            }
        }
        Ok(())
    }

    /// Takes hosts for dead and puts back their tasks, while the lease is renewed.
    fn rescue(&mut self, suspects: Vec<Suspect>) {
        if self.rescuing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.rescuing = Some(tokio::spawn(rescue(self.queue.clone(), suspects, self.clock.clone())));
        }
    }

    async fn check_clock(&mut self, connection: &Connection) -> Result<()> {
        let database: i64 = connection.one(CLOCK, &[]).await?.get(0);
        let difference_ms = self.clock.now().timestamp_millis() - database;
        let is_off = difference_ms.abs() > CLOCK_DIFFERENCE_MAX_MS;
        if is_off && !self.is_clock_off {
            tracing::warn!(
                difference_ms,
                "the clocks of this machine and of the database differ: delays and schedules of tasks may be off by as \
                 much; synchronize them"
            );
        }
        self.is_clock_off = is_off;
        Ok(())
    }
}

async fn rescue(queue: WriterQueue, suspects: Vec<Suspect>, clock: Arc<dyn Clock>) {
    let mut all = Recovery::default();
    let hosts = suspects.len();
    let mut suspects = suspects.into_iter();
    loop {
        let suspect = suspects.next();
        let is_last = suspect.is_none();
        let Ok(put_back) = queue.write(Rescue { suspect, now: clock.now() }).await else { break };
        all.requeued += put_back.requeued;
        all.failed += put_back.failed;
        all.stopped += put_back.stopped;
        if is_last && put_back == Recovery::default() {
            break;
        }
    }
    let Recovery { requeued, failed, stopped, .. } = all;
    if hosts + usize::from(requeued + failed + stopped > 0) > 0 {
        tracing::warn!(hosts, requeued, failed, stopped, "took over the tasks of hosts that are dead");
    }
}
