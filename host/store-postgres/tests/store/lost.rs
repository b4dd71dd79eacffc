//! What happens when the connection to the database is lost: nothing accepted is lost, and nothing is done twice.

use std::time::{Duration, Instant};

use wasmill_model::{TaskState, Transition};
use wasmill_store::{Filter, StoreError};
use wasmill_store_suite::fixture::{StoreExt, at, claim, claim_one, get, insert_one, new_task};

use crate::cluster::start;
use crate::proxy::{Bed, Mode};

impl Bed {
    /// Returns how many tasks there are.
    async fn tasks(&self) -> usize {
        self.store.find(Filter::default(), None, 100).await.expect("read").0.len()
    }

    /// Returns how many tasks wait, as the writer counts them.
    fn waiting(&self) -> u64 {
        self.store.plugin_counts().iter().map(|(_, counts)| counts.waiting()).sum()
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_sent_again() {
    let bed = Bed::new();
    bed.proxy.set(Mode::CutBeforeCommit);
    let id = insert_one(&bed.store).await;
    assert_eq!((bed.proxy.cuts(), bed.tasks().await), (1, 1));
    bed.proxy.set(Mode::CutBeforeCommit);
    let claimed = claim_one(&bed.store, at(1)).await;
    bed.proxy.set(Mode::CutBeforeCommit);
    let result = Transition::Completed("1".into());
    assert_eq!(bed.store.finish(&claimed.claim, result, None, at(2)).await, Ok(true));
    assert_eq!(bed.proxy.cuts(), 3);
    let task = get(&bed.store, id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_done_twice() {
    let bed = Bed::new();
    bed.proxy.set(Mode::CutAfterCommit);
    let id = insert_one(&bed.store).await;
    assert_eq!((bed.proxy.cuts(), bed.tasks().await), (1, 1));
    bed.proxy.set(Mode::CutAfterCommit);
    let claimed = claim_one(&bed.store, at(1)).await;
    assert_eq!(claimed.attempt, 1);
    bed.proxy.set(Mode::CutAfterCommit);
    let result = Transition::Completed("1".into());
    assert_eq!(bed.store.finish(&claimed.claim, result, None, at(2)).await, Ok(true));
    assert_eq!(bed.proxy.cuts(), 3);
    let task = get(&bed.store, id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
    assert_eq!(bed.waiting(), 0);
}

#[tokio::test]
async fn a_claim_that_was_done_again_is_kept() {
    let bed = Bed::new();
    let id = insert_one(&bed.store).await;
    bed.proxy.set(Mode::CutBeforeCommit);
    let _claimed = claim_one(&bed.store, at(1)).await;
    // The claim that was rolled back had the same token; putting it back must not touch the second.
    insert_one(&bed.store).await;
    insert_one(&bed.store).await;
    assert_eq!(get(&bed.store, id).await.state, TaskState::Running);
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_is_refused_and_counted_once_it_is_known() {
    let bed = Bed::new();
    bed.proxy.set(Mode::CutAfterCommitAndRefuse);
    let refused = bed.store.insert(vec![new_task()]).await.expect_err("nobody knows");
    assert!(
        matches!(&refused, StoreError::Unavailable { message } if message.contains("unknown")),
        "{refused}"
    );
    let refused = bed.store.insert(vec![new_task()]).await.expect_err("the database is away");
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
    bed.proxy.set(Mode::Pass);
    eventually("it is counted", async || bed.waiting() == 1).await;
    insert_one(&bed.store).await;
    assert_eq!((bed.tasks().await, bed.waiting()), (2, 2));
}

#[tokio::test]
async fn a_claim_of_unknown_outcome_is_put_back() {
    let bed = Bed::new();
    let id = insert_one(&bed.store).await;
    bed.proxy.set(Mode::CutAfterCommitAndRefuse);
    bed.store.claim(&[new_task().plugin], 2, at(1)).await.expect_err("nobody knows");
    bed.proxy.set(Mode::Pass);
    eventually("it is put back", async || !claim(&bed.store, 2, at(2)).await.claimed.is_empty()).await;
    let task = get(&bed.store, id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Running, 1));
}

#[tokio::test]
async fn requests_wait_for_a_restart_of_the_server() {
    let bed = Bed::new();
    insert_one(&bed.store).await;
    bed.proxy.set(Mode::Refuse);
    let store = bed.store.clone();
    let submit = tokio::spawn(async move { insert_one(&store).await });
    let store = bed.store.clone();
    let read = tokio::spawn(async move { store.find(Filter::default(), None, 100).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!submit.is_finished() && !read.is_finished());
    bed.proxy.set(Mode::Pass);
    submit.await.expect("it is stored");
    read.await.expect("no panic").expect("read");
    assert_eq!(bed.tasks().await, 2);
}

#[tokio::test]
async fn a_host_that_was_taken_for_dead_registers_anew() {
    let bed = Bed::new();
    let id = insert_one(&bed.store).await;
    let claimed = claim_one(&bed.store, at(1)).await;
    let term = bed.store.lease().term();
    bed.proxy.set(Mode::Refuse);
    // At the same place, so the first one is dead.
    let second = start(bed.schema.config(&bed.schema.url(), "one"), at(0)).0;
    bed.proxy.set(Mode::Pass);
    let late = bed.store.finish(&claimed.claim, Transition::Completed("1".into()), None, at(2)).await;
    assert_eq!(late, Ok(false));
    assert!(!bed.store.lease().is_valid(term) && bed.store.lease().term() != term);
    let task = get(&second, id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Available, 1));
    insert_one(&second).await;
    insert_one(&bed.store).await;
    assert_eq!(bed.tasks().await, 3);
}
