//! Random submits, cancels, grace periods, removals and restarts, checked against a plain model.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use testbed::Testbed;
use wasmill_model::{Backoff, NewTask, TaskId, TaskState};
use wasmill_store::CancelOutcome;

const SLOTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A script, a group or none, and whether failures are retried at once.
    Submit(&'static str, Option<&'static str>, bool),
    Pause(bool),
    Rate(usize),
    Cancel(usize),
    /// With a grace period in seconds, and whether the task is removed.
    StopWithin(usize, u64, bool),
    Remove(usize),
    Pass(u64),
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (
            prop_oneof![
                Just("ok"), Just("fail"), Just("sleep 2"), Just("sleep 7"), Just("forever"), Just("fail-until 2"),
                Just("evict there"), Just("evict-then-stay"),
            ],
            prop_oneof![2 => Just(None), 1 => Just(Some("x")), 1 => Just(Some("y"))],
            any::<bool>(),
        )
            .prop_map(|(script, group, at_once)| Step::Submit(script, group, at_once)),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => (0..3_usize).prop_map(Step::Rate),
        2 => (0..12_usize).prop_map(Step::Cancel),
        2 => (0..12_usize, 1..9_u64, any::<bool>())
            .prop_map(|(task, grace, removes)| Step::StopWithin(task, grace, removes)),
        2 => (0..12_usize).prop_map(Step::Remove),
        3 => (1..6_u64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// How a task must end, as far as the steps decide it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Ends(&'static str),
    Cancelled,
    Removed,
}

