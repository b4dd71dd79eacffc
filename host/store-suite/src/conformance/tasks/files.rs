//! Files of tasks: stored with them, kept for retries, and gone with the last task that has them.

use std::sync::Arc;

use wasmill_model::{
    Content, ContentId, DependencyFiles, FileDirection, FilesFrom, KeyLimits, LimitedKey, MediaType,
    NewDependencies, NewTask, OnConflict, OnFailure, TaskFile, TaskId, Transition, Unique,
};
use wasmill_store::{HandedFiles, PART_BYTES, Staged, Staging, Store, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, new_task, prune, since,
};

/// Stores bytes that no task refers to yet.
async fn staged(store: &Store, bytes: &[u8], second: i64) -> Staged {
    let mut staging = Staging::begin(store, at(second)).await.expect("begun");
    for piece in bytes.chunks(700_000) {
        staging.write(piece).await.expect("written");
    }
    staging.finish().await.expect("sealed")
}

fn file(direction: FileDirection, name: &str, content: Content) -> TaskFile {
    let name = name.parse().expect("a name");
    TaskFile { direction, media: MediaType::of_file(&name), name, content }
}

fn input(name: &str, content: Content) -> TaskFile {
    file(FileDirection::Input, name, content)
}

/// Reads a content as a whole; `None` if it is gone.
async fn bytes(store: &Store, content: ContentId) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for part in 0.. {
        let part = store.read_part(content, part).await.expect("read")?;
        if part.is_empty() {
            return Some(all);
        }
        all.extend(part);
    }
    None
}

/// Waits until a content is gone, whoever removes it.
async fn until_gone(store: &Store, content: ContentId, second: i64) {
    for _ in 0..1_000 {
        while store.sweep_unused(at(second)).await.expect("swept") > 0 {}
        if bytes(store, content).await.is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the content is left");
}

async fn insert(store: &Store, files: Vec<TaskFile>) -> Result<TaskId, StoreError> {
    let task = NewTask { files, ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.map(|()| id)
}

pub async fn files_are_stored_with_their_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let large: Vec<u8> = (0..2 * PART_BYTES + 7).map(|at| (at % 251) as u8).collect();
    let (first, second) = (staged(&store, &large, 0).await, staged(&store, b"", 0).await);
    assert_eq!((first.content.bytes, second.content.bytes), (large.len() as u64, 0));
    let files = vec![input("lib/b.json", first.content), input("a", second.content)];
    let id = insert(&store, files.clone()).await.expect("stored");
    let plain = insert(&store, vec![]).await.expect("stored");
    drop((first, second));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(1));
    let [b, a] = <[TaskFile; 2]>::try_from(files).expect("two");
    assert_eq!(store.files(id).await, Ok(Some(vec![a.clone(), b.clone()])), "in the order of names");
    assert_eq!(store.files(plain).await, Ok(Some(vec![])));
    assert_eq!(store.files(TaskId::new()).await, Ok(None));
    assert_eq!((get(&store, id).await.has_files, get(&store, plain).await.has_files), (true, false));
    assert_eq!(bytes(&store, b.content.id).await, Some(large));
    assert_eq!(bytes(&store, a.content.id).await, Some(vec![]));
    assert_eq!(bytes(&store, ContentId::random()).await, None);
    let claims = store.claim(&[crate::fixture::plugin("a")], 2, at(1)).await.expect("claimed");
    let has_files: Vec<_> = claims.claimed.iter().map(|claimed| claimed.has_files).collect();
    assert_eq!(has_files, [true, false]);
}

