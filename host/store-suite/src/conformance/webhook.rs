//! Webhooks: which ends of tasks are delivered.

use std::collections::HashSet;
use std::time::Duration;

use wasmill_model::{NewTask, TaskId, TaskState, Transition, Webhook};
use wasmill_store::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Filter, Redelivery, RetentionBounds, Store, WebhookStatus,
};

use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, new_task, prune, since};

/// A webhook for these ends.
pub fn hook(on: &[TaskState]) -> Webhook {
    hook_at("http://a.example", on)
}

fn hook_at(origin: &str, on: &[TaskState]) -> Webhook {
    let on = on.iter().copied().filter(|state| state.is_final()).collect();
    Webhook { url: format!("{origin}/hook?x=1"), origin: origin.to_owned(), on }
}

async fn insert(store: &Store, webhook: Webhook) -> TaskId {
    let task = NewTask { webhook: Some(webhook), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Runs a task with this webhook to its end at this second.
async fn ended(store: &Store, webhook: Webhook, next: Transition, second: i64) -> TaskId {
    let id = insert(store, webhook).await;
    end(store, next, second).await;
    id
}

async fn end(store: &Store, next: Transition, second: i64) {
    let claimed = claim_one(store, at(second)).await;
    assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
}

async fn completed(store: &Store, second: i64) -> TaskId {
    ended(store, hook(&TaskState::ALL), done(), second).await
}

fn done() -> Transition {
    Transition::Completed("1".into())
}

fn query(second: i64) -> DueQuery {
    DueQuery { now: at(second), after: None, busy_origins: HashSet::new(), per_origin: 9, limit: 99 }
}

async fn look(store: &Store, second: i64) -> DueDeliveries {
    store.due_deliveries(query(second)).await.expect("read")
}

/// Returns the tasks whose deliveries are due.
async fn due(store: &Store, second: i64) -> Vec<TaskId> {
    look(store, second).await.deliveries.iter().map(|delivery| delivery.task).collect()
}

async fn only(store: &Store, second: i64) -> Delivery {
    let mut due = look(store, second).await.deliveries;
    assert_eq!(due.len(), 1);
    due.remove(0)
}

fn failed(second: i64) -> DeliveryAttempt {
    let took = Duration::from_millis(20);
    DeliveryAttempt { at: at(second), took, status: Some(500), error: None }
}

async fn log(store: &Store, id: TaskId) -> WebhookStatus {
    store.webhook(id).await.expect("read").expect("a task").expect("a webhook")
}

pub async fn a_finished_task_makes_its_delivery_due(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert(&store, hook(&TaskState::ALL)).await;
    let without = NewTask { created_at: at(1), ..new_task() };
    let plain = without.id;
    store.insert(vec![without]).await.expect("inserted");
    assert_eq!(due(&store, 9).await, []);
    let idle = log(&store, id).await;
    assert_eq!((idle.state, idle.attempts, idle.next_at), (DeliveryState::Idle, 0, None));
    assert_eq!(idle.on, [TaskState::Completed, TaskState::Failed, TaskState::Cancelled]);
    let claims = store.claim(&[crate::fixture::plugin("a")], 2, at(2)).await.expect("claimed");
    for claimed in &claims.claimed {
        let retry = Transition::RetryAt(at(3), failure());
        assert_eq!(store.finish(&claimed.claim, retry, None, at(2)).await, Ok(true));
    }
    assert_eq!(due(&store, 9).await, [], "an attempt is no end");
    let claims = store.claim(&[crate::fixture::plugin("a")], 2, at(3)).await.expect("claimed");
    for claimed in &claims.claimed {
        assert_eq!(store.finish(&claimed.claim, done(), None, at(4)).await, Ok(true));
    }
    store.wait_for_delivery().await;
    let delivery = only(&store, 4).await;
    let received = (delivery.task, delivery.url.as_str(), delivery.origin.as_str(), delivery.attempts);
    assert_eq!(received, (id, "http://a.example/hook?x=1", "http://a.example", 0));
    let pending = log(&store, id).await;
    assert_eq!((pending.state, pending.next_at), (DeliveryState::Pending, Some(at(4))));
    assert_eq!(store.webhook(plain).await, Ok(Some(None)));
    assert_eq!(store.webhook(TaskId::new()).await, Ok(None));
}

pub async fn a_webhook_is_triggered_by_its_final_states_only(fixture: &impl Fixture) {
    let store = fixture.open();
    let (completed, failed) = ([TaskState::Completed], [TaskState::Failed]);
    let lasting = || Transition::Failed(failure());
    let received = ended(&store, hook(&completed), done(), 1).await;
    ended(&store, hook(&completed), lasting(), 1).await;
    ended(&store, hook(&failed), done(), 1).await;
    let failed_delivery = ended(&store, hook(&failed), lasting(), 2).await;
    assert_eq!(due(&store, 9).await, [received, failed_delivery]);
    // Cancelled alone, and among many.
    let one = insert(&store, hook(&[TaskState::Cancelled])).await;
    let other = insert(&store, hook(&[TaskState::Completed])).await;
    store.cancel(one, at(3)).await.expect("cancelled");
    store.cancel(other, at(3)).await.expect("cancelled");
    let many = insert(&store, hook(&TaskState::ALL)).await;
    let found = store.find_open(Filter::default()).await.expect("found");
    store.cancel_many(found, Filter::default(), at(4)).await.expect("cancelled");
    assert_eq!(due(&store, 9).await, [received, failed_delivery, one, many]);
    assert_eq!(log(&store, other).await.state, DeliveryState::Idle);
    assert_eq!(store.redeliver(other, at(5)).await, Ok(Redelivery::Idle(TaskState::Cancelled)));
}

pub async fn a_failed_delivery_is_retried_when_due(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    let first = only(&store, 1).await;
    assert_eq!(store.record_attempt(&first, failed(2), AttemptOutcome::RetryAt(at(10))).await, Ok(true));
    let early = look(&store, 9).await;
    assert_eq!((early.deliveries.len(), early.next_at, early.stopped_at), (0, Some(at(10)), None));
    let second = only(&store, 10).await;
    assert_eq!((second.task, second.attempts), (id, 1));
    let answer = DeliveryAttempt { status: Some(204), ..failed(11) };
    assert_eq!(store.record_attempt(&second, answer.clone(), AttemptOutcome::Delivered).await, Ok(true));
    assert_eq!(due(&store, 99).await, []);
    let log = log(&store, id).await;
    assert_eq!((log.state, log.attempts, log.next_at), (DeliveryState::Delivered, 2, None));
    assert_eq!(log.recent_attempts, [failed(2), answer]);
}

pub async fn the_newest_delivery_attempts_are_kept(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 0).await;
    for second in 1..30 {
        let delivery = only(&store, second).await;
        let none = DeliveryAttempt { status: None, error: Some(format!("try {second}")), ..failed(second) };
        let after = if second == 29 { AttemptOutcome::GivenUp } else { AttemptOutcome::RetryAt(at(second)) };
        assert_eq!(store.record_attempt(&delivery, none, after).await, Ok(true));
    }
    let log = log(&store, id).await;
    assert_eq!((log.state, log.attempts, log.recent_attempts.len()), (DeliveryState::GivenUp, 29, 20));
    let kept = |fixture: usize| log.recent_attempts[fixture].error.clone().unwrap_or_default();
    assert_eq!((kept(0), kept(19)), ("try 10".to_owned(), "try 29".to_owned()));
    assert_eq!(due(&store, 99).await, []);
}

pub async fn a_redelivery_request_makes_a_delivery_due(fixture: &impl Fixture) {
    let store = fixture.open();
    let waiting = insert(&store, hook(&TaskState::ALL)).await;
    assert_eq!(store.redeliver(waiting, at(1)).await, Ok(Redelivery::Idle(TaskState::Available)));
    store.remove(waiting, at(1)).await.expect("removed");
    assert_eq!(store.redeliver(waiting, at(1)).await, Ok(Redelivery::NotFound));
    let plain = crate::fixture::insert_one(&store).await;
    assert_eq!(store.redeliver(plain, at(1)).await, Ok(Redelivery::NoWebhook));
    store.remove(plain, at(1)).await.expect("removed");
    let id = completed(&store, 1).await;
    for (after, second) in
        [(AttemptOutcome::Delivered, 2), (AttemptOutcome::GivenUp, 3), (AttemptOutcome::RetryAt(at(99)), 4)]
    {
        let delivery = only(&store, second).await;
        assert_eq!(store.record_attempt(&delivery, failed(second), after).await, Ok(true));
        assert_eq!(due(&store, second).await, []);
        assert_eq!(store.redeliver(id, at(second + 1)).await, Ok(Redelivery::Due));
        assert_eq!(due(&store, second + 1).await, [id]);
    }
    assert_eq!(only(&store, 9).await.attempts, 3);
}

pub async fn due_deliveries_survive_a_restart(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    store.close().await;
    let (store, _) = fixture.open_at(9, at(2));
    let delivery = only(&store, 2).await;
    assert_eq!(store.record_attempt(&delivery, failed(2), AttemptOutcome::RetryAt(at(50))).await, Ok(true));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(3));
    assert_eq!(due(&store, 49).await, []);
    assert_eq!(due(&store, 50).await, [id]);
}

