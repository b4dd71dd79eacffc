//! Hints: what wakes another host before its next poll. In most of these tests there is no next poll.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use wasmill_store::{CancelOutcome, HostReport, Store};
use wasmill_store_postgres::PostgresConfig;
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{StoreExt, at, claim, claim_one, get, ids, insert_one};

use crate::cluster::{Schema, start};
use crate::hosts::{LEASE, eventually, host};
use crate::proxy::{Mode, Proxy};

/// The id of no host.
const NOBODY: i64 = 0;

const NEVER: Duration = Duration::from_secs(3_600);

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a host that never polls, with this many slots.
fn without_polls(schema: &Schema, place: &str, slots: u64) -> Store {
    let config = schema.config(&schema.url(), place);
    let store = start(PostgresConfig { lease: LEASE, poll_min: NEVER, ..config }, at(0)).0;
    store.report(HostReport { slots, ..HostReport::default() });
    store
}

async fn id_of(store: &Store) -> i64 {
    let hosts = store.hosts().await.expect("read");
    hosts.iter().find(|host| host.is_self).expect("it is registered").id
}

/// Waits until all hosts know the slots of all others.
async fn settle(stores: &[&Store], slots: &[u64]) {
    eventually("the reports are stored", async || {
        let hosts = stores[0].hosts().await.expect("read");
        let mut stored: Vec<_> = hosts.iter().map(|host| host.report.slots).collect();
        let mut expected = slots.to_vec();
        stored.sort_unstable();
        expected.sort_unstable();
        stored == expected
    })
    .await;
    // Each looks when it renews its lease.
    tokio::time::sleep(LEASE / 2).await;
}

/// Hears what hosts are told.
struct Ear {
    client: Client,
    channels: mpsc::UnboundedReceiver<String>,
}

impl Ear {
    async fn of(schema: &Schema, hosts: &[i64]) -> Self {
        let config: Config = schema.url().parse().expect("a URL");
        let (client, mut driver) = config.connect(NoTls).await.expect("connected");
        let (sender, channels) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| driver.poll_message(context)).await {
                if let AsyncMessage::Notification(heard) = message {
                    let _ = sender.send(heard.channel().to_owned());
                }
            }
        });
        for host in hosts.iter().chain(&[NOBODY]) {
            client.batch_execute(&format!("LISTEN wasmill_{host}")).await.expect("listening");
        }
        Self { client, channels }
    }

    /// Returns who was told something until this host is, and by the same transaction.
    async fn until(&mut self, host: i64) -> Vec<i64> {
        let mut heard = Vec::new();
        while !heard.contains(&host) {
            heard.push(self.next().await);
        }
        self.client.batch_execute(&format!("NOTIFY wasmill_{NOBODY}")).await.expect("sent");
        while heard.last() != Some(&NOBODY) {
            heard.push(self.next().await);
        }
        heard.pop();
        heard
    }

    async fn next(&mut self) -> i64 {
        let next = timeout(PATIENCE, self.channels.recv()).await.expect("it is told").expect("connected");
        next.strip_prefix("wasmill_").expect("a host").parse().expect("an id")
    }
}

#[tokio::test]
async fn a_task_for_which_a_host_has_no_slot_wakes_one_that_has() {
    let schema = Schema::new();
    let (a, b) = (without_polls(&schema, "a", 1), without_polls(&schema, "b", 2));
    settle(&[&a, &b], &[1, 2]).await;
    insert_one(&a).await;
    let claimed = claim_one(&a, at(1)).await;
    let id = insert_one(&a).await;
    timeout(PATIENCE, b.wait_for_ready()).await.expect("it is told");
    assert_eq!(claim_one(&b, at(1)).await.claim.id, id);
    drop(claimed);
}

#[tokio::test]
async fn a_stop_wakes_the_host_that_runs_the_task() {
    let schema = Schema::new();
    let (a, b) = (without_polls(&schema, "a", 4), without_polls(&schema, "b", 4));
    settle(&[&a, &b], &[4, 4]).await;
    let id = insert_one(&b).await;
    claim_one(&b, at(1)).await;
    let Ok(CancelOutcome::Stopping { .. }) = a.cancel(id, at(2)).await else { panic!("it runs") };
    let stops = timeout(PATIENCE, b.wait_for_stops()).await.expect("it is told");
    assert_eq!(stops[0].task, id);
}

