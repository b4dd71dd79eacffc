//! The model of a claim.

use std::collections::BTreeMap;

use wasmill_model::{DependencyResult, TaskId, TaskResult, TaskState};
use wasmill_store::{ClaimQuota, DependencyResults};

use crate::fixture::{Fixture, StoreExt, at, get, plugin};
use crate::random::command::{CONCURRENCY_OF_B, PLUGINS};
use crate::random::known::{Known, Queue};
use crate::random::world::{Granted, World};

impl<F: Fixture> World<F> {
    pub(super) async fn claim(&mut self, only: Option<&str>, limit: usize) {
        let names: Vec<_> =
            PLUGINS.into_iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
        let quotas: Vec<_> =
            names.iter().map(|name| self.quota(name)).filter(|quota| quota.tasks_max > 0).collect();
        let claims = self.store().claim(&quotas, limit, at(self.now)).await.expect("claimed");
        let mut left: BTreeMap<_, _> = names.iter().map(|name| (*name, self.left(name))).collect();
        let asked: Vec<_> = quotas.iter().map(|quota| quota.plugin.as_str()).collect();
        self.promote(&asked, claims.claimed.is_empty()).await;
        let ready = |name: &str| {
            let is_ready = |task: &&Known| task.state == TaskState::Available && task.plugin == name;
            self.tasks.values().filter(is_ready).count()
        };
        let ready: usize = left.iter().map(|(name, left)| ready(name).min(*left)).sum();
        assert_eq!(claims.claimed.len(), ready.min(limit));
        let mut with_results = Vec::new();
        for claimed in claims.claimed {
            let id = claimed.claim.id;
            self.take_turn(id, &mut left);
            let (place, start) = (self.asked_at, self.hosts[self.asked_at].starts);
            let task = self.tasks.get_mut(&id).expect("it was stored");
            task.state = TaskState::Running;
            task.attempt += u32::from(task.suspensions == 0);
            task.claims += 1;
            task.children_seen = task.children_ended();
            task.place = place;
            assert_eq!(claimed.attempt, task.attempt);
            assert_eq!(claimed.pass_results, task.pass_results);
            self.claims.push(Granted { claim: claimed.claim, nth: task.claims, place, start });
            if claimed.pass_results {
                with_results.push(id);
            }
        }
        for id in with_results {
            let granted = self.claims.iter().rfind(|granted| granted.claim.id == id).expect("claimed");
            let results = self.store().dependency_results(&granted.claim).await;
            assert_eq!(results, Ok(self.dependency_results(id)));
        }
    }

    /// Returns what the scheduler of the asked host would ask for: it knows its own runs, and of those of others only
    /// the store does. A pause is enforced by the store, too, unless the host is the only one.
    fn quota(&self, name: &'static str) -> ClaimQuota {
        let quota = ClaimQuota::from(plugin(name));
        let is_own = |task: &&Known| task.state == TaskState::Running && task.place == self.asked_at;
        let own = self.tasks.values().filter(is_own).filter(|task| task.plugin == name).count();
        let tasks_max = match self.concurrency(name) {
            _ if !self.has_others() && self.is_paused(name) => 0,
            None => quota.tasks_max,
            Some(concurrency) => concurrency.saturating_sub(own),
        };
        ClaimQuota { tasks_max, concurrency: self.concurrency(name), ..quota }
    }

    /// Returns how many more tasks of a plugin may start on all hosts together.
    fn left(&self, name: &'static str) -> usize {
        let runs = |task: &&Known| task.state == TaskState::Running && task.plugin == name;
        let running = self.tasks.values().filter(runs).count();
        match self.concurrency(name) {
            _ if self.is_paused(name) => 0,
            None => usize::MAX,
            Some(concurrency) => concurrency.saturating_sub(running),
        }
    }

    fn concurrency(&self, name: &str) -> Option<usize> {
        (self.is_shared() && name == "b").then_some(CONCURRENCY_OF_B)
    }

    fn is_paused(&self, name: &'static str) -> bool {
        self.paused.contains(&None) || self.paused.contains(&Some(name))
    }

    /// Makes due tasks available, as a claim does; one beside other hosts that finds nothing for its plugins may leave
    /// those of other plugins as they are.
    async fn promote(&mut self, asked: &[&str], is_empty: bool) {
        let waits = |task: &Known| matches!(task.state, TaskState::Scheduled | TaskState::Suspended);
        let is_due = |task: &Known, now| waits(task) && task.ready_at <= now;
        let now = self.now;
        if is_empty && self.is_shared() {
            let of_others =
                self.tasks.iter().find(|(_, task)| is_due(task, now) && !asked.contains(&task.plugin));
            if let Some((id, task)) = of_others
                && get(self.store(), *id).await.state == task.state
            {
                return;
            }
        }
        for task in self.tasks.values_mut().filter(|task| is_due(task, now)) {
            task.state = TaskState::Available;
        }
    }

    /// The results of its dependencies that a task receives.
    fn dependency_results(&self, id: TaskId) -> DependencyResults {
        let mut dependency_results = Vec::new();
        for (id, outcome) in &self.tasks[&id].on {
            let outcome = outcome.expect("it has ended");
            let result = match self.tasks.get(id) {
                None if outcome == TaskState::Completed => return DependencyResults::Gone(*id),
                on => on.and_then(|on| on.result.clone()).map(TaskResult::from),
            };
            dependency_results.push(DependencyResult { id: *id, outcome, result });
        }
        DependencyResults::Results(dependency_results)
    }

    /// Checks that this task may be the next to start: it is the first of its queue, and of the others that have
    /// an available task, none is passed over by this queue twice at this host.
    fn take_turn(&mut self, id: TaskId, left: &mut BTreeMap<&'static str, usize>) {
        let mut queues: BTreeMap<Queue, Vec<(i64, usize, TaskId)>> = BTreeMap::new();
        for (id, task) in &self.tasks {
            if task.state == TaskState::Available && left.get(task.plugin).is_some_and(|left| *left > 0) {
                let (position, seq) = task.position();
                queues.entry(task.queue()).or_default().push((position, seq, *id));
            }
        }
        let queue = self.tasks[&id].queue();
        let first = queues.get(&queue).and_then(|tasks| tasks.iter().min());
        assert_eq!(first.map(|(_, _, first)| *first), Some(id));
        let available = queues.into_keys().collect();
        self.hosts[self.asked_at].turns.serve(queue, &available);
        if let Some(left) = left.get_mut(queue.0) {
            *left -= 1;
        }
    }
}
