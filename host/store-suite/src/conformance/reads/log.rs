//! The lines of logs, while a task runs and after, over all its runs.

use wasmill_model::{LINE_SEQ_MAX, LogLine, LogStream, TaskId, TaskState, Transition, WakeOn};
use wasmill_store::Store;

use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, insert_one, suspended, wrote};

async fn lines(store: &Store, id: TaskId, after: u64) -> Vec<(u64, u32, String)> {
    let read = store.lines(id, after, 1_000).await.expect("read").expect("there");
    read.lines.into_iter().map(|line| (line.seq, line.attempt, line.text)).collect()
}

pub async fn lines_are_read_while_the_task_runs(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    assert_eq!(lines(&store, id, 0).await, []);
    let claimed = claim_one(&store, at(1)).await;
    wrote(&claimed.claim, "one\ntwo\nthr");
    let read = store.lines(id, 0, 1).await.expect("read").expect("there");
    assert_eq!((read.lines.len(), read.state), (1, TaskState::Running));
    assert_eq!(read.lines[0].stream, LogStream::Stdout);
    assert_eq!(lines(&store, id, 1).await, [(2, 1, "two".to_owned())]);
    assert_eq!(store.log(id).await.expect("read").as_deref(), Some("one\ntwo\nthr"));
    let live = read.live.expect("it runs");
    wrote(&claimed.claim, "ee\n");
    assert_eq!(live.read(2, 9, 9)[0].text, "three");
    assert!(store.lines(TaskId::new(), 0, 1).await.expect("read").is_none());
}

pub async fn lines_are_numbered_over_all_runs(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for (run, next) in [(1, Transition::RetryAt(at(1), failure())), (2, Transition::Requeued)] {
        let claimed = claim_one(&store, at(1)).await;
        let log = wrote(&claimed.claim, &format!("run {run}\nends"));
        assert_eq!(store.finish(&claimed.claim, next, log, at(1)).await, Ok(true));
    }
    let claimed = claim_one(&store, at(1)).await;
    wrote(&claimed.claim, "run 3\n");
    let all = [
        (1, 1, "run 1".to_owned()),
        (2, 1, "ends".to_owned()),
        (3, 2, "run 2".to_owned()),
        (4, 2, "ends".to_owned()),
        (5, 2, "run 3".to_owned()),
    ];
    assert_eq!(lines(&store, id, 0).await, all);
    assert_eq!(lines(&store, id, 3).await, all[3..]);
    store.close().await;
    drop(store);
    // The last run ended with the host, and its line with it; its number is not given again.
    let store = fixture.open_at(9, at(2)).0;
    assert_eq!(lines(&store, id, 0).await, all[..4]);
    let claimed = claim_one(&store, at(3)).await;
    wrote(&claimed.claim, "run 4\n");
    let seq = LogLine::given_after_crash(4) + 1;
    assert_eq!(lines(&store, id, 5).await, [(seq, 3, "run 4".to_owned())]);
}

pub async fn a_cancelled_run_keeps_its_whole_log(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    wrote(&claimed.claim, "before\n");
    store.cancel(id, at(2)).await.expect("cancelled");
    let log = wrote(&claimed.claim, "after\n");
    assert_eq!(store.finish_stopped(&claimed.claim, log, at(3)).await, Ok(false));
    wrote(&claimed.claim, "too late\n");
    let all = [(1, 1, "before".to_owned()), (2, 1, "after".to_owned())];
    assert_eq!(lines(&store, id, 0).await, all);
    assert_eq!(store.log(id).await.expect("read").as_deref(), Some("before\nafter\n"));
}

pub async fn line_numbers_stay_exact_in_json_over_many_runs(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for run in 1..=200 {
        let claimed = claim_one(&store, at(run)).await;
        let log = wrote(&claimed.claim, "one\ntwo\n");
        let park = suspended(at(run + 1), &[], WakeOn::default());
        assert_eq!(store.finish(&claimed.claim, park, log, at(run)).await, Ok(true));
    }
    let all = lines(&store, id, 0).await;
    assert_eq!(all.last().map(|(seq, ..)| *seq), Some(400), "each run has but the numbers of its lines");
    assert!(all.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    assert!(LogLine::given_after_crash(400) < LINE_SEQ_MAX / 1_000);
}
