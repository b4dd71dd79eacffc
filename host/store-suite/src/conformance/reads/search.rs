//! Finding tasks by their ids, and counting them without a look at all of them.

use std::time::Duration;

use wasmill_model::{
    Cause, Failure, KeySpace, NewTask, OnConflict, Reach, TaskId, TaskState, Transition, Unique,
};
use wasmill_store::{Cursor, Filter, FinishedCounts, PluginCounts, Store};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, failure, insert_one, new_task, plugin, prune, since,
};

fn id(text: &str) -> TaskId {
    text.parse().expect("an id")
}

fn by(prefix: &str) -> Filter {
    Filter { id: Some(prefix.parse().expect("a prefix")), ..Filter::default() }
}

/// Follows the pages to the end.
async fn found(store: &Store, filter: &Filter, limit: usize) -> Vec<TaskId> {
    let (mut all, mut before): (Vec<_>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let (ids, next) = store.find(filter.clone(), before, limit).await.expect("found");
        all.extend(ids);
        before = next;
        if before.is_none() {
            return all;
        }
    }
}

pub async fn tasks_are_found_by_id_prefix(fixture: &impl Fixture) {
    let store = fixture.open();
    let ids = [
        "01a2074c-e503-703b-819d-4717c026346b",
        "01a2074c-e503-703b-819d-4717c026346c",
        "01a2074d-0000-7000-8000-000000000000",
        "01a2074c-ffff-7fff-bfff-ffffffffffff",
    ]
    .map(id);
    for (id, name) in ids.into_iter().zip(["a", "b", "a", "a"]) {
        let tags = vec![name.parse().expect("a tag")];
        store.insert(vec![NewTask { id, plugin: plugin(name), tags, ..new_task() }]).await.expect("inserted");
    }
    for limit in 1..5 {
        // In the order of acceptance, newest first, like every list.
        assert_eq!(found(&store, &by("01a2074c"), limit).await, [ids[3], ids[1], ids[0]]);
        assert_eq!(found(&store, &by("01a2"), limit).await, [ids[3], ids[2], ids[1], ids[0]]);
        assert_eq!(found(&store, &by("01a2074c-e503-703b-819d-4717c026346b"), limit).await, [ids[0]]);
        assert_eq!(found(&store, &by("01a2074e"), limit).await, []);
        let of_a = Filter { plugin: Some(plugin("a")), ..by("01a2074c") };
        assert_eq!(found(&store, &of_a, limit).await, [ids[3], ids[0]]);
        let tagged = Filter { tags: vec!["b".parse().expect("a tag")], ..by("01a2074c") };
        assert_eq!(found(&store, &tagged, limit).await, [ids[1]]);
        let failed = Filter { states: vec![TaskState::Failed], ..by("01a2074c") };
        assert_eq!(found(&store, &failed, limit).await, []);
    }
    let open = store.find_open(Filter { plugin: Some(plugin("a")), ..by("01a2074c") }).await.expect("found");
    let cancelled = store.cancel_many(open, Filter::default(), at(1)).await.expect("cancelled");
    assert_eq!(cancelled.waiting, 2);
}

pub async fn tasks_are_found_by_schedule_group_key_and_id_suffix(fixture: &impl Fixture) {
    let store = fixture.open();
    let ids = [
        "01a2074c-e503-703b-819d-4717c026346b",
        "01a2074c-e503-703b-819d-4717c026346c",
        "01a2074d-0000-7000-8000-4717c026346b",
    ]
    .map(id);
    for (fixture, id) in ids.into_iter().enumerate() {
        let unique = Unique {
            key: format!("k{fixture}").parse().expect("a key"),
            on_conflict: OnConflict::Refuse,
            space: KeySpace::default(),
        };
        let group = ["x", "x", "y"][fixture].parse().ok();
        let schedule = ["s", "t", "s"][fixture].parse().ok();
        let task = NewTask { id, group, schedule, unique: Some(unique), ..new_task() };
        store.insert(vec![task]).await.expect("inserted");
    }
    let all = Filter::default;
    let (x, s) = ("x".parse().ok(), "s".parse().ok());
    let end = |end: &str| end.parse().ok();
    for ended in [false, true] {
        for limit in 1..4 {
            for (filter, places) in [
                (Filter { group: x.clone(), ..all() }, vec![1, 0]),
                (Filter { schedule: s.clone(), ..all() }, vec![2, 0]),
                (Filter { schedule: s.clone(), group: x.clone(), ..all() }, vec![0]),
                (Filter { unique_key: "k1".parse().ok(), ..all() }, vec![1]),
                (Filter { unique_key: "k1".parse().ok(), schedule: s.clone(), ..all() }, vec![]),
                (Filter { id_end: end("26346b"), ..all() }, vec![2, 0]),
                (Filter { id_end: end("26346b"), group: x.clone(), ..all() }, vec![0]),
                (Filter { id_end: end("26346b"), ..by("01a2074d") }, vec![2]),
                (Filter { group: "z".parse().ok(), ..all() }, vec![]),
            ] {
                let expected: Vec<_> = places.iter().map(|index| ids[*index]).collect();
                assert_eq!(found(&store, &filter, limit).await, expected, "{filter:?}");
                let open = store.find_open(filter).await.expect("found").len();
                assert_eq!(open, if ended { 0 } else { expected.len() });
            }
        }
        for id in ids {
            store.cancel(id, at(1)).await.expect("cancelled");
        }
    }
}

