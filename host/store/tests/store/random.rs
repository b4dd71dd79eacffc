//! Random commands against a model that is simple enough to be right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_model::{HOST_CRASHES_MAX, NewTask, Next, TaskId, TaskState};
use wasmill_store::{Cancelled, Claim, Counts, Filter, ListQuery, Store, Tally};

use crate::fixture::{Folder, Place, at, failure, new_task, plugin};

const PLUGINS: [&str; 2] = ["a", "b"];
const WAITING_MAX: usize = 12;

/// A command; the numbers pick a task or claim among those there are.
#[derive(Clone, Debug)]
enum Command {
    Insert(Vec<usize>),
    Claim(usize, usize),
    Finish(usize, usize),
    Cancel(usize),
    Remove(usize),
    Reopen,
    Tick,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => prop::collection::vec(0..PLUGINS.len(), 1..4).prop_map(Command::Insert),
        4 => (0..=PLUGINS.len(), 1..4_usize).prop_map(|(plugin, most)| Command::Claim(plugin, most)),
        5 => (any::<usize>(), 0..4_usize).prop_map(|(claim, next)| Command::Finish(claim, next)),
        1 => any::<usize>().prop_map(Command::Cancel),
        1 => any::<usize>().prop_map(Command::Remove),
        1 => Just(Command::Reopen),
        1 => Just(Command::Tick),
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
}

struct World {
    folder: Folder,
    store: Option<Store>,
    tasks: BTreeMap<TaskId, Known>,
    /// Every claim ever given out, with its number among those of its task.
    claims: Vec<(Claim, usize)>,
    /// How many tasks of each plugin ever ended, and how.
    ended: BTreeMap<(&'static str, &'static str), u64>,
    inserted: usize,
    now: i64,
}

