//! A schema that several hosts share, each through a proxy of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_model::{Clock, Timestamp, Tracer};
use wasmill_store::{Recovery, Store};
use wasmill_store_postgres::PostgresConfig;
use wasmill_store_suite::fixture::{Fault, at};
use wasmill_store_suite::{Fixture, SharedFixture};

use crate::cluster::{Schema, start};
use crate::hosts::LEASE;
use crate::proxy::{Mode, Proxy};

/// What another host does to one that has not renewed its lease.
const REVOKE: &str = "
    BEGIN;
    UPDATE cluster SET writes = writes + 1 WHERE id = 0;
    UPDATE host SET is_live = false WHERE id = $1;
    UPDATE writer SET is_live = false WHERE host = $1;
    UPDATE cluster SET hosts = (SELECT count(*) FROM host WHERE is_live) WHERE id = 0;
    COMMIT";

/// A schema, and the ways of its hosts to it by their places.
pub(crate) struct SharedSchema {
    schema: Schema,
    clock: Arc<TestClock>,
    proxies: Mutex<BTreeMap<usize, Proxy>>,
}

/// A clock that stands still.
struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedSchema {
    fn proxies(&self) -> MutexGuard<'_, BTreeMap<usize, Proxy>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: usize, mode: Mode) {
        self.proxies()[&place].set(mode);
    }

    /// Returns how the host at a place opens the store.
    fn config(&self, place: usize, waiting_max: u64, tracer: Tracer) -> PostgresConfig {
        let mut proxies = self.proxies();
        let proxy = proxies.entry(place).or_insert_with(|| Proxy::start(self.schema.folder()));
        let config = self.schema.config(&proxy.url(), &place.to_string());
        PostgresConfig { waiting_max, tracer, lease: LEASE, clock: self.clock.clone(), ..config }
    }
}

impl Fixture for SharedSchema {
    fn new() -> Self {
        let clock = Arc::new(TestClock(Mutex::new(at(0))));
        Self { schema: Schema::new(), clock, proxies: Mutex::default() }
    }

    fn open_with(&self, waiting_max: u64, tracer: &Tracer, now: Timestamp) -> (Store, Recovery) {
        start(self.config(0, waiting_max, tracer.clone()), now)
    }
}

impl SharedFixture for SharedSchema {
    fn start_at(&self, place: usize, waiting_max: u64, now: Timestamp) -> Store {
        start(self.config(place, waiting_max, Tracer::default()), now).0
    }

    fn set_time(&self, now: Timestamp) {
        *self.clock.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn disturb(&self, place: usize, fault: Fault) {
        let mode = match fault {
            Fault::LoseCommit => Mode::CutBeforeCommit,
            Fault::LoseAnswer => Mode::CutAfterCommit,
            Fault::StopInTurn => Mode::StopBeforeCommit,
        };
        self.set(place, mode);
    }

    fn cut(&self, place: usize, is_cut: bool) {
        self.set(place, if is_cut { Mode::Refuse } else { Mode::Pass });
    }

    async fn revoke(&self, term: i64) {
        let client = self.schema.connect().await;
        client.batch_execute(&REVOKE.replace("$1", &term.to_string())).await.expect("revoked");
    }
}
