//! Schedules: each run is done once, and one write says so.

use wasmill_model::{
    KeySpace, MissedPolicy, NewTask, OnConflict, ScheduleName, TimeDelta, Timestamp, Timing, Unique,
};
use wasmill_store::{
    DueOutcome, DueRuns, LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome, Schedule,
    Store, StoreError,
};

use crate::fixture::{Fixture, StoreExt, at, get, new_task, plugin};

const MOST: u64 = 100;

pub fn name(name: &str) -> ScheduleName {
    name.parse().expect("a valid name")
}

/// A schedule that is due every minute; second 0 of these tests is 20 s after a full one.
pub fn new(of: &str) -> NewSchedule {
    NewSchedule {
        name: name(of),
        from_manifest: false,
        timing: Timing::of("* * * * *", "UTC").expect("valid"),
        missed: MissedPolicy::One,
        overlap: true,
        task: r#"{"plugin": "a"}"#.to_owned(),
        plugin: plugin("a"),
    }
}

pub async fn put(store: &Store, new: NewSchedule, now: Timestamp) -> Schedule {
    match store.put_schedule(new, MOST, now).await.expect("written") {
        PutOutcome::Created(schedule) | PutOutcome::Replaced(schedule) => schedule,
        refused => panic!("{refused:?}"),
    }
}

async fn read(store: &Store, of: &str) -> Schedule {
    store.schedule(name(of)).await.expect("read").expect("there")
}

fn task_of(of: &str) -> NewTask {
    NewTask { schedule: Some(name(of)), ..new_task() }
}

/// Plans one run of a schedule, which is due.
pub fn run_due(schedule: &Schedule, count: usize) -> DueRuns {
    let first = schedule.next_at.expect("due");
    let due = |index: usize| first + TimeDelta::minutes(i64::try_from(index).expect("few"));
    let of = schedule.name.as_str();
    DueRuns {
        name: schedule.name.clone(),
        created_at: schedule.created_at,
        revision: schedule.revision,
        runs: (0..count).map(|index| (due(index), task_of(of))).collect(),
        skipped: 0,
        evaluated_until: due(count - 1),
        next_at: Some(due(count)),
        now: due(count - 1),
    }
}

fn started(fired: DueOutcome) -> usize {
    match fired {
        DueOutcome::Started { started, .. } => started.len(),
        other => panic!("{other:?}"),
    }
}

pub async fn a_schedule_is_created_replaced_and_removed(fixture: &impl Fixture) {
    let store = fixture.open();
    let made = store.put_schedule(new("b"), MOST, at(0)).await.expect("written");
    let PutOutcome::Created(made) = made else { panic!("{made:?}") };
    assert_eq!((made.created_at, made.changed_at, made.next_at), (at(0), at(0), Some(at(40))));
    assert_eq!((made.cron.as_str(), made.timezone.as_str(), made.paused), ("* * * * *", "UTC", false));
    let timing = Timing::of("0 2 * * *", "Europe/Berlin").expect("valid");
    let other = NewSchedule { timing, missed: MissedPolicy::All, overlap: false, ..new("b") };
    let replaced = store.put_schedule(other, MOST, at(1)).await.expect("written");
    let PutOutcome::Replaced(replaced) = replaced else { panic!("{replaced:?}") };
    assert_eq!((replaced.created_at, replaced.changed_at), (at(0), at(1)));
    assert_eq!((replaced.missed, replaced.overlap), (MissedPolicy::All, false));
    assert_eq!(replaced.next_at, Some("2023-11-15T01:00:00Z".parse().expect("a time")));
    put(&store, new("a"), at(2)).await;
    let all = store.schedules().await.expect("read");
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((all[1].task.as_ref(), read(&store, "b").await), (None, replaced));
    assert_eq!(store.remove_schedule(name("b"), false).await, Ok(RemoveScheduleOutcome::Removed));
    assert_eq!(store.remove_schedule(name("b"), false).await, Ok(RemoveScheduleOutcome::NotFound));
    assert_eq!(store.schedule(name("b")).await, Ok(None));
}

