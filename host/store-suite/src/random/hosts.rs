//! What happens to hosts that share a database, and what all of them agree on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wasmill_model::TaskId;
use wasmill_store::{EventKind, Received, Store, Subscriber};

use crate::fixture::{Fault, SharedFixture, StoreExt, at, new_task, plugin};
use crate::random::command::{Command, HostCommand, PLUGINS, Step, WAITING_MAX};
use crate::random::world::{Host, World};

/// How many hosts there are at most.
const PLACES: usize = 3;

/// A busy machine gets this long.
const DEADLINE: Duration = Duration::from_secs(60);

impl<F: SharedFixture> World<F> {
    /// Starts two hosts of a fresh database.
    pub(super) fn of_several() -> Self {
        let mut world = Self::new();
        world.hosts.resize_with(PLACES, Host::default);
        world.start(1);
        world
    }

    /// Does something, at this host if it is one that is asked.
    pub(super) async fn step(&mut self, asked: usize, step: Step) {
        self.fixture.set_time(at(self.now));
        self.asked_at = self.up(asked);
        match step {
            Step::Ask(Command::Reopen) => self.kill(self.asked_at).await,
            Step::Ask(command) => {
                // What is expected of a claim depends on what its host knows.
                self.catch_up().await;
                self.run(command).await;
            }
            Step::Change(command) => self.change(command).await,
        }
        self.asked_at = self.up(asked);
    }

    async fn change(&mut self, command: HostCommand) {
        match command {
            HostCommand::Start(place) => self.start(place % PLACES),
            HostCommand::Leave(place) => self.leave(place % PLACES).await,
            HostCommand::Kill(place) => self.kill(place % PLACES).await,
            HostCommand::Revoke(place) => self.revoke(place % PLACES).await,
            HostCommand::CutOff(place) => self.cut_off(place % PLACES).await,
            HostCommand::Mend(place) => self.mend(place % PLACES).await,
            HostCommand::Disturb(place, fault) => self.disturb(place % PLACES, fault),
            HostCommand::Pause(number, is_paused) => self.pause(number, is_paused).await,
        }
    }

    /// Returns the place of a host that is up.
    fn up(&self, number: usize) -> usize {
        let up: Vec<_> = (0..PLACES).filter(|place| self.hosts[*place].is_up()).collect();
        up[number % up.len()]
    }

    /// Returns the store at a place, if its host is up and not the only one.
    fn dispensable(&self, place: usize) -> Option<Store> {
        self.hosts[place].store.clone().filter(|_| self.hosts[place].is_up() && self.has_others())
    }

    fn start(&mut self, place: usize) {
        if self.hosts[place].store.is_none() {
            let store = self.fixture.start_at(place, WAITING_MAX as u64, at(self.now));
            self.hosts[place].start(store);
        }
    }

    async fn leave(&mut self, place: usize) {
        let Some(store) = self.dispensable(place) else { return };
        store.close().await;
        self.hosts[place].store = None;
        self.put_back(place).await;
    }

    async fn kill(&mut self, place: usize) {
        if !self.hosts[place].is_up() {
            return;
        }
        // So that it cannot leave.
        self.fixture.cut(place, true);
        (self.hosts[place].store, self.hosts[place].events) = (None, None);
        self.fixture.cut(place, false);
        let store = self.fixture.start_at(place, WAITING_MAX as u64, at(self.now));
        self.hosts[place].start(store);
        self.put_back(place).await;
    }

    async fn revoke(&mut self, place: usize) {
        let Some(store) = self.hosts[place].store.clone().filter(|_| self.hosts[place].is_up()) else {
            return;
        };
        let (lease, term) = (store.lease().clone(), store.lease().term());
        self.fixture.revoke(term).await;
        eventually("it registers anew", async || lease.term() != term && lease.is_valid(lease.term())).await;
        self.put_back(place).await;
    }