pub async fn tasks_are_found_by_the_cause_of_their_failure(fixture: &impl Fixture) {
    let store = fixture.open();
    let failed = |cause| Failure::new(cause, "it did not work");
    let mut ids = Vec::new();
    for (second, next) in [
        Transition::Failed(failed(Cause::Io)),
        Transition::Failed(failed(Cause::Exit(3))),
        Transition::Failed(failed(Cause::Exit(33))),
        Transition::Completed("1".into()),
        Transition::RetryAt(at(1_000), failed(Cause::Io)),
    ]
    .into_iter()
    .enumerate()
    {
        ids.push(insert_one(&store).await);
        let now = at(i64::try_from(second).expect("few"));
        let claimed = claim_one(&store, now).await;
        assert_eq!(store.finish(&claimed.claim, next, None, now).await, Ok(true));
    }
    ids.push(insert_one(&store).await);
    let by = |cause: &str| Filter { cause: Some(cause.parse().expect("a cause")), ..Filter::default() };
    let scheduled = vec![TaskState::Scheduled];
    for (filter, places, open) in [
        (by("io"), vec![4, 0], 1),
        (Filter { states: vec![TaskState::Failed], ..by("io") }, vec![0], 0),
        (Filter { states: scheduled, ..by("io") }, vec![4], 1),
        (Filter { states: vec![TaskState::Completed], ..by("io") }, vec![], 0),
        (by("exit"), vec![2, 1], 0),
        (by("exit-3"), vec![1], 0),
        (by("timeout"), vec![], 0),
        (Filter { plugin: Some(plugin("b")), ..by("io") }, vec![], 0),
    ] {
        let expected: Vec<_> = places.into_iter().map(|place| ids[place]).collect();
        for limit in [1, 9] {
            assert_eq!(found(&store, &filter, limit).await, expected, "{filter:?}");
        }
        assert_eq!(store.find_open(filter.clone()).await.expect("found").len(), open, "{filter:?}");
    }
    // A retry that completes has no error any more.
    assert_eq!(claim_one(&store, at(5)).await.claim.id, ids[5]);
    let again = claim_one(&store, at(1_000)).await;
    assert_eq!(again.claim.id, ids[4]);
    let completed = Transition::Completed("2".into());
    assert_eq!(store.finish(&again.claim, completed, None, at(1_001)).await, Ok(true));
    assert_eq!(found(&store, &by("io"), 9).await, [ids[0]]);
}

fn reach(plugins: &[&str], groups: &[&str], tags: &[&str]) -> Reach {
    let plugins = plugins.iter().map(|plugin| plugin.parse().expect("a pattern")).collect();
    let groups = groups.iter().map(|group| group.parse().expect("a group")).collect();
    let tags = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
    Reach::new(plugins, groups, tags).expect("short")
}

