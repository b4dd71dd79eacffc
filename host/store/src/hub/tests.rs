//! What followers are told, and what they are told when they were away.

use std::task::{Context, Waker};

use wasmill_model::{Progress, Timestamp};

use super::follower::{LOOK, TAKE};
use super::*;

fn news(task: TaskId, change: Change) -> News {
    let plugin = "a".parse().expect("valid");
    News { task, plugin, attempt: 1, time: Timestamp::UNIX_EPOCH, change }
}

fn progress(fraction: f64) -> Change {
    Change::Progress(Progress { fraction, note: String::new() })
}

fn changes(told: Option<Told>) -> Vec<&'static str> {
    match told {
        Some(Told::Events(events)) => events.iter().map(|event| event.news.change.as_str()).collect(),
        Some(Told::Missed { .. }) => vec!["missed"],
        None => vec![],
    }
}

fn noise(hub: &Hub, events: usize) {
    hub.tell((0..events).map(|_| news(TaskId::new(), Change::Created)).collect());
}

#[test]
fn a_follower_is_told_of_its_task_alone() {
    let hub = Arc::<Hub>::default();
    let (task, other) = (TaskId::new(), TaskId::new());
    hub.tell(vec![news(task, Change::Created)]);
    let mut follower = hub.follow(task);
    assert_eq!(follower.now(), None, "what was before is not told");
    hub.tell(vec![news(task, Change::Started), news(other, Change::Created), news(task, Change::Completed)]);
    assert_eq!(changes(follower.now()), ["started", "completed"]);
    assert_eq!(follower.now(), None);
    assert_eq!(follower.place(), 4);
}

#[test]
fn one_who_comes_back_misses_nothing_and_hears_nothing_twice() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    hub.tell(vec![news(task, Change::Created), news(task, Change::Started)]);
    noise(&hub, 10_000);
    hub.tell(vec![news(task, Change::Cancelled)]);
    let mut follower = hub.follow(task);
    assert!(follower.go_back(1));
    hub.tell(vec![news(task, Change::Deleted)]);
    assert_eq!(changes(follower.now()), ["started", "cancelled", "deleted"]);
    assert_eq!(follower.now(), None);
}

#[test]
fn one_who_was_away_for_too_long_is_told_so() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    hub.begin(1_000, u64::MAX);
    let mut follower = hub.follow(task);
    for unknown in [0, 998, 1_000, u64::MAX] {
        assert!(!follower.go_back(unknown), "{unknown}");
    }
    assert!(follower.go_back(999));
    let mut all = hub.follow_all();
    noise(&hub, RING + 1);
    assert_eq!(follower.now(), None, "none of it is of its task");
    assert_eq!(all.now(), Some(Told::Missed { after: 999, until: 1_000 + RING as u64 }));
    assert_eq!(all.now(), None);
    assert!(!follower.go_back(999));
    all.go_back(u64::MAX);
    assert!(matches!(all.now(), Some(Told::Missed { .. })), "a number that was never given");
}

#[test]
fn one_who_falls_behind_in_the_ring_is_told_so() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    hub.tell(vec![news(task, Change::Created)]);
    noise(&hub, LOOK * 2);
    let mut follower = hub.follow(task);
    assert!(follower.go_back(0));
    noise(&hub, RING);
    assert_eq!(changes(follower.now()), ["missed"]);
    assert_eq!(follower.now(), None);
}

#[test]
fn of_progress_a_slow_follower_is_told_the_latest() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    let mut follower = hub.follow(task);
    hub.tell(vec![news(task, Change::Started)]);
    for n in 0..1_000 {
        hub.tell(vec![news(task, progress(f64::from(n)))]);
    }
    let Some(Told::Events(events)) = follower.now() else { panic!("it is told") };
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].news.change, progress(999.0));
}

#[test]
fn a_slow_follower_costs_no_memory_and_is_told_what_it_missed() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    let mut follower = hub.follow(task);
    for _ in 0..TOPIC {
        hub.tell(vec![news(task, Change::Started), news(task, Change::Retrying(Timestamp::UNIX_EPOCH))]);
    }
    assert_eq!(hub.inner().topics[&task].events.len(), TOPIC);
    assert_eq!(changes(follower.now()), ["missed"]);
    hub.tell(vec![news(task, Change::Started)]);
    assert_eq!(changes(follower.now()), ["started"]);
    drop(follower);
    assert!(hub.inner().topics.is_empty());
}

#[test]
fn those_who_follow_all_are_told_in_order_a_part_at_a_time() {
    let hub = Arc::<Hub>::default();
    let mut all = hub.follow_all();
    noise(&hub, TAKE + 1);
    let mut seqs = Vec::new();
    while let Some(Told::Events(events)) = all.now() {
        assert!(events.len() <= TAKE);
        seqs.extend(events.into_iter().map(|event| event.seq));
    }
    assert_eq!(seqs, (1..=TAKE as u64 + 1).collect::<Vec<_>>());
}

#[test]
fn numbers_that_are_not_reserved_are_not_given_to_progress() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    hub.begin(5, 6);
    hub.tell(vec![news(task, progress(0.1)), news(task, progress(0.2))]);
    assert_eq!(hub.next(), 6);
    hub.reserve(10);
    hub.tell(vec![news(task, progress(0.3))]);
    assert_eq!(hub.next(), 7);
}

#[test]
fn a_follower_that_waits_is_woken() {
    let hub = Arc::<Hub>::default();
    let task = TaskId::new();
    let (mut one, mut all) = (hub.follow(task), hub.follow_all());
    let mut context = Context::from_waker(Waker::noop());
    let (mut one, mut all) = (Box::pin(one.next()), Box::pin(all.next()));
    assert!(one.as_mut().poll(&mut context).is_pending() && all.as_mut().poll(&mut context).is_pending());
    hub.tell(vec![news(task, Change::Created)]);
    assert!(one.as_mut().poll(&mut context).is_ready() && all.as_mut().poll(&mut context).is_ready());
}
