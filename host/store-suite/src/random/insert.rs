//! The model of a submit.

use wasmill_model::{
    KeySpace, NewDependencies, NewTask, OnConflict, OnFailure, Priority, TaskId, TaskState, Unique, WakeOn,
};
use wasmill_store::IdempotencyKey;

use crate::conformance::webhook::hook;
use crate::fixture::{Fixture, at, new_task, plugin};
use crate::random::command::{After, PLUGINS, WAITING_MAX, WAITING_MAX_OF_B, Wish};
use crate::random::known::Known;
use crate::random::world::World;

impl<F: Fixture> World<F> {
    #[expect(clippy::too_many_lines, reason = "the model of one operation")]
    pub(super) async fn insert(&mut self, wishes: Vec<Wish>, request: Option<usize>) {
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
                place: 0,
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
                suspensions: 0,
                wakes: WakeOn::default(),
                posted: 0,
                events: Vec::new(),
                parent: None,
                depth: 0,
                children: Vec::new(),
                children_seen: 0,
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

    /// Tells all that wait for a task how it has ended, and cancels its children.
    pub(super) fn tell(&mut self, id: TaskId, outcome: TaskState) {
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
        self.tell_parent(id, outcome);
        self.cancel_children(id);
    }

    pub(super) fn new_task(&self, wish: &Wish, before: &[NewTask]) -> NewTask {
        let known = self.tasks.keys().copied().chain(before.iter().map(|task| task.id)).collect::<Vec<_>>();
        let on = |after: &After| -> Vec<_> {
            after.on.iter().filter_map(|number| known.get(number % known.len().max(1)).copied()).collect()
        };
        let on_failure = |runs| if runs { OnFailure::Run } else { OnFailure::Cancel };
        let dependencies = wish.after.as_ref().map(|after| NewDependencies {
            on: on(after),
            on_failure: on_failure(after.runs),
            pass_results: after.pass_results,
            files_from: None,
        });
        let unique = |key: usize| Unique {
            key: key.to_string().parse().expect("a key"),
            on_conflict: OnConflict::Refuse,
            space: KeySpace::default(),
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
}
