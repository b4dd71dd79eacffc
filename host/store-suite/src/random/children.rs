//! The model of children: each name is a task once, its end is reported to the task that submitted it, and the end of that task
//! cancels it.

use wasmill_model::{Child, ChildBounds, ChildOf, NewTask, TaskId, TaskState};
use wasmill_store::ChildrenOutcome;

use crate::fixture::{Fixture, at, new_task, plugin};
use crate::random::command::{PLUGINS, WAITING_MAX, WAITING_MAX_OF_B};
use crate::random::known::Known;
use crate::random::world::World;

const BOUNDS: ChildBounds = ChildBounds { children_max: 4, depth_max: 2 };

impl<F: Fixture> World<F> {
    /// Submits children of a run.
    pub(super) async fn bear(&mut self, number: usize, mut names: Vec<usize>) {
        let Some(granted) = self.claims.get(number % self.claims.len().max(1)) else { return };
        names.sort_unstable();
        names.dedup();
        let (parent, nth) = (granted.claim.id, granted.nth);
        let depth = self.tasks.get(&parent).map_or(0, |task| task.depth);
        let tasks: Vec<_> = names.iter().map(|name| self.child(parent, depth + 1, *name)).collect();
        let store = self.store_of(granted);
        let outcome = store.submit_children(&granted.claim, tasks.clone(), BOUNDS).await;
        let task = self.tasks.get(&parent).filter(|task| task.is_run_by(nth) && task.stop.is_none());
        let Some(task) = task else { return assert_eq!(outcome, Ok(ChildrenOutcome::Revoked)) };
        let known =
            |name: usize| task.children.iter().find(|(other, _, _)| *other == name).map(|child| child.1);
        let new: Vec<_> = names.iter().zip(&tasks).filter(|(name, _)| known(**name).is_none()).collect();
        let all = (task.children.len() + new.len()) as u64;
        if !new.is_empty() && depth >= BOUNDS.depth_max {
            return assert_eq!(outcome, Ok(ChildrenOutcome::TooDeep));
        }
        if !new.is_empty() && all > u64::from(BOUNDS.children_max) {
            return assert_eq!(outcome, Ok(ChildrenOutcome::TooMany { all }));
        }
        let of_b = |plugin: &str| usize::from(plugin == "b");
        let waits = self.tasks.values().filter(|task| task.state.is_waiting());
        let waiting_of_b: usize = waits.map(|task| of_b(task.plugin)).sum();
        let new_of_b: usize = new.iter().map(|(_, task)| of_b(task.plugin.as_str())).sum();
        let fits = self.waiting() + new.len() <= WAITING_MAX
            && (new_of_b == 0 || waiting_of_b + new_of_b <= WAITING_MAX_OF_B);
        if !fits && !new.is_empty() {
            return assert!(outcome.is_err(), "{outcome:?}");
        }
        let ids = names.iter().zip(&tasks).map(|(name, task)| known(*name).unwrap_or(task.id)).collect();
        assert_eq!(outcome, Ok(ChildrenOutcome::Submitted(ids)));
        let new: Vec<_> = new.into_iter().map(|(name, task)| (*name, task.id)).collect();
        for (name, id) in new {
            let known = self.known_child(parent, depth + 1, name);
            self.tasks.insert(id, known);
            self.inserted += 1;
            self.tasks.get_mut(&parent).expect("it runs").children.push((name, id, None));
        }
    }

