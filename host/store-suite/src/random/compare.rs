//! Compares the store with the model.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::TaskState;
use wasmill_store::{Counts, Filter, FinishedCounts, ListQuery, PluginCounts};

use crate::fixture::{Fixture, at, plugin};
use crate::random::command::PLUGINS;
use crate::random::known::Known;
use crate::random::world::World;

impl<F: Fixture> World<F> {
    /// Compares what is counted by plugin with the tasks there are, and with those that ever ended.
    pub(super) async fn compare_tallies(&self) {
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
    pub(super) async fn compare_due(&self) {
        let due: BTreeSet<_> = self.due().await.iter().map(|delivery| delivery.task).collect();
        let is_due = |task: &Known| task.due_at.is_some_and(|due_at| due_at <= self.now);
        let known = self.tasks.iter().filter(|(_, task)| is_due(task)).map(|(id, _)| *id);
        assert_eq!(due, known.collect());
        let pending = self.tasks.values().filter_map(|task| task.due_at).count();
        assert_eq!(self.store().delivery_backlog().await.expect("read").pending, pending as u64);
    }

    pub(super) async fn compare(&self) {
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