impl World {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between commands")
    }

    fn count(&self, state: TaskState) -> usize {
        self.tasks.values().filter(|task| task.state == state).count()
    }

    fn pick(&self, number: usize) -> Option<TaskId> {
        self.tasks.keys().nth(number % self.tasks.len().max(1)).copied()
    }

    async fn run(&mut self, command: Command) {
        match command {
            Command::Insert(plugins) => self.insert(&plugins).await,
            Command::Claim(plugin, most) => self.claim(PLUGINS.get(plugin).copied(), most).await,
            Command::Finish(claim, next) => self.finish(claim, next).await,
            Command::Cancel(task) => self.cancel(task).await,
            Command::Remove(task) => self.remove(task).await,
            Command::Reopen => self.reopen(),
            Command::Tick => self.now += 1,
        }
    }

    async fn insert(&mut self, plugins: &[usize]) {
        let fits = self.count(TaskState::Waiting) + plugins.len() <= WAITING_MAX;
        let names = plugins.iter().map(|&name| PLUGINS[name]);
        let new = |name| NewTask { plugin: plugin(name), created_at: at(self.now), ..new_task() };
        let tasks: Vec<_> = names.clone().map(new).collect();
        assert_eq!(self.store().insert(tasks.clone()).await.is_ok(), fits);
        for (task, plugin) in tasks.iter().zip(names).filter(|_| fits) {
            let (seq, state, ready_at) = (self.inserted, TaskState::Waiting, self.now);
            let known = Known { seq, plugin, state, ready_at, attempt: 0, host_crashes: 0, claims: 0 };
            self.tasks.insert(task.id, known);
            self.inserted += 1;
        }
    }

    async fn claim(&mut self, only: Option<&str>, most: usize) {
        let names: Vec<_> =
            PLUGINS.into_iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
        let plugins: Vec<_> = names.iter().map(|name| plugin(name)).collect();
        let claims = self.store().claim(&plugins, most, at(self.now)).await.expect("claimed");
        let waiting = |task: &&mut Known| task.state == TaskState::Waiting && names.contains(&task.plugin);
        let now = self.now;
        let mut ready: Vec<_> = self
            .tasks
            .iter_mut()
            .map(|(id, task)| (*id, task))
            .filter(|(_, task)| waiting(task) && task.ready_at <= now)
            .collect();
        ready.sort_by_key(|(_, task)| (task.ready_at, task.seq));
        ready.truncate(most);
        assert_eq!(claims.claimed.len(), ready.len());
        for (claimed, (id, task)) in claims.claimed.into_iter().zip(ready) {
            task.state = TaskState::Running;
            task.attempt += 1;
            task.claims += 1;
            assert_eq!((claimed.claim.id, claimed.attempt), (id, task.attempt));
            self.claims.push((claimed.claim, task.claims));
        }
    }

    async fn finish(&mut self, number: usize, next: usize) {
        let Some((claim, token)) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let retry_at = self.now + 2;
        let next = match next {
            0 => Next::Completed("1".to_owned()),
            1 => Next::Failed(failure()),
            2 => Next::RetryAt(at(retry_at), failure()),
            _ => Next::Requeued,
        };
        let finished = self.store().finish(claim, next.clone(), None, at(self.now)).await.expect("answered");
        let task = self.tasks.get_mut(&claim.id);
        let holds = |task: &&mut Known| task.state == TaskState::Running && task.claims == *token;
        let task = task.filter(holds);
        assert_eq!(finished, task.is_some());
        let Some(task) = task else { return };
        task.state = next.state();
        match next {
            Next::RetryAt(..) => task.ready_at = retry_at,
            Next::Requeued => task.attempt -= 1,
            _ => {
                let plugin = task.plugin;
                self.ended(plugin, next.state());
            }
        }
    }

    async fn cancel(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        let cancelled = self.store().cancel(id, at(self.now)).await.expect("answered");
        let task = self.tasks.get_mut(&id).expect("picked");
        if task.state.is_final() {
            assert_eq!(cancelled, Cancelled::AlreadyFinal(task.state));
        } else {
            assert_eq!(cancelled, Cancelled::Cancelled { was: task.state });
            task.state = TaskState::Cancelled;
            let plugin = task.plugin;
            self.ended(plugin, TaskState::Cancelled);
        }
    }

    async fn remove(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        let was = self.tasks.remove(&id).map(|task| task.state);
        assert_eq!(self.store().remove(id, at(self.now)).await, Ok(was));
    }

    fn reopen(&mut self) {
        self.store = None;
        let (mut requeued, mut failed) = (0, 0);
        let mut given_up = Vec::new();
        for task in self.tasks.values_mut().filter(|task| task.state == TaskState::Running) {
            task.host_crashes += 1;
            if task.host_crashes < HOST_CRASHES_MAX {
                task.state = TaskState::Waiting;
                requeued += 1;
            } else {
                task.state = TaskState::Failed;
                given_up.push(task.plugin);
                failed += 1;
            }
        }
        for plugin in given_up {
            self.ended(plugin, TaskState::Failed);
        }
        let (store, recovery) = self.folder.open_at(WAITING_MAX as u64, at(self.now));
        assert_eq!((recovery.requeued, recovery.failed), (requeued, failed));
        self.store = Some(store);
    }

    /// Counts a task that has just ended.
    fn ended(&mut self, plugin: &'static str, state: TaskState) {
        *self.ended.entry((plugin, state.as_str())).or_default() += 1;
    }

    /// Compares what is counted by plugin with the tasks there are, and with those that ever ended.
    async fn compare_tallies(&self) {
        let tallies: BTreeMap<_, _> = self.store().tallies().into_iter().collect();
        let oldest: BTreeMap<_, _> = self.store().oldest_waiting().await.expect("read").into_iter().collect();
        for name in PLUGINS {
            let of_plugin =
                |state| self.tasks.values().filter(move |task| task.plugin == name && task.state == state);
            let ended = |state: TaskState| *self.ended.get(&(name, state.as_str())).unwrap_or(&0);
            let expected = Tally {
                waiting: of_plugin(TaskState::Waiting).count() as u64,
                running: of_plugin(TaskState::Running).count() as u64,
                completed: ended(TaskState::Completed),
                failed: ended(TaskState::Failed),
                cancelled: ended(TaskState::Cancelled),
            };
            assert_eq!(tallies.get(&plugin(name)).copied().unwrap_or_default(), expected);
            let first = of_plugin(TaskState::Waiting).map(|task| at(task.ready_at)).min();
            assert_eq!(oldest.get(&plugin(name)).copied(), first);
        }
    }

    async fn compare(&self) {
        self.compare_tallies().await;
        let counts = Counts {
            waiting: self.count(TaskState::Waiting) as u64,
            running: self.count(TaskState::Running) as u64,
        };
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
        }
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
