//! Lists, checkpoints, progress and counts.

use wasmill_model::{NewTask, Progress, TaskId, Transition};
use wasmill_store::{Counts, Cursor, Filter, ListQuery, Store};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, insert_one, new_task, plugin,
};

async fn page(store: &Store, limit: usize, before: Option<Cursor>) -> (Vec<TaskId>, Option<Cursor>) {
    let page = store.list(ListQuery { limit, before, filter: Filter::default() }).await.expect("listed");
    (page.tasks.iter().map(|task| task.id).collect(), page.next)
}

async fn insert_many<const N: usize>(store: &Store) -> [TaskId; N] {
    let mut ids = [TaskId::new(); N];
    for id in &mut ids {
        *id = insert_one(store).await;
    }
    ids
}

pub async fn a_page_is_newest_first(fixture: &impl Fixture) {
    let store = fixture.open();
    assert_eq!(page(&store, 9, None).await, (vec![], None));
    let [a, b, c] = insert_many(&store).await;
    assert_eq!(page(&store, 9, None).await, (vec![c, b, a], None));
    assert_eq!(page(&store, 3, None).await, (vec![c, b, a], None));
    assert_eq!(page(&store, 0, None).await, (vec![], None));
    let (first, next) = page(&store, 2, None).await;
    assert_eq!(first, [c, b]);
    let next: Cursor = next.expect("one more").to_string().parse().expect("a cursor");
    assert_eq!(page(&store, 2, Some(next)).await, (vec![a], None));
}

pub async fn a_cursor_stays_valid_while_tasks_come_and_go(fixture: &impl Fixture) {
    let store = fixture.open();
    let [a, b, c, d] = insert_many(&store).await;
    let (first, next) = page(&store, 2, None).await;
    assert_eq!(first, [d, c]);
    insert_one(&store).await;
    // The task that the cursor was made of goes, and one behind it.
    store.remove(c, at(2)).await.expect("removed");
    store.remove(b, at(2)).await.expect("removed");
    assert_eq!(page(&store, 2, next).await, (vec![a], None));
}

pub async fn a_page_of_large_results_ends_early(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut all = insert_many::<5>(&store).await.to_vec();
    for claimed in claim(&store, 5, at(1)).await.claimed {
        let large = Transition::Completed("x".repeat(3 << 20).into());
        assert_eq!(store.finish(&claimed.claim, large, None, at(1)).await, Ok(true));
    }
    let (mut seen, mut next) = (Vec::new(), None);
    for tasks in [2, 2, 1] {
        let (ids, cursor) = page(&store, 5, next).await;
        assert_eq!(ids.len(), tasks);
        seen.extend(ids);
        next = cursor;
    }
    all.reverse();
    assert_eq!((seen, next), (all, None));
}

pub async fn a_checkpoint_survives_its_attempt(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    let first = claim_one(&store, at(1)).await;
    assert_eq!(store.restore(&first.claim).await, Ok(None));
    assert_eq!(store.checkpoint(first.claim.id).await, Ok(Some(None)));
    assert_eq!(store.checkpoint(TaskId::new()).await, Ok(None));
    assert_eq!(store.save(&first.claim, vec![1]).await, Ok(true));
    assert_eq!(store.save(&first.claim, vec![2, 0]).await, Ok(true));
    let retry = Transition::RetryAt(at(1), failure());
    assert_eq!(store.finish(&first.claim, retry, None, at(1)).await, Ok(true));
    assert_eq!(store.checkpoint(first.claim.id).await, Ok(Some(Some(vec![2, 0]))), "between attempts, too");
    let second = claim_one(&store, at(1)).await;
    assert_eq!(store.restore(&second.claim).await, Ok(Some(vec![2, 0])));
    // A crash keeps it as well.
    store.close().await;
    let store = fixture.open();
    let third = claim_one(&store, at(1)).await;
    assert_eq!(store.restore(&third.claim).await, Ok(Some(vec![2, 0])));
}

