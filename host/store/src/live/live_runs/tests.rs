//! Tests the live runs of claims, and the events of their progress.

use chrono::DateTime;
use wasmill_model::{PluginName, Progress, TaskId};

use super::*;

fn live_runs() -> LiveRuns {
    LiveRuns::new(0, Tracer::default())
}

fn progress() -> Progress {
    Progress { fraction: 0.5, note: String::new() }
}

/// Begins a claim of this task.
fn begin(live_runs: &LiveRuns, task: TaskId) -> LiveRun {
    let plugin: PluginName = "a".parse().expect("valid");
    let run_ref = RunRef { task, plugin, limit_key: None, attempt: 1, token: 1, trace: None };
    let run = live_runs.run(run_ref, None);
    live_runs.apply([LiveChange::Began(run.clone())]);
    run
}

fn waiting(live_runs: &LiveRuns) -> usize {
    locked(&live_runs.unpublished.runs).runs.len()
}

#[test]
fn ended_runs_leave_no_unpublished_progress() {
    let live_runs = live_runs();
    for _ in 0..10_000 {
        let task = TaskId::new();
        let run = begin(&live_runs, task);
        run.set_progress(progress());
        assert_eq!(waiting(&live_runs), 1, "only what runs waits to be published");
        live_runs.apply([LiveChange::Ended(task)]);
        run.set_progress(progress());
        assert_eq!(Arc::strong_count(&run.0) + Arc::weak_count(&run.0), 1, "nobody else holds the cell");
    }
    assert_eq!(waiting(&live_runs), 0);
    assert!(locked(&live_runs.runs).is_empty());
}

#[test]
fn a_new_claim_ends_the_previous_one() {
    let live_runs = live_runs();
    let task = TaskId::new();
    let before = begin(&live_runs, task);
    before.set_progress(progress());
    begin(&live_runs, task);
    assert_eq!((waiting(&live_runs), Arc::strong_count(&before.0)), (0, 1));
}

#[test]
fn a_pulse_publishes_a_bounded_number_of_events() {
    let live_runs = live_runs();
    let runs: Vec<_> = (0..1_500).map(|_| begin(&live_runs, TaskId::new())).collect();
    let mut follower = live_runs.event_bus.subscribe_all();
    for run in runs.iter().chain(&runs) {
        run.set_progress(progress());
    }
    for left in [500, 0] {
        live_runs.event_bus.publish(live_runs.take_progress(DateTime::UNIX_EPOCH));
        assert_eq!(waiting(&live_runs), left);
    }
    let mut received = Vec::new();
    while let Some(crate::Received::Events(events)) = follower.now() {
        received.extend(events.into_iter().map(|event| event.payload.task));
    }
    assert_eq!(received, runs.iter().map(|run| run.run_ref().task).collect::<Vec<_>>());
    runs[0].set_progress(progress());
    assert_eq!(waiting(&live_runs), 1, "it may wait again after it was published");
}
