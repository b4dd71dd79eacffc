//! What followers receive, also after they were away.

use std::task::{Context, Waker};

use wasmill_model::{Progress, Timestamp};

use super::subscriber::{BATCH_MAX, SAMPLED_MAX, SCAN_MAX};
use super::*;

fn payload(task: TaskId, kind: EventKind) -> EventPayload {
    let plugin = "a".parse().expect("valid");
    EventPayload { task, plugin, attempt: 1, time: Timestamp::UNIX_EPOCH, kind }
}

fn progress(fraction: f64) -> EventKind {
    EventKind::Progress(Progress { fraction, note: String::new() })
}

fn changes(received: Option<Received>) -> Vec<&'static str> {
    match received {
        Some(Received::Events(events)) => events.iter().map(|event| event.payload.kind.as_str()).collect(),
        Some(Received::Lagged { .. }) => vec!["missed"],
        None => vec![],
    }
}

fn fill(event_bus: &EventBus, events: usize) {
    event_bus.publish((0..events).map(|_| payload(TaskId::new(), EventKind::Created)).collect());
}

#[test]
fn a_subscriber_receives_events_of_its_task_only() {
    let event_bus = Arc::<EventBus>::default();
    let (task, other) = (TaskId::new(), TaskId::new());
    event_bus.publish(vec![payload(task, EventKind::Created)]);
    let mut follower = event_bus.subscribe(task);
    assert_eq!(follower.now(), None, "earlier events are not received");
    event_bus.publish(vec![
        payload(task, EventKind::Started),
        payload(other, EventKind::Created),
        payload(task, EventKind::Completed),
    ]);
    assert_eq!(changes(follower.now()), ["started", "completed"]);
    assert_eq!(follower.now(), None);
    assert_eq!(follower.position(), 4);
}

#[test]
fn a_reconnecting_subscriber_receives_each_event_once() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    event_bus.publish(vec![payload(task, EventKind::Created), payload(task, EventKind::Started)]);
    fill(&event_bus, 10_000);
    event_bus.publish(vec![payload(task, EventKind::Cancelled)]);
    let mut follower = event_bus.subscribe(task);
    assert!(follower.resume_from(1));
    event_bus.publish(vec![payload(task, EventKind::Deleted)]);
    assert_eq!(changes(follower.now()), ["started", "cancelled", "deleted"]);
    assert_eq!(follower.now(), None);
}

#[test]
fn a_subscriber_that_was_away_too_long_lags() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    event_bus.begin(1_000, u64::MAX);
    let mut follower = event_bus.subscribe(task);
    for unknown in [0, 998, 1_000, u64::MAX] {
        assert!(!follower.resume_from(unknown), "{unknown}");
    }
    assert!(follower.resume_from(999));
    let mut all = event_bus.subscribe_all();
    fill(&event_bus, RING_CAPACITY + 1);
    assert_eq!(follower.now(), None, "none of it is of its task");
    assert_eq!(all.now(), Some(Received::Lagged { after: 999, until: 1_000 + RING_CAPACITY as u64 }));
    assert_eq!(all.now(), None);
    assert!(!follower.resume_from(999));
    all.resume_from(u64::MAX);
    assert!(matches!(all.now(), Some(Received::Lagged { .. })), "a number that was never given");
}

#[test]
fn a_subscriber_that_falls_behind_lags() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    event_bus.publish(vec![payload(task, EventKind::Created)]);
    fill(&event_bus, SCAN_MAX * 2);
    let mut follower = event_bus.subscribe(task);
    assert!(follower.resume_from(0));
    fill(&event_bus, RING_CAPACITY);
    assert_eq!(changes(follower.now()), ["missed"]);
    assert_eq!(follower.now(), None);
}

#[test]
fn a_slow_subscriber_receives_the_latest_progress() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    let mut follower = event_bus.subscribe(task);
    event_bus.publish(vec![payload(task, EventKind::Started)]);
    for n in 0..1_000 {
        event_bus.publish(vec![payload(task, progress(f64::from(n)))]);
    }
    let Some(Received::Events(events)) = follower.now() else { panic!("there are events") };
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].payload.kind, progress(999.0));
}

