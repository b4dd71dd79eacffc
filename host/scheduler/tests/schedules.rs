//! What schedules promise, with a clock that goes where it is told.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::{Clock, Missed, ScheduleName, Task, TaskId, TaskState, TimeDelta, Timestamp, Timing};
use wasmill_scheduler::{Prepare, ScheduleStats, SchedulerConfig, Schedules};
use wasmill_store::{Filter, ListQuery, NewSchedule, Put, RanNow, Schedule};

/// A clock that goes with tokio's from a given time, and leaps.
struct Wall(testbed::TokioClock, AtomicI64);

impl Wall {
    fn leap(&self, time: TimeDelta) {
        self.1.fetch_add(time.num_seconds(), Ordering::SeqCst);
    }
}

impl Clock for Wall {
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

/// A host with schedules, and what time it is.
struct Plan {
    testbed: Testbed,
    wall: Arc<Wall>,
    schedules: Schedules,
    /// Whether no task can be made.
    refuses: Arc<AtomicBool>,
}

impl Plan {
    fn new(now: &str) -> Self {
        let clock = testbed::TokioClock::new();
        let ahead = (at(now) - clock.now()).num_seconds();
        let wall = Arc::new(Wall(clock, AtomicI64::new(ahead)));
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let config = SchedulerConfig { slots: 2, ..SchedulerConfig::default() };
        let testbed = Testbed::on(dir, Arc::clone(&wall) as Arc<dyn Clock>, config);
        Self::of(testbed, wall)
    }

    fn of(testbed: Testbed, wall: Arc<Wall>) -> Self {
        let refuses = Arc::new(AtomicBool::new(false));
        let schedules = Schedules::new(testbed.store.clone(), Arc::clone(&wall) as Arc<dyn Clock>);
        let does_refuse = Arc::clone(&refuses);
        let prepare: Prepare = Arc::new(move |script, now| match does_refuse.load(Ordering::SeqCst) {
            true => Err("plugin 'scripted' is away".to_owned()),
            false => Ok(testbed::new_task(TaskId::new(), script, now)),
        });
        tokio::spawn(schedules.clone().run(testbed.scheduler.clone(), prepare));
        Self { testbed, wall, schedules, refuses }
    }

    async fn crash(self, away: TimeDelta) -> Self {
        let Self { testbed, wall, .. } = self;
        wall.leap(away);
        Self::of(testbed.crash().await, wall)
    }

    async fn put(&self, of: &str, cron: &str, zone: &str, change: impl FnOnce(&mut NewSchedule)) {
        let mut new = NewSchedule {
            name: name(of),
            from_manifest: false,
            timing: Timing::of(cron, zone).expect("valid"),
            missed: Missed::One,
            overlap: true,
            task: "ok".to_owned(),
            plugin: testbed::plugin(),
        };
        change(&mut new);
        let put = self.testbed.store.put_schedule(new, 100, self.wall.now()).await.expect("written");
        assert!(matches!(put, Put::Made(_)), "{put:?}");
        self.schedules.wake();
    }

    async fn schedule(&self, of: &str) -> Schedule {
        self.testbed.store.schedule(name(of)).await.expect("read").expect("there")
    }

    /// Lets a time pass in steps, and everything settle after each.
    async fn go(&self, time: TimeDelta, step: TimeDelta) {
        let mut gone = TimeDelta::zero();
        while gone < time {
            self.wall.leap(step);
            gone += step;
            self.schedules.wake();
            self.settle().await;
        }
    }

    /// Waits until nothing is due any more.
    async fn settle(&self) {
        for _ in 0..20_000 {
            let (due, _) = self.testbed.store.due_schedules(self.wall.now(), 9).await.expect("read");
            if due.is_empty() {
                return;
            }
            // Hardly any time passes, however long the threads of the store take.
            self.testbed.advance(Duration::from_micros(10)).await;
        }
        panic!("something stays due");
    }

    /// Lets time pass until the schedule is as it should be.
    async fn until(&self, of: &str, is_so: impl Fn(&Schedule) -> bool) -> Schedule {
        for _ in 0..20_000 {
            let schedule = self.schedule(of).await;
            if is_so(&schedule) {
                return schedule;
            }
            self.testbed.advance(Duration::from_millis(1)).await;
        }
        panic!("{:?}", self.schedule(of).await);
    }