pub async fn a_task_failed_by_crashes_has_a_delivery(fixture: &impl Fixture) {
    let mut store = fixture.open();
    let id = insert(&store, hook(&[TaskState::Failed])).await;
    for crash in 1..=3 {
        claim_one(&store, at(crash)).await;
        assert_eq!(due(&store, 9).await, []);
        store.close().await;
        store = fixture.open_at(9, at(crash)).0;
    }
    assert_eq!(due(&store, 9).await, [id]);
}

pub async fn one_origin_does_not_hide_the_others(fixture: &impl Fixture) {
    let store = fixture.open();
    let to = |origin: &str| hook_at(origin, &TaskState::ALL);
    for second in 1..=20 {
        ended(&store, to("http://a.example"), done(), second).await;
    }
    let b = ended(&store, to("http://b.example"), done(), 30).await;
    let c = ended(&store, to("http://c.example"), done(), 31).await;
    let some = DueQuery { per_origin: 3, ..query(99) };
    let found = store.due_deliveries(some.clone()).await.expect("read");
    assert_eq!(found.deliveries.len(), 5);
    assert!(found.deliveries.iter().any(|delivery| delivery.task == b));
    let busy_origins = HashSet::from(["http://a.example".to_owned()]);
    let found = store.due_deliveries(DueQuery { busy_origins, ..some.clone() }).await.expect("read");
    assert_eq!(found.deliveries.iter().map(|delivery| delivery.task).collect::<Vec<_>>(), [b, c]);
    // A read for few continues behind the last receiver.
    let few = store.due_deliveries(DueQuery { limit: 2, ..some.clone() }).await.expect("read");
    assert_eq!((few.deliveries.len(), few.stopped_at.as_deref()), (3, Some("http://a.example")));
    let rest = store.due_deliveries(DueQuery { after: few.stopped_at, ..query(99) }).await.expect("read");
    assert_eq!((rest.deliveries.len(), rest.stopped_at), (2, None));
}

