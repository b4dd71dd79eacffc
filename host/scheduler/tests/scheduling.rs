//! What the scheduler promises, with a scripted runner and paused time.
#![allow(missing_docs, reason = "a test binary")]

mod bed;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bed::Bed;
use wasmill_model::{
    Backoff, Cause, Clock, Dependencies, NewTask, OnFailure, Priority, RetryOn, TaskId, TaskState, TimeDelta,
    Timestamp,
};
use wasmill_scheduler::{Retention, SchedulerConfig, Slots};
use wasmill_store::{Cancelled, Filter};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_its_result_is_stored() {
    let bed = Bed::new(1);
    let id = bed.submit("ok").await;
    let task = bed.until(id, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("ok"));
    assert_eq!(task.attempt, 1);
    bed.until_idle().await;
    assert_eq!(bed.scheduler.slots(), Slots { total: 1, used: 0 });
}

#[tokio::test(start_paused = true)]
async fn every_start_end_and_cancel_is_counted_with_its_time() {
    let bed = Bed::new(1);
    let first = bed.submit("sleep 5").await;
    bed.until(first, TaskState::Running).await;
    let second = bed.submit("save half").await;
    bed.until(second, TaskState::Running).await;
    assert!(bed.task(second).await.usage.is_some_and(|usage| usage.queue >= Duration::from_secs(4)));
    while bed.task(second).await.usage.is_some_and(|usage| usage.checkpoints == 0) {
        bed.pass(Duration::from_millis(20)).await;
    }
    bed.scheduler.cancel(second).await.expect("cancelled");
    let exits = bed.submit("fail").await;
    bed.until(exits, TaskState::Failed).await;
    bed.until_idle().await;
    let stats = bed.scheduler.stats();
    assert_eq!((stats.start_seconds.count(), stats.cancel_seconds.count()), (3, 1));
    assert!((4.0..6.0).contains(&stats.start_seconds.sum()), "{stats:?}");
    let attempts = &stats.plugins[&bed::plugin()];
    assert_eq!(
        attempts.ended.iter().collect::<Vec<_>>(),
        [(&"completed", &1), (&"io", &1), (&"stopped", &1)]
    );
    assert!((5.0..7.0).contains(&attempts.run_seconds.sum()), "{attempts:?}");
    assert_eq!(attempts.used.checkpoints, 1);
    let usage = bed.task(first).await.usage.expect("it ran");
    assert!((5_000..5_100).contains(&usage.wall.as_millis()), "{usage:?}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_task_holds_no_slot_and_goes_on_as_the_same_attempt() {
    let bed = Bed::new(1);
    let suspended = bed.submit("park 3").await;
    while bed.task(suspended).await.suspensions == 0 {
        bed.pass(Duration::from_millis(20)).await;
    }
    let other = bed.submit("ok").await;
    bed.until(other, TaskState::Completed).await;
    assert_eq!(bed.task(suspended).await.state, TaskState::Waiting, "the other one had the slot meanwhile");
    let task = bed.until(suspended, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("suspended 3 times, attempt 1"));
    assert_eq!((task.attempt, task.suspensions), (1, 3));
    let took = task.duration(bed.clock.now());
    assert!((3_000..3_500).contains(&took.as_millis()), "each time until it was due, not later: {took:?}");
    bed.until_idle().await;
    let ended = &bed.scheduler.stats().plugins[&bed::plugin()].ended;
    assert_eq!(ended.iter().collect::<Vec<_>>(), [(&"completed", &2), (&"suspended", &3)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_run_than_slots() {
    let bed = Bed::new(3);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bed.submit("sleep 5").await);
    }
    for id in ids {
        bed.until(id, TaskState::Completed).await;
    }
    bed.until_idle().await;
    assert_eq!(bed.runner.most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_of_a_plugin_run_than_its_concurrency() {
    let config = SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() };
    let bed = Bed::with(config);
    bed.runner.concurrency.store(2, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(bed.submit("sleep 5").await);
    }
    // The poll is a day away, so each end has to wake the dispatcher.
    for id in ids {
        bed.until(id, TaskState::Completed).await;
    }
    bed.until_idle().await;
    assert_eq!(bed.runner.most.load(Ordering::SeqCst), 2);
    assert_eq!(bed.scheduler.running(&bed::plugin()), 0);
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_while_there_is_no_memory_for_them() {
    let bed = Bed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    bed.runner.room.store(2, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(bed.submit("sleep 5").await);
    }
    bed.until(ids[1], TaskState::Running).await;
    bed.pass(Duration::from_secs(1)).await;
    assert!(bed.scheduler.is_memory_bound());
    // The poll is a day away, so each end has to wake the dispatcher.
    for id in ids {
        bed.until(id, TaskState::Completed).await;
    }
    assert_eq!(bed.runner.most.load(Ordering::SeqCst), 2);
    assert!(!bed.scheduler.is_memory_bound());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_gives_way_is_put_back_with_its_attempt_and_checkpoint() {
    let bed = Bed::with(SchedulerConfig { slots: 1, poll: DAY, ..SchedulerConfig::default() });
    let id = bed.submit("give-way").await;
    let task = bed.until(id, TaskState::Completed).await;
    assert_eq!((task.attempt, task.result.as_deref()), (1, Some("there was room")));
    assert_eq!(task.failure, None);
    assert_eq!(bed.runner.started.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_between_attempts_as_its_own_backoff_says() {
    let bed = Bed::new(1);
    let backoff = Backoff::of(Some(1_000 * Duration::from_secs(1)), Some(1.0), None, None).unwrap();
    let id = bed.submit_new(|task| (task.attempts_max, task.backoff) = (2, Some(backoff)), "fail").await;
    let task = bed.until_failure(id).await;
    let wait = (task.ready_at - bed.clock.now()).num_seconds();
    assert!((990..=1_500).contains(&wait), "{wait}");
    assert_eq!(task.plugin_digest.as_deref(), Some(bed::DIGEST));
}

#[tokio::test(start_paused = true)]
async fn one_claim_takes_no_more_than_its_most() {
    let config = SchedulerConfig { slots: 10, claim_max: 2, ..SchedulerConfig::default() };
    let bed = Bed::with(config);
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(bed.submit_without_hint("ok", 1, DAY).await);
    }
    bed.scheduler.wake();
    for id in ids {
        bed.until(id, TaskState::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_hint_costs_one_poll() {
    let bed = Bed::new(1);
    let id = bed.submit_without_hint("ok", 1, DAY).await;
    bed.until(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_tried_again_after_its_backoff() {
    let bed = Bed::new(1);
    let id = bed.submit_with("fail-until 3", 3, DAY).await;
    let task = bed.until(id, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("attempt 3"));
    assert_eq!(bed.store.log(id).await.unwrap().as_deref(), Some("attempt 3\n"));
    let waited = task.started_at.unwrap() - task.created_at;
    assert!(waited.num_milliseconds() >= 1_500, "half of 1 s and of 2 s at least: {waited}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_attempts_left_is_final() {
    let bed = Bed::new(1);
    let once = bed.submit("fail").await;
    let lasting = bed.submit_with("bad-input", 5, DAY).await;
    assert_eq!(bed.until(once, TaskState::Failed).await.failure.unwrap().cause, Cause::Io);
    let task = bed.until(lasting, TaskState::Failed).await;
    assert_eq!((task.attempt, task.failure.unwrap().cause), (1, Cause::InvalidInput));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_outlasts_its_timeout_is_stopped() {
    let bed = Bed::new(2);
    let asleep = bed.submit_with("forever", 1, Duration::from_secs(60)).await;
    let task = bed.until(asleep, TaskState::Failed).await;
    let failure = task.failure.unwrap();
    assert_eq!(failure.cause, Cause::Timeout);
    assert!(failure.message.contains("60s"), "{}", failure.message);
    bed.until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_loop_is_stopped_at_its_timeout() {
    let bed = Bed::new(1);
    let id = bed.submit_with("spin", 1, Duration::from_millis(50)).await;
    let task = bed.until(id, TaskState::Failed).await;
    assert_eq!(task.failure.unwrap().cause, Cause::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_a_run_fails_the_task_and_frees_its_slot() {
    let bed = Bed::new(1);
    let id = bed.submit("panic").await;
    assert_eq!(bed.until(id, TaskState::Failed).await.failure.unwrap().cause, Cause::HostFault);
    let next = bed.submit("ok").await;
    bed.until(next, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_is_gone_and_its_slot_free() {
    let bed = Bed::new(1);
    let running = bed.submit("forever").await;
    let waiting = bed.submit("forever").await;
    bed.until(running, TaskState::Running).await;
    assert_eq!(bed.scheduler.remove(waiting).await.unwrap(), Some(TaskState::Waiting));
    assert_eq!(bed.scheduler.remove(running).await.unwrap(), Some(TaskState::Running));
    assert_eq!((bed.used(), bed.runner.running.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(bed.store.get(running).await.unwrap(), None);
    assert_eq!(bed.scheduler.remove(running).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_spinning_task_is_cancelled_and_kept_as_history() {
    let bed = Bed::new(2);
    let id = bed.submit("spin").await;
    bed.until(id, TaskState::Running).await;
    let cancelled = bed.scheduler.cancel(id).await.unwrap();
    assert_eq!(cancelled, Cancelled::Cancelled { was: TaskState::Running });
    assert_eq!((bed.used(), bed.runner.running.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(bed.task(id).await.state, TaskState::Cancelled);
    let again = bed.scheduler.cancel(id).await.unwrap();
    assert_eq!(again, Cancelled::AlreadyFinal(TaskState::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_carried_out_though_the_caller_went_away() {
    let bed = Bed::new(1);
    let id = bed.submit("forever").await;
    bed.until(id, TaskState::Running).await;
    let scheduler = bed.scheduler.clone();
    let caller = tokio::spawn(async move { scheduler.cancel(id).await });
    tokio::task::yield_now().await;
    caller.abort();
    bed.until(id, TaskState::Cancelled).await;
    let next = bed.submit("ok").await;
    bed.until(next, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn many_cancels_of_one_task_all_wait_for_its_end() {
    let bed = Bed::new(1);
    let id = bed.submit("forever").await;
    bed.until(id, TaskState::Running).await;
    let cancels: Vec<_> = (0..8)
        .map(|_| {
            let scheduler = bed.scheduler.clone();
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
    let bed = Bed::new(1);
    bed.runner.unavailable.store(true, Ordering::SeqCst);
    let id = bed.submit("ok").await;
    bed.pass(Duration::from_secs(30)).await;
    assert_eq!(bed.task(id).await.state, TaskState::Waiting);
    bed.runner.unavailable.store(false, Ordering::SeqCst);
    bed.until(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_runs_end_and_starts_nothing() {
    let bed = Bed::new(1);
    let running = bed.submit("sleep 5").await;
    let waiting = bed.submit("ok").await;
    bed.until(running, TaskState::Running).await;
    let (drained, ()) = tokio::join!(
        bed.scheduler.drain(tokio::time::sleep(Duration::from_secs(10))),
        bed.pass(Duration::from_secs(6)),
    );
    assert_eq!((drained.ended, drained.requeued), (1, 0));
    assert!(bed.scheduler.is_draining());
    assert_eq!(bed.task(running).await.state, TaskState::Completed);
    assert_eq!(bed.task(waiting).await.state, TaskState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn a_drained_run_is_put_back_with_its_attempt_and_checkpoint() {
    let bed = Bed::new(1);
    let id = bed.submit("save here").await;
    while bed.runner.started.load(Ordering::SeqCst) == 0 {
        bed.pass(Duration::from_millis(1)).await;
    }
    bed.pass(Duration::from_secs(5)).await;
    let drained = bed.scheduler.drain(std::future::ready(())).await;
    assert_eq!((drained.ended, drained.requeued), (0, 1));
    let task = bed.task(id).await;
    assert_eq!((task.state, task.attempt, task.started_at), (TaskState::Waiting, 0, None));
    let bed = bed.restart().await;
    let task = bed.until(id, TaskState::Completed).await;
    assert_eq!((task.attempt, task.result.as_deref()), (1, Some("here")));
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_host_loses_nothing_and_counts_the_attempt() {
    let bed = Bed::new(1);
    let running = bed.submit("sleep 9").await;
    let waiting = bed.submit("ok").await;
    bed.until(running, TaskState::Running).await;
    let bed = bed.crash().await;
    let task = bed.until(running, TaskState::Completed).await;
    assert_eq!((task.attempt, task.host_crashes), (2, 1));
    bed.until(waiting, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_saw_three_hosts_die_is_given_up() {
    let mut bed = Bed::new(1);
    let poison = bed.submit("forever").await;
    for _ in 0..3 {
        bed.until(poison, TaskState::Running).await;
        bed = bed.crash().await;
    }
    let task = bed.until(poison, TaskState::Failed).await;
    assert_eq!((task.attempt, task.failure.unwrap().cause), (3, Cause::HostCrash));
}

#[tokio::test(start_paused = true)]
async fn many_tasks_are_cancelled_and_none_of_them_runs_on() {
    let bed = Bed::new(1_200);
    let mut ids = Vec::new();
    for script in ["forever", "spin", "forever"] {
        for _ in 0..500 {
            ids.push(bed.submit_without_hint(script, 1, Duration::from_secs(600)).await);
        }
    }
    bed.scheduler.wake();
    while bed.used() < 1_200 {
        bed.pass(Duration::from_millis(20)).await;
    }
    let other = NewTask { created_at: bed.clock.now() + Duration::from_secs(60), ..later() };
    let spared = other.id;
    bed.store.insert(vec![other]).await.expect("accepted");
    let filter =
        Filter { created_before: Some(bed.clock.now() + Duration::from_secs(30)), ..Filter::default() };
    assert_eq!(bed.scheduler.cancel_many(filter.clone(), Duration::ZERO).await, Ok(1_500));
    assert!(bed.used() <= 1, "only the one that was spared may have started: {}", bed.used());
    assert!(bed.runner.running.load(Ordering::SeqCst) <= 1);
    for id in ids {
        assert_eq!(bed.task(id).await.state, TaskState::Cancelled);
    }
    assert!(!bed.task(spared).await.state.is_final());
    assert_eq!(bed.scheduler.cancel_many(filter, Duration::ZERO).await, Ok(0));
}

fn later() -> NewTask {
    bed::new_task(TaskId::new(), "forever", Timestamp::default())
}

#[tokio::test(start_paused = true)]
async fn ended_tasks_are_forgotten_by_age() {
    let bed = Bed::new(2);
    let retention = Retention { keep_for: Some(Duration::from_secs(100)), keep_max: None };
    tokio::spawn(retention.run(bed.store.clone(), Arc::clone(&bed.clock)));
    let old = bed.submit("ok").await;
    bed.until(old, TaskState::Completed).await;
    let running = bed.submit("forever").await;
    bed.pass(Duration::from_secs(60)).await;
    let young = bed.submit("ok").await;
    bed.until(young, TaskState::Completed).await;
    assert!(bed.store.get(old).await.expect("read").is_some());
    bed.pass(Duration::from_secs(60)).await;
    assert_eq!(bed.store.get(old).await, Ok(None));
    assert_eq!(bed.task(young).await.state, TaskState::Completed);
    assert_eq!(bed.task(running).await.state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn ended_tasks_are_forgotten_by_count() {
    let bed = Bed::new(2);
    let retention = Retention { keep_for: None, keep_max: Some(3) };
    tokio::spawn(retention.run(bed.store.clone(), Arc::clone(&bed.clock)));
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = bed.submit("ok").await;
        bed.until(id, TaskState::Completed).await;
        ids.push(id);
    }
    bed.pass(Duration::from_secs(20)).await;
    for (place, id) in ids.into_iter().enumerate() {
        assert_eq!(bed.store.get(id).await.expect("read").is_some(), place >= 2, "{place}");
    }
}

/// A clock that goes with tokio's until it is told to leap.
struct Leaping(bed::TokioClock, AtomicI64);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        self.0.now() + TimeDelta::seconds(self.1.load(Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn a_leap_of_the_clock_does_not_cost_the_history() {
    let bed = Bed::new(2);
    let clock = Arc::new(Leaping(bed::TokioClock::new(), AtomicI64::new(0)));
    let retention = Retention { keep_for: Some(Duration::from_secs(100)), keep_max: None };
    tokio::spawn(retention.run(bed.store.clone(), Arc::clone(&clock) as Arc<dyn Clock>));
    let id = bed.submit("ok").await;
    bed.until(id, TaskState::Completed).await;
    bed.pass(Duration::from_secs(15)).await;
    // For 8 s it is a year later, long enough for no look or one.
    clock.1.store(31_536_000, Ordering::SeqCst);
    bed.pass(Duration::from_secs(8)).await;
    clock.1.store(0, Ordering::SeqCst);
    bed.pass(Duration::from_secs(30)).await;
    assert!(bed.store.get(id).await.expect("read").is_some());
    bed.pass(Duration::from_secs(60)).await;
    assert_eq!(bed.store.get(id).await, Ok(None), "its time has come all the same");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_saves_in_a_loop_waits_for_its_turn() {
    let bed = Bed::new(2);
    let often = bed.submit("save-often 101 1").await;
    let took = bed.until(often, TaskState::Completed).await;
    let took = took.finished_at.unwrap() - took.started_at.unwrap();
    assert!(took.num_milliseconds() >= 1_000, "a hundred times in a second, not {took}");
    let much = bed.submit("save-often 33 1048576").await;
    let took = bed.until(much, TaskState::Completed).await;
    let took = took.finished_at.unwrap() - took.started_at.unwrap();
    assert!(took.num_milliseconds() >= 2_000, "16 MiB in a second, not 32 MiB in {took}");
}

#[tokio::test(start_paused = true)]
async fn of_two_drains_the_shorter_grace_counts_and_both_end() {
    let bed = Bed::new(1);
    let id = bed.submit("forever").await;
    bed.until(id, TaskState::Running).await;
    assert!(bed.scheduler.start_drain(DAY));
    assert!(!bed.scheduler.start_drain(Duration::ZERO), "the first has begun it");
    let scheduler = bed.scheduler.clone();
    scheduler.drain(std::future::ready(())).await;
    let task = bed.task(id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Waiting, 0), "put back when the second drain returns");
    // A third finds nothing to do, whatever its grace.
    scheduler.drain(std::future::pending()).await;
    let refused = bed.submit("ok").await;
    bed.pass(Duration::from_secs(5)).await;
    assert_eq!(bed.task(refused).await.state, TaskState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn a_drained_host_can_be_killed_and_burns_nothing() {
    let bed = Bed::new(1);
    let id = bed.submit("forever").await;
    bed.until(id, TaskState::Running).await;
    bed.scheduler.start_drain(Duration::from_secs(1));
    bed.pass(Duration::from_secs(2)).await;
    assert_eq!(bed.store.counts().await.unwrap().running, 0);
    let bed = bed.crash().await;
    let task = bed.until(id, TaskState::Running).await;
    assert_eq!((task.attempt, task.host_crashes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_put_off_starts_at_its_time() {
    let bed = Bed::with(SchedulerConfig { slots: 1, poll: DAY, ..SchedulerConfig::default() });
    let at = bed.clock.now() + Duration::from_secs(30);
    let id = bed.submit_new(|task| task.run_at = Some(at), "ok").await;
    bed.scheduler.wake();
    bed.pass(Duration::from_secs(29)).await;
    assert_eq!(bed.task(id).await.state, TaskState::Waiting);
    // The poll is a day away.
    let task = bed.until(id, TaskState::Completed).await;
    assert!(task.started_at.unwrap() >= at && task.started_at.unwrap() < at + TimeDelta::seconds(1));
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_low_priority_comes_through_a_stream_of_higher_ones() {
    let bed = Bed::new(1);
    let first = bed.submit("sleep 10").await;
    bed.until(first, TaskState::Running).await;
    let low = bed.submit_new(|task| task.priority = Priority::of(-1).unwrap(), "ok").await;
    // Each is longer than the pause between two of them: the line only grows.
    for _ in 0..20 {
        bed.submit_new(|task| task.priority = Priority::of(1).unwrap(), "sleep 10").await;
        bed.pass(Duration::from_secs(8)).await;
    }
    let task = bed.until(low, TaskState::Completed).await;
    let waited = task.started_at.unwrap() - task.created_at;
    assert!((100..=180).contains(&waited.num_seconds()), "two steps are two minutes, not {waited}");
    assert!(bed.store.counts().await.unwrap().waiting > 0, "others wait behind it");
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_is_not_started_and_goes_on_when_it_is_resumed() {
    let bed = Bed::with(SchedulerConfig { slots: 2, poll: DAY, ..SchedulerConfig::default() });
    for plugin in [None, Some(bed::plugin())] {
        let running = bed.submit("sleep 5").await;
        bed.until(running, TaskState::Running).await;
        bed.scheduler.pause(plugin.clone(), true).await.unwrap();
        bed.scheduler.pause(plugin.clone(), true).await.unwrap();
        let held = bed.submit("ok").await;
        bed.until(running, TaskState::Completed).await;
        bed.pass(Duration::from_secs(60)).await;
        assert_eq!(bed.task(held).await.state, TaskState::Waiting);
        assert_eq!(bed.scheduler.is_paused(), plugin.is_none());
        assert_eq!(bed.scheduler.is_plugin_paused(&bed::plugin()), plugin.is_some());
        bed.scheduler.pause(plugin, false).await.unwrap();
        // The poll is a day away.
        bed.until(held, TaskState::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_the_host() {
    let bed = Bed::new(1);
    bed.scheduler.pause(Some(bed::plugin()), true).await.unwrap();
    bed.scheduler.pause(None, true).await.unwrap();
    let id = bed.submit("ok").await;
    let bed = bed.crash().await;
    bed.pass(Duration::from_secs(5)).await;
    assert!(bed.scheduler.is_paused());
    bed.scheduler.pause(None, false).await.unwrap();
    bed.pass(Duration::from_secs(5)).await;
    assert_eq!(bed.task(id).await.state, TaskState::Waiting, "the plugin is paused by itself");
    let bed = bed.restart().await;
    bed.pass(Duration::from_secs(5)).await;
    assert!(!bed.scheduler.is_paused());
    bed.scheduler.pause(Some(bed::plugin()), false).await.unwrap();
    bed.until(id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_of_a_plugin_start_in_a_second_than_its_rate() {
    let bed = Bed::with(SchedulerConfig { slots: 50, poll: DAY, ..SchedulerConfig::default() });
    bed.runner.rate.store(3, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(bed.submit("ok").await);
    }
    let mut starts = Vec::new();
    for id in ids {
        // The poll is a day away, so the end of each second has to wake the dispatcher.
        starts.push(bed.until(id, TaskState::Completed).await.started_at.unwrap());
    }
    for window in starts.windows(4) {
        let span = window[3] - window[0];
        assert!(span >= TimeDelta::milliseconds(999), "four within {span}");
    }
    let all = starts[9] - starts[0];
    assert!(all < TimeDelta::milliseconds(3_500), "and as soon as they may: {all}");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_says_which_failures_are_attempted_again() {
    let bed = Bed::new(1);
    *bed.runner.retry_on.lock().unwrap() = RetryOn::of(["timeout"]).unwrap();
    let id = bed.submit_with("fail", 3, DAY).await;
    assert_eq!(bed.until(id, TaskState::Failed).await.attempt, 1);
    let id = bed.submit_with("forever", 2, Duration::from_secs(1)).await;
    assert_eq!(bed.until(id, TaskState::Failed).await.attempt, 2);
    let attempts = bed.store.attempts(id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.cause).collect::<Vec<_>>(), [Cause::Timeout]);
}

fn after(on: &[TaskId], hand_over: bool) -> impl FnOnce(&mut NewTask) {
    let dependencies = Dependencies { on: on.to_vec(), on_failure: OnFailure::Run, hand_over };
    |task| task.dependencies = Some(dependencies)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waited_for_others_starts_as_soon_as_they_have_ended() {
    let bed = Bed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    let first = bed.submit("sleep 5").await;
    let other = bed.submit("forever").await;
    bed.until(other, TaskState::Running).await;
    let last = bed.submit_new(after(&[first, other], true), "handed").await;
    bed.until(first, TaskState::Completed).await;
    assert_eq!(bed.task(last).await.state, TaskState::Waiting);
    // The poll is a day away, and nobody wakes the dispatcher for a cancel.
    bed.scheduler.cancel(other).await.expect("cancelled");
    let task = bed.until(last, TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("slept 5, cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_handed_its_results_fails_for_good() {
    let bed = Bed::with(SchedulerConfig { slots: 10, poll: DAY, ..SchedulerConfig::default() });
    let first = bed.submit("ok").await;
    let other = bed.submit("forever").await;
    bed.until(first, TaskState::Completed).await;
    let change = |task: &mut NewTask| {
        after(&[first, other], true)(task);
        task.attempts_max = 3;
    };
    let last = bed.submit_new(change, "handed").await;
    bed.store.remove(first, bed.clock.now()).await.expect("removed");
    bed.scheduler.cancel(other).await.expect("cancelled");
    let task = bed.until(last, TaskState::Failed).await;
    let failure = task.failure.expect("a reason");
    assert_eq!((failure.cause, task.attempt), (Cause::InvalidInput, 1));
    assert!(failure.message.contains(&first.to_string()), "{failure}");
}
