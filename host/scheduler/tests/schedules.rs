//! The guarantees of schedules, with a clock that the test moves.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::{
    Clock, MissedPolicy, ScheduleName, Task, TaskId, TaskState, TimeDelta, Timestamp, Timing,
};
use wasmill_scheduler::{Prepare, ScheduleStats, SchedulerConfig, Schedules};
use wasmill_store::{Filter, ListQuery, NewSchedule, PutOutcome, RunNowOutcome, Schedule};

/// A clock that follows tokio's from a given time and can be shifted.
struct ShiftedClock(testbed::TokioClock, AtomicI64);

impl ShiftedClock {
    fn shift(&self, time: TimeDelta) {
        self.1.fetch_add(time.num_seconds(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        self.0.now() + TimeDelta::seconds(self.1.load(Ordering::SeqCst))
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn name(name: &str) -> ScheduleName {
    name.parse().expect("a valid name")
}

/// A host with schedules and its clock.
struct ScheduleBed {
    testbed: Testbed,
    clock: Arc<ShiftedClock>,
    schedules: Schedules,
    /// True while no task can be created.
    is_failing: Arc<AtomicBool>,
}

impl ScheduleBed {
    fn new(now: &str) -> Self {
        let clock = testbed::TokioClock::new();
        let ahead = (at(now) - clock.now()).num_seconds();
        let clock = Arc::new(ShiftedClock(clock, AtomicI64::new(ahead)));
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let config = SchedulerConfig { slots: 2, ..SchedulerConfig::default() };
        let testbed = Testbed::on(dir, Arc::clone(&clock) as Arc<dyn Clock>, config);
        Self::of(testbed, clock)
    }

    fn of(testbed: Testbed, clock: Arc<ShiftedClock>) -> Self {
        let is_failing = Arc::new(AtomicBool::new(false));
        let schedules = Schedules::new(testbed.store.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
        let fails = Arc::clone(&is_failing);
        let prepare: Prepare = Arc::new(move |_, script, now| match fails.load(Ordering::SeqCst) {
            true => Err("plugin 'scripted' is not loaded".to_owned()),
            false => Ok(testbed::new_task(TaskId::new(), script, now)),
        });
        tokio::spawn(schedules.clone().run(testbed.scheduler.clone(), prepare));
        Self { testbed, clock, schedules, is_failing }
    }

    async fn crash(self, away: TimeDelta) -> Self {
        let Self { testbed, clock, .. } = self;
        clock.shift(away);
        Self::of(testbed.crash().await, clock)
    }

    async fn put(&self, of: &str, cron: &str, zone: &str, change: impl FnOnce(&mut NewSchedule)) {
        let mut new = NewSchedule {
            name: name(of),
            from_manifest: false,
            timing: Timing::of(cron, zone).expect("valid"),
            missed: MissedPolicy::One,
            overlap: true,
            task: "ok".to_owned(),
            plugin: testbed::plugin(),
        };
        change(&mut new);
        let put = self.testbed.store.put_schedule(new, 100, self.clock.now()).await.expect("written");
        assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
        self.schedules.wake();
    }

    async fn schedule(&self, of: &str) -> Schedule {
        self.testbed.store.schedule(name(of)).await.expect("read").expect("there")
    }

    /// Advances time in steps and waits for due schedules after each.
    async fn advance(&self, time: TimeDelta, step: TimeDelta) {
        let mut gone = TimeDelta::zero();
        while gone < time {
            self.clock.shift(step);
            gone += step;
            self.schedules.wake();
            self.wait_until_evaluated().await;
        }
    }

    /// Waits until nothing is due.
    async fn wait_until_evaluated(&self) {
        for _ in 0..20_000 {
            let (due, _) = self.testbed.store.due_schedules(self.clock.now(), 9).await.expect("read");
            if due.is_empty() {
                return;
            }
            // Hardly any time passes, however long the store's threads take.
            self.testbed.advance(Duration::from_micros(10)).await;
        }
        panic!("something stays due");
    }

    /// Advances time until the schedule meets the condition.
    async fn wait_until(&self, of: &str, condition: impl Fn(&Schedule) -> bool) -> Schedule {
        for _ in 0..20_000 {
            let schedule = self.schedule(of).await;
            if condition(&schedule) {
                return schedule;
            }
            self.testbed.advance(Duration::from_millis(1)).await;
        }
        panic!("{:?}", self.schedule(of).await);
    }

    /// Returns the tasks of a schedule, oldest first.
    async fn tasks(&self, of: &str) -> Vec<Task> {
        let query = ListQuery { limit: 10_000, before: None, filter: Filter::default() };
        let mut tasks = self.testbed.store.list(query).await.expect("read").tasks;
        tasks.retain(|task| task.schedule == Some(name(of)));
        tasks.reverse();
        tasks
    }
}

#[tokio::test(start_paused = true)]
async fn a_due_run_starts_exactly_once() {
    let bed = ScheduleBed::new("2026-01-01T00:00:00Z");
    bed.put("often", "*/2 * * * * *", "UTC", |_| {}).await;
    bed.advance(TimeDelta::seconds(10), TimeDelta::seconds(1)).await;
    let tasks = bed.tasks("often").await;
    assert_eq!(tasks.len(), 5);
    for (index, task) in tasks.iter().enumerate() {
        let late = task.created_at - at("2026-01-01T00:00:02Z") - TimeDelta::seconds(2 * index as i64);
        assert!((0..200).contains(&late.num_milliseconds()), "{late}");
        bed.testbed.wait_for(task.id, TaskState::Completed).await;
    }
    let ScheduleStats { started, skipped, late_seconds } = bed.schedules.stats();
    assert_eq!((started, skipped, late_seconds.count()), (5, 0, 5));
    let schedule = bed.schedule("often").await;
    assert_eq!((schedule.runs, schedule.last.map(|last| last.task)), (5, Some(tasks[4].id)));
}

#[tokio::test(start_paused = true)]
async fn runs_missed_while_no_host_was_up_follow_each_policy() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    for missed in MissedPolicy::ALL {
        bed.put(missed.as_str(), "*/5 * * * *", "UTC", |new| new.missed = missed).await;
    }
    bed.put("flood", "* * * * * *", "UTC", |new| new.missed = MissedPolicy::All).await;
    bed.put("alone", "*/5 * * * *", "UTC", |new| (new.missed, new.overlap) = (MissedPolicy::All, false))
        .await;
    let bed = bed.crash(TimeDelta::minutes(63)).await;
    bed.wait_until_evaluated().await;
    let mut found = Vec::new();
    for of in ["skip", "one", "all", "alone"] {
        let schedule = bed.schedule(of).await;
        assert_eq!(schedule.next_at, Some(at("2026-01-01T01:05:00Z")));
        found.push((bed.tasks(of).await.len(), schedule.runs, schedule.skipped));
    }
    assert_eq!(found, [(0, 0, 12), (1, 1, 11), (12, 12, 0), (1, 1, 11)]);
    let flood = bed.schedule("flood").await;
    assert_eq!(flood.runs, bed.tasks("flood").await.len() as u64);
    assert!((1_000..1_010).contains(&flood.runs), "{flood:?}");
    assert!(flood.skipped >= 63 * 60 - 1_000, "{flood:?}");
}

#[tokio::test(start_paused = true)]
async fn a_daylight_saving_change_loses_no_run_and_duplicates_none() {
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-28T12:00:10Z"),
        ("Europe/Berlin", "2026-10-24T12:00:10Z"),
        ("America/New_York", "2026-03-07T12:00:10Z"),
        ("America/New_York", "2026-10-31T12:00:10Z"),
    ] {
        let bed = ScheduleBed::new(from);
        // Two nights, the first with the change; each of these times occurs twice in it or not at all.
        for cron in ["30 2 * * *", "30 1 * * *", "0 * * * *"] {
            bed.put(&format!("s{}", &cron[..1]), cron, zone, |_| {}).await;
            bed.advance(TimeDelta::hours(48), TimeDelta::minutes(10)).await;
            let schedule = bed.schedule(&format!("s{}", &cron[..1])).await;
            let runs = if cron.starts_with("0 ") { 48 } else { 2 };
            assert_eq!((schedule.runs, schedule.skipped), (runs, 0), "{cron} in {zone} from {from}");
            bed.testbed.store.remove_schedule(schedule.name, false).await.expect("removed");
            bed.clock.shift(TimeDelta::hours(-48));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_starts_no_run_twice() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.put("a", "*/5 * * * *", "UTC", |_| {}).await;
    bed.advance(TimeDelta::minutes(30), TimeDelta::minutes(1)).await;
    assert_eq!(bed.tasks("a").await.len(), 6);
    bed.clock.shift(TimeDelta::minutes(-28));
    bed.testbed.advance(Duration::from_secs(15)).await;
    let bed = bed.crash(TimeDelta::zero()).await;
    bed.advance(TimeDelta::minutes(28), TimeDelta::minutes(1)).await;
    assert_eq!(bed.tasks("a").await.len(), 6);
    bed.advance(TimeDelta::minutes(10), TimeDelta::minutes(1)).await;
    assert_eq!(bed.tasks("a").await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_is_noticed_soon() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.put("a", "0 12 * * *", "UTC", |_| {}).await;
    bed.testbed.advance(Duration::from_secs(1)).await;
    bed.clock.shift(TimeDelta::hours(12));
    bed.wait_until("a", |schedule| schedule.runs == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_is_skipped_while_an_earlier_one_is_active_without_overlap() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.put("alone", "* * * * *", "UTC", |new| (new.overlap, new.task) = (false, "forever".to_owned())).await;
    bed.put("crowd", "* * * * *", "UTC", |new| new.task = "forever".to_owned()).await;
    bed.advance(TimeDelta::minutes(4), TimeDelta::minutes(1)).await;
    let alone = bed.tasks("alone").await;
    let skipped = bed.schedule("alone").await.skipped;
    assert_eq!((alone.len(), skipped, bed.tasks("crowd").await.len()), (1, 3, 4));
    bed.testbed.scheduler.cancel(alone[0].id).await.expect("cancelled");
    bed.advance(TimeDelta::minutes(1), TimeDelta::minutes(1)).await;
    assert_eq!(bed.tasks("alone").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_task_cannot_be_created_is_retried_and_reports_why() {
    let bed = ScheduleBed::new("2026-01-01T00:00:59Z");
    bed.put("a", "* * * * *", "UTC", |_| {}).await;
    bed.put("skip", "* * * * *", "UTC", |new| new.missed = MissedPolicy::Skip).await;
    bed.is_failing.store(true, Ordering::SeqCst);
    let schedule = bed.wait_until("a", |schedule| schedule.last_error.is_some()).await;
    assert_eq!(schedule.last_error.as_deref(), Some("plugin 'scripted' is not loaded"));
    assert_eq!((schedule.next_at, schedule.runs), (Some(at("2026-01-01T00:01:00Z")), 0));
    bed.is_failing.store(false, Ordering::SeqCst);
    for of in ["a", "skip"] {
        let schedule = bed.wait_until(of, |schedule| schedule.runs > 0).await;
        assert_eq!((schedule.runs, schedule.skipped, schedule.last_error), (1, 0, None));
    }
    bed.is_failing.store(true, Ordering::SeqCst);
    bed.clock.shift(TimeDelta::seconds(180));
    bed.schedules.wake();
    bed.wait_until("a", |schedule| schedule.last_error.is_some()).await;
    bed.is_failing.store(false, Ordering::SeqCst);
    let schedule = bed.wait_until("a", |schedule| schedule.runs > 1).await;
    assert_eq!((schedule.runs, schedule.skipped), (2, 2), "three were missed, one is made up");
}

#[tokio::test(start_paused = true)]
async fn pausing_the_queue_holds_tasks_but_not_schedules() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.testbed.scheduler.pause(None, true).await.expect("paused");
    bed.put("a", "* * * * *", "UTC", |_| {}).await;
    bed.advance(TimeDelta::minutes(2), TimeDelta::minutes(1)).await;
    let tasks = bed.tasks("a").await;
    assert_eq!(tasks.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Available; 2]);
    bed.testbed.scheduler.pause(None, false).await.expect("resumed");
    bed.testbed.wait_for(tasks[1].id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_manual_run_starts_now_and_belongs_to_its_schedule() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.put("a", "@yearly", "UTC", |new| new.overlap = false).await;
    let task = testbed::new_task(TaskId::new(), "forever", bed.clock.now());
    let ran = bed.schedules.run_now(name("a"), task.clone(), None).await.expect("a store");
    assert!(matches!(ran, RunNowOutcome::Started(started) if started.id == task.id), "{ran:?}");
    let again = testbed::new_task(TaskId::new(), "ok", bed.clock.now());
    assert_eq!(bed.schedules.run_now(name("a"), again, None).await, Ok(RunNowOutcome::Busy(task.id)));
    assert_eq!(bed.tasks("a").await.len(), 1);
    assert_eq!(bed.schedules.stats().started, 1);
}

#[tokio::test(start_paused = true)]
async fn no_run_starts_while_the_host_drains() {
    let bed = ScheduleBed::new("2026-01-01T00:00:30Z");
    bed.put("a", "* * * * *", "UTC", |_| {}).await;
    bed.testbed.scheduler.drain(std::future::ready(())).await;
    bed.clock.shift(TimeDelta::minutes(5));
    bed.schedules.wake();
    bed.testbed.advance(Duration::from_secs(12)).await;
    assert_eq!(bed.schedule("a").await.runs, 0);
}