pub async fn a_delivery_is_removed_with_its_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    let delivery = only(&store, 1).await;
    store.remove(id, at(2)).await.expect("removed");
    assert_eq!(due(&store, 9).await, []);
    assert_eq!(store.record_attempt(&delivery, failed(2), AttemptOutcome::Delivered).await, Ok(false));
    completed(&store, 1).await;
    assert_eq!(
        store.record_attempt(&only(&store, 1).await, failed(2), AttemptOutcome::Delivered).await,
        Ok(true)
    );
    assert_eq!(prune(&store, since(5)).await, 1);
    assert_eq!(due(&store, 9).await, []);
    assert_eq!(store.delivery_backlog().await, Ok(DeliveryBacklog::default()));
}

pub async fn a_late_delivery_attempt_changes_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    let delivery = only(&store, 1).await;
    assert_eq!(store.record_attempt(&delivery, failed(2), AttemptOutcome::RetryAt(at(5))).await, Ok(true));
    assert_eq!(store.record_attempt(&delivery, failed(3), AttemptOutcome::GivenUp).await, Ok(false));
    let log = log(&store, id).await;
    assert_eq!((log.state, log.attempts, log.recent_attempts.len()), (DeliveryState::Pending, 1, 1));
}

pub async fn the_backlog_is_counted(fixture: &impl Fixture) {
    let store = fixture.open();
    assert_eq!(store.delivery_backlog().await, Ok(DeliveryBacklog::default()));
    for second in [5, 7, 9] {
        completed(&store, second).await;
    }
    let backlog = |pending, second| Ok(DeliveryBacklog { pending, oldest: Some(at(second)) });
    assert_eq!(store.delivery_backlog().await, backlog(3, 5));
    let oldest = look(&store, 9).await.deliveries.remove(0);
    assert_eq!(store.record_attempt(&oldest, failed(9), AttemptOutcome::RetryAt(at(99))).await, Ok(true));
    assert_eq!(store.delivery_backlog().await, backlog(3, 5));
    let oldest = look(&store, 99).await.deliveries.pop().expect("due");
    assert_eq!(store.record_attempt(&oldest, failed(9), AttemptOutcome::Delivered).await, Ok(true));
    assert_eq!(store.delivery_backlog().await, backlog(2, 7));
}