#[test]
fn a_slow_subscriber_costs_no_memory_and_lags() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    let mut follower = event_bus.subscribe(task);
    for _ in 0..TOPIC_CAPACITY {
        event_bus.publish(vec![
            payload(task, EventKind::Started),
            payload(task, EventKind::Retrying(Timestamp::UNIX_EPOCH)),
        ]);
    }
    assert_eq!(event_bus.log().topics[&task].events.len(), TOPIC_CAPACITY);
    assert_eq!(changes(follower.now()), ["missed"]);
    event_bus.publish(vec![payload(task, EventKind::Started)]);
    assert_eq!(changes(follower.now()), ["started"]);
    drop(follower);
    assert!(event_bus.log().topics.is_empty());
}

#[test]
fn a_subscriber_of_all_tasks_receives_ordered_batches() {
    let event_bus = Arc::<EventBus>::default();
    let mut all = event_bus.subscribe_all();
    fill(&event_bus, BATCH_MAX + 1);
    let mut seqs = Vec::new();
    while let Some(Received::Events(events)) = all.now() {
        assert!(events.len() <= BATCH_MAX);
        seqs.extend(events.into_iter().map(|event| event.seq));
    }
    assert_eq!(seqs, (1..=BATCH_MAX as u64 + 1).collect::<Vec<_>>());
}

#[test]
fn progress_gets_no_unreserved_numbers() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    event_bus.begin(5, 6);
    event_bus.publish(vec![payload(task, progress(0.1)), payload(task, progress(0.2))]);
    assert_eq!(event_bus.next(), 6);
    event_bus.reserve(10);
    event_bus.publish(vec![payload(task, progress(0.3))]);
    assert_eq!(event_bus.next(), 7);
}

#[test]
fn a_waiting_subscriber_is_woken() {
    let event_bus = Arc::<EventBus>::default();
    let task = TaskId::new();
    let (mut one, mut all) = (event_bus.subscribe(task), event_bus.subscribe_all());
    let mut context = Context::from_waker(Waker::noop());
    let (mut one, mut all) = (Box::pin(one.next()), Box::pin(all.next()));
    assert!(one.as_mut().poll(&mut context).is_pending() && all.as_mut().poll(&mut context).is_pending());
    event_bus.publish(vec![payload(task, EventKind::Created)]);
    assert!(one.as_mut().poll(&mut context).is_ready() && all.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_sample_has_the_newest_events_and_counts_the_others() {
    let event_bus = Arc::<EventBus>::default();
    let mut follower = event_bus.subscribe_all();
    fill(&event_bus, 10);
    let sample = follower.sample(3, |_| true);
    let seqs = |sample: &EventSample| sample.events.iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!((seqs(&sample), sample.left_out), (vec![8, 9, 10], 7));
    assert_eq!(follower.sample(3, |_| true), EventSample::default(), "each event counts once");
    fill(&event_bus, 4);
    let sample = follower.sample(3, |event| event.seq % 2 == 0);
    assert_eq!((seqs(&sample), sample.left_out), (vec![12, 14], 0), "others are not left out");
    // Of many, only the newest are looked at, and those that are gone count as well.
    fill(&event_bus, SAMPLED_MAX + 100);
    let sample = follower.sample(0, |_| false);
    assert_eq!(sample.left_out, 100);
    fill(&event_bus, RING_CAPACITY + 50);
    let sample = follower.sample(1, |_| true);
    assert_eq!((sample.events.len(), sample.left_out), (1, RING_CAPACITY as u64 + 49));
}

#[tokio::test]
async fn a_sampling_subscriber_waits_for_events() {
    let event_bus = Arc::<EventBus>::default();
    let mut follower = event_bus.subscribe_all();
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut waiting = std::pin::pin!(follower.wait());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        fill(&event_bus, 1);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }
    follower.wait().await;
    assert_eq!(follower.sample(9, |_| true).events.len(), 1);
    assert!(std::pin::pin!(follower.wait()).poll(&mut context).is_pending());
}
