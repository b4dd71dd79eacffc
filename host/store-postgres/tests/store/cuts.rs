//! The connection is cut at any message of an operation: before each of those that the host sends, and before each of those
//! that the server answers. What was asked is then done, and once.

use wasmill_model::{TaskState, Transition};
use wasmill_store::{CancelOutcome, RemoveOutcome, Store};
use wasmill_store_suite::fixture::{StoreExt, at, claim_one, get, insert_one};

use crate::proxy::Bed;

/// More messages than any operation has, with its preparation.
const MESSAGES_MAX: i64 = 1_000;

impl Bed {
    /// Does something with the connection cut at each of its messages in turn, until it has fewer. Returns how often.
    async fn cut_everywhere(&self, operation: impl AsyncFn(&Store)) -> usize {
        for message in 0..MESSAGES_MAX {
            let cuts = self.proxy.cuts();
            self.proxy.cut_at(message);
            operation(&self.store).await;
            self.proxy.cut_at(-1);
            if self.proxy.cuts() == cuts {
                println!("cut at each of {message} messages");
                assert!(message > 5, "an operation has more messages");
                return message as usize + 1;
            }
        }
        panic!("an operation has more than {MESSAGES_MAX} messages");
    }

    /// Checks that these are all tasks, each of them in this state after its first attempt, and that they are counted.
    async fn check(&self, tasks: usize, state: &str) {
        let sql = "SELECT count(*), count(*) FILTER (WHERE state = $1 AND attempt <= 1 AND host_crashes = 0) FROM task";
        let client = self.schema.connect().await;
        let row = client.query_one(sql, &[&state]).await.expect("read");
        let counts: (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(counts, (tasks as i64, tasks as i64), "all are {state}");
        let counted = "SELECT coalesce(sum(tasks - removed), 0)::bigint FROM task_count";
        let counted: i64 = client.query_one(counted, &[]).await.expect("read").get(0);
        assert_eq!(counted, tasks as i64, "all are counted, and once");
    }
}

fn done() -> Transition {
    Transition::Completed("1".into())
}

#[tokio::test]
async fn a_submit_that_is_cut_at_any_message_is_stored_once() {
    let bed = Bed::new();
    let tasks = bed
        .cut_everywhere(async |store: &Store| {
            insert_one(store).await;
        })
        .await;
    bed.check(tasks, "available").await;
}

#[tokio::test]
async fn a_claim_and_an_end_that_are_cut_at_any_message_happen_once() {
    let bed = Bed::new();
    let tasks = bed
        .cut_everywhere(async |store: &Store| {
            insert_one(store).await;
            let claimed = claim_one(store, at(1)).await;
            assert_eq!(claimed.attempt, 1);
            assert_eq!(store.finish(&claimed.claim, done(), None, at(2)).await, Ok(true));
        })
        .await;
    bed.check(tasks, "completed").await;
}

#[tokio::test]
async fn a_cancel_that_is_cut_at_any_message_happens_once() {
    let bed = Bed::new();
    let tasks = bed
        .cut_everywhere(async |store: &Store| {
            let id = insert_one(store).await;
            assert_eq!(
                store.cancel(id, at(1)).await,
                Ok(CancelOutcome::Cancelled { was: TaskState::Available })
            );
            assert_eq!(get(store, id).await.state, TaskState::Cancelled);
        })
        .await;
    bed.check(tasks, "cancelled").await;
}

#[tokio::test]
async fn a_removal_that_is_cut_at_any_message_happens_once() {
    let bed = Bed::new();
    bed.cut_everywhere(async |store: &Store| {
        let id = insert_one(store).await;
        assert_eq!(store.remove(id, at(1)).await, Ok(RemoveOutcome::Removed { was: TaskState::Available }));
        assert_eq!(store.get(id).await, Ok(None));
    })
    .await;
    bed.check(0, "available").await;
}
