//! The lines of logs, while a task runs and after, over all its runs.

use wasmill_model::{LogLine, LogStream, Next, TaskId, TaskState};
use wasmill_store::Store;

use crate::fixture::{Place, at, claim_one, failure, insert_one, wrote};

async fn lines(store: &Store, id: TaskId, after: u64) -> Vec<(u64, u32, String)> {
    let read = store.lines(id, after, 1_000).await.expect("read").expect("there");
    read.lines.into_iter().map(|line| (line.seq, line.attempt, line.text)).collect()
}

fn seq(run: u64, nth: u64) -> u64 {
    LogLine::seq_of(run, nth).expect("in range")
}

pub(crate) async fn lines_are_read_while_the_task_runs(place: &impl Place) {
    let store = place.open();
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

pub(crate) async fn lines_of_all_runs_are_kept_with_numbers_of_their_own(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    for (run, next) in [(1, Next::RetryAt(at(1), failure())), (2, Next::Requeued)] {
        let claimed = claim_one(&store, at(1)).await;
        let log = wrote(&claimed.claim, &format!("run {run}\nends"));
        assert_eq!(store.finish(&claimed.claim, next, log, at(1)).await, Ok(true));
    }
    let claimed = claim_one(&store, at(1)).await;
    wrote(&claimed.claim, "run 3\n");
    let all = [
        (seq(1, 1), 1, "run 1".to_owned()),
        (seq(1, 2), 1, "ends".to_owned()),
        (seq(2, 1), 2, "run 2".to_owned()),
        (seq(2, 2), 2, "ends".to_owned()),
        (seq(3, 1), 2, "run 3".to_owned()),
    ];
    assert_eq!(lines(&store, id, 0).await, all);
    assert_eq!(lines(&store, id, seq(2, 1)).await, all[3..]);
    store.close().await;
    drop(store);
    // The last run ended with the host, and its line with it; its number is not given again.
    let store = place.open_at(9, at(2)).0;
    assert_eq!(lines(&store, id, 0).await, all[..4]);
    let claimed = claim_one(&store, at(3)).await;
    wrote(&claimed.claim, "run 4\n");
    assert_eq!(lines(&store, id, seq(3, 1)).await, [(seq(4, 1), 3, "run 4".to_owned())]);
}

pub(crate) async fn a_cancelled_run_keeps_what_it_had_written(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    wrote(&claimed.claim, "before\n");
    store.cancel(id, at(2)).await.expect("cancelled");
    wrote(&claimed.claim, "after\n");
    assert_eq!(lines(&store, id, 0).await, [(1, 1, "before".to_owned())]);
    assert_eq!(store.log(id).await.expect("read").as_deref(), Some("before\n"));
}
