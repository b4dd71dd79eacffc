//! The store and the model beside it, and what each command does to both.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use wasmill_model::{HOST_CRASHES_MAX, TaskId, TaskState, Transition, WakeOn};
use wasmill_store::{
    AttemptOutcome, CancelOutcome, Claim, Delivery, DeliveryAttempt, DueQuery, RemoveOutcome, Store,
    Subscriber,
};

use crate::fixture::{Fixture, StoreExt, at, failure, prune, since, suspended};
use crate::random::command::{Command, PLUGINS, WAITING_MAX, Wish};
use crate::random::known::{Known, Queue};
use crate::turns::Turns;

pub(super) struct World<F> {
    pub(super) fixture: F,
    /// The hosts by their places; one in all if the database has no others.
    pub(super) hosts: Vec<Host>,
    /// The place of the host that is asked.
    pub(super) asked_at: usize,
    pub(super) tasks: BTreeMap<TaskId, Known>,
    /// Every claim ever given out.
    pub(super) claims: Vec<Granted>,
    /// How many tasks of each plugin ever ended, and how.
    pub(super) ended: BTreeMap<(&'static str, &'static str), u64>,
    /// How many ended tasks of each plugin were deleted or forgotten, and how they had ended.
    pub(super) removed: BTreeMap<(&'static str, &'static str), u64>,
    /// Plugins that are paused, and whether all are.
    pub(super) paused: BTreeSet<Option<&'static str>>,
    /// All that was asked for.
    pub(super) asked: Vec<Vec<Wish>>,
    /// What was asked for under each key, and what the answer was.
    pub(super) requests: BTreeMap<usize, (Vec<Wish>, Vec<TaskId>)>,
    pub(super) inserted: usize,
    pub(super) now: i64,
}

/// A host, or a place for one.
#[derive(Default)]
pub(super) struct Host {
    pub(super) store: Option<Store>,
    /// How many hosts have started at this place.
    pub(super) starts: usize,
    /// Whether it cannot reach the database, and others took it for dead.
    pub(super) is_cut_off: bool,
    pub(super) turns: Turns<Queue>,
    /// Receives its events since it started.
    pub(super) events: Option<Subscriber>,
}

impl Host {
    /// Returns true if it can be asked.
    pub(super) fn is_up(&self) -> bool {
        self.store.is_some() && !self.is_cut_off
    }

    /// Replaces the host at this place.
    pub(super) fn start(&mut self, store: Store) {
        self.starts += 1;
        self.is_cut_off = false;
        // Turns are kept in memory only.
        self.turns.forget();
        self.events = Some(store.subscribe_all());
        self.store = Some(store);
    }
}

/// A claim that was given out.
pub(super) struct Granted {
    pub(super) claim: Claim,
    /// Its number among the claims of its task.
    pub(super) nth: usize,
    /// The place of the host that got it, and which host of that place it is.
    pub(super) place: usize,
    pub(super) start: usize,
}

impl<F: Fixture> World<F> {
    /// Opens a store in a fresh database.
    pub(super) fn new() -> Self {
        let fixture = F::new();
        let (store, _) = fixture.open_at(WAITING_MAX as u64, at(0));
        let mut host = Host::default();
        host.start(store);
        Self {
            fixture,
            hosts: vec![host],
            asked_at: 0,
            tasks: BTreeMap::new(),
            claims: Vec::new(),
            ended: BTreeMap::new(),
            removed: BTreeMap::new(),
            paused: BTreeSet::new(),
            asked: Vec::new(),
            requests: BTreeMap::new(),
            inserted: 0,
            now: 0,
        }
    }

    pub(super) fn store(&self) -> &Store {
        self.hosts[self.asked_at].store.as_ref().expect("open between commands")
    }

