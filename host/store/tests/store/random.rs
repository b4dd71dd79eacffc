//! Random commands against a model that is simple enough to be right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_model::{HOST_CRASHES_MAX, NewTask, Next, OnConflict, Priority, TaskId, TaskState, Unique};
use wasmill_store::{Cancelled, Claim, Counts, Filter, ListQuery, RequestKey, Store, Tally};

use crate::fixture::{Folder, Place, at, failure, new_task, plugin};

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
    Reopen,
    Tick,
}

/// What is asked for: a plugin, a priority, a delay, a tag or none, a unique key or none.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    plugin: usize,
    priority: i64,
    delay: i64,
    tagged: bool,
    key: Option<usize>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let key = prop_oneof![4 => Just(None), 1 => (0..2_usize).prop_map(Some)];
    let priority = prop_oneof![3 => Just(0), 2 => -2..3_i64];
    let delay = prop_oneof![3 => Just(0), 1 => Just(3)];
    let new = |(plugin, priority, delay, tagged, key)| Wish { plugin, priority, delay, tagged, key };
    (0..PLUGINS.len(), priority, delay, any::<bool>(), key).prop_map(new)
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (prop::collection::vec(wish(), 1..4), prop::option::weighted(0.2, 0..3_usize))
            .prop_map(|(wishes, request)| Command::Insert(wishes, request)),
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
    priority: i64,
    tagged: bool,
    key: Option<usize>,
}

impl Known {
    /// Where it stands in the line.
    fn place(&self) -> (i64, usize) {
        (self.ready_at - 60 * self.priority, self.seq)
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

    fn count(&self, state: TaskState) -> usize {
        self.tasks.values().filter(|task| task.state == state).count()
    }

    fn pick(&self, number: usize) -> Option<TaskId> {
        self.tasks.keys().nth(number % self.tasks.len().max(1)).copied()
    }

    async fn run(&mut self, command: Command) {
        match command {
            Command::Insert(wishes, request) => self.insert(wishes, request).await,
            Command::Claim(plugin, most) => self.claim(PLUGINS.get(plugin).copied(), most).await,
            Command::Finish(claim, next) => self.finish(claim, next).await,
            Command::Cancel(task) => self.cancel(task).await,
            Command::Remove(task) => self.remove(task).await,
            Command::Reopen => self.reopen(),
            // Never whole minutes: places in the line are then told apart by more than their number.
            Command::Tick => self.now += 17,
        }
    }

    async fn insert(&mut self, wishes: Vec<Wish>, request: Option<usize>) {
        let tasks: Vec<_> = wishes.iter().map(|wish| self.new_task(wish)).collect();
        let asked = self.asked.iter().position(|before| *before == wishes).unwrap_or(self.asked.len());
        self.asked.push(wishes.clone());
        let digest = [u8::try_from(asked).expect("few commands"); 32];
        let key = request.map(|key| (RequestKey { key: key.to_string(), digest }, at(self.now)));
        let submitted = self.store().submit(tasks.clone(), key).await;
        if let Some((before, ids)) = request.and_then(|key| self.requests.get(&key)) {
            assert_eq!(submitted.is_ok(), *before == wishes);
            if let Ok(submitted) = submitted {
                assert!(submitted.replayed);
                assert_eq!(submitted.tasks.iter().map(|task| task.id).collect::<Vec<_>>(), *ids);
            }
            return;
        }
        let room = WAITING_MAX.saturating_sub(self.count(TaskState::Waiting));
        let is_free = |key: &usize| {
            let holds = |task: &&Known| task.key == Some(*key) && !task.state.is_final();
            let twice = wishes.iter().filter(|wish| wish.key == Some(*key)).count() > 1;
            !twice && self.tasks.values().find(holds).is_none()
        };
        let fits = wishes.len() <= room && wishes.iter().filter_map(|wish| wish.key.as_ref()).all(is_free);
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
                state: TaskState::Waiting,
                ready_at: self.now + wish.delay,
                attempt: 0,
                host_crashes: 0,
                claims: 0,
                priority: wish.priority,
                tagged: wish.tagged,
                key: wish.key,
            };
            self.tasks.insert(task.id, known);
            self.inserted += 1;
        }
    }

    fn new_task(&self, wish: &Wish) -> NewTask {
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
            ..new_task()
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
        ready.sort_by_key(|(_, task)| task.place());
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