pub async fn no_delivery_waits_for_the_clock_to_catch_up(fixture: &impl Fixture) {
    const YEAR: i64 = 366 * 86_400;
    let store = fixture.open();
    let tried = completed(&store, 1).await;
    let delivery = only(&store, 1).await;
    assert_eq!(store.record_attempt(&delivery, failed(1), AttemptOutcome::RetryAt(at(YEAR))).await, Ok(true));
    let soon = completed(&store, 2).await;
    let delivery = only(&store, 2).await;
    assert_eq!(store.record_attempt(&delivery, failed(2), AttemptOutcome::RetryAt(at(60))).await, Ok(true));
    let fresh = completed(&store, YEAR).await;
    store.close().await;
    let (store, _) = fixture.open_at(9, at(3));
    let found: HashSet<_> = due(&store, 3).await.into_iter().collect();
    assert_eq!(found, HashSet::from([fresh, tried]), "an ordinary wait stays as it is");
    assert_eq!(look(&store, 3).await.next_at, Some(at(60)));
    // And while it is open, the next claim sees it.
    let late = completed(&store, YEAR).await;
    store.claim(&[crate::fixture::plugin("a")], 1, at(4)).await.expect("claimed");
    assert!(due(&store, 4).await.contains(&late) && !due(&store, 4).await.contains(&soon));
}

pub async fn a_retry_keeps_its_webhook(fixture: &impl Fixture) {
    let store = fixture.open();
    let webhook = hook(&[TaskState::Failed]);
    let id = insert(&store, webhook.clone()).await;
    let (_, again) = store.clone_for_retry(id, TaskId::new(), at(1)).await.expect("read").expect("stored");
    assert_eq!(again.webhook, Some(webhook));
}

pub async fn a_redelivery_counts_its_attempts_anew(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    for attempts in 0..3 {
        let delivery = only(&store, 1).await;
        assert_eq!((delivery.attempts, delivery.attempts_before), (attempts, 0));
        let after = if attempts < 2 { AttemptOutcome::RetryAt(at(1)) } else { AttemptOutcome::GivenUp };
        assert_eq!(store.record_attempt(&delivery, failed(1), after).await, Ok(true));
    }
    assert_eq!(store.redeliver(id, at(5)).await, Ok(Redelivery::Due));
    let delivery = only(&store, 5).await;
    assert_eq!((delivery.attempts, delivery.attempts_before), (3, 3));
    assert_eq!(store.record_attempt(&delivery, failed(5), AttemptOutcome::RetryAt(at(6))).await, Ok(true));
    let delivery = only(&store, 6).await;
    assert_eq!((delivery.attempts, delivery.attempts_before), (4, 3));
}

