//! Random commands.

use proptest::prelude::*;

use crate::fixture::Fault;

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
    Post(usize),
    Take(usize),
    Save(usize),
    /// A run submits children of these names.
    Bear(usize, Vec<usize>),
    /// A run looks at its children.
    Look(usize),
}

/// What is done at a database with several hosts.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Ask(Command),
    Change(HostCommand),
}

/// What happens to a host; the number picks its place.
#[derive(Clone, Debug)]
pub(super) enum HostCommand {
    /// A host starts, unless there is one.
    Start(usize),
    /// It leaves, and says so.
    Leave(usize),
    /// It is killed, and another one starts at its place.
    Kill(usize),
    /// Others take it for dead though it lives.
    Revoke(usize),
    /// It cannot reach the database until others have taken it for dead, and longer.
    CutOff(usize),
    /// It reaches the database again.
    Mend(usize),
    /// One of its next commits goes wrong.
    Disturb(usize, Fault),
    /// The asked host pauses or resumes a plugin, or all.
    Pause(usize, bool),
}

/// The most tasks of plugin `b` that may wait.
pub(super) const WAITING_MAX_OF_B: usize = 5;

/// How many tasks of plugin `b` may run on all hosts together.
pub(super) const CONCURRENCY_OF_B: usize = 2;

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
        6 => (any::<usize>(), 0..9_usize).prop_map(|(claim, next)| Command::Finish(claim, next)),
        2 => any::<usize>().prop_map(Command::Cancel),
        1 => any::<usize>().prop_map(Command::Remove),
        1 => Just(Command::Prune),
        1 => Just(Command::Reopen),
        1 => Just(Command::Tick),
        2 => any::<bool>().prop_map(Command::Deliver),
        1 => any::<usize>().prop_map(Command::Again),
        3 => any::<usize>().prop_map(Command::Post),
        3 => any::<usize>().prop_map(Command::Take),
        1 => any::<usize>().prop_map(Command::Save),
        4 => (any::<usize>(), prop::collection::vec(0..5_usize, 1..4))
            .prop_map(|(claim, names)| Command::Bear(claim, names)),
        2 => any::<usize>().prop_map(Command::Look),
    ]
}

/// A step, and a number that picks the host that is asked.
pub(super) fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![8 => command().prop_map(Step::Ask), 2 => host_command().prop_map(Step::Change)];
    (any::<usize>(), step)
}

fn host_command() -> impl Strategy<Value = HostCommand> {
    let place = any::<usize>();
    let fault = prop_oneof![Just(Fault::LoseCommit), Just(Fault::LoseAnswer), Just(Fault::StopInTurn)];
    prop_oneof![
        3 => place.prop_map(HostCommand::Start),
        2 => place.prop_map(HostCommand::Leave),
        2 => place.prop_map(HostCommand::Kill),
        2 => place.prop_map(HostCommand::Revoke),
        1 => place.prop_map(HostCommand::CutOff),
        2 => place.prop_map(HostCommand::Mend),
        4 => (place, fault).prop_map(|(place, fault)| HostCommand::Disturb(place, fault)),
        3 => (0..=PLUGINS.len(), prop::bool::weighted(0.3))
            .prop_map(|(plugin, paused)| HostCommand::Pause(plugin, paused)),
    ]
}