pub async fn a_schedule_managed_elsewhere_is_left_unchanged(fixture: &impl Fixture) {
    let store = fixture.open();
    for from_manifest in [false, true] {
        let of = if from_manifest { "m" } else { "r" };
        let before = put(&store, NewSchedule { from_manifest, ..new(of) }, at(0)).await;
        let other = NewSchedule { from_manifest: !from_manifest, overlap: false, ..new(of) };
        assert_eq!(store.put_schedule(other, MOST, at(1)).await, Ok(PutOutcome::NameTaken));
        assert_eq!(
            store.remove_schedule(name(of), !from_manifest).await,
            Ok(RemoveScheduleOutcome::ManagedElsewhere)
        );
        assert_eq!(read(&store, of).await, before);
    }
}

pub async fn the_number_of_schedules_is_limited(fixture: &impl Fixture) {
    let store = fixture.open();
    assert!(matches!(store.put_schedule(new("a"), 1, at(0)).await, Ok(PutOutcome::Created(_))));
    assert_eq!(store.put_schedule(new("b"), 1, at(0)).await, Ok(PutOutcome::TooMany));
    assert!(matches!(store.put_schedule(new("a"), 1, at(0)).await, Ok(PutOutcome::Replaced(_))));
}

pub async fn a_schedule_put_again_stays_due(fixture: &impl Fixture) {
    let store = fixture.open();
    put(&store, new("a"), at(0)).await;
    // The minute is over, and it has not run yet.
    let again = put(&store, NewSchedule { task: "{}".to_owned(), ..new("a") }, at(50)).await;
    assert_eq!((again.next_at, again.task.as_deref()), (Some(at(40)), Some("{}")));
}

pub async fn an_evaluated_run_is_not_due_again_after_the_clock_went_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let schedule = put(&store, new("a"), at(0)).await;
    assert_eq!(started(store.run_due(run_due(&schedule, 1)).await.expect("fired")), 1);
    let timing = Timing::of("0 * * * * *", "UTC").expect("valid");
    let changed = put(&store, NewSchedule { timing, ..new("a") }, at(10)).await;
    assert_eq!(changed.next_at, Some(at(100)));
}

pub async fn a_run_and_the_next_due_time_are_one_write(fixture: &impl Fixture) {
    let store = fixture.open();
    let schedule = put(&store, new("a"), at(0)).await;
    assert_eq!(store.due_schedules(at(39), 9).await, Ok((vec![], Some(at(40)))));
    assert_eq!(store.due_schedules(at(40), 9).await, Ok((vec![name("a")], None)));
    let fired = store.run_due(DueRuns { skipped: 4, ..run_due(&schedule, 2) }).await.expect("fired");
    let DueOutcome::Started { started, skipped: 4 } = fired else { panic!("{fired:?}") };
    assert_eq!(started.iter().map(|(due, _)| *due).collect::<Vec<_>>(), [at(40), at(100)]);
    store.close().await;
    let store = fixture.open();
    let after = read(&store, "a").await;
    assert_eq!((after.next_at, after.runs, after.skipped), (Some(at(160)), 2, 4));
    let last = LastRun { due: Some(at(100)), at: at(100), task: started[1].1 };
    assert_eq!(after.last, Some(last));
    assert_eq!(get(&store, started[0].1).await.schedule, Some(name("a")));
    assert_eq!(store.counts().await.expect("counted").waiting, 2);
}

