//! Nobody starves: whoever has a task that is ready gets a turn, whatever others have in the line.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::{NewTask, PluginName, Priority, TaskId};

/// More than anyone would wait for.
const MANY: usize = 100_000;

/// Who submits: a plugin, and a group of it or none.
type Who = (&'static str, &'static str);

fn new_task(testbed: &Testbed, who: Who) -> NewTask {
    let plugin = if who.0.is_empty() { testbed::plugin() } else { who.0.parse().expect("valid") };
    let group = who.1.parse().ok();
    NewTask { plugin, group, ..testbed::new_task(TaskId::new(), "ok", testbed.clock.now()) }
}

/// Submits while nothing starts, and says whose the tasks are.
async fn submit(
    testbed: &Testbed,
    who: Who,
    tasks: usize,
    change: impl Fn(&mut NewTask),
    whose: &mut HashMap<TaskId, Who>,
) {
    for part in (0..tasks).collect::<Vec<_>>().chunks(10_000) {
        let mut tasks: Vec<_> = part.iter().map(|_| new_task(testbed, who)).collect();
        tasks.iter_mut().for_each(&change);
        whose.extend(tasks.iter().map(|task| (task.id, who)));
        testbed.store.insert(tasks).await.expect("accepted");
    }
}

/// Lets so many tasks start at least, and returns whose they are, in their order.
async fn starts(testbed: &Testbed, tasks: usize, whose: &HashMap<TaskId, Who>) -> Vec<Who> {
    testbed.runner.tasks.lock().expect("no panic").clear();
    testbed.scheduler.pause(None, false).await.expect("resumed");
    while testbed.runner.tasks.lock().expect("no panic").len() < tasks {
        testbed.advance(Duration::from_millis(20)).await;
    }
    testbed.scheduler.pause(None, true).await.expect("paused");
    testbed.wait_until_idle().await;
    testbed.runner.tasks.lock().expect("no panic").iter().map(|id| whose[id]).collect()
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
async fn one_task_of_a_tenant_starts_within_two_of_another_ones_hundred_thousand() {
    let (testbed, mut whose) = (paused(1).await, HashMap::new());
    let (many, one) = (("", "tenant A"), ("", "tenant B"));
    submit(&testbed, many, MANY, unchanged, &mut whose).await;
    for _ in 0..3 {
        submit(&testbed, one, 1, unchanged, &mut whose).await;
        assert!(starts(&testbed, 5, &whose).await[..2].contains(&one));
    }
    // Nor does a host that starts again forget that they take turns.
    submit(&testbed, one, 1, unchanged, &mut whose).await;
    let testbed = testbed.restart().await;
    assert!(starts(&testbed, 5, &whose).await[..2].contains(&one));
}

#[tokio::test(start_paused = true)]
async fn one_task_of_a_plugin_starts_within_two_of_another_ones_hundred_thousand() {
    let (testbed, mut whose) = (paused(1).await, HashMap::new());
    submit(&testbed, ("a", ""), MANY, unchanged, &mut whose).await;
    for _ in 0..3 {
        submit(&testbed, ("b", ""), 1, unchanged, &mut whose).await;
        assert!(starts(&testbed, 5, &whose).await[..2].contains(&("b", "")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_highest_priority_takes_no_turn_of_others() {
    let (testbed, mut whose) = (paused(1).await, HashMap::new());
    let highest = |task: &mut NewTask| task.priority = Priority::of(1_000).expect("in range");
    let lowest = |task: &mut NewTask| task.priority = Priority::of(-1_000).expect("in range");
    for many in [("a", ""), ("", "tenant A")] {
        submit(&testbed, many, 1_000, highest, &mut whose).await;
    }
    submit(&testbed, ("b", ""), 1, lowest, &mut whose).await;
    submit(&testbed, ("", "tenant B"), 1, lowest, &mut whose).await;
    let order = starts(&testbed, 9, &whose).await;
    assert!(order[..4].contains(&("b", "")) && order[..4].contains(&("", "tenant B")), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn those_that_their_concurrency_holds_back_hold_back_nobody() {
    let (testbed, mut whose) = (paused(4).await, HashMap::new());
    testbed.runner.concurrency.store(1, Ordering::SeqCst);
    for tenant in ["A", "B"] {
        submit(&testbed, ("a", tenant), 2_000, unchanged, &mut whose).await;
    }
    submit(&testbed, ("b", ""), 20, unchanged, &mut whose).await;
    let order = starts(&testbed, 60, &whose).await;
    // Until it has no more, b starts as often as a, whose tenants have every other turn.
    assert!(order[..44].iter().filter(|who| who.0 == "b").count() == 20, "{order:?}");
    let of_a: Vec<_> = order.iter().filter(|who| who.0 == "a").collect();
    assert!(of_a.windows(2).all(|two| two[0] != two[1]), "{of_a:?}");
}

#[tokio::test(start_paused = true)]
async fn in_any_span_of_starts_each_lane_has_its_part() {
    const LANES: [Who; 7] =
        [("", ""), ("a", ""), ("", "x"), ("a", "x"), ("b", "y"), ("b", ""), ("c", "a long name of a group")];
    for slots in [1, 2, 3, 10] {
        for lanes in [2, 3, 7] {
            let (testbed, mut whose) = (paused(slots).await, HashMap::new());
            let lanes = &LANES[..lanes];
            for who in lanes {
                submit(&testbed, *who, 120, unchanged, &mut whose).await;
            }
            let order = starts(&testbed, 100, &whose).await;
            for span in 1..=order.len() {
                for window in order.windows(span) {
                    for who in lanes {
                        let turns = window.iter().filter(|other| *other == who).count();
                        assert!(turns + 1 >= span / lanes.len(), "{who:?} {slots} slots: {window:?}");
                    }
                }
            }
        }
    }
}
