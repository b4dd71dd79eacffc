//! Random commands.

use proptest::prelude::*;

pub(super) const PLUGINS: [&str; 2] = ["a", "b"];
pub(super) const WAITING_MAX: usize = 12;

/// A command; the numbers pick a task or claim among those there are.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Insert(Vec<Wish>, Option<usize>),
    Claim(usize, usize),
    Finish(usize, usize),
    Cancel(usize),
    Remove(usize),
    Prune,
    Reopen,
    Tick,
    Deliver(bool),
    Again(usize),
}

/// The most tasks of plugin `b` that may wait.
pub(super) const WAITING_MAX_OF_B: usize = 5;

/// What is asked for: a plugin, a priority, a delay, a tag or none, a unique key or none, what to wait for,
/// a webhook for completed and cancelled, or none, a group or none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) plugin: usize,
    pub(super) priority: i64,
    pub(super) delay: i64,
    pub(super) tagged: bool,
    pub(super) key: Option<usize>,
    pub(super) after: Option<After>,
    pub(super) hooked: bool,
    pub(super) group: Option<usize>,
}

/// What to wait for; the numbers pick tasks among those there are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct After {
    pub(super) on: Vec<usize>,
    pub(super) runs: bool,
    pub(super) pass_results: bool,
}

pub(super) fn after() -> impl Strategy<Value = After> {
    (prop::collection::vec(any::<usize>(), 1..4), any::<bool>(), any::<bool>())
        .prop_map(|(on, runs, pass_results)| After { on, runs, pass_results })
}

pub(super) fn wish() -> impl Strategy<Value = Wish> {
    let key = prop_oneof![4 => Just(None), 1 => (0..2_usize).prop_map(Some)];
    let priority = prop_oneof![3 => Just(0), 2 => -2..3_i64];
    let delay = prop_oneof![3 => Just(0), 1 => Just(3)];
    let after = prop::option::weighted(0.4, after());
    let group = prop_oneof![Just(None), (0..3_usize).prop_map(Some)];
    let new = |(plugin, priority, delay, tagged, key, after, hooked, group)| Wish {
        plugin,
        priority,
        delay,
        tagged,
        key,
        after,
        hooked,
        group,
    };
    (0..PLUGINS.len(), priority, delay, any::<bool>(), key, after, any::<bool>(), group).prop_map(new)
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (prop::collection::vec(wish(), 1..4), prop::option::weighted(0.2, 0..3_usize))
            .prop_map(|(wishes, request)| Command::Insert(wishes, request)),
        4 => (0..=PLUGINS.len(), 1..4_usize).prop_map(|(plugin, limit)| Command::Claim(plugin, limit)),
        5 => (any::<usize>(), 0..5_usize).prop_map(|(claim, next)| Command::Finish(claim, next)),
        2 => any::<usize>().prop_map(Command::Cancel),
        1 => any::<usize>().prop_map(Command::Remove),
        1 => Just(Command::Prune),
        1 => Just(Command::Reopen),
        1 => Just(Command::Tick),
        2 => any::<bool>().prop_map(Command::Deliver),
        1 => any::<usize>().prop_map(Command::Again),
    ]
}