pub async fn an_attempt_in_flight_does_not_end_a_redelivery(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    for (attempts, after) in
        [AttemptOutcome::GivenUp, AttemptOutcome::Delivered, AttemptOutcome::RetryAt(at(99))]
            .into_iter()
            .enumerate()
    {
        let under_way = only(&store, 9).await;
        assert_eq!(store.redeliver(id, at(2)).await, Ok(Redelivery::Due));
        assert_eq!(store.record_attempt(&under_way, failed(1), after).await, Ok(true));
        let pending = log(&store, id).await;
        assert_eq!((pending.state, pending.next_at), (DeliveryState::Pending, Some(at(2))), "{after:?}");
        assert_eq!((pending.attempts as usize, pending.recent_attempts.len()), (attempts + 1, attempts + 1));
    }
}

pub async fn a_pending_delivery_keeps_its_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let waits = completed(&store, 1).await;
    let plain = ended(&store, hook(&[TaskState::Failed]), done(), 2).await;
    let none =
        RetentionBounds { ended_since: Some(at(100)), tasks_max: Some(0), ..RetentionBounds::default() };
    assert_eq!(prune(&store, none).await, 1, "no webhook wants this end");
    assert_eq!(store.get(plain).await, Ok(None));
    assert_eq!(
        prune(&store, RetentionBounds { pending_since: Some(at(1)), pending_max: Some(1), ..none }).await,
        0
    );
    assert_eq!(
        store.record_attempt(&only(&store, 3).await, failed(3), AttemptOutcome::RetryAt(at(9))).await,
        Ok(true)
    );
    assert_eq!(prune(&store, none).await, 0);
    assert_eq!(
        store.record_attempt(&only(&store, 9).await, failed(9), AttemptOutcome::GivenUp).await,
        Ok(true)
    );
    assert_eq!(prune(&store, none).await, 1, "it is tried no more");
    assert_eq!((store.get(waits).await, store.stats().deliveries_dropped), (Ok(None), 0));
}

pub async fn deliveries_beyond_their_bounds_are_dropped_and_counted(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut tasks = Vec::new();
    for second in 1..=5 {
        tasks.push(completed(&store, second).await);
    }
    let none = RetentionBounds { tasks_max: Some(0), ..RetentionBounds::default() };
    assert_eq!(prune(&store, RetentionBounds { pending_since: Some(at(3)), ..none }).await, 2);
    assert_eq!((due(&store, 9).await, store.stats().deliveries_dropped), (tasks[2..].to_vec(), 2));
    assert_eq!(
        prune(&store, RetentionBounds { pending_max: Some(1), ..none }).await,
        2,
        "the newest is kept"
    );
    assert_eq!((due(&store, 9).await, store.stats().deliveries_dropped), (tasks[4..].to_vec(), 4));
    // One of which nothing is pending any more is no delivery that was dropped.
    assert_eq!(
        store.record_attempt(&only(&store, 9).await, failed(9), AttemptOutcome::Delivered).await,
        Ok(true)
    );
    assert_eq!(prune(&store, RetentionBounds { pending_max: Some(0), ..none }).await, 1);
    assert_eq!((store.finished_count(), store.stats().deliveries_dropped), (0, 4));
}

pub async fn a_redelivery_request_during_pruning_keeps_the_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = completed(&store, 1).await;
    assert_eq!(
        store.record_attempt(&only(&store, 1).await, failed(2), AttemptOutcome::Delivered).await,
        Ok(true)
    );
    let mut found = store.excess(since(9), Default::default(), 9).await.expect("read");
    assert_eq!(found.steps.len(), 1);
    store.redeliver(id, at(3)).await.expect("asked for");
    assert_eq!(store.prune(found.steps.remove(0)).await.expect("pruned").tasks, 0);
    assert_eq!(due(&store, 3).await, [id]);
}