#[tokio::test]
async fn hosts_are_told_only_of_what_they_can_take() {
    let schema = Schema::new();
    let stores = ["a", "b", "c", "d", "e", "f"].map(|place| without_polls(&schema, place, 2));
    let [a, b, rest @ ..] = &stores;
    settle(&stores.iter().collect::<Vec<_>>(), &[2; 6]).await;
    let mut ids = Vec::new();
    for store in &stores {
        ids.push(id_of(store).await);
    }
    // It is told of stops alone, in the order of the commits of `a`.
    let stopped = insert_one(b).await;
    claim_one(b, at(1)).await;
    b.report(HostReport { slots: 2, is_draining: true, ..HostReport::default() });
    eventually("it drains", async || {
        a.hosts().await.expect("read").iter().any(|host| host.report.is_draining)
    })
    .await;
    tokio::time::sleep(LEASE / 2).await;
    let mut ear = Ear::of(&schema, &ids).await;
    let mut told = async || {
        let Ok(CancelOutcome::Stopping { .. }) = a.cancel(stopped, at(2)).await else { panic!("it runs") };
        ear.until(ids[1]).await
    };
    insert_one(a).await;
    assert_eq!(told().await, [ids[1]], "it has a free slot itself");
    claim_one(a, at(1)).await;
    insert_one(a).await;
    claim_one(a, at(1)).await;
    assert_eq!(told().await, [ids[1]], "it takes both itself");
    insert_one(a).await;
    let mut hosts = told().await;
    hosts.retain(|host| *host != ids[1]);
    assert!(hosts.len() == 1 && hosts[0] != ids[0], "one of four idle hosts is enough: {hosts:?} of {ids:?}");
    for store in rest {
        while store.live_runs().len() < 2 {
            insert_one(store).await;
            claim(store, 1, at(3)).await;
        }
    }
    insert_one(a).await;
    insert_one(a).await;
    assert_eq!(told().await, [ids[1]], "nobody has a free slot");
}

#[tokio::test]
async fn a_host_that_hears_nothing_finds_out_at_its_next_poll() {
    let schema = Schema::new();
    let proxy = Proxy::start(schema.folder());
    let deaf = schema.config(&proxy.url(), "b");
    let a = without_polls(&schema, "a", 1);
    let b = start(PostgresConfig { lease: LEASE, ..deaf }, at(0)).0;
    b.report(HostReport { slots: 2, ..HostReport::default() });
    proxy.set(Mode::DropNotifications);
    settle(&[&a, &b], &[1, 2]).await;
    insert_one(&a).await;
    claim_one(&a, at(1)).await;
    let id = insert_one(&a).await;
    eventually("it is told in vain", async || proxy.dropped() > 0).await;
    eventually("it looks", async || ids(&claim(&b, 1, at(1)).await) == [id]).await;
    assert!(a.cancel(id, at(2)).await.is_ok());
    assert_eq!(timeout(PATIENCE, b.wait_for_stops()).await.expect("it looks")[0].task, id);
}

#[tokio::test]
async fn a_host_listens_again_once_its_connection_is_ended() {
    let schema = Schema::new();
    let (a, b) = (without_polls(&schema, "a", 1), without_polls(&schema, "b", 2));
    settle(&[&a, &b], &[1, 2]).await;
    insert_one(&a).await;
    claim_one(&a, at(1)).await;
    let client = schema.connect().await;
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wasmill live'
        AND query LIKE '%wasmill_' || $1::text";
    let id = id_of(&b).await.to_string();
    let is_listening =
        async || client.query_one(listening, &[&id]).await.expect("read").get::<_, i64>(0) == 1;
    eventually("b listens", is_listening).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'wasmill live' AND query LIKE '%wasmill_' || $1::text";
    client.execute(end, &[&id]).await.expect("ended");
    let id = insert_one(&a).await;
    // Sent while nobody listens, or after: it looks when it listens again.
    timeout(PATIENCE, b.wait_for_ready()).await.expect("it looks");
    assert_eq!(claim_one(&b, at(1)).await.claim.id, id);
    let next = insert_one(&a).await;
    timeout(PATIENCE, b.wait_for_ready()).await.expect("it is told");
    assert_eq!(get(&b, next).await.id, next);
}

#[tokio::test]
async fn a_host_that_registers_anew_listens_under_its_new_id() {
    let schema = Schema::new();
    let proxy = Proxy::start(schema.folder());
    let config = schema.config(&proxy.url(), "b");
    let b = start(PostgresConfig { lease: LEASE, poll_min: NEVER, ..config }, at(0)).0;
    b.report(HostReport { slots: 2, ..HostReport::default() });
    let a = host(&schema, "a");
    let before = b.lease().term();
    proxy.set(Mode::Refuse);
    eventually("it is taken for dead", async || a.hosts().await.expect("read").len() == 1).await;
    proxy.set(Mode::Pass);
    eventually("it registers anew", async || {
        b.lease().term() != before && b.lease().is_valid(b.lease().term())
    })
    .await;
    eventually("a tells it of a task", async || {
        insert_one(&a).await;
        timeout(LEASE / 3, b.wait_for_ready()).await.is_ok()
    })
    .await;
}