    /// Returns true if other hosts may have the database, too.
    pub(super) fn is_shared(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Returns true if another host is live.
    pub(super) fn has_others(&self) -> bool {
        self.hosts.iter().filter(|host| host.is_up()).count() > 1
    }

    /// Returns the store that got a claim; once that is gone, the one that is asked sends what comes late.
    pub(super) fn store_of(&self, granted: &Granted) -> &Store {
        let host = &self.hosts[granted.place];
        let is_there = host.is_up() && host.starts == granted.start;
        if is_there { host.store.as_ref().expect("it is up") } else { self.store() }
    }

    pub(super) fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.state.is_waiting()).count()
    }

    pub(super) fn count(&self, state: TaskState) -> usize {
        self.tasks.values().filter(|task| task.state == state).count()
    }

    pub(super) fn pick(&self, number: usize) -> Option<TaskId> {
        self.tasks.keys().nth(number % self.tasks.len().max(1)).copied()
    }

    pub(super) async fn run(&mut self, command: Command) {
        match command {
            Command::Insert(wishes, request) => self.insert(wishes, request).await,
            Command::Claim(plugin, limit) => self.claim(PLUGINS.get(plugin).copied(), limit).await,
            Command::Finish(claim, next) => self.finish(claim, next).await,
            Command::Cancel(task) => self.cancel(task).await,
            Command::Remove(task) => self.remove(task).await,
            Command::Prune => self.prune().await,
            Command::Reopen => self.reopen(),
            // Never whole minutes: positions in the queue then differ in more than their number.
            Command::Tick => self.now += 17,
            Command::Deliver(well) => self.deliver(well).await,
            Command::Again(task) => self.again(task).await,
            Command::Post(task) => self.post(task).await,
            Command::Take(claim) => self.take(claim).await,
            Command::Save(claim) => self.save(claim).await,
            Command::Bear(claim, names) => self.bear(claim, names).await,
            Command::Look(claim) => self.look(claim).await,
        }
    }

    /// Does an ended task once more.
    pub(super) async fn again(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        let known = self.tasks[&id].clone();
        let new = TaskId::new();
        let (state, task) =
            self.store().clone_for_retry(id, new, at(self.now)).await.expect("read").expect("there");
        assert_eq!(state, known.state);
        // What becomes of what it waited for is a test of its own.
        if !state.is_final() || !known.on.is_empty() {
            return;
        }
        let is_held = |task: &&Known| known.key.is_some() && task.key == known.key && !task.state.is_final();
        let fits = self.waiting() < WAITING_MAX && !self.tasks.values().any(|task| is_held(&task));
        let submitted = self.store().submit(vec![task], None).await;
        assert_eq!(submitted.is_ok(), fits, "{submitted:?}");
        if fits {
            let (seq, ready_at) = (self.inserted, self.now);
            let state = TaskState::Available;
            let fresh = Known {
                seq,
                state,
                ready_at,
                attempt: 0,
                host_crashes: 0,
                claims: 0,
                due_at: None,
                result: None,
                stop: None,
                suspensions: 0,
                wakes: WakeOn::default(),
                posted: 0,
                events: Vec::new(),
                parent: None,
                depth: 0,
                children: Vec::new(),
                children_seen: 0,
                ..known
            };
            self.tasks.insert(new, fresh);
            self.inserted += 1;
        }
    }

    pub(super) async fn finish(&mut self, number: usize, next: usize) {
        let Some(granted) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let (claim, store) = (&granted.claim, self.store_of(granted));
        let (retry_at, resume_at) = (self.now + 2, self.now + 4);
        let wakes = WakeOn { event: next == 6, any_child: next == 7, all_children: next == 8 };
        let was_killed = next == 4;
        let next = match next {
            0 => Transition::Completed("1".into()),
            1 => Transition::Failed(failure()),
            2 => Transition::RetryAt(at(retry_at), failure()),
            5..=8 => suspended(at(resume_at), &[1], wakes),
            _ => Transition::Requeued,
        };
        let finished = if was_killed {
            store.finish_stopped(claim, None, at(self.now)).await
        } else {
            store.finish(claim, next.clone(), None, at(self.now)).await
        };
        let (id, nth, taken) = (claim.id, granted.nth, claim.events_taken());
        let task = self.tasks.get_mut(&id);
        let task = task.filter(|task| task.is_run_by(nth));
        assert_eq!(finished, Ok(task.as_ref().is_some_and(|task| task.stop.is_none())));
        let Some(task) = task else { return };
        if let Some(removes) = task.stop {
            return self.stop(id, removes);
        }
        task.state = next.state();
        match next {
            Transition::RetryAt(..) => (task.ready_at, task.suspensions) = (retry_at, 0),
            Transition::Requeued if task.suspensions == 0 => task.attempt -= 1,
            Transition::Requeued => {}
            Transition::Suspended(..) => {
                task.forget_events(taken);
                task.suspensions += 1;
                task.wakes = wakes;
                let is_awaited = (wakes.event && !task.events.is_empty()) || task.have_children_ended();
                task.ready_at = if is_awaited { self.now } else { resume_at };
            }
            _ => {
                if let Transition::Completed(result) = &next {
                    task.result = Some(result.text.clone());
                }
                task.end(self.now);
                let plugin = task.plugin;
                self.ended(plugin, next.state());
                self.tell(id, next.state());
            }
        }
    }

    pub(super) async fn cancel(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        let cancelled = self.store().cancel(id, at(self.now)).await.expect("answered");
        let task = self.tasks.get_mut(&id).expect("picked");
        if task.state.is_final() {
            assert_eq!(cancelled, CancelOutcome::AlreadyFinal(task.state));
        } else if task.state == TaskState::Running {
            assert!(matches!(cancelled, CancelOutcome::Stopping { .. }), "{cancelled:?}");
            task.stop = task.stop.or(Some(false));
        } else {
            assert_eq!(cancelled, CancelOutcome::Cancelled { was: task.state });
            task.state = TaskState::Cancelled;
            task.end(self.now);
            let plugin = task.plugin;
            self.ended(plugin, TaskState::Cancelled);
            self.tell(id, TaskState::Cancelled);
        }
    }

    /// Ends a task that was asked to stop.
    pub(super) fn stop(&mut self, id: TaskId, removes: bool) {
        let now = self.now;
        if removes {
            self.tasks.remove(&id);
        } else {
            let task = self.tasks.get_mut(&id).expect("there");
            task.state = TaskState::Cancelled;
            task.end(now);
            let plugin = task.plugin;
            self.ended(plugin, TaskState::Cancelled);
        }
        self.tell(id, TaskState::Cancelled);
    }

    pub(super) async fn remove(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        if let Some(task) = self.tasks.get_mut(&id).filter(|task| task.state == TaskState::Running) {
            task.stop = Some(true);
            let removed = self.store().remove(id, at(self.now)).await;
            assert!(matches!(removed, Ok(RemoveOutcome::Stopping { .. })), "{removed:?}");
            return;
        }
        let removed = self.tasks.remove(&id);
        if let Some(task) = removed.as_ref().filter(|task| task.state.is_final()) {
            *self.removed.entry((task.plugin, task.state.as_str())).or_default() += 1;
        }
        let was = removed.map(|task| task.state).expect("picked");
        assert_eq!(self.store().remove(id, at(self.now)).await, Ok(RemoveOutcome::Removed { was }));
        if !was.is_final() {
            self.tell(id, TaskState::Cancelled);
        }
    }

    pub(super) async fn prune(&mut self) {
        let wanted = |id: &TaskId, task: &Known| {
            !task.state.is_final()
                && task.pass_results
                && task.on.contains(&(*id, Some(TaskState::Completed)))
        };
        let is_kept =
            |outcome: &Option<TaskState>| matches!(outcome, Some(TaskState::Completed | TaskState::Failed));
        let read = |id: &TaskId, task: &Known| {
            let mut children = task.children.iter().filter(|(_, _, outcome)| is_kept(outcome));
            !task.state.is_final() && children.any(|(_, child, _)| child == id)
        };
        let kept = |id: &TaskId| self.tasks.values().any(|task| wanted(id, task) || read(id, task));
        let gone: Vec<_> = self
            .tasks
            .iter()
            .filter(|(id, task)| task.state.is_final() && task.due_at.is_none() && !kept(id))
            .map(|(id, _)| *id)
            .collect();
        let pruned = prune(self.store(), since(self.now + 1)).await;
        assert_eq!(pruned, gone.len() as u64);
        for id in gone {
            let task = self.tasks.remove(&id).expect("just found");
            *self.removed.entry((task.plugin, task.state.as_str())).or_default() += 1;
        }
    }

    /// Delivers what is due first, or notes that it is to be tried again later.
    pub(super) async fn deliver(&mut self, well: bool) {
        let due = self.due().await;
        let Some(delivery) = due.first() else { return };
        let again = self.now + 5;
        let after = if well { AttemptOutcome::Delivered } else { AttemptOutcome::RetryAt(at(again)) };
        let tried = DeliveryAttempt { at: at(self.now), took: Duration::ZERO, status: None, error: None };
        assert_eq!(self.store().record_attempt(delivery, tried, after).await, Ok(true));
        let task = self.tasks.get_mut(&delivery.task).expect("what is due has a task");
        task.due_at = (!well).then_some(again);
    }

    pub(super) async fn due(&self) -> Vec<Delivery> {
        let (now, busy_origins) = (at(self.now), HashSet::new());
        let due = self
            .store()
            .due_deliveries(DueQuery { now, after: None, busy_origins, per_origin: 999, limit: 999 })
            .await;
        due.expect("read").deliveries
    }

    pub(super) fn reopen(&mut self) {
        self.hosts[self.asked_at].store = None;
        let put_back = self.crash(self.asked_at);
        let (store, recovery) = self.fixture.open_at(WAITING_MAX as u64, at(self.now));
        assert_eq!((recovery.requeued, recovery.failed, recovery.stopped), put_back);
        self.hosts[self.asked_at].start(store);
    }

    /// Puts back what ran at the place of a host that is dead; returns how many tasks run again, failed, and were
    /// stopped.
    pub(super) fn crash(&mut self, place: usize) -> (u64, u64, u64) {
        let (mut requeued, mut failed) = (0, 0);
        let (mut given_up, mut stopped) = (Vec::new(), Vec::new());
        let ran_there = |task: &Known| task.state == TaskState::Running && task.place == place;
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| ran_there(task)) {
            if let Some(removes) = task.stop {
                stopped.push((*id, removes));
                continue;
            }
            task.host_crashes += 1;
            if task.host_crashes < HOST_CRASHES_MAX {
                task.state = TaskState::Available;
                task.suspensions = 0;
                requeued += 1;
            } else {
                task.state = TaskState::Failed;
                given_up.push((*id, task.plugin));
                failed += 1;
            }
        }
        for (id, plugin) in given_up {
            self.ended(plugin, TaskState::Failed);
            self.tell(id, TaskState::Failed);
        }
        let count = stopped.len() as u64;
        for (id, removes) in stopped {
            self.stop(id, removes);
        }
        (requeued, failed, count)
    }

    /// Counts a task that has just ended.
    pub(super) fn ended(&mut self, plugin: &'static str, state: TaskState) {
        *self.ended.entry((plugin, state.as_str())).or_default() += 1;
    }
}
