//! The model of posted events: what a run has taken and saved is gone, all else is there for the next run.

use wasmill_model::{NewEvent, PostedEvent, TaskState};
use wasmill_store::PostOutcome;

use crate::fixture::{Fixture, at};
use crate::random::known::Known;
use crate::random::world::World;

impl<F: Fixture> World<F> {
    /// Posts an event, whose payload is its number.
    pub(super) async fn post(&mut self, number: usize) {
        let Some(id) = self.pick(number) else { return };
        let (now, next) = (self.now, self.tasks[&id].posted + 1);
        let event = NewEvent { task: id, name: None, payload: next.to_string() };
        let posted = self.store().post_event(event, None, at(now)).await;
        let task = self.tasks.get_mut(&id).expect("picked");
        if task.state.is_final() {
            assert_eq!(posted, Ok(PostOutcome::AlreadyFinal(task.state)));
            return;
        }
        assert_eq!(posted, Ok(PostOutcome::Posted { at: at(now), replayed: false }));
        task.posted = next;
        task.events.push(next);
        if task.state == TaskState::Suspended && task.wakes.event {
            task.state = TaskState::Available;
            task.ready_at = task.ready_at.min(now);
        }
    }

    /// Takes the next event of a run.
    pub(super) async fn take(&mut self, number: usize) {
        let Some(granted) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let taken = granted.claim.events_taken();
        let next = self.store_of(granted).next_event(&granted.claim).await.expect("read");
        let task = self.tasks.get(&granted.claim.id).filter(|task| task.is_run_by(granted.nth));
        let known = task.and_then(|task| task.events.iter().find(|number| **number > taken));
        let event = |number: &u64| PostedEvent { number: *number, name: None, payload: number.to_string() };
        assert_eq!(next, known.map(event));
        if let Some(event) = next {
            granted.claim.take_events(event.number);
        }
    }

    /// Saves a checkpoint of a run.
    pub(super) async fn save(&mut self, number: usize) {
        let Some(granted) = self.claims.get(number % self.claims.len().max(1)) else { return };
        let saved = self.store_of(granted).save(&granted.claim, vec![1]).await;
        let (id, nth, taken) = (granted.claim.id, granted.nth, granted.claim.events_taken());
        let task = self.tasks.get_mut(&id).filter(|task| task.is_run_by(nth));
        assert_eq!(saved, Ok(task.is_some()));
        if let Some(task) = task {
            task.forget_events(taken);
        }
    }
}

impl Known {
    /// Forgets the events that a run has taken before it saved.
    pub(super) fn forget_events(&mut self, taken: u64) {
        self.events.retain(|number| *number > taken);
    }
}
