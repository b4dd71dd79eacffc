//! Random commands against a model that is simple enough to be right.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use wasmill_model::{
    DependencyResult, HOST_CRASHES_MAX, NewDependencies, NewTask, OnConflict, OnFailure, Priority, TaskId,
    TaskState, Transition, Unique,
};
use wasmill_store::{
    AttemptOutcome, CancelOutcome, Claim, Counts, Delivery, DeliveryAttempt, DependencyResults, DueQuery,
    Filter, FinishedCounts, IdempotencyKey, ListQuery, PluginCounts, RemoveOutcome, Store,
};

use crate::conformance::webhook::hook;
use crate::fixture::{Folder, StoreFixture, at, failure, new_task, plugin, prune, since};

const PLUGINS: [&str; 2] = ["a", "b"];
const WAITING_MAX: usize = 12;

/// A command; the numbers pick a task or claim among those there are.
#[derive(Clone, Debug)]
enum Command {
    Insert(Vec<Wish>, Option<usize>),
    Claim(usize, usize),
    Finish(usize, usize),
    Cancel(usize),
    Remove(usize),
    Prune,
    Reopen,
    Tick,
    Deliver(bool),
    Again(usize),
}

/// The most tasks of plugin `b` that may wait.
const WAITING_MAX_OF_B: usize = 5;

/// What is asked for: a plugin, a priority, a delay, a tag or none, a unique key or none, what to wait for,
/// a webhook for completed and cancelled, or none, a group or none.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    plugin: usize,
    priority: i64,
    delay: i64,
    tagged: bool,
    key: Option<usize>,
    after: Option<After>,
    hooked: bool,
    group: Option<usize>,
}

/// What to wait for; the numbers pick tasks among those there are.
#[derive(Clone, Debug, PartialEq)]
struct After {
    on: Vec<usize>,
    runs: bool,
    pass_results: bool,
}

fn after() -> impl Strategy<Value = After> {
    (prop::collection::vec(any::<usize>(), 1..4), any::<bool>(), any::<bool>())
        .prop_map(|(on, runs, pass_results)| After { on, runs, pass_results })
}

fn wish() -> impl Strategy<Value = Wish> {
    let key = prop_oneof![4 => Just(None), 1 => (0..2_usize).prop_map(Some)];
    let priority = prop_oneof![3 => Just(0), 2 => -2..3_i64];
    let delay = prop_oneof![3 => Just(0), 1 => Just(3)];
    let after = prop::option::weighted(0.4, after());
    let group = prop_oneof![Just(None), (0..3_usize).prop_map(Some)];
    let new = |(plugin, priority, delay, tagged, key, after, hooked, group)| Wish {
        plugin,
        priority,
        delay,
        tagged,
        key,
        after,
        hooked,
        group,
    };
    (0..PLUGINS.len(), priority, delay, any::<bool>(), key, after, any::<bool>(), group).prop_map(new)
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (prop::collection::vec(wish(), 1..4), prop::option::weighted(0.2, 0..3_usize))
            .prop_map(|(wishes, request)| Command::Insert(wishes, request)),
        4 => (0..=PLUGINS.len(), 1..4_usize).prop_map(|(plugin, limit)| Command::Claim(plugin, limit)),
        5 => (any::<usize>(), 0..5_usize).prop_map(|(claim, next)| Command::Finish(claim, next)),
        2 => any::<usize>().prop_map(Command::Cancel),
        1 => any::<usize>().prop_map(Command::Remove),
        1 => Just(Command::Prune),
        1 => Just(Command::Reopen),
        1 => Just(Command::Tick),
        2 => any::<bool>().prop_map(Command::Deliver),
        1 => any::<usize>().prop_map(Command::Again),
    ]
}

/// What the model knows of a task.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    seq: usize,
    plugin: &'static str,
    state: TaskState,
    ready_at: i64,
    attempt: u32,
    host_crashes: u32,
    claims: usize,
    priority: i64,
    tagged: bool,
    key: Option<usize>,
    /// Its dependencies, with their outcomes as far as they are resolved.
    on: Vec<(TaskId, Option<TaskState>)>,
    runs: bool,
    pass_results: bool,
    result: Option<String>,
    hooked: bool,
    /// When its delivery is due, while it is pending.
    due_at: Option<i64>,
    group: Option<usize>,
    /// Whether it was asked to stop while it runs, and whether it is to be removed then.
    stop: Option<bool>,
}