    async fn cut_off(&mut self, place: usize) {
        let Some(store) = self.dispensable(place) else { return };
        let (lease, term) = (store.lease().clone(), store.lease().term());
        self.fixture.cut(place, true);
        self.hosts[place].is_cut_off = true;
        self.asked_at = self.up(place);
        let other = self.store();
        eventually("it is taken for dead", async || {
            let hosts = other.hosts().await.expect("read");
            let is_dead = !hosts.iter().any(|host| host.id == term && host.is_live);
            assert!(!is_dead || !lease.is_valid(term), "others take over while it may run guests");
            is_dead
        })
        .await;
        self.put_back(place).await;
        assert!(!lease.is_valid(lease.term()), "it may run guests without a registration");
    }

    async fn mend(&mut self, place: usize) {
        if !self.hosts[place].is_cut_off {
            return;
        }
        let lease = self.hosts[place].store.as_ref().expect("it was cut off").lease().clone();
        self.fixture.cut(place, false);
        eventually("it registers anew", async || lease.is_valid(lease.term())).await;
        self.hosts[place].is_cut_off = false;
    }

    fn disturb(&mut self, place: usize, fault: Fault) {
        // The only host would wait for itself, for longer.
        if self.hosts[place].is_up() && (fault != Fault::StopInTurn || self.has_others()) {
            self.fixture.disturb(place, fault);
        }
    }

    async fn pause(&mut self, number: usize, is_paused: bool) {
        let name = PLUGINS.get(number).copied();
        self.store().pause(name.map(plugin), is_paused).await.expect("stored");
        if is_paused {
            self.paused.insert(name);
        } else {
            self.paused.remove(&name);
        }
    }

    /// Waits until the tasks of a dead host are put back.
    async fn put_back(&mut self, place: usize) {
        self.crash(place);
        self.asked_at = self.up(place);
        self.catch_up().await;
    }

    /// Compares every host with the model, and their events with each other.
    pub(super) async fn compare_all(&mut self) {
        let places: Vec<_> = (0..PLACES).filter(|place| self.hosts[*place].is_up()).collect();
        for place in &places {
            self.asked_at = *place;
            self.compare().await;
        }
        // A subscriber that has missed something skips to the newest event; so all of them do that first.
        let mut seen = Vec::new();
        for place in &places {
            let subscriber = self.hosts[*place].events.take().expect("it started");
            let mut events = Seen { since: subscriber.position(), subscriber, events: BTreeMap::new() };
            while events.receive(Duration::from_millis(1)).await {}
            seen.push(events);
        }
        let last = (self.last_event().await, EventKind::Deleted);
        for events in &mut seen {
            while !events.events.values().any(|event| *event == last) {
                assert!(events.receive(DEADLINE).await, "a host does not learn that {last:?}");
            }
        }
        for events in &seen {
            for other in &seen {
                let since = events.since.max(other.since);
                let of_both = |seen: &Seen| {
                    seen.events
                        .range(since + 1..)
                        .map(|(seq, event)| (*seq, event.clone()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(of_both(events), of_both(other), "hosts differ about events behind {since}");
            }
        }
    }

    /// Deletes a task that is not needed any more, and returns it: hosts have all events once they have this one.
    async fn last_event(&mut self) -> TaskId {
        let waiting = self.tasks.iter().find(|(_, task)| task.state.is_waiting()).map(|(id, _)| *id);
        let id = match waiting {
            Some(id) => id,
            None => {
                let task = new_task();
                let id = task.id;
                self.store().insert(vec![task]).await.expect("there is room");
                id
            }
        };
        self.store().remove(id, at(self.now)).await.expect("removed");
        id
    }
}

/// The events that a host has received.
struct Seen {
    /// It has all behind this number.
    since: u64,
    events: BTreeMap<u64, (TaskId, EventKind)>,
    subscriber: Subscriber,
}

impl Seen {
    /// Receives the next events; returns false if none come within this time.
    async fn receive(&mut self, patience: Duration) -> bool {
        match tokio::time::timeout(patience, self.subscriber.next()).await {
            Err(_) => return false,
            Ok(Received::Lagged { until, .. }) => {
                self.since = until;
                self.events.clear();
            }
            Ok(Received::Events(next)) => {
                for event in next {
                    let last = self.events.last_key_value().map_or(self.since, |(seq, _)| *seq);
                    assert!(last < event.seq, "{} comes behind {last}", event.seq);
                    self.events.insert(event.seq, (event.payload.task, event.payload.kind));
                }
            }
        }
        true
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
