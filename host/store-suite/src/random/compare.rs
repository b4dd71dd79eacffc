//! Compares the store with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wasmill_model::{TaskState, WakeOn};
use wasmill_store::{Counts, Filter, FinishedCounts, ListQuery, PluginCounts};

use crate::fixture::{Fixture, at, plugin};
use crate::random::command::PLUGINS;
use crate::random::known::Known;
use crate::random::world::World;

/// A busy machine gets this long; then the comparison says what differs.
const CATCH_UP: Duration = Duration::from_secs(60);

impl<F: Fixture> World<F> {
    /// Compares what is counted by plugin with the tasks there are, and with those that ever ended.
    pub(super) async fn compare_tallies(&self) {
        let plugin_counts: BTreeMap<_, _> = self.store().plugin_counts().into_iter().collect();
        let oldest: BTreeMap<_, _> = self.store().oldest_waiting().await.expect("read").into_iter().collect();
        for name in PLUGINS {
            let of_plugin =
                |state| self.tasks.values().filter(move |task| task.plugin == name && task.state == state);
            let expected = self.expected(name);
            let stored = expected.stored();
            let completed = of_plugin(TaskState::Completed).count() as u64;
            let failed = of_plugin(TaskState::Failed).count() as u64;
            let cancelled = of_plugin(TaskState::Cancelled).count() as u64;
            assert_eq!(stored, FinishedCounts { completed, failed, cancelled });
            assert_eq!(plugin_counts.get(&plugin(name)).copied().unwrap_or_default(), expected);
            let queued = [TaskState::Available, TaskState::Scheduled, TaskState::Suspended]
                .into_iter()
                .flat_map(of_plugin);
            let first = queued.map(|task| at(task.ready_at)).min();
            assert_eq!(oldest.get(&plugin(name)).copied(), first);
        }
    }

    /// Returns what is to be counted for a plugin.
    fn expected(&self, name: &'static str) -> PluginCounts {
        let is_so = |task: &&Known, state| task.plugin == name && task.state == state;
        let count = |state| self.tasks.values().filter(|task| is_so(task, state)).count() as u64;
        let ended = |state: TaskState| *self.ended.get(&(name, state.as_str())).unwrap_or(&0);
        let removed = |state: TaskState| *self.removed.get(&(name, state.as_str())).unwrap_or(&0);
        PluginCounts {
            blocked: count(TaskState::Blocked),
            scheduled: count(TaskState::Scheduled),
            suspended: count(TaskState::Suspended),
            available: count(TaskState::Available),
            running: count(TaskState::Running),
            completed: ended(TaskState::Completed),
            failed: ended(TaskState::Failed),
            cancelled: ended(TaskState::Cancelled),
            removed: FinishedCounts {
                completed: removed(TaskState::Completed),
                failed: removed(TaskState::Failed),
                cancelled: removed(TaskState::Cancelled),
            },
        }
    }

    /// Waits until the asked host has seen what others did; a host knows at once what it did itself.
    pub(super) async fn catch_up(&self) {
        let deadline = Instant::now() + CATCH_UP;
        let is_behind = || {
            let counts: BTreeMap<_, _> = self.store().plugin_counts().into_iter().collect();
            let of = |name| counts.get(&plugin(name)).copied().unwrap_or_default();
            PLUGINS.into_iter().any(|name| of(name) != self.expected(name))
        };
        while self.is_shared() && is_behind() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Compares what is due.
    pub(super) async fn compare_due(&self) {
        let due: BTreeSet<_> = self.due().await.iter().map(|delivery| delivery.task).collect();
        let is_due = |task: &Known| task.due_at.is_some_and(|due_at| due_at <= self.now);
        let known = self.tasks.iter().filter(|(_, task)| is_due(task)).map(|(id, _)| *id);
        assert_eq!(due, known.collect());
        let pending = self.tasks.values().filter_map(|task| task.due_at).count();
        assert_eq!(self.store().delivery_backlog().await.expect("read").pending, pending as u64);
    }

    pub(super) async fn compare(&self) {
        self.catch_up().await;
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
            let wakes = if known.state == TaskState::Suspended { known.wakes } else { WakeOn::default() };
            assert_eq!((task.events_posted, task.wake_on), (known.posted, wakes));
            assert_eq!((task.parent, task.depth), (known.parent, known.depth));
            assert_eq!(task.children, known.children.len() as u64);
            if !known.state.is_final() {
                assert_eq!(task.children_ended, known.children_ended() as u64);
            }
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
