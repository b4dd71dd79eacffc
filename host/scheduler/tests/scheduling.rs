//! The guarantees of the scheduler, with a scripted runner and paused time.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::{
    Backoff, Cause, Clock, NewDependencies, NewTask, OnFailure, Priority, RetryOn, TaskId, TaskState,
    TimeDelta, Timestamp,
};
use wasmill_scheduler::{Retention, SchedulerConfig, Slots};
use wasmill_store::{CancelOutcome, Filter};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_its_result_is_stored() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("ok").await;
    let task = testbed.wait_for(id, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("ok"));
    assert_eq!(task.attempt, 1);
    testbed.wait_until_idle().await;
    assert_eq!(testbed.scheduler.slots(), Slots { total: 1, used: 0 });
}

#[tokio::test(start_paused = true)]
async fn every_start_end_and_cancel_is_counted_and_timed() {
    let testbed = Testbed::new(1);
    let first = testbed.submit("sleep 5").await;
    testbed.wait_for(first, TaskState::Running).await;
    let second = testbed.submit("save half").await;
    testbed.wait_for(second, TaskState::Running).await;
    assert!(testbed.task(second).await.usage.is_some_and(|usage| usage.queue >= Duration::from_secs(4)));
    while testbed.task(second).await.usage.is_some_and(|usage| usage.checkpoints == 0) {
        testbed.advance(Duration::from_millis(20)).await;
    }
    testbed.scheduler.cancel(second).await.expect("cancelled");
    let exits = testbed.submit("fail").await;
    testbed.wait_for(exits, TaskState::Failed).await;
    testbed.wait_until_idle().await;
    let stats = testbed.scheduler.stats();
    assert_eq!((stats.start_seconds.count(), stats.cancel_seconds.count()), (3, 1));
    assert!((4.0..6.0).contains(&stats.start_seconds.sum()), "{stats:?}");
    let attempts = &stats.plugins[&testbed::plugin()];
    assert_eq!(
        attempts.ended.iter().collect::<Vec<_>>(),
        [(&"completed", &1), (&"io", &1), (&"stopped", &1)]
    );
    assert!((5.0..7.0).contains(&attempts.run_seconds.sum()), "{attempts:?}");
    assert_eq!(attempts.used.checkpoints, 1);
    let usage = testbed.task(first).await.usage.expect("it ran");
    assert!((5_000..5_100).contains(&usage.wall.as_millis()), "{usage:?}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_task_holds_no_slot_and_resumes_as_the_same_attempt() {
    let testbed = Testbed::new(1);
    let suspended = testbed.submit("suspend 3").await;
    while testbed.task(suspended).await.suspensions == 0 {
        testbed.advance(Duration::from_millis(20)).await;
    }
    let other = testbed.submit("ok").await;
    testbed.wait_for(other, TaskState::Completed).await;
    assert_eq!(
        testbed.task(suspended).await.state,
        TaskState::Suspended,
        "the other task got the slot meanwhile"
    );
    let task = testbed.wait_for(suspended, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("suspended 3 times, attempt 1"));
    assert_eq!((task.attempt, task.suspensions), (1, 3));
    let took = task.duration(testbed.clock.now());
    assert!(
        (3_000..3_500).contains(&took.as_millis()),
        "each suspension lasts until its time, no longer: {took:?}"
    );
    testbed.wait_until_idle().await;
    let ended = &testbed.scheduler.stats().plugins[&testbed::plugin()].ended;
    assert_eq!(ended.iter().collect::<Vec<_>>(), [(&"completed", &2), (&"suspended", &3)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_run_than_slots() {
    let testbed = Testbed::new(3);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(testbed.submit("sleep 5").await);
    }
    for id in ids {
        testbed.wait_for(id, TaskState::Completed).await;
    }
    testbed.wait_until_idle().await;
    assert_eq!(testbed.runner.max_running.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_of_a_plugin_run_than_its_concurrency() {
    let config = SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() };
    let testbed = Testbed::with(config);
    testbed.runner.concurrency.store(2, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(testbed.submit("sleep 5").await);
    }
    // The poll is a day away, so each end has to wake the dispatcher.
    for id in ids {
        testbed.wait_for(id, TaskState::Completed).await;
    }
    testbed.wait_until_idle().await;
    assert_eq!(testbed.runner.max_running.load(Ordering::SeqCst), 2);
    assert_eq!(testbed.scheduler.running(&testbed::plugin()), 0);
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_while_there_is_no_memory_for_them() {
    let testbed = Testbed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    testbed.runner.memory_slots.store(2, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(testbed.submit("sleep 5").await);
    }
    testbed.wait_for(ids[1], TaskState::Running).await;
    testbed.advance(Duration::from_secs(1)).await;
    assert!(testbed.scheduler.is_memory_bound());
    // The poll is a day away, so each end has to wake the dispatcher.
    for id in ids {
        testbed.wait_for(id, TaskState::Completed).await;
    }
    assert_eq!(testbed.runner.max_running.load(Ordering::SeqCst), 2);
    assert!(!testbed.scheduler.is_memory_bound());
}

#[tokio::test(start_paused = true)]
async fn an_evicted_run_is_requeued_with_its_attempt_and_checkpoint() {
    let testbed = Testbed::with(SchedulerConfig { slots: 1, poll: DAY, ..SchedulerConfig::default() });
    let id = testbed.submit("evict").await;
    let task = testbed.wait_for(id, TaskState::Completed).await;
    assert_eq!((task.attempt, task.result.as_deref()), (1, Some("memory was free")));
    assert_eq!(task.failure, None);
    assert_eq!(testbed.runner.started.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_between_attempts_by_its_own_backoff() {
    let testbed = Testbed::new(1);
    let backoff = Backoff::of(Some(1_000 * Duration::from_secs(1)), Some(1.0), None, None).unwrap();
    let id = testbed.submit_new(|task| (task.attempts_max, task.backoff) = (2, Some(backoff)), "fail").await;
    let task = testbed.wait_for_failure(id).await;
    let wait = (task.ready_at - testbed.clock.now()).num_seconds();
    assert!((990..=1_500).contains(&wait), "{wait}");
    assert_eq!(task.plugin_digest.as_deref(), Some(testbed::DIGEST));
}

#[tokio::test(start_paused = true)]
async fn one_claim_takes_no_more_than_claim_max() {
    let config = SchedulerConfig { slots: 10, claim_max: 2, ..SchedulerConfig::default() };
    let testbed = Testbed::with(config);
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(testbed.submit_without_wakeup("ok", 1, DAY).await);
    }
    testbed.scheduler.wake();
    for id in ids {
        testbed.wait_for(id, TaskState::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_wakeup_costs_one_poll() {
    let testbed = Testbed::new(1);
    let id = testbed.submit_without_wakeup("ok", 1, DAY).await;
    testbed.wait_for(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_retried_after_its_backoff() {
    let testbed = Testbed::new(1);
    let id = testbed.submit_with("fail-until 3", 3, DAY).await;
    let task = testbed.wait_for(id, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("attempt 3"));
    assert_eq!(testbed.store.log(id).await.unwrap().as_deref(), Some("attempt 3\n"));
    let waited = task.started_at.unwrap() - task.created_at;
    assert!(waited.num_milliseconds() >= 1_500, "half of 1 s and of 2 s at least: {waited}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_attempts_left_is_final() {
    let testbed = Testbed::new(1);
    let once = testbed.submit("fail").await;
    let lasting = testbed.submit_with("bad-input", 5, DAY).await;
    assert_eq!(testbed.wait_for(once, TaskState::Failed).await.failure.unwrap().cause, Cause::Io);
    let task = testbed.wait_for(lasting, TaskState::Failed).await;
    assert_eq!((task.attempt, task.failure.unwrap().cause), (1, Cause::InvalidInput));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_exceeds_its_timeout_is_stopped() {
    let testbed = Testbed::new(2);
    let asleep = testbed.submit_with("forever", 1, Duration::from_secs(60)).await;
    let task = testbed.wait_for(asleep, TaskState::Failed).await;
    let failure = task.failure.unwrap();
    assert_eq!(failure.cause, Cause::Timeout);
    assert!(failure.message.contains("60s"), "{}", failure.message);
    testbed.wait_until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_loop_is_stopped_at_its_timeout() {
    let testbed = Testbed::new(1);
    let id = testbed.submit_with("spin", 1, Duration::from_millis(50)).await;
    let task = testbed.wait_for(id, TaskState::Failed).await;
    assert_eq!(task.failure.unwrap().cause, Cause::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_runner_fails_the_task_and_frees_its_slot() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("panic").await;
    assert_eq!(testbed.wait_for(id, TaskState::Failed).await.failure.unwrap().cause, Cause::HostFault);
    let next = testbed.submit("ok").await;
    testbed.wait_for(next, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_is_gone_and_its_slot_is_free() {
    let testbed = Testbed::new(1);
    let running = testbed.submit("forever").await;
    let waiting = testbed.submit("forever").await;
    testbed.wait_for(running, TaskState::Running).await;
    assert_eq!(testbed.scheduler.remove(waiting).await.unwrap(), Some(TaskState::Available));
    assert_eq!(testbed.scheduler.remove(running).await.unwrap(), Some(TaskState::Running));
    assert_eq!((testbed.used(), testbed.runner.running.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(testbed.store.get(running).await.unwrap(), None);
    assert_eq!(testbed.scheduler.remove(running).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_spinning_task_is_cancelled_and_kept_as_history() {
    let testbed = Testbed::new(2);
    let id = testbed.submit("spin").await;
    testbed.wait_for(id, TaskState::Running).await;
    let cancelled = testbed.scheduler.cancel(id).await.unwrap();
    assert_eq!(cancelled, CancelOutcome::Cancelled { was: TaskState::Running });
    assert_eq!((testbed.used(), testbed.runner.running.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(testbed.task(id).await.state, TaskState::Cancelled);
    let again = testbed.scheduler.cancel(id).await.unwrap();
    assert_eq!(again, CancelOutcome::AlreadyFinal(TaskState::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_completes_after_its_caller_is_gone() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("forever").await;
    testbed.wait_for(id, TaskState::Running).await;
    let scheduler = testbed.scheduler.clone();
    let caller = tokio::spawn(async move { scheduler.cancel(id).await });
    tokio::task::yield_now().await;
    caller.abort();
    testbed.wait_for(id, TaskState::Cancelled).await;
    let next = testbed.submit("ok").await;
    testbed.wait_for(next, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_cancels_of_one_task_all_wait_for_its_end() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("forever").await;
    testbed.wait_for(id, TaskState::Running).await;
    let cancels: Vec<_> = (0..8)
        .map(|_| {
            let scheduler = testbed.scheduler.clone();
            tokio::spawn(async move {
                scheduler.cancel(id).await.unwrap();
                scheduler.slots().used
            })
        })
        .collect();
    for cancel in cancels {
        assert_eq!(cancel.await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_missing_plugin_waits_for_it() {
    let testbed = Testbed::new(1);
    testbed.runner.unavailable.store(true, Ordering::SeqCst);
    let id = testbed.submit("ok").await;
    testbed.advance(Duration::from_secs(30)).await;
    assert_eq!(testbed.task(id).await.state, TaskState::Available);
    testbed.runner.unavailable.store(false, Ordering::SeqCst);
    testbed.wait_for(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_runs_end_and_starts_nothing() {
    let testbed = Testbed::new(1);
    let running = testbed.submit("sleep 5").await;
    let waiting = testbed.submit("ok").await;
    testbed.wait_for(running, TaskState::Running).await;
    let (drained, ()) = tokio::join!(
        testbed.scheduler.drain(tokio::time::sleep(Duration::from_secs(10))),
        testbed.advance(Duration::from_secs(6)),
    );
    assert_eq!((drained.ended, drained.requeued), (1, 0));
    assert!(testbed.scheduler.is_draining());
    assert_eq!(testbed.task(running).await.state, TaskState::Completed);
    assert_eq!(testbed.task(waiting).await.state, TaskState::Available);
}

#[tokio::test(start_paused = true)]
async fn a_drain_counts_each_run_by_what_became_of_it() {
    let testbed = Testbed::new(4);
    for script in ["obey", "obey", "sleep 5", "forever"] {
        let id = testbed.submit(script).await;
        testbed.wait_for(id, TaskState::Running).await;
    }
    while testbed.runner.started.load(Ordering::SeqCst) < 4 {
        testbed.advance(Duration::from_millis(1)).await;
    }
    let (drained, ()) = tokio::join!(
        testbed.scheduler.drain(tokio::time::sleep(Duration::from_secs(10))),
        testbed.advance(Duration::from_secs(11)),
    );
    assert_eq!((drained.ended, drained.requeued), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_is_requeued_with_its_attempt_and_checkpoint() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("save here").await;
    while testbed.runner.started.load(Ordering::SeqCst) == 0 {
        testbed.advance(Duration::from_millis(1)).await;
    }
    testbed.advance(Duration::from_secs(5)).await;
    let drained = testbed.scheduler.drain(std::future::ready(())).await;
    assert_eq!((drained.ended, drained.requeued), (0, 1));
    let task = testbed.task(id).await;
    assert_eq!((task.state, task.attempt, task.started_at), (TaskState::Available, 0, None));
    let testbed = testbed.restart().await;
    let task = testbed.wait_for(id, TaskState::Completed).await;
    assert_eq!((task.attempt, task.result.as_deref()), (1, Some("here")));
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_host_loses_nothing_and_counts_the_attempt() {
    let testbed = Testbed::new(1);
    let running = testbed.submit("sleep 9").await;
    let waiting = testbed.submit("ok").await;
    testbed.wait_for(running, TaskState::Running).await;
    let testbed = testbed.crash().await;
    let task = testbed.wait_for(running, TaskState::Completed).await;
    assert_eq!((task.attempt, task.host_crashes), (2, 1));
    testbed.wait_for(waiting, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_crashed_three_hosts_fails() {
    let mut testbed = Testbed::new(1);
    let poison = testbed.submit("forever").await;
    for _ in 0..3 {
        testbed.wait_for(poison, TaskState::Running).await;
        testbed = testbed.crash().await;
    }
    let task = testbed.wait_for(poison, TaskState::Failed).await;
    assert_eq!((task.attempt, task.failure.unwrap().cause), (3, Cause::HostCrash));
}

#[tokio::test(start_paused = true)]
async fn many_tasks_are_cancelled_and_none_keeps_running() {
    let testbed = Testbed::new(1_200);
    let mut ids = Vec::new();
    for script in ["forever", "spin", "forever"] {
        for _ in 0..500 {
            ids.push(testbed.submit_without_wakeup(script, 1, Duration::from_secs(600)).await);
        }
    }
    testbed.scheduler.wake();
    while testbed.used() < 1_200 {
        testbed.advance(Duration::from_millis(20)).await;
    }
    let other = NewTask { created_at: testbed.clock.now() + Duration::from_secs(60), ..later() };
    let spared = other.id;
    testbed.store.submit(vec![other], None).await.expect("accepted");
    let filter =
        Filter { created_before: Some(testbed.clock.now() + Duration::from_secs(30)), ..Filter::default() };
    assert_eq!(testbed.scheduler.cancel_many(filter.clone(), Duration::ZERO).await, Ok(1_500));
    assert!(testbed.used() <= 1, "only the spared task may have started: {}", testbed.used());
    assert!(testbed.runner.running.load(Ordering::SeqCst) <= 1);
    for id in ids {
        assert_eq!(testbed.task(id).await.state, TaskState::Cancelled);
    }
    assert!(!testbed.task(spared).await.state.is_final());
    assert_eq!(testbed.scheduler.cancel_many(filter, Duration::ZERO).await, Ok(0));
}

fn later() -> NewTask {
    testbed::new_task(TaskId::new(), "forever", Timestamp::default())
}

#[tokio::test(start_paused = true)]
async fn finished_tasks_are_pruned_by_age() {
    let testbed = Testbed::new(2);
    let retention = Retention { keep_for: Some(Duration::from_secs(100)), keep_max: None };
    tokio::spawn(retention.run(testbed.store.clone(), Arc::clone(&testbed.clock)));
    let old = testbed.submit("ok").await;
    testbed.wait_for(old, TaskState::Completed).await;
    let running = testbed.submit("forever").await;
    testbed.advance(Duration::from_secs(60)).await;
    let young = testbed.submit("ok").await;
    testbed.wait_for(young, TaskState::Completed).await;
    assert!(testbed.store.get(old).await.expect("read").is_some());
    testbed.advance(Duration::from_secs(60)).await;
    assert_eq!(testbed.store.get(old).await, Ok(None));
    assert_eq!(testbed.task(young).await.state, TaskState::Completed);
    assert_eq!(testbed.task(running).await.state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn finished_tasks_are_pruned_by_count() {
    let testbed = Testbed::new(2);
    let retention = Retention { keep_for: None, keep_max: Some(3) };
    tokio::spawn(retention.run(testbed.store.clone(), Arc::clone(&testbed.clock)));
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = testbed.submit("ok").await;
        testbed.wait_for(id, TaskState::Completed).await;
        ids.push(id);
    }
    testbed.advance(Duration::from_secs(20)).await;
    for (index, id) in ids.into_iter().enumerate() {
        assert_eq!(testbed.store.get(id).await.expect("read").is_some(), index >= 2, "{index}");
    }
}

/// A clock that follows tokio's until it jumps.
struct JumpingClock(testbed::TokioClock, AtomicI64);

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.0.now() + TimeDelta::seconds(self.1.load(Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_jump_does_not_delete_the_history() {
    let testbed = Testbed::new(2);
    let clock = Arc::new(JumpingClock(testbed::TokioClock::new(), AtomicI64::new(0)));
    let retention = Retention { keep_for: Some(Duration::from_secs(100)), keep_max: None };
    tokio::spawn(retention.run(testbed.store.clone(), Arc::clone(&clock) as Arc<dyn Clock>));
    let id = testbed.submit("ok").await;
    testbed.wait_for(id, TaskState::Completed).await;
    testbed.advance(Duration::from_secs(15)).await;
    // For 8 s it is a year later, long enough for one prune interval at most.
    clock.1.store(31_536_000, Ordering::SeqCst);
    testbed.advance(Duration::from_secs(8)).await;
    clock.1.store(0, Ordering::SeqCst);
    testbed.advance(Duration::from_secs(30)).await;
    assert!(testbed.store.get(id).await.expect("read").is_some());
    testbed.advance(Duration::from_secs(60)).await;
    assert_eq!(testbed.store.get(id).await, Ok(None), "its age limit still applies");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_saves_in_a_loop_is_slowed_down() {
    let testbed = Testbed::new(2);
    let often = testbed.submit("save-often 101 1").await;
    let took = testbed.wait_for(often, TaskState::Completed).await;
    let took = took.finished_at.unwrap() - took.started_at.unwrap();
    assert!(took.num_milliseconds() >= 1_000, "a hundred times in a second, not {took}");
    let much = testbed.submit("save-often 33 1048576").await;
    let took = testbed.wait_for(much, TaskState::Completed).await;
    let took = took.finished_at.unwrap() - took.started_at.unwrap();
    assert!(took.num_milliseconds() >= 2_000, "16 MiB in a second, not 32 MiB in {took}");
}

#[tokio::test(start_paused = true)]
async fn of_two_drains_the_shorter_grace_counts_and_both_finish() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("forever").await;
    testbed.wait_for(id, TaskState::Running).await;
    assert!(testbed.scheduler.start_drain(DAY));
    assert!(!testbed.scheduler.start_drain(Duration::ZERO), "the first call started the drain");
    let scheduler = testbed.scheduler.clone();
    scheduler.drain(std::future::ready(())).await;
    let task = testbed.task(id).await;
    assert_eq!(
        (task.state, task.attempt),
        (TaskState::Available, 0),
        "requeued when the second drain returns"
    );
    // A third drain has nothing to do, whatever its grace period.
    scheduler.drain(std::future::pending()).await;
    let refused = testbed.submit("ok").await;
    testbed.advance(Duration::from_secs(5)).await;
    assert_eq!(testbed.task(refused).await.state, TaskState::Available);
}

#[tokio::test(start_paused = true)]
async fn a_drained_host_can_be_killed_without_using_up_attempts() {
    let testbed = Testbed::new(1);
    let id = testbed.submit("forever").await;
    testbed.wait_for(id, TaskState::Running).await;
    testbed.scheduler.start_drain(Duration::from_secs(1));
    testbed.advance(Duration::from_secs(2)).await;
    assert_eq!(testbed.store.counts().await.unwrap().running, 0);
    let testbed = testbed.crash().await;
    let task = testbed.wait_for(id, TaskState::Running).await;
    assert_eq!((task.attempt, task.host_crashes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_task_starts_at_its_time() {
    let testbed = Testbed::with(SchedulerConfig { slots: 1, poll: DAY, ..SchedulerConfig::default() });
    let at = testbed.clock.now() + Duration::from_secs(30);
    let id = testbed.submit_new(|task| task.run_at = Some(at), "ok").await;
    testbed.scheduler.wake();
    testbed.advance(Duration::from_secs(29)).await;
    assert_eq!(testbed.task(id).await.state, TaskState::Scheduled);
    // The poll is a day away.
    let task = testbed.wait_for(id, TaskState::Completed).await;
    assert!(task.started_at.unwrap() >= at && task.started_at.unwrap() < at + TimeDelta::seconds(1));
}

#[tokio::test(start_paused = true)]
async fn a_low_priority_task_starts_within_a_stream_of_higher_ones() {
    let testbed = Testbed::new(1);
    let first = testbed.submit("sleep 10").await;
    testbed.wait_for(first, TaskState::Running).await;
    let low = testbed.submit_new(|task| task.priority = Priority::of(-1).unwrap(), "ok").await;
    // Each runs longer than the pause between two submits, so the queue only grows.
    for _ in 0..20 {
        testbed.submit_new(|task| task.priority = Priority::of(1).unwrap(), "sleep 10").await;
        testbed.advance(Duration::from_secs(8)).await;
    }
    let task = testbed.wait_for(low, TaskState::Completed).await;
    let waited = task.started_at.unwrap() - task.created_at;
    assert!((100..=180).contains(&waited.num_seconds()), "two priority steps are two minutes, not {waited}");
    assert!(testbed.store.counts().await.unwrap().waiting > 0, "others wait behind it");
}

#[tokio::test(start_paused = true)]
async fn paused_tasks_start_when_resumed() {
    let testbed = Testbed::with(SchedulerConfig { slots: 2, poll: DAY, ..SchedulerConfig::default() });
    for plugin in [None, Some(testbed::plugin())] {
        let running = testbed.submit("sleep 5").await;
        testbed.wait_for(running, TaskState::Running).await;
        testbed.scheduler.pause(plugin.clone(), true).await.unwrap();
        testbed.scheduler.pause(plugin.clone(), true).await.unwrap();
        let held = testbed.submit("ok").await;
        testbed.wait_for(running, TaskState::Completed).await;
        testbed.advance(Duration::from_secs(60)).await;
        assert_eq!(testbed.task(held).await.state, TaskState::Available);
        assert_eq!(testbed.scheduler.is_paused(), plugin.is_none());
        assert_eq!(testbed.scheduler.is_plugin_paused(&testbed::plugin()), plugin.is_some());
        testbed.scheduler.pause(plugin, false).await.unwrap();
        // The poll is a day away.
        testbed.wait_for(held, TaskState::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_the_host() {
    let testbed = Testbed::new(1);
    testbed.scheduler.pause(Some(testbed::plugin()), true).await.unwrap();
    testbed.scheduler.pause(None, true).await.unwrap();
    let id = testbed.submit("ok").await;
    let testbed = testbed.crash().await;
    testbed.advance(Duration::from_secs(5)).await;
    assert!(testbed.scheduler.is_paused());
    testbed.scheduler.pause(None, false).await.unwrap();
    testbed.advance(Duration::from_secs(5)).await;
    assert_eq!(testbed.task(id).await.state, TaskState::Available, "the plugin is paused on its own");
    let testbed = testbed.restart().await;
    testbed.advance(Duration::from_secs(5)).await;
    assert!(!testbed.scheduler.is_paused());
    testbed.scheduler.pause(Some(testbed::plugin()), false).await.unwrap();
    testbed.wait_for(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_of_a_plugin_start_in_a_second_than_its_rate() {
    let testbed = Testbed::with(SchedulerConfig { slots: 50, poll: DAY, ..SchedulerConfig::default() });
    testbed.runner.rate.store(3, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(testbed.submit("ok").await);
    }
    let mut starts = Vec::new();
    for id in ids {
        // The poll is a day away, so the end of each second has to wake the dispatcher.
        starts.push(testbed.wait_for(id, TaskState::Completed).await.started_at.unwrap());
    }
    for window in starts.windows(4) {
        let span = window[3] - window[0];
        assert!(span >= TimeDelta::milliseconds(999), "four within {span}");
    }
    let all = starts[9] - starts[0];
    assert!(all < TimeDelta::milliseconds(3_500), "starts are not delayed further: {all}");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_decides_which_failures_are_retried() {
    let testbed = Testbed::new(1);
    *testbed.runner.retry_on.lock().unwrap() = RetryOn::of(["timeout"]).unwrap();
    let id = testbed.submit_with("fail", 3, DAY).await;
    assert_eq!(testbed.wait_for(id, TaskState::Failed).await.attempt, 1);
    let id = testbed.submit_with("forever", 2, Duration::from_secs(1)).await;
    assert_eq!(testbed.wait_for(id, TaskState::Failed).await.attempt, 2);
    let attempts = testbed.store.attempts(id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.cause).collect::<Vec<_>>(), [Cause::Timeout]);
}

fn after(on: &[TaskId], pass_results: bool) -> impl FnOnce(&mut NewTask) {
    let dependencies =
        NewDependencies { on: on.to_vec(), on_failure: OnFailure::Run, pass_results, files_from: None };
    |task| task.dependencies = Some(dependencies)
}

#[tokio::test(start_paused = true)]
async fn a_dependent_starts_as_soon_as_its_dependencies_finish() {
    let testbed = Testbed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    let first = testbed.submit("sleep 5").await;
    let other = testbed.submit("forever").await;
    testbed.wait_for(other, TaskState::Running).await;
    let last = testbed.submit_new(after(&[first, other], true), "dependency-results").await;
    testbed.wait_for(first, TaskState::Completed).await;
    assert_eq!(testbed.task(last).await.state, TaskState::Blocked);
    // The poll is a day away, and the cancel sends no wake-up.
    testbed.scheduler.cancel(other).await.expect("cancelled");
    let task = testbed.wait_for(last, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("slept 5, cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_run_without_its_dependency_results_fails_permanently() {
    let testbed = Testbed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    let first = testbed.submit("ok").await;
    let other = testbed.submit("forever").await;
    testbed.wait_for(first, TaskState::Completed).await;
    let change = |task: &mut NewTask| {
        after(&[first, other], true)(task);
        task.attempts_max = 3;
    };
    let last = testbed.submit_new(change, "dependency-results").await;
    testbed.store.remove(first, Duration::ZERO, testbed.clock.now()).await.expect("removed");
    testbed.scheduler.cancel(other).await.expect("cancelled");
    let task = testbed.wait_for(last, TaskState::Failed).await;
    let failure = task.failure.expect("a reason");
    assert_eq!((failure.cause, task.attempt), (Cause::InvalidInput, 1));
    assert!(failure.message.contains(&first.to_string()), "{failure}");
}