fn may_end_as(script: &str, crashes: u32) -> Vec<TaskState> {
    match script {
        // It may have been running at each crash; three crashes end it.
        _ if crashes >= 3 => vec![TaskState::Completed, TaskState::Failed, TaskState::Running],
        "fail" => vec![TaskState::Failed],
        "forever" | "evict-then-stay" => vec![TaskState::Running],
        _ => vec![TaskState::Completed],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_as_the_model_predicts(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        runtime.block_on(run_steps(steps));
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each step")]
async fn run_steps(steps: Vec<Step>) {
    let mut testbed = Testbed::new(SLOTS);
    let mut fates: BTreeMap<TaskId, Fate> = BTreeMap::new();
    let mut ids = Vec::new();
    let mut crashes = 0;
    let mut paused = false;
    for step in steps {
        match step {
            Step::Submit(script, group, at_once) => {
                let change = |task: &mut NewTask| {
                    task.attempts_max = 2;
                    task.group = group.and_then(|group| group.parse().ok());
                    let now = Some(Duration::ZERO);
                    task.backoff = at_once.then(|| Backoff::of(now, None, now, None).expect("valid"));
                };
                let id = testbed.submit_new(change, script).await;
                testbed.scheduler.wake();
                ids.push(id);
                fates.insert(id, Fate::Ends(script));
            }
            Step::Cancel(n) => {
                let Some(id) = ids.get(n) else { continue };
                match testbed.scheduler.cancel(*id).await.expect("a store") {
                    // A pending removal wins over a cancel.
                    CancelOutcome::Cancelled { .. } if fates[id] == Fate::Removed => {}
                    CancelOutcome::Cancelled { .. } => {
                        fates.insert(*id, Fate::Cancelled);
                    }
                    CancelOutcome::AlreadyFinal(_) => assert_ne!(fates[id], Fate::Removed),
                    CancelOutcome::NotFound => assert_eq!(fates[id], Fate::Removed),
                    CancelOutcome::Stopping { .. } => panic!("the task has stopped by the time this returns"),
                }
            }
            Step::StopWithin(n, grace, removes) => {
                let Some(id) = ids.get(n).copied() else { continue };
                let (scheduler, grace) = (testbed.scheduler.clone(), Duration::from_secs(grace));
                tokio::spawn(async move {
                    if removes {
                        scheduler.remove_within(id, grace).await.map(drop)
                    } else {
                        scheduler.cancel_within(id, grace).await.map(drop)
                    }
                });
                // Until the request is stored; a task that finished before is removed but not cancelled.
                let has_ended = |fates: &BTreeMap<_, _>| fates[&id] == Fate::Removed;
                loop {
                    testbed.advance(Duration::from_millis(20)).await;
                    let Some(task) = testbed.store.get(id).await.expect("readable") else {
                        assert!(removes || has_ended(&fates));
                        fates.insert(id, Fate::Removed);
                        break;
                    };
                    if task.stop_requested_at.is_some() && !task.state.is_final() {
                        assert_eq!(task.state, TaskState::Running, "until its guest is gone");
                        let is_removed = removes || fates[&id] == Fate::Removed;
                        fates.insert(id, if is_removed { Fate::Removed } else { Fate::Cancelled });
                        break;
                    }
                    if task.state.is_final() && !removes {
                        if task.state == TaskState::Cancelled && fates[&id] != Fate::Removed {
                            fates.insert(id, Fate::Cancelled);
                        }
                        break;
                    }
                }
            }
            Step::Remove(n) => {
                let Some(id) = ids.get(n) else { continue };
                let removed = testbed.scheduler.remove(*id).await.expect("a store");
                assert!(removed.is_some() || fates[id] == Fate::Removed);
                fates.insert(*id, Fate::Removed);
            }
            Step::Pause(pause) => {
                testbed.scheduler.pause(None, pause).await.expect("a store");
                // Tasks claimed before the pause start a moment later.
                testbed.advance(Duration::from_millis(20)).await;
                paused = pause;
            }
            Step::Rate(rate) => testbed.runner.rate.store(rate, Ordering::SeqCst),
            Step::Pass(seconds) if paused => {
                let started = testbed.runner.started.load(Ordering::SeqCst);
                testbed.advance(Duration::from_secs(seconds)).await;
                assert_eq!(
                    testbed.runner.started.load(Ordering::SeqCst),
                    started,
                    "nothing starts while paused"
                );
            }
            Step::Pass(seconds) => testbed.advance(Duration::from_secs(seconds)).await,
            Step::Restart => testbed = testbed.restart().await,
            Step::Crash => {
                crashes += 1;
                testbed = testbed.crash().await;
            }
        }
        assert!(testbed.runner.max_running.load(Ordering::SeqCst) <= SLOTS);
    }
    testbed.scheduler.pause(None, false).await.expect("a store");
    check_fates(&testbed, &fates, crashes).await;
}

/// Removes tasks that would hold their slots for ever, then checks how every task ended.
async fn check_fates(testbed: &Testbed, fates: &BTreeMap<TaskId, Fate>, crashes: u32) {
    // The longest grace period.
    testbed.advance(Duration::from_secs(9)).await;
    let endless = |fate: &Fate| matches!(fate, Fate::Ends("forever" | "evict-then-stay"));
    for id in fates.iter().filter(|(_, fate)| endless(fate)).map(|(id, _)| *id) {
        let state = testbed.task(id).await.state;
        assert!(matches!(state, TaskState::Available | TaskState::Running) || crashes >= 3, "{state}");
        testbed.scheduler.remove(id).await.expect("a store");
    }
    for (id, fate) in fates {
        match fate {
            Fate::Removed => assert_eq!(testbed.store.get(*id).await.expect("readable"), None),
            Fate::Cancelled => assert_eq!(testbed.task(*id).await.state, TaskState::Cancelled),
            Fate::Ends("forever" | "evict-then-stay") => {}
            Fate::Ends(script) => {
                let mut task = testbed.task(*id).await;
                for _ in 0..10_000 {
                    if task.state.is_final() {
                        break;
                    }
                    testbed.advance(Duration::from_millis(100)).await;
                    task = testbed.task(*id).await;
                }
                assert!(may_end_as(script, crashes).contains(&task.state), "{script}: {task:?}");
            }
        }
    }
    testbed.wait_until_idle().await;
}