pub async fn a_checkpoint_ends_with_its_task(fixture: &impl Fixture) {
    let store = fixture.open();
    for next in [Transition::Completed("1".into()), Transition::Failed(failure())] {
        insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(true));
        assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
        assert_eq!(store.restore(&claimed.claim).await, Ok(None));
        assert_eq!(store.checkpoint(claimed.claim.id).await, Ok(Some(None)));
        assert_eq!(store.save(&claimed.claim, vec![2]).await, Ok(false));
    }
}

pub async fn a_revoked_claim_reads_no_checkpoint(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    let first = claim_one(&store, at(1)).await;
    assert_eq!(store.save(&first.claim, vec![1]).await, Ok(true));
    assert_eq!(store.finish(&first.claim, Transition::Requeued, None, at(1)).await, Ok(true));
    let second = claim_one(&store, at(1)).await;
    assert_eq!(store.save(&first.claim, vec![2]).await, Ok(false));
    assert_eq!(store.restore(&first.claim).await, Ok(None));
    assert_eq!(store.restore(&second.claim).await, Ok(Some(vec![1])));
}

fn half() -> Progress {
    Progress { fraction: 0.5, note: "halfway".to_owned() }
}

pub async fn progress_shows_while_the_task_runs(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    assert_eq!(get(&store, id).await.progress, None);
    claimed.claim.set_progress(Progress { fraction: 0.1, note: String::new() });
    claimed.claim.set_progress(half());
    assert_eq!(get(&store, id).await.progress, Some(half()));
    let listed =
        store.list(ListQuery { limit: 1, before: None, filter: Filter::default() }).await.expect("listed");
    assert_eq!(listed.tasks[0].progress, Some(half()));
    let retry = Transition::RetryAt(at(1), failure());
    assert_eq!(store.finish(&claimed.claim, retry, None, at(1)).await, Ok(true));
    assert_eq!(get(&store, id).await.progress, None);
}

pub async fn late_progress_is_never_visible(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let first = claim_one(&store, at(1)).await;
    first.claim.set_progress(half());
    assert_eq!(store.finish(&first.claim, Transition::Requeued, None, at(1)).await, Ok(true));
    first.claim.set_progress(half());
    assert_eq!(get(&store, id).await.progress, None);
    let second = claim_one(&store, at(1)).await;
    first.claim.set_progress(half());
    assert_eq!(get(&store, id).await.progress, None, "the next attempt starts without");
    store.cancel(id, at(2)).await.expect("asked");
    end_stopped(&store, &second.claim, at(2)).await;
    second.claim.set_progress(half());
    assert_eq!(get(&store, id).await.progress, None);
}

pub async fn counts_follow_every_transition(fixture: &impl Fixture) {
    let store = fixture.open();
    let expect = async |waiting, running| {
        assert_eq!(store.counts().await, Ok(Counts { waiting, running }));
    };
    expect(0, 0).await;
    let first = insert_one(&store).await;
    expect(1, 0).await;
    let claimed = claim_one(&store, at(1)).await;
    expect(0, 1).await;
    store.finish(&claimed.claim, Transition::Requeued, None, at(1)).await.expect("finished");
    expect(1, 0).await;
    let claimed = claim_one(&store, at(1)).await;
    let second = insert_one(&store).await;
    expect(1, 1).await;
    store.cancel(second, at(2)).await.expect("cancelled");
    expect(0, 1).await;
    store.remove(first, at(2)).await.expect("asked");
    expect(0, 1).await;
    end_stopped(&store, &claimed.claim, at(2)).await;
    store.remove(second, at(2)).await.expect("removed");
    expect(0, 0).await;
}

pub async fn waiting_tasks_are_counted_by_plugin(fixture: &impl Fixture) {
    let store = fixture.open();
    let of = |name| move |_| NewTask { plugin: plugin(name), ..new_task() };
    store.insert((0..5).map(of("a")).chain((0..2).map(of("b"))).collect()).await.expect("inserted");
    assert_eq!(claim(&store, 1, at(0)).await.claimed.len(), 1);
    let names = || vec![plugin("b"), plugin("a"), plugin("c")];
    assert_eq!(store.waiting(names(), 100).await, Ok(vec![2, 4, 0]));
    assert_eq!(store.waiting(names(), 3).await, Ok(vec![2, 3, 0]), "counted no further than the most");
}