pub async fn nothing_outside_a_reach_is_found(fixture: &impl Fixture) {
    let store = fixture.open();
    let labels = [
        ("fetch", None, &[][..]),
        ("fetch", Some("x"), &["eu"][..]),
        ("img-a", Some("x"), &["eu", "paid"][..]),
        ("img_a", Some("y"), &["paid"][..]),
        ("imgxa", Some("x"), &[][..]),
    ];
    let task = |(name, group, tags): (&str, Option<&str>, &[&str])| NewTask {
        group: group.and_then(|group| group.parse().ok()),
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        ..NewTask::new(plugin(name), at(0), Duration::from_secs(60))
    };
    let tasks: Vec<_> = labels.into_iter().map(task).collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    store.insert(tasks).await.expect("inserted");
    let group = || "x".parse().ok();
    for ended in [false, true] {
        for (reach, places) in [
            (reach(&[], &[], &[]), vec![4, 3, 2, 1, 0]),
            (reach(&["fetch"], &[], &[]), vec![1, 0]),
            // The underscore stands for itself.
            (reach(&["img_*"], &[], &[]), vec![3]),
            (reach(&["img*", "nothing"], &[], &[]), vec![4, 3, 2]),
            (reach(&[], &["x"], &[]), vec![4, 2, 1]),
            (reach(&[], &["x", "y"], &[]), vec![4, 3, 2, 1]),
            (reach(&[], &["z"], &[]), vec![]),
            (reach(&[], &[], &["paid"]), vec![3, 2]),
            (reach(&[], &[], &["eu", "paid"]), vec![2]),
            (reach(&["*a"], &["x"], &["eu"]), vec![2]),
        ] {
            for limit in [1, 2, 9] {
                let all = Filter { reach: reach.clone(), ..Filter::default() };
                let expected: Vec<_> = places.iter().map(|place| ids[*place]).collect();
                assert_eq!(found(&store, &all, limit).await, expected, "{reach}");
                let open = store.find_open(all.clone()).await.expect("found").len();
                assert_eq!(open, if ended { 0 } else { expected.len() }, "{reach}");
                // With filters of the request, too.
                let of_group = Filter { group: group(), ..all.clone() };
                let in_group: Vec<_> =
                    expected.iter().filter(|id| ![ids[0], ids[3]].contains(id)).copied().collect();
                assert_eq!(found(&store, &of_group, limit).await, in_group, "{reach}");
                let tagged = Filter { tags: vec!["eu".parse().expect("a tag")], ..all.clone() };
                let eu: Vec<_> = expected.iter().filter(|id| ids[1..3].contains(id)).copied().collect();
                assert_eq!(found(&store, &tagged, limit).await, eu, "{reach}");
                let state = if ended { TaskState::Cancelled } else { TaskState::Available };
                let in_state = Filter { states: vec![state], ..all };
                assert_eq!(found(&store, &in_state, limit).await, expected, "{reach}");
            }
            let asked = ids.iter().copied().chain([TaskId::new()]).collect();
            let within = store.within(asked, reach.clone()).await.expect("read");
            assert_eq!(within, places.iter().map(|place| ids[*place]).collect(), "{reach}");
        }
        for id in &ids {
            store.cancel(*id, at(1)).await.expect("cancelled");
        }
    }
}

/// More than are found by their ids alone, so that they are looked for on the way.
pub async fn tasks_are_found_by_id_among_very_many(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(20_000, at(0));
    let task = |number: u64| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(if number.is_multiple_of(2) { &[0xab, 0xcd] } else { &[0xab, 0xce] });
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        NewTask { id: TaskId::from_bytes(bytes), ..new_task() }
    };
    let tasks: Vec<_> = (0..20_004_u64).map(task).collect();
    let mut expected: Vec<_> = tasks.iter().step_by(2).map(|task| task.id).collect();
    expected.reverse();
    for part in tasks.chunks(9_000) {
        store.insert(part.to_vec()).await.expect("inserted");
        let claimed = claim(&store, 9_000, at(0)).await;
        assert_eq!(claimed.claimed.len(), part.len());
    }
    assert_eq!(found(&store, &by("abcd"), 3_000).await, expected);
    let running = Filter { states: vec![TaskState::Running], ..by("abcd") };
    assert_eq!(found(&store, &running, 7_000).await, expected);
    assert_eq!(
        found(&store, &by("abcd00000000000000000000000000"), 9).await,
        expected[expected.len() - 128..]
    );
}

pub async fn stored_and_ever_finished_tasks_are_counted_apart(fixture: &impl Fixture) {
    let store = fixture.open();
    for second in 0..4 {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(second)).await;
        let next = if second < 3 { Transition::Completed("1".into()) } else { Transition::Failed(failure()) };
        assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
        if second == 0 {
            store.remove(id, at(second)).await.expect("removed");
        }
    }
    assert_eq!(prune(&store, since(2)).await, 1);
    store.close().await;
    let (store, _) = fixture.open_at(9, at(9));
    let tally: PluginCounts = store.plugin_counts()[0].1;
    assert_eq!(tally.ended(), FinishedCounts { completed: 3, failed: 1, cancelled: 0 });
    assert_eq!(tally.stored(), FinishedCounts { completed: 1, failed: 1, cancelled: 0 });
}