/// A plugin and a group of it, or none: those take turns.
type Queue = (&'static str, Option<usize>);

impl Known {
    /// How many of the tasks that it waits for have not ended.
    fn pending_dependencies(&self) -> usize {
        if self.state != TaskState::Blocked {
            return 0;
        }
        self.on.iter().filter(|(_, outcome)| outcome.is_none()).count()
    }

    fn queue(&self) -> Queue {
        (self.plugin, self.group)
    }

    /// Where it stands in the line.
    fn fixture(&self) -> (i64, usize) {
        (self.ready_at - 60 * self.priority, self.seq)
    }

    /// Makes its delivery due, if its webhook wants this end.
    fn end(&mut self, now: i64) {
        let is_wanted = matches!(self.state, TaskState::Completed | TaskState::Cancelled);
        self.due_at = (self.hooked && is_wanted).then_some(now);
    }
}

struct World {
    folder: Folder,
    store: Option<Store>,
    tasks: BTreeMap<TaskId, Known>,
    /// Every claim ever given out, with its number among those of its task.
    claims: Vec<(Claim, usize)>,
    /// How many tasks of each plugin ever ended, and how.
    ended: BTreeMap<(&'static str, &'static str), u64>,
    /// How many ended tasks of each plugin were deleted or forgotten, and how they had ended.
    removed: BTreeMap<(&'static str, &'static str), u64>,
    /// How often a queue that could have been served was passed over by another one.
    passed_over: BTreeMap<(Queue, Queue), usize>,
    /// All that was asked for.
    asked: Vec<Vec<Wish>>,
    /// What was asked for under each key, and what the answer was.
    requests: BTreeMap<usize, (Vec<Wish>, Vec<TaskId>)>,
    inserted: usize,
    now: i64,
}

impl World {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between commands")
    }

    fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.state.is_waiting()).count()
    }

    fn count(&self, state: TaskState) -> usize {
        self.tasks.values().filter(|task| task.state == state).count()
    }

    fn pick(&self, number: usize) -> Option<TaskId> {
        self.tasks.keys().nth(number % self.tasks.len().max(1)).copied()
    }

    async fn run(&mut self, command: Command) {
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
        }
    }

    #[expect(clippy::too_many_lines, reason = "the model of one operation")]
    async fn insert(&mut self, wishes: Vec<Wish>, request: Option<usize>) {
        let mut tasks: Vec<NewTask> = Vec::new();
        for wish in &wishes {
            let task = self.new_task(wish, &tasks);
            tasks.push(task);
        }
        let asked = self.asked.iter().position(|before| *before == wishes).unwrap_or(self.asked.len());
        self.asked.push(wishes.clone());
        let digest = [u8::try_from(asked).expect("few commands"); 32];
        let key = request.map(|key| (IdempotencyKey { key: key.to_string(), digest }, at(self.now)));
        let submitted = self.store().submit(tasks.clone(), key).await;
        if let Some((before, ids)) = request.and_then(|key| self.requests.get(&key)) {
            assert_eq!(submitted.is_ok(), *before == wishes);
            if let Ok(submitted) = submitted {
                assert!(submitted.replayed);
                assert_eq!(submitted.tasks.iter().map(|task| task.id).collect::<Vec<_>>(), *ids);
            }
            return;
        }
        let available_memory = WAITING_MAX.saturating_sub(self.waiting());
        let is_free = |key: &usize| {
            let holds = |task: &&Known| task.key == Some(*key) && !task.state.is_final();
            let twice = wishes.iter().filter(|wish| wish.key == Some(*key)).count() > 1;
            !twice && self.tasks.values().find(holds).is_none()
        };
        let of_b = |plugin: &str| usize::from(plugin == "b");
        let waiting_of_b: usize =
            self.tasks.values().filter(|task| task.state.is_waiting()).map(|task| of_b(task.plugin)).sum();
        let wished_of_b: usize = wishes.iter().map(|wish| of_b(PLUGINS[wish.plugin])).sum();
        let available_memory = if wished_of_b > 0 && waiting_of_b + wished_of_b > WAITING_MAX_OF_B {
            0
        } else {
            available_memory
        };
        let fits = wishes.len() <= available_memory
            && wishes.iter().filter_map(|wish| wish.key.as_ref()).all(is_free);
        assert_eq!(submitted.is_ok(), fits, "{submitted:?}");
        if !fits {
            return;
        }
        if let Some(key) = request {
            self.requests.insert(key, (wishes.clone(), tasks.iter().map(|task| task.id).collect()));
        }
        for (task, wish) in tasks.iter().zip(&wishes) {
            let known = Known {
                seq: self.inserted,
                plugin: PLUGINS[wish.plugin],
                state: task.first_state(),
                ready_at: self.now + wish.delay,
                attempt: 0,
                host_crashes: 0,
                claims: 0,
                priority: wish.priority,
                tagged: wish.tagged,
                key: wish.key,
                on: task
                    .dependencies
                    .iter()
                    .flat_map(|dependencies| &dependencies.on)
                    .map(|on| (*on, None))
                    .collect(),
                runs: wish.after.as_ref().is_some_and(|after| after.runs),
                pass_results: task
                    .dependencies
                    .as_ref()
                    .is_some_and(|dependencies| dependencies.pass_results),
                result: None,
                hooked: wish.hooked,
                due_at: None,
                group: wish.group,
                stop: None,
            };
            self.tasks.insert(task.id, known);
            self.inserted += 1;
        }
        for task in &tasks {
            let on: Vec<_> = self.tasks[&task.id].on.iter().map(|(on, _)| *on).collect();
            for on in on {
                let state = self.tasks[&on].state;
                if state.is_final() {
                    self.tell(on, state);
                }
            }
        }
    }

    /// Tells all that wait for a task how it has ended.
    fn tell(&mut self, id: TaskId, outcome: TaskState) {
        let now = self.now;
        let mut cancelled = Vec::new();
        for (waiting, task) in &mut self.tasks {
            if task.state != TaskState::Blocked {
                continue;
            }
            let mut goes_on = false;
            for (_, known) in task.on.iter_mut().filter(|(on, known)| *on == id && known.is_none()) {
                *known = Some(outcome);
                goes_on = outcome == TaskState::Completed || task.runs;
                if !goes_on {
                    cancelled.push(*waiting);
                    break;
                }
            }
            if goes_on && task.pending_dependencies() == 0 {
                task.ready_at = task.ready_at.max(now);
                task.state = if task.ready_at > now { TaskState::Scheduled } else { TaskState::Available };
            }
        }
        for id in cancelled {
            let task = self.tasks.get_mut(&id).expect("it waited");
            if task.state != TaskState::Blocked {
                continue; // It waited for another one of these, too.
            }
            task.state = TaskState::Cancelled;
            task.end(now);
            let plugin = task.plugin;
            self.ended(plugin, TaskState::Cancelled);
            self.tell(id, TaskState::Cancelled);
        }
    }

    fn new_task(&self, wish: &Wish, before: &[NewTask]) -> NewTask {
        let known = self.tasks.keys().copied().chain(before.iter().map(|task| task.id)).collect::<Vec<_>>();
        let on = |after: &After| -> Vec<_> {
            after.on.iter().filter_map(|number| known.get(number % known.len().max(1)).copied()).collect()
        };
        let on_failure = |runs| if runs { OnFailure::Run } else { OnFailure::Cancel };
        let dependencies = wish.after.as_ref().map(|after| NewDependencies {
            on: on(after),
            on_failure: on_failure(after.runs),
            pass_results: after.pass_results,
        });
        let unique = |key: usize| Unique {
            key: key.to_string().parse().expect("a key"),
            on_conflict: OnConflict::Refuse,
        };
        NewTask {
            plugin: plugin(PLUGINS[wish.plugin]),
            created_at: at(self.now),
            run_at: (wish.delay > 0).then_some(at(self.now + wish.delay)),
            priority: Priority::of(wish.priority).expect("in range"),
            tags: if wish.tagged { vec!["t".parse().expect("a tag")] } else { Vec::new() },
            unique: wish.key.map(unique),
            dependencies: dependencies.filter(|dependencies| !dependencies.on.is_empty()),
            webhook: wish.hooked.then(|| hook(&[TaskState::Completed, TaskState::Cancelled])),
            group: wish.group.map(|group| group.to_string().parse().expect("a group")),
            waiting_max: (PLUGINS[wish.plugin] == "b").then_some(WAITING_MAX_OF_B as u64),
            ..new_task()
        }
    }

    async fn claim(&mut self, only: Option<&str>, limit: usize) {
        let names: Vec<_> =
            PLUGINS.into_iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
        let plugins: Vec<_> = names.iter().map(|name| plugin(name)).collect();
        let claims = self.store().claim(&plugins, limit, at(self.now)).await.expect("claimed");
        let now = self.now;
        for task in self.tasks.values_mut() {
            if task.state == TaskState::Scheduled && task.ready_at <= now {
                task.state = TaskState::Available;
            }
        }
        let is_ready = |task: &&Known| task.state == TaskState::Available && names.contains(&task.plugin);
        let ready = self.tasks.values().filter(is_ready).count();
        assert_eq!(claims.claimed.len(), ready.min(limit));
        let mut with_results = Vec::new();
        for claimed in claims.claimed {
            let id = claimed.claim.id;
            self.take_turn(id, &names);
            let task = self.tasks.get_mut(&id).expect("it was stored");
            task.state = TaskState::Running;
            task.attempt += 1;
            task.claims += 1;
            assert_eq!(claimed.attempt, task.attempt);
            assert_eq!(claimed.pass_results, task.pass_results);
            self.claims.push((claimed.claim, task.claims));
            if claimed.pass_results {
                with_results.push(id);
            }
        }
        for id in with_results {
            let (claim, _) = self.claims.iter().rfind(|(claim, _)| claim.id == id).expect("claimed");
            assert_eq!(self.store().dependency_results(claim).await, Ok(self.dependency_results(id)));
        }
    }

    /// The results of its dependencies that a task receives.
    fn dependency_results(&self, id: TaskId) -> DependencyResults {
        let mut dependency_results = Vec::new();
        for (id, outcome) in &self.tasks[&id].on {
            let outcome = outcome.expect("it has ended");
            let result = match self.tasks.get(id) {
                None if outcome == TaskState::Completed => return DependencyResults::Gone(*id),
                on => on.and_then(|on| on.result.clone()),
            };
            dependency_results.push(DependencyResult { id: *id, outcome, result });
        }
        DependencyResults::Results(dependency_results)
    }

    /// Checks that this task may be the next to start: it is the first of its queue, and of the others that have
    /// an available task, none is passed over by this queue twice.
    fn take_turn(&mut self, id: TaskId, names: &[&str]) {
        let mut queues: BTreeMap<Queue, Vec<(i64, usize, TaskId)>> = BTreeMap::new();
        for (id, task) in &self.tasks {
            if task.state == TaskState::Available && names.contains(&task.plugin) {
                let (fixture, seq) = task.fixture();
                queues.entry(task.queue()).or_default().push((fixture, seq, *id));
            }
        }
        let queue = self.tasks[&id].queue();
        let first = queues.get(&queue).and_then(|tasks| tasks.iter().min());
        assert_eq!(first.map(|(_, _, first)| *first), Some(id));
        self.passed_over.retain(|(other, _), _| *other != queue && queues.contains_key(other));
        for other in queues.into_keys().filter(|other| *other != queue) {
            let times = self.passed_over.entry((other, queue)).or_default();
            *times += 1;
            assert_eq!(*times, 1, "{queue:?} had a second turn before {other:?}");
        }
    }

    /// Does an ended task once more.
    async fn again(&mut self, number: usize) {
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
                ..known
            };
            self.tasks.insert(new, fresh);
            self.inserted += 1;
        }
    }

    async fn finish(&mut self, number: usize, next: usize) {
        let Some((claim, token)) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let retry_at = self.now + 2;
        let was_killed = next == 4;
        let next = match next {
            0 => Transition::Completed("1".to_owned()),
            1 => Transition::Failed(failure()),
            2 => Transition::RetryAt(at(retry_at), failure()),
            _ => Transition::Requeued,
        };
        let finished = if was_killed {
            self.store().finish_stopped(claim, None, at(self.now)).await
        } else {
            self.store().finish(claim, next.clone(), None, at(self.now)).await
        };
        let task = self.tasks.get_mut(&claim.id);
        let holds = |task: &&mut Known| task.state == TaskState::Running && task.claims == *token;
        let task = task.filter(holds);
        assert_eq!(finished, Ok(task.as_ref().is_some_and(|task| task.stop.is_none())));
        let Some(task) = task else { return };
        if let Some(removes) = task.stop {
            let id = claim.id;
            return self.stop(id, removes);
        }
        task.state = next.state();
        match next {
            Transition::RetryAt(..) => task.ready_at = retry_at,
            Transition::Requeued => task.attempt -= 1,
            _ => {
                if let Transition::Completed(result) = &next {
                    task.result = Some(result.clone());
                }
                task.end(self.now);
                let (plugin, id) = (task.plugin, claim.id);
                self.ended(plugin, next.state());
                self.tell(id, next.state());
            }
        }
    }

    async fn cancel(&mut self, number: usize) {
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
    fn stop(&mut self, id: TaskId, removes: bool) {
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

    async fn remove(&mut self, number: usize) {
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

    async fn prune(&mut self) {
        let wanted = |id: &TaskId, task: &Known| {
            !task.state.is_final()
                && task.pass_results
                && task.on.contains(&(*id, Some(TaskState::Completed)))
        };
        let kept = |id: &TaskId| self.tasks.values().any(|task| wanted(id, task));
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
    async fn deliver(&mut self, well: bool) {
        let due = self.due().await;
        let Some(delivery) = due.first() else { return };
        let again = self.now + 5;
        let after = if well { AttemptOutcome::Delivered } else { AttemptOutcome::RetryAt(at(again)) };
        let tried = DeliveryAttempt { at: at(self.now), took: Duration::ZERO, status: None, error: None };
        assert_eq!(self.store().record_attempt(delivery, tried, after).await, Ok(true));
        let task = self.tasks.get_mut(&delivery.task).expect("what is due has a task");
        task.due_at = (!well).then_some(again);
    }

    async fn due(&self) -> Vec<Delivery> {
        let (now, busy_origins) = (at(self.now), HashSet::new());
        let due = self
            .store()
            .due_deliveries(DueQuery { now, after: None, busy_origins, per_origin: 999, limit: 999 })
            .await;
        due.expect("read").deliveries
    }

    fn reopen(&mut self) {
        self.store = None;
        // Turns are kept in memory only.
        self.passed_over.clear();
        let (mut requeued, mut failed) = (0, 0);
        let (mut given_up, mut stopped) = (Vec::new(), Vec::new());
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| task.state == TaskState::Running) {
            if let Some(removes) = task.stop {
                stopped.push((*id, removes));
                continue;
            }
            task.host_crashes += 1;
            if task.host_crashes < HOST_CRASHES_MAX {
                task.state = TaskState::Available;
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
        let (store, recovery) = self.folder.open_at(WAITING_MAX as u64, at(self.now));
        assert_eq!((recovery.requeued, recovery.failed, recovery.stopped), (requeued, failed, count));
        self.store = Some(store);
    }

    /// Counts a task that has just ended.
    fn ended(&mut self, plugin: &'static str, state: TaskState) {
        *self.ended.entry((plugin, state.as_str())).or_default() += 1;
    }

    /// Compares what is counted by plugin with the tasks there are, and with those that ever ended.
    async fn compare_tallies(&self) {
        let plugin_counts: BTreeMap<_, _> = self.store().plugin_counts().into_iter().collect();
        let oldest: BTreeMap<_, _> = self.store().oldest_waiting().await.expect("read").into_iter().collect();
        for name in PLUGINS {
            let of_plugin =
                |state| self.tasks.values().filter(move |task| task.plugin == name && task.state == state);
            let ended = |state: TaskState| *self.ended.get(&(name, state.as_str())).unwrap_or(&0);
            let removed = |state: TaskState| *self.removed.get(&(name, state.as_str())).unwrap_or(&0);
            let removed = FinishedCounts {
                completed: removed(TaskState::Completed),
                failed: removed(TaskState::Failed),
                cancelled: removed(TaskState::Cancelled),
            };
            let expected = PluginCounts {
                blocked: of_plugin(TaskState::Blocked).count() as u64,
                scheduled: of_plugin(TaskState::Scheduled).count() as u64,
                suspended: of_plugin(TaskState::Suspended).count() as u64,
                available: of_plugin(TaskState::Available).count() as u64,
                running: of_plugin(TaskState::Running).count() as u64,
                completed: ended(TaskState::Completed),
                failed: ended(TaskState::Failed),
                cancelled: ended(TaskState::Cancelled),
                removed,
            };
            let stored = expected.stored();
            let completed = of_plugin(TaskState::Completed).count() as u64;
            let failed = of_plugin(TaskState::Failed).count() as u64;
            let cancelled = of_plugin(TaskState::Cancelled).count() as u64;
            assert_eq!(stored, FinishedCounts { completed, failed, cancelled });
            assert_eq!(plugin_counts.get(&plugin(name)).copied().unwrap_or_default(), expected);
            let queued = [TaskState::Available, TaskState::Scheduled].into_iter().flat_map(of_plugin);
            let first = queued.map(|task| at(task.ready_at)).min();
            assert_eq!(oldest.get(&plugin(name)).copied(), first);
        }
    }

    /// Compares what is due.
    async fn compare_due(&self) {
        let due: BTreeSet<_> = self.due().await.iter().map(|delivery| delivery.task).collect();
        let is_due = |task: &Known| task.due_at.is_some_and(|due_at| due_at <= self.now);
        let known = self.tasks.iter().filter(|(_, task)| is_due(task)).map(|(id, _)| *id);
        assert_eq!(due, known.collect());
        let pending = self.tasks.values().filter_map(|task| task.due_at).count();
        assert_eq!(self.store().delivery_backlog().await.expect("read").pending, pending as u64);
    }

    async fn compare(&self) {
        self.compare_tallies().await;
        self.compare_due().await;
        let counts =
            Counts { waiting: self.waiting() as u64, running: self.count(TaskState::Running) as u64 };
        assert_eq!(self.store().counts().await, Ok(counts));
        let page = self
            .store()
            .list(ListQuery { limit: 1_000, before: None, filter: Filter::default() })
            .await
            .expect("listed");
        let mut known: Vec<_> = self.tasks.iter().collect();
        known.sort_by_key(|(_, task)| std::cmp::Reverse(task.seq));
        assert_eq!(page.tasks.len(), known.len());
        for (task, (id, known)) in page.tasks.iter().zip(known) {
            assert_eq!(task.id, *id);
            assert_eq!((task.state, task.ready_at), (known.state, at(known.ready_at)));
            assert_eq!((task.attempt, task.host_crashes), (known.attempt, known.host_crashes));
            let pending_dependencies =
                (!known.on.is_empty()).then(|| u32::try_from(known.pending_dependencies()).expect("few"));
            assert_eq!(task.pending_dependencies, pending_dependencies);
        }
        let tagged = Filter { tags: vec!["t".parse().expect("a tag")], ..Filter::default() };
        let page = self.store().list(ListQuery { limit: 1_000, before: None, filter: tagged }).await;
        let mut known: Vec<_> = self.tasks.iter().filter(|(_, task)| task.tagged).collect();
        known.sort_by_key(|(_, task)| std::cmp::Reverse(task.seq));
        let listed: Vec<_> = page.expect("listed").tasks.iter().map(|task| task.id).collect();
        assert_eq!(listed, known.into_iter().map(|(id, _)| *id).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(commands in prop::collection::vec(command(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let folder = Folder::new();
            let (store, _) = folder.open_at(WAITING_MAX as u64, at(0));
            let mut world = World {
                folder,
                store: Some(store),
                tasks: BTreeMap::new(),
                claims: Vec::new(),
                ended: BTreeMap::new(),
                removed: BTreeMap::new(),
                passed_over: BTreeMap::new(),
                asked: Vec::new(),
                requests: BTreeMap::new(),
                inserted: 0,
                now: 0,
            };
            for command in commands {
                world.run(command).await;
                world.compare().await;
            }
        });
    }
}
