//! No starvation: every plugin and group with an available task gets its share, whatever others have queued.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::{NewTask, PluginName, Priority, TaskId};

/// A backlog that no task should have to wait for.
const BACKLOG: usize = 100_000;

/// The owner of a task: a plugin, and a group or none.
type Owner = (&'static str, &'static str);

fn new_task(testbed: &Testbed, owner: Owner) -> NewTask {
    let plugin = if owner.0.is_empty() { testbed::plugin() } else { owner.0.parse().expect("valid") };
    let group = owner.1.parse().ok();
    NewTask { plugin, group, ..testbed::new_task(TaskId::new(), "ok", testbed.clock.now()) }
}

/// Submits while the queue is paused and records the owner of each task.
async fn submit(
    testbed: &Testbed,
    owner: Owner,
    tasks: usize,
    change: impl Fn(&mut NewTask),
    owners: &mut HashMap<TaskId, Owner>,
) {
    for part in (0..tasks).collect::<Vec<_>>().chunks(10_000) {
        let mut tasks: Vec<_> = part.iter().map(|_| new_task(testbed, owner)).collect();
        tasks.iter_mut().for_each(&change);
        owners.extend(tasks.iter().map(|task| (task.id, owner)));
        testbed.store.submit(tasks, None).await.expect("accepted");
    }
}

/// Lets at least this many tasks start and returns their owners in order.
async fn starts(testbed: &Testbed, tasks: usize, owners: &HashMap<TaskId, Owner>) -> Vec<Owner> {
    testbed.runner.tasks.lock().expect("no panic").clear();
    testbed.scheduler.pause(None, false).await.expect("resumed");
    while testbed.runner.tasks.lock().expect("no panic").len() < tasks {
        testbed.advance(Duration::from_millis(20)).await;
    }
    testbed.scheduler.pause(None, true).await.expect("paused");
    testbed.wait_until_idle().await;
    testbed.runner.tasks.lock().expect("no panic").iter().map(|id| owners[id]).collect()
}

async fn paused(slots: usize) -> Testbed {
    let testbed = Testbed::new(slots);
    testbed.scheduler.pause(None, true).await.expect("paused");
    let others: Vec<PluginName> = ["a", "b", "c"].map(|name| name.parse().expect("valid")).into();
    *testbed.runner.others.lock().expect("no panic") = others;
    testbed
}

fn unchanged(_: &mut NewTask) {}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_one_task_starts_within_two_starts_beside_a_hundred_thousand() {
    let (testbed, mut owners) = (paused(1).await, HashMap::new());
    let (many, one) = (("", "tenant A"), ("", "tenant B"));
    submit(&testbed, many, BACKLOG, unchanged, &mut owners).await;
    for _ in 0..3 {
        submit(&testbed, one, 1, unchanged, &mut owners).await;
        assert!(starts(&testbed, 5, &owners).await[..2].contains(&one));
    }
    // A restarted host keeps the order fair, too.
    submit(&testbed, one, 1, unchanged, &mut owners).await;
    let testbed = testbed.restart().await;
    assert!(starts(&testbed, 5, &owners).await[..2].contains(&one));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_one_task_starts_within_two_starts_beside_a_hundred_thousand() {
    let (testbed, mut owners) = (paused(1).await, HashMap::new());
    submit(&testbed, ("a", ""), BACKLOG, unchanged, &mut owners).await;
    for _ in 0..3 {
        submit(&testbed, ("b", ""), 1, unchanged, &mut owners).await;
        assert!(starts(&testbed, 5, &owners).await[..2].contains(&("b", "")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_highest_priority_takes_no_share_of_other_queues() {
    let (testbed, mut owners) = (paused(1).await, HashMap::new());
    let highest = |task: &mut NewTask| task.priority = Priority::of(1_000).expect("in range");
    let lowest = |task: &mut NewTask| task.priority = Priority::of(-1_000).expect("in range");
    for many in [("a", ""), ("", "tenant A")] {
        submit(&testbed, many, 1_000, highest, &mut owners).await;
    }
    submit(&testbed, ("b", ""), 1, lowest, &mut owners).await;
    submit(&testbed, ("", "tenant B"), 1, lowest, &mut owners).await;
    let order = starts(&testbed, 9, &owners).await;
    assert!(order[..4].contains(&("b", "")) && order[..4].contains(&("", "tenant B")), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_at_its_concurrency_blocks_no_other_plugin() {
    let (testbed, mut owners) = (paused(4).await, HashMap::new());
    testbed.runner.concurrency.store(1, Ordering::SeqCst);
    for tenant in ["A", "B"] {
        submit(&testbed, ("a", tenant), 2_000, unchanged, &mut owners).await;
    }
    submit(&testbed, ("b", ""), 20, unchanged, &mut owners).await;
    let order = starts(&testbed, 60, &owners).await;
    // Until its queue is empty, b starts as often as a, whose tenants alternate.
    assert!(order[..44].iter().filter(|owner| owner.0 == "b").count() == 20, "{order:?}");
    let of_a: Vec<_> = order.iter().filter(|owner| owner.0 == "a").collect();
    assert!(of_a.windows(2).all(|two| two[0] != two[1]), "{of_a:?}");
}

#[tokio::test(start_paused = true)]
async fn every_window_of_starts_is_shared_fairly() {
    const QUEUES: [Owner; 7] =
        [("", ""), ("a", ""), ("", "x"), ("a", "x"), ("b", "y"), ("b", ""), ("c", "a long name of a group")];
    for slots in [1, 2, 3, 10] {
        for queues in [2, 3, 7] {
            let (testbed, mut owners) = (paused(slots).await, HashMap::new());
            let queues = &QUEUES[..queues];
            for owner in queues {
                submit(&testbed, *owner, 120, unchanged, &mut owners).await;
            }
            let order = starts(&testbed, 100, &owners).await;
            for span in 1..=order.len() {
                for window in order.windows(span) {
                    for owner in queues {
                        let turns = window.iter().filter(|other| *other == owner).count();
                        assert!(turns + 1 >= span / queues.len(), "{owner:?} {slots} slots: {window:?}");
                    }
                }
            }
        }
    }
}