    /// Reads the children of a run.
    pub(super) async fn look(&mut self, number: usize) {
        let Some(granted) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let children = self.store_of(granted).children(&granted.claim, 1).await.expect("read");
        let task = self.tasks.get(&granted.claim.id).filter(|task| task.is_run_by(granted.nth));
        let known = task.map(|task| task.children.iter().skip(1)).into_iter().flatten();
        let expected = |(name, id, outcome): &(usize, TaskId, Option<TaskState>)| {
            let child = self.tasks.get(id);
            let outcome = outcome.map(|outcome| child.map_or(TaskState::Cancelled, |_| outcome));
            let text = match outcome {
                Some(TaskState::Completed) => {
                    child.and_then(|child| child.result.clone()).unwrap_or_default()
                }
                _ => String::new(),
            };
            Child { name: name.to_string(), id: *id, outcome, text }
        };
        let without_reason = |child: Child| match child.outcome {
            Some(TaskState::Failed) => Child { text: String::new(), ..child },
            _ => child,
        };
        let children: Vec<_> = children.into_iter().map(without_reason).collect();
        assert_eq!(children, known.map(expected).collect::<Vec<_>>());
    }

    fn child(&self, parent: TaskId, depth: u32, name: usize) -> NewTask {
        let of = PLUGINS[name % PLUGINS.len()];
        NewTask {
            plugin: plugin(of),
            created_at: at(self.now),
            child_of: Some(ChildOf { parent, name: name.to_string().parse().expect("a name"), depth }),
            waiting_max: (of == "b").then_some(WAITING_MAX_OF_B as u64),
            ..new_task()
        }
    }

    fn known_child(&self, parent: TaskId, depth: u32, name: usize) -> Known {
        Known {
            seq: self.inserted,
            plugin: PLUGINS[name % PLUGINS.len()],
            state: TaskState::Available,
            ready_at: self.now,
            attempt: 0,
            host_crashes: 0,
            claims: 0,
            place: 0,
            priority: 0,
            tagged: false,
            key: None,
            on: Vec::new(),
            runs: false,
            pass_results: false,
            result: None,
            hooked: false,
            due_at: None,
            group: None,
            stop: None,
            suspensions: 0,
            wakes: wasmill_model::WakeOn::default(),
            posted: 0,
            events: Vec::new(),
            parent: Some(parent),
            depth,
            children: Vec::new(),
            children_seen: 0,
        }
    }

    /// Tells the task that submitted this one how it has ended.
    pub(super) fn tell_parent(&mut self, id: TaskId, outcome: TaskState) {
        let now = self.now;
        for task in self.tasks.values_mut().filter(|task| !task.state.is_final()) {
            let child = task.children.iter_mut().find(|(_, child, known)| *child == id && known.is_none());
            let Some((_, _, known)) = child else { continue };
            *known = Some(outcome);
            let is_last = task.children_ended() == task.children.len();
            let wakes = task.wakes.any_child || (task.wakes.all_children && is_last);
            if task.state == TaskState::Suspended && wakes {
                task.state = TaskState::Available;
                task.ready_at = task.ready_at.min(now);
            }
        }
    }

    /// Cancels the unfinished children of a task that has ended.
    pub(super) fn cancel_children(&mut self, id: TaskId) {
        let is_child = |task: &Known| task.parent == Some(id) && !task.state.is_final();
        let children: Vec<_> =
            self.tasks.iter().filter(|(_, task)| is_child(task)).map(|(id, _)| *id).collect();
        for child in children {
            let task = self.tasks.get_mut(&child).expect("just found");
            if task.state == TaskState::Running {
                task.stop = task.stop.or(Some(false));
                continue;
            }
            if task.state.is_final() {
                continue;
            }
            task.state = TaskState::Cancelled;
            task.end(self.now);
            let plugin = task.plugin;
            self.ended(plugin, TaskState::Cancelled);
            self.tell(child, TaskState::Cancelled);
        }
    }
}

impl Known {
    /// How many of its children have ended.
    pub(super) fn children_ended(&self) -> usize {
        self.children.iter().filter(|(_, _, outcome)| outcome.is_some()).count()
    }

    /// Returns true if its children have done what it waits for when it is suspended now.
    pub(super) fn have_children_ended(&self) -> bool {
        let ended = self.children_ended();
        (self.wakes.any_child && ended > self.children_seen)
            || (self.wakes.all_children && ended == self.children.len())
    }
}