    /// Returns the tasks of a schedule, the first one first.
    async fn tasks(&self, of: &str) -> Vec<Task> {
        let query = ListQuery { limit: 10_000, before: None, filter: Filter::default() };
        let mut tasks = self.testbed.store.list(query).await.expect("read").tasks;
        tasks.retain(|task| task.schedule == Some(name(of)));
        tasks.reverse();
        tasks
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_starts_when_it_is_due_and_once() {
    let plan = Plan::new("2026-01-01T00:00:00Z");
    plan.put("often", "*/2 * * * * *", "UTC", |_| {}).await;
    plan.go(TimeDelta::seconds(10), TimeDelta::seconds(1)).await;
    let tasks = plan.tasks("often").await;
    assert_eq!(tasks.len(), 5);
    for (index, task) in tasks.iter().enumerate() {
        let late = task.created_at - at("2026-01-01T00:00:02Z") - TimeDelta::seconds(2 * index as i64);
        assert!((0..200).contains(&late.num_milliseconds()), "{late}");
        plan.testbed.wait_for(task.id, TaskState::Completed).await;
    }
    let ScheduleStats { started, skipped, late_seconds } = plan.schedules.stats();
    assert_eq!((started, skipped, late_seconds.count()), (5, 0, 5));
    let schedule = plan.schedule("often").await;
    assert_eq!((schedule.runs, schedule.last.map(|last| last.task)), (5, Some(tasks[4].id)));
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_no_host_was_up_is_as_each_schedule_wants_it() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    for missed in Missed::ALL {
        plan.put(missed.as_str(), "*/5 * * * *", "UTC", |new| new.missed = missed).await;
    }
    plan.put("flood", "* * * * * *", "UTC", |new| new.missed = Missed::All).await;
    plan.put("alone", "*/5 * * * *", "UTC", |new| (new.missed, new.overlap) = (Missed::All, false)).await;
    let plan = plan.crash(TimeDelta::minutes(63)).await;
    plan.settle().await;
    let mut found = Vec::new();
    for of in ["skip", "one", "all", "alone"] {
        let schedule = plan.schedule(of).await;
        assert_eq!(schedule.next_at, Some(at("2026-01-01T01:05:00Z")));
        found.push((plan.tasks(of).await.len(), schedule.runs, schedule.skipped));
    }
    assert_eq!(found, [(0, 0, 12), (1, 1, 11), (12, 12, 0), (1, 1, 11)]);
    let flood = plan.schedule("flood").await;
    assert_eq!(flood.runs, plan.tasks("flood").await.len() as u64);
    assert!((1_000..1_010).contains(&flood.runs), "{flood:?}");
    assert!(flood.skipped >= 63 * 60 - 1_000, "{flood:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_clocks_loses_no_run_and_doubles_none() {
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-28T12:00:10Z"),
        ("Europe/Berlin", "2026-10-24T12:00:10Z"),
        ("America/New_York", "2026-03-07T12:00:10Z"),
        ("America/New_York", "2026-10-31T12:00:10Z"),
    ] {
        let plan = Plan::new(from);
        // Two nights, the first with the change; every such time is in it twice or not at all.
        for cron in ["30 2 * * *", "30 1 * * *", "0 * * * *"] {
            plan.put(&format!("s{}", &cron[..1]), cron, zone, |_| {}).await;
            plan.go(TimeDelta::hours(48), TimeDelta::minutes(10)).await;
            let schedule = plan.schedule(&format!("s{}", &cron[..1])).await;
            let runs = if cron.starts_with("0 ") { 48 } else { 2 };
            assert_eq!((schedule.runs, schedule.skipped), (runs, 0), "{cron} in {zone} from {from}");
            plan.testbed.store.remove_schedule(schedule.name, false).await.expect("removed");
            plan.wall.leap(TimeDelta::hours(-48));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_starts_nothing_again() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.put("a", "*/5 * * * *", "UTC", |_| {}).await;
    plan.go(TimeDelta::minutes(30), TimeDelta::minutes(1)).await;
    assert_eq!(plan.tasks("a").await.len(), 6);
    plan.wall.leap(TimeDelta::minutes(-28));
    plan.testbed.advance(Duration::from_secs(15)).await;
    let plan = plan.crash(TimeDelta::zero()).await;
    plan.go(TimeDelta::minutes(28), TimeDelta::minutes(1)).await;
    assert_eq!(plan.tasks("a").await.len(), 6);
    plan.go(TimeDelta::minutes(10), TimeDelta::minutes(1)).await;
    assert_eq!(plan.tasks("a").await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_is_noticed_soon() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.put("a", "0 12 * * *", "UTC", |_| {}).await;
    plan.testbed.advance(Duration::from_secs(1)).await;
    plan.wall.leap(TimeDelta::hours(12));
    plan.until("a", |schedule| schedule.runs == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_is_left_out_while_an_earlier_one_goes_on_if_so_wished() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.put("alone", "* * * * *", "UTC", |new| (new.overlap, new.task) = (false, "forever".to_owned()))
        .await;
    plan.put("crowd", "* * * * *", "UTC", |new| new.task = "forever".to_owned()).await;
    plan.go(TimeDelta::minutes(4), TimeDelta::minutes(1)).await;
    let alone = plan.tasks("alone").await;
    let skipped = plan.schedule("alone").await.skipped;
    assert_eq!((alone.len(), skipped, plan.tasks("crowd").await.len()), (1, 3, 4));
    plan.testbed.scheduler.cancel(alone[0].id).await.expect("cancelled");
    plan.go(TimeDelta::minutes(1), TimeDelta::minutes(1)).await;
    assert_eq!(plan.tasks("alone").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_task_cannot_be_made_is_tried_again_and_says_why() {
    let plan = Plan::new("2026-01-01T00:00:59Z");
    plan.put("a", "* * * * *", "UTC", |_| {}).await;
    plan.put("skip", "* * * * *", "UTC", |new| new.missed = Missed::Skip).await;
    plan.refuses.store(true, Ordering::SeqCst);
    let schedule = plan.until("a", |schedule| schedule.last_error.is_some()).await;
    assert_eq!(schedule.last_error.as_deref(), Some("plugin 'scripted' is away"));
    assert_eq!((schedule.next_at, schedule.runs), (Some(at("2026-01-01T00:01:00Z")), 0));
    plan.refuses.store(false, Ordering::SeqCst);
    for of in ["a", "skip"] {
        let schedule = plan.until(of, |schedule| schedule.runs > 0).await;
        assert_eq!((schedule.runs, schedule.skipped, schedule.last_error), (1, 0, None));
    }
    plan.refuses.store(true, Ordering::SeqCst);
    plan.wall.leap(TimeDelta::seconds(180));
    plan.schedules.wake();
    plan.until("a", |schedule| schedule.last_error.is_some()).await;
    plan.refuses.store(false, Ordering::SeqCst);
    let schedule = plan.until("a", |schedule| schedule.runs > 1).await;
    assert_eq!((schedule.runs, schedule.skipped), (2, 2), "three were missed, one is made up for");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_everything_holds_back_tasks_and_not_schedules() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.testbed.scheduler.pause(None, true).await.expect("paused");
    plan.put("a", "* * * * *", "UTC", |_| {}).await;
    plan.go(TimeDelta::minutes(2), TimeDelta::minutes(1)).await;
    let tasks = plan.tasks("a").await;
    assert_eq!(tasks.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Waiting; 2]);
    plan.testbed.scheduler.pause(None, false).await.expect("resumed");
    plan.testbed.wait_for(tasks[1].id, TaskState::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_by_hand_starts_now_and_is_of_its_schedule() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.put("a", "@yearly", "UTC", |new| new.overlap = false).await;
    let task = testbed::new_task(TaskId::new(), "forever", plan.wall.now());
    let ran = plan.schedules.run_now(name("a"), task.clone(), None).await.expect("a store");
    assert!(matches!(ran, RanNow::Started(started) if started.id == task.id), "{ran:?}");
    let again = testbed::new_task(TaskId::new(), "ok", plan.wall.now());
    assert_eq!(plan.schedules.run_now(name("a"), again, None).await, Ok(RanNow::Busy(task.id)));
    assert_eq!(plan.tasks("a").await.len(), 1);
    assert_eq!(plan.schedules.stats().started, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_while_the_host_drains() {
    let plan = Plan::new("2026-01-01T00:00:30Z");
    plan.put("a", "* * * * *", "UTC", |_| {}).await;
    plan.testbed.scheduler.drain(std::future::ready(())).await;
    plan.wall.leap(TimeDelta::minutes(5));
    plan.schedules.wake();
    plan.testbed.advance(Duration::from_secs(12)).await;
    assert_eq!(plan.schedule("a").await.runs, 0);
}