pub async fn a_content_that_no_task_takes_is_removed(fixture: &impl Fixture) {
    let store = fixture.open_at(2, at(0)).0;
    let unused = staged(&store, b"x", 0).await;
    let id = unused.content.id;
    drop(unused);
    until_gone(&store, id, 0).await;
    // As are those of a task that is not stored: refused, or answered with the holder of its key.
    let unique = |on_conflict| {
        let (key, space) = ("k".parse().expect("a key"), Default::default());
        Some(Unique { key, on_conflict, space })
    };
    let holder = NewTask { unique: unique(OnConflict::Refuse), ..new_task() };
    store.insert(vec![holder]).await.expect("stored");
    for (more, is_stored) in
        [(NewTask { unique: unique(OnConflict::Return), ..new_task() }, true), (new_task(), false)]
    {
        let content = staged(&store, b"x", 0).await;
        let task = NewTask { files: vec![input("a", content.content)], ..more };
        // One of two waiting tasks is there, so two more do not fit.
        let tasks = if is_stored { vec![task] } else { vec![new_task(), task] };
        assert_eq!(store.insert(tasks).await.is_ok(), is_stored);
        let id = content.content.id;
        drop(content);
        until_gone(&store, id, 0).await;
    }
    let gone = Content { id: ContentId::random(), bytes: 1, sha256: [0; 32] };
    let refused = insert(&store, vec![input("a", gone)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(store.counts().await.expect("counted").waiting, 1);
}

pub async fn what_a_host_was_writing_goes_with_it(fixture: &impl Fixture) {
    let store = fixture.open();
    let content = staged(&store, b"x", 0).await;
    let mut half = Staging::begin(&store, at(0)).await.expect("begun");
    half.write(&[1; PART_BYTES]).await.expect("written");
    let id = content.content.id;
    // As after a crash: nobody drops them.
    std::mem::forget((content, half));
    assert_eq!(store.sweep_unused(at(86_399)).await, Ok(0), "it may still be used");
    assert_eq!(bytes(&store, id).await, Some(b"x".to_vec()));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(1));
    assert_eq!(store.sweep_unused(at(1)).await, Ok(2));
    assert_eq!(store.sweep_unused(at(1)).await, Ok(0));
    assert_eq!(bytes(&store, id).await, None);
    let late = staged(&store, b"x", 1).await;
    assert_eq!(store.sweep_unused(at(86_400)).await, Ok(0));
    assert_eq!(store.sweep_unused(at(86_402)).await, Ok(1), "a day later nobody writes it any more");
    let refused = insert(&store, vec![input("a", late.content)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

pub async fn a_retry_has_the_files_of_its_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let (given, left) = (staged(&store, b"in", 0).await, staged(&store, b"out", 0).await);
    let id = insert(&store, vec![input("a", given.content)]).await.expect("stored");
    let claimed = claim_one(&store, at(1)).await;
    claimed.claim.run().add_output(file(FileDirection::Output, "b", left.content));
    assert_eq!(store.finish(&claimed.claim, Transition::Completed("1".into()), None, at(2)).await, Ok(true));
    let (_, again) = store.clone_for_retry(id, TaskId::new(), at(3)).await.expect("read").expect("stored");
    assert_eq!(again.files, [input("a", given.content)], "not what the run left");
    let retry = again.id;
    store.insert(vec![again.clone()]).await.expect("stored");
    store.remove(id, at(4)).await.expect("removed");
    until_gone(&store, left.content.id, 4).await;
    assert_eq!(bytes(&store, given.content.id).await, Some(b"in".to_vec()), "the retry has it");
    assert_eq!(store.files(retry).await, Ok(Some(vec![input("a", given.content)])));
    store.remove(retry, at(5)).await.expect("removed");
    until_gone(&store, given.content.id, 5).await;
    let late = store.insert(vec![NewTask { id: TaskId::new(), ..again }]).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
}

pub async fn only_a_completed_run_leaves_files(fixture: &impl Fixture) {
    let store = fixture.open();
    for end in ["retry", "failed", "stopped", "completed"] {
        let left = staged(&store, end.as_bytes(), 0).await;
        let id = insert(&store, vec![]).await.expect("stored");
        let claimed = claim_one(&store, at(1)).await;
        let output = file(FileDirection::Output, "out/b.json", left.content);
        claimed.claim.run().add_output(output.clone());
        let next = match end {
            "retry" => Transition::RetryAt(at(9), failure()),
            "failed" => Transition::Failed(failure()),
            _ => Transition::Completed("1".into()),
        };
        if end == "stopped" {
            store.cancel(id, at(2)).await.expect("cancelled");
            end_stopped(&store, &claimed.claim, at(2)).await;
        } else {
            assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
        }
        let content = left.content.id;
        drop(left);
        if end == "completed" {
            assert_eq!(store.files(id).await, Ok(Some(vec![output])));
            // Retention forgets them with the task.
            assert!(prune(&store, since(3)).await > 0);
            assert_eq!(store.files(id).await, Ok(None));
        } else {
            assert_eq!(store.files(id).await, Ok(Some(vec![])), "{end}");
        }
        until_gone(&store, content, 3).await;
        if end == "retry" {
            store.remove(id, at(3)).await.expect("removed");
        }
    }
}

pub async fn files_count_for_the_key_of_their_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let limits = KeyLimits { stored_bytes_max: Some(100), ..KeyLimits::default() };
    let limited_by = Some(Arc::new(LimitedKey { name: "ci".into(), limits }));
    let of_key = |files| NewTask { limited_by: limited_by.clone(), files, ..new_task() };
    let (sixty, thirty) = (staged(&store, &[0; 60], 0).await, staged(&store, &[0; 30], 0).await);
    let task = of_key(vec![input("a", sixty.content)]);
    let id = task.id;
    store.insert(vec![task]).await.expect("60 fit");
    let full = |stored_bytes| {
        Err(StoreError::KeyStorageFull { index: 0, key: "ci".into(), stored_bytes, stored_bytes_max: 100 })
    };
    let other = staged(&store, &[0; 41], 0).await;
    assert_eq!(store.insert(vec![of_key(vec![input("a", other.content)])]).await, full(60));
    let claimed = claim_one(&store, at(1)).await;
    claimed.claim.run().add_output(file(FileDirection::Output, "b", thirty.content));
    assert_eq!(store.finish(&claimed.claim, Transition::Completed("1".into()), None, at(2)).await, Ok(true));
    assert_eq!(store.insert(vec![of_key(vec![input("a", other.content)])]).await, full(91));
    store.remove(id, at(3)).await.expect("removed");
    store.insert(vec![of_key(vec![input("a", other.content)])]).await.expect("there is room again");
}

pub async fn a_dependent_gets_the_files_of_its_dependencies(fixture: &impl Fixture) {
    let store = fixture.open();
    let (given, left) = (staged(&store, b"in", 0).await, staged(&store, b"out", 0).await);
    let first = insert(&store, vec![input("a", given.content)]).await.expect("stored");
    let failing = insert(&store, vec![]).await.expect("stored");
    let on = NewDependencies {
        on: vec![failing, first],
        on_failure: OnFailure::Run,
        pass_results: false,
        files_from: Some(FilesFrom::DependencyFolders),
    };
    let task = NewTask { dependencies: Some(on.clone()), ..new_task() };
    let second = task.id;
    store.insert(vec![task]).await.expect("stored");
    let claimed = claim(&store, 1, at(1)).await.claimed.remove(0);
    assert_eq!((claimed.claim.id, claimed.files_from), (first, None));
    let output = file(FileDirection::Output, "b", left.content);
    claimed.claim.run().add_output(output.clone());
    assert_eq!(store.finish(&claimed.claim, Transition::Completed("1".into()), None, at(2)).await, Ok(true));
    let claimed = claim(&store, 1, at(2)).await.claimed.remove(0);
    assert_eq!(store.finish(&claimed.claim, Transition::Failed(failure()), None, at(2)).await, Ok(true));
    // The first would be forgotten by now.
    assert_eq!(prune(&store, since(3)).await, 1);
    let claimed = claim_one(&store, at(3)).await;
    assert_eq!((claimed.claim.id, claimed.pass_results), (second, false));
    assert_eq!(claimed.files_from, Some(FilesFrom::DependencyFolders));
    let of = |id, files| DependencyFiles { id, files };
    let handed = HandedFiles::Files(vec![of(failing, vec![]), of(first, vec![output])]);
    assert_eq!(store.dependency_files(&claimed.claim).await, Ok(handed));
    let status = store.dependencies(second).await.expect("read").expect("it depends");
    assert_eq!((status.pass_results, status.files_from), (false, on.files_from));
    store.remove(first, at(4)).await.expect("removed");
    assert_eq!(store.dependency_files(&claimed.claim).await, Ok(HandedFiles::Gone(first)));
    assert_eq!(store.finish(&claimed.claim, Transition::Failed(failure()), None, at(5)).await, Ok(true));
    let files = store.dependency_files(&claimed.claim).await;
    assert_eq!(files, Ok(HandedFiles::Files(vec![])), "to whom they are due alone");
    let (_, again) =
        store.clone_for_retry(second, TaskId::new(), at(6)).await.expect("read").expect("stored");
    assert_eq!(again.dependencies, Some(on), "its files are needed, so it is not left out");
}