pub async fn a_plan_for_an_older_revision_is_not_applied(fixture: &impl Fixture) {
    let store = fixture.open();
    let schedule = put(&store, new("a"), at(0)).await;
    let planned = run_due(&schedule, 1);
    assert_eq!(started(store.run_due(planned.clone()).await.expect("fired")), 1);
    assert_eq!(store.run_due(planned.clone()).await, Ok(DueOutcome::Changed));
    for change in 0..3 {
        let planned = run_due(&read(&store, "a").await, 1);
        match change {
            0 => drop(put(&store, new("a"), at(50)).await),
            1 => drop(store.pause_schedule(name("a"), true, at(50)).await),
            _ => {
                store.remove_schedule(name("a"), false).await.expect("removed");
                put(&store, new("a"), at(51)).await;
            }
        }
        assert_eq!(store.run_due(planned).await, Ok(DueOutcome::Changed));
        drop(store.pause_schedule(name("a"), false, at(50)).await);
    }
    assert_eq!(store.counts().await.expect("counted").waiting, 1);
}

pub async fn a_nearly_full_queue_takes_as_many_runs_as_fit(fixture: &impl Fixture) {
    let store = fixture.open_at(3, at(0)).0;
    let schedule = put(&store, new("a"), at(0)).await;
    assert_eq!(started(store.run_due(run_due(&schedule, 5)).await.expect("fired")), 3);
    let schedule = read(&store, "a").await;
    assert_eq!((schedule.next_at, schedule.runs, schedule.skipped), (Some(at(220)), 3, 0));
    assert_eq!(
        store.run_due(run_due(&schedule, 2)).await,
        Ok(DueOutcome::Refused(StoreError::Full { waiting_max: 3 }))
    );
    assert_eq!(read(&store, "a").await, schedule);
    let only_left_out = DueRuns { runs: vec![], skipped: 1, ..run_due(&schedule, 1) };
    assert_eq!(started(store.run_due(only_left_out).await.expect("fired")), 0);
    assert_eq!(read(&store, "a").await.skipped, 1);
}

pub async fn a_run_beyond_the_limit_of_its_plugin_is_refused_without_changes(fixture: &impl Fixture) {
    let store = fixture.open();
    let bounded = |schedule: &Schedule, count| {
        let mut planned = run_due(schedule, count);
        planned.runs.iter_mut().for_each(|(_, task)| task.waiting_max = Some(1));
        planned
    };
    let schedule = put(&store, new("a"), at(0)).await;
    assert_eq!(started(store.run_due(bounded(&schedule, 3)).await.expect("fired")), 1);
    let schedule = read(&store, "a").await;
    assert_eq!((schedule.next_at, schedule.runs), (Some(at(100)), 1));
    let full = StoreError::PluginFull { index: 0, plugin: plugin("a"), waiting_max: 1 };
    assert_eq!(store.run_due(bounded(&schedule, 2)).await, Ok(DueOutcome::Refused(full.clone())));
    assert_eq!(read(&store, "a").await, schedule);
    // What was left out before it is decided all the same, and only that.
    let key = Unique {
        key: "k".parse().expect("a key"),
        on_conflict: OnConflict::Refuse,
        space: KeySpace::default(),
    };
    let holder = NewTask { plugin: plugin("b"), unique: Some(key.clone()), ..new_task() };
    store.insert(vec![holder]).await.expect("stored");
    let mut planned = bounded(&schedule, 2);
    planned.runs[0].1.unique = Some(key);
    let fired = store.run_due(planned).await.expect("fired");
    assert_eq!(fired, DueOutcome::Started { started: vec![], skipped: 1 });
    let schedule = read(&store, "a").await;
    assert_eq!((schedule.next_at, schedule.runs, schedule.skipped), (Some(at(160)), 1, 1));
    assert_eq!(store.run_due(bounded(&schedule, 1)).await, Ok(DueOutcome::Refused(full)));
}

pub async fn runs_of_a_schedule_overlap_only_if_allowed(fixture: &impl Fixture) {
    let store = fixture.open();
    let alone = put(&store, NewSchedule { overlap: false, ..new("a") }, at(0)).await;
    assert_eq!(started(store.run_due(run_due(&alone, 2)).await.expect("fired")), 1);
    let alone = read(&store, "a").await;
    assert_eq!((alone.runs, alone.skipped), (1, 1));
    assert_eq!(started(store.run_due(run_due(&alone, 1)).await.expect("fired")), 0);
    let alone = read(&store, "a").await;
    assert_eq!((alone.runs, alone.skipped, alone.next_at), (1, 2, Some(at(220))));
    let live = alone.last.expect("it ran").task;
    let by_hand = store.run_now(name("a"), task_of("a"), None, at(200)).await;
    assert_eq!(by_hand, Ok(RunNowOutcome::Busy(live)));
    store.cancel(live, at(201)).await.expect("cancelled");
    assert_eq!(started(store.run_due(run_due(&alone, 1)).await.expect("fired")), 1);
    let other = put(&store, new("b"), at(0)).await;
    assert_eq!(started(store.run_due(run_due(&other, 1)).await.expect("fired")), 1);
    let other = read(&store, "b").await;
    assert_eq!(started(store.run_due(run_due(&other, 1)).await.expect("fired")), 1);
}

pub async fn a_held_unique_key_skips_a_run(fixture: &impl Fixture) {
    let store = fixture.open();
    for (index, on_conflict) in [OnConflict::Refuse, OnConflict::Return].into_iter().enumerate() {
        let of = ["a", "b"][index];
        let unique = Unique { key: of.parse().expect("a key"), on_conflict, space: KeySpace::default() };
        let held = NewTask { unique: Some(unique.clone()), ..new_task() };
        store.insert(vec![held]).await.expect("stored");
        let schedule = put(&store, new(of), at(0)).await;
        let mut planned = run_due(&schedule, 1);
        planned.runs[0].1.unique = Some(unique);
        assert_eq!(started(store.run_due(planned).await.expect("fired")), 0);
        assert_eq!(read(&store, of).await.skipped, 1);
    }
}

pub async fn a_manual_run_leaves_the_next_due_time(fixture: &impl Fixture) {
    let store = fixture.open();
    assert_eq!(store.run_now(name("a"), task_of("a"), None, at(1)).await, Ok(RunNowOutcome::NotFound));
    let before = put(&store, new("a"), at(0)).await;
    let Ok(RunNowOutcome::Started(task)) = store.run_now(name("a"), task_of("a"), None, at(1)).await else {
        panic!("it runs")
    };
    let after = read(&store, "a").await;
    assert_eq!(after.last, Some(LastRun { due: None, at: at(1), task: task.id }));
    assert_eq!((after.next_at, after.runs, after.revision), (before.next_at, 1, before.revision));
    store.close().await;
    let store = fixture.open_at(1, at(0)).0;
    let full = store.run_now(name("a"), task_of("a"), None, at(2)).await;
    assert_eq!(full, Err(StoreError::Full { waiting_max: 1 }));
}

pub async fn a_paused_schedule_is_not_due_and_resumes_from_now(fixture: &impl Fixture) {
    let store = fixture.open();
    put(&store, new("a"), at(0)).await;
    let paused = store.pause_schedule(name("a"), true, at(1)).await.expect("written").expect("there");
    assert!(paused.paused);
    assert_eq!(store.due_schedules(at(9_999), 9).await, Ok((vec![], None)));
    store.close().await;
    let store = fixture.open();
    let on = store.pause_schedule(name("a"), false, at(500)).await.expect("written").expect("there");
    assert_eq!((on.paused, on.next_at), (false, Some(at(520))));
    assert_eq!(store.pause_schedule(name("b"), false, at(500)).await, Ok(None));
}

pub async fn an_error_is_recorded_until_the_schedule_runs(fixture: &impl Fixture) {
    let store = fixture.open();
    let schedule = put(&store, new("a"), at(0)).await;
    store.record_schedule_error(schedule.clone(), "no such plugin".to_owned()).await.expect("noted");
    let troubled = read(&store, "a").await;
    assert_eq!(troubled.last_error.as_deref(), Some("no such plugin"));
    assert_eq!(started(store.run_due(run_due(&troubled, 1)).await.expect("fired")), 1);
    store.record_schedule_error(schedule, "late news".to_owned()).await.expect("noted");
    assert_eq!(read(&store, "a").await.last_error, None);
}
