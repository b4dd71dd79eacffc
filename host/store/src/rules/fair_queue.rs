//! The fair queue: round robin over plugins and their groups, one task each.
//!
//! A claim asks it; whatever makes a task with a group available adds the group. It never says that a task is
//! available, only where to look for one. A group that was served moves behind all
//! others, and a new one starts there, so each waits for at most one task of every other, and no group is
//! read before its turn.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use wasmill_model::{Group, PluginName};

use crate::rules::group_limits::GroupsLeft;
use crate::{ClaimQuota, TaskRef};

/// Tasks to read of a group at first: the one to serve and the next.
const READ_MIN: usize = 2;

/// Maximum groups known beyond the number of waiting tasks, as the tasks of others may have been cancelled
/// while their plugin was paused. Beyond it all groups are forgotten and learnt again.
const UNUSED_GROUPS_MAX: usize = 1_000;

/// Round robin state over all plugins and groups.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// Sequence number of the last task served.
    last: u64,
    plugins: HashMap<PluginName, PluginQueue>,
}

/// Round robin state of one plugin; the smallest number is served first.
#[derive(Debug, Default)]
struct PluginQueue {
    /// Whether all groups with available tasks are known.
    is_known: bool,
    /// Number of the ungrouped tasks; it starts at 0, so a plugin that is used rarely does not wait.
    own: u64,
    /// Groups that may have an available task, by number.
    groups: VecDeque<(u64, Group)>,
    queued: HashSet<Group>,
    /// Groups at their limit that were passed over in the claim under way, by number.
    held: VecDeque<(u64, Group)>,
}

impl PluginQueue {
    /// Puts the first group behind the others after its turn, or removes it if it has no more available tasks.
    fn end_group_turn(&mut self, turn: u64, has_more: bool) {
        if !has_more {
            self.remove_first_group();
        } else if let Some((_, group)) = self.groups.pop_front() {
            self.groups.push_back((turn, group));
        }
    }

    /// Passes over the first group, as it may not start a task now.
    fn hold_first_group(&mut self) {
        self.held.extend(self.groups.pop_front());
    }

    /// Gives the groups that were passed over their turn back. Their numbers are smaller than those of all others.
    fn release_held(&mut self) {
        while let Some(group) = self.held.pop_back() {
            self.groups.push_front(group);
        }
    }

    fn add(&mut self, turn: u64, group: Group) {
        if self.queued.insert(group.clone()) {
            self.groups.push_back((turn, group));
        }
    }
}

/// A task that may be claimed. Within its plugin or group it sorts by `sort_key`: when it became available,
/// minus the head start of its priority.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate<'a> {
    /// When it became available minus the head start of its priority, in nanoseconds since 1970.
    pub sort_key: i64,
    /// The task.
    pub task: TaskRef,
    /// Its plugin.
    pub plugin: &'a PluginName,
}

/// What may be claimed of one plugin.
#[derive(Debug)]
pub struct PluginCandidates<'a> {
    /// The plugin and its quota.
    pub quota: &'a ClaimQuota,
    /// Its first ungrouped tasks, up to its quota.
    pub own: VecDeque<Candidate<'a>>,
}

/// The tasks to claim.
#[derive(Debug, Default)]
pub struct Picked<'a> {
    /// The tasks, in the order in which they are served.
    pub candidates: Vec<Candidate<'a>>,
    /// Whether the next task did not fit into the available memory.
    pub lacked_memory: bool,
}

/// Tasks of a group that were read and not picked yet.
#[derive(Debug, Default)]
struct GroupReader<'a> {
    candidates: VecDeque<Candidate<'a>>,
    count: usize,
    is_all: bool,
}

/// The next task to serve of a plugin: by sequence number, then by sort key if none was ever served.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    number: u64,
    sort_key: i64,
    part: usize,
    is_group: bool,
}

impl FairQueue {
    /// Adds a group with an available task.
    pub fn add(&mut self, plugin: &PluginName, group: &Group) {
        // Otherwise all groups of the plugin are learnt at once later.
        if let Some(plugin_queue) = self.plugins.get_mut(plugin).filter(|plugin_queue| plugin_queue.is_known)
        {
            self.last += 1;
            plugin_queue.add(self.last, group.clone());
        }
    }

    /// Forgets all groups if most must be unused, given the number of waiting tasks. Only their order is
    /// lost.
    pub fn forget_if_over(&mut self, waiting: u64) {
        let groups: usize = self.plugins.values().map(|plugin_queue| plugin_queue.groups.len()).sum();
        if (groups + self.plugins.len()) as u64 > waiting.saturating_add(UNUSED_GROUPS_MAX as u64) {
            *self = Self { last: self.last, ..Self::default() };
        }
    }

    /// Returns true if all groups of a plugin with available tasks are known.
    pub fn knows(&self, plugin: &PluginName) -> bool {
        self.plugins.get(plugin).is_some_and(|plugin_queue| plugin_queue.is_known)
    }

    /// Adds all groups of a plugin with available tasks, in this order; from here on they are known.
    pub fn learn(&mut self, plugin: &PluginName, groups: &[Group]) {
        self.plugin_queue(plugin).is_known = true;
        for group in groups {
            self.add(plugin, group);
        }
    }

    /// Picks up to `tasks_max` tasks round robin, as far as they fit into the available memory. A group at its limit is
    /// passed over and keeps its turn.
    ///
    /// `read` returns candidates of a group in order, given how many to skip and the maximum to return.
    pub fn pick<'a, E>(
        &mut self,
        mut parts: Vec<PluginCandidates<'a>>,
        tasks_max: usize,
        mut available_memory: u64,
        limits: &mut GroupsLeft<'_, E>,
        mut read: impl FnMut(&'a ClaimQuota, &Group, usize, usize) -> Result<VecDeque<Candidate<'a>>, E>,
    ) -> Result<Picked<'a>, E> {
        let mut picked = Picked::default();
        let mut left: Vec<_> = parts.iter().map(|part| part.quota.tasks_max).collect();
        let mut queues: Vec<_> =
            parts.iter().map(|part| std::mem::take(self.plugin_queue(&part.quota.plugin))).collect();
        let mut reads: HashMap<(usize, Group), GroupReader<'a>> = HashMap::new();
        let mut turns = first_turns(&parts, &queues);
        while picked.candidates.len() < tasks_max
            && let Some(Reverse(turn)) = turns.pop()
        {
            let part = turn.part;
            let (quota, of_plugin) = (parts[part].quota, &mut queues[part]);
            if left[part] == 0 {
                continue;
            }
            let mut group = None;
            if turn.is_group {
                let Some((_, first)) = of_plugin.groups.front() else { continue };
                if !limits.has_room(first)? {
                    of_plugin.hold_first_group();
                    turns.extend(next_group(part, of_plugin));
                    continue;
                }
                let tasks = reads.entry((part, first.clone())).or_default();
                tasks.read_more(|skip, limit| read(quota, first, skip, limit))?;
                if tasks.candidates.is_empty() {
                    of_plugin.remove_first_group();
                    turns.extend(next_group(part, of_plugin));
                    continue;
                }
                group = Some(tasks);
            }
            let Some(rest) = available_memory.checked_sub(quota.memory_bytes) else {
                // It keeps its turn: if smaller tasks could overtake it, it might wait forever.
                picked.lacked_memory = true;
                break;
            };
            available_memory = rest;
            left[part] -= 1;
            self.last += 1;
            let candidate = match group {
                Some(tasks) => {
                    let candidate = tasks.candidates.pop_front();
                    let has_more = !tasks.candidates.is_empty() || !tasks.is_all;
                    of_plugin.groups.front().into_iter().for_each(|(_, group)| limits.take(group));
                    of_plugin.end_group_turn(self.last, has_more);
                    turns.extend(next_group(part, of_plugin));
                    candidate
                }
                None => {
                    let candidate = parts[part].own.pop_front();
                    of_plugin.own = self.last;
                    turns.extend(next_own(part, &parts[part], of_plugin));
                    candidate
                }
            };
            picked.candidates.extend(candidate);
        }
        self.put_back(&parts, queues);
        Ok(picked)
    }

    /// Keeps the queues of these plugins after a claim.
    fn put_back(&mut self, parts: &[PluginCandidates<'_>], queues: Vec<PluginQueue>) {
        for (part, mut queues) in parts.iter().zip(queues) {
            queues.release_held();
            *self.plugin_queue(&part.quota.plugin) = queues;
        }
    }

    fn plugin_queue(&mut self, plugin: &PluginName) -> &mut PluginQueue {
        self.plugins.entry(plugin.clone()).or_default()
    }
}

impl PluginQueue {
    /// Removes the first group, as it has no available task.
    fn remove_first_group(&mut self) {
        if let Some((_, group)) = self.groups.pop_front() {
            self.queued.remove(&group);
        }
    }
}

impl<'a> GroupReader<'a> {
    /// Reads more, twice as many as before, once everything read is picked.
    fn read_more<E>(
        &mut self,
        read: impl FnOnce(usize, usize) -> Result<VecDeque<Candidate<'a>>, E>,
    ) -> Result<(), E> {
        if self.candidates.is_empty() && !self.is_all {
            let limit = READ_MIN.max(2 * self.count);
            self.candidates = read(self.count, limit)?;
            self.count += self.candidates.len();
            self.is_all = self.candidates.len() < limit;
        }
        Ok(())
    }
}

/// Returns the first turn of each plugin's own tasks, and of its groups.
fn first_turns(parts: &[PluginCandidates<'_>], queues: &[PluginQueue]) -> BinaryHeap<Reverse<Turn>> {
    let turns = |(part, (tasks, queues)): (usize, (&PluginCandidates<'_>, &PluginQueue))| {
        next_own(part, tasks, queues).into_iter().chain(next_group(part, queues))
    };
    parts.iter().zip(queues).enumerate().flat_map(turns).collect()
}

fn next_own(part: usize, tasks: &PluginCandidates<'_>, queues: &PluginQueue) -> Option<Reverse<Turn>> {
    let sort_key = tasks.own.front()?.sort_key;
    Some(Reverse(Turn { number: queues.own, sort_key, part, is_group: false }))
}

fn next_group(part: usize, queues: &PluginQueue) -> Option<Reverse<Turn>> {
    let (number, _) = queues.groups.front()?;
    Some(Reverse(Turn { number: *number, sort_key: 0, part, is_group: true }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::rules::group_limits::GroupLimits;

    /// Number of available tasks per plugin and group; an empty group name stands for ungrouped tasks.
    struct World {
        fair_queue: FairQueue,
        ready: Vec<(&'static str, &'static str, usize)>,
        limits: GroupLimits,
        running: HashMap<Group, usize>,
    }

    /// Task references encode plugin and group.
    const QUEUE_SPAN: usize = 1_000_000;

    fn quota(name: &str) -> ClaimQuota {
        ClaimQuota::from(name.parse::<PluginName>().expect("valid"))
    }

    impl World {
        fn new(ready: &[(&'static str, &'static str, usize)]) -> Self {
            let mut world = Self {
                fair_queue: FairQueue::default(),
                ready: Vec::new(),
                limits: GroupLimits::new(),
                running: HashMap::new(),
            };
            for (plugin, group, tasks) in ready {
                world.come(plugin, group, *tasks);
            }
            world
        }

        fn come(&mut self, plugin: &'static str, group: &'static str, tasks: usize) {
            match self.ready.iter_mut().find(|queue| (queue.0, queue.1) == (plugin, group)) {
                Some(queue) => queue.2 += tasks,
                None => self.ready.push((plugin, group, tasks)),
            }
            let plugin = quota(plugin).plugin;
            self.fair_queue.plugin_queue(&plugin).is_known = true;
            if let Ok(group) = group.parse() {
                self.fair_queue.add(&plugin, &group);
            }
        }

        fn read<'a>(
            &self,
            quota: &'a ClaimQuota,
            group: &str,
            skip: usize,
            limit: usize,
        ) -> VecDeque<Candidate<'a>> {
            let is_it = |queue: &(&str, &str, usize)| (queue.0, queue.1) == (quota.plugin.as_str(), group);
            let Some(queue) = self.ready.iter().position(is_it) else { return VecDeque::new() };
            let task = |sort_key: usize| {
                let place = queue * QUEUE_SPAN + sort_key;
                let sort_key = i64::try_from(place).expect("small");
                Candidate { sort_key, task: TaskRef(place as u128), plugin: &quota.plugin }
            };
            (skip..self.ready[queue].2.min(skip + limit)).map(task).collect()
        }

        /// Claims this many tasks; returns the groups they came from and whether memory was lacking.
        fn claim(
            &mut self,
            quotas: &[ClaimQuota],
            tasks_max: usize,
            available_memory: u64,
        ) -> (Vec<String>, bool) {
            let own = |quota| PluginCandidates { quota, own: self.read(quota, "", 0, tasks_max) };
            let parts = quotas.iter().map(own).collect();
            let mut fair_queue = std::mem::take(&mut self.fair_queue);
            let read = |quota, group: &Group, skip, limit| Ok(self.read(quota, group.as_str(), skip, limit));
            let mut running = || Ok(self.running.clone());
            let mut limits = GroupsLeft::new(&self.limits, &mut running);
            let picked = fair_queue.pick(parts, tasks_max, available_memory, &mut limits, read);
            let picked = picked.unwrap_or_else(|never: Infallible| match never {});
            self.fair_queue = fair_queue;
            let queue =
                |candidate: &Candidate<'_>| usize::try_from(candidate.task.0).expect("small") / QUEUE_SPAN;
            let order: Vec<_> = picked.candidates.iter().map(queue).collect();
            for queue in &order {
                self.ready[*queue].2 -= 1;
            }
            let name = |queue: &usize| format!("{}{}", self.ready[*queue].0, self.ready[*queue].1);
            (order.iter().map(name).collect(), !picked.lacked_memory)
        }

        fn order(&mut self, quotas: &[ClaimQuota], tasks_max: usize) -> String {
            self.claim(quotas, tasks_max, u64::MAX).0.join(" ")
        }
    }

    #[test]
    fn groups_are_served_round_robin_within_and_across_claims() {
        for tasks_max in [1, 2, 3, 100] {
            let mut world = World::new(&[("a", "", 9), ("a", "x", 9), ("b", "", 9), ("b", "y", 2)]);
            let quotas = [quota("a"), quota("b")];
            let mut order = Vec::new();
            while order.len() < 29 {
                order.extend(world.claim(&quotas, tasks_max, u64::MAX).0);
            }
            for round in order[..8].chunks(4) {
                assert!(["a", "ax", "b", "by"].iter().all(|queue| round.iter().any(|name| name == queue)));
            }
            for round in order[8..].chunks(3) {
                assert!(
                    ["a", "ax", "b"].iter().all(|queue| round.iter().any(|name| name == queue)),
                    "{round:?}"
                );
            }
            assert_eq!(world.order(&quotas, 1), "");
            assert!(
                world
                    .fair_queue
                    .plugins
                    .values()
                    .all(|plugin_queue| plugin_queue.groups.is_empty() && plugin_queue.queued.is_empty())
            );
        }
    }

    #[test]
    fn a_new_group_waits_for_one_task_of_each_other() {
        let mut world = World::new(&[("a", "x", 100), ("a", "y", 100)]);
        let quotas = [quota("a")];
        assert_eq!(world.order(&quotas, 5), "ax ay ax ay ax");
        world.come("a", "z", 1);
        world.come("a", "", 1);
        assert_eq!(world.order(&quotas, 4), "a ay ax az");
        // Although it keeps coming back, the others are served.
        for _ in 0..10 {
            world.come("a", "z", 1);
            let mut round: Vec<_> = world.claim(&quotas, 3, u64::MAX).0;
            round.sort();
            assert_eq!(round, ["ax", "ay", "az"]);
        }
    }

    #[test]
    fn a_group_at_its_limit_keeps_its_turn_and_delays_no_other() {
        let mut world =
            World::new(&[("a", "x", 9), ("a", "y", 9), ("a", "z", 9), ("b", "x", 9), ("b", "", 9)]);
        let quotas = [quota("a"), quota("b")];
        let x: Group = "x".parse().expect("valid");
        world.limits.insert(x.clone(), 2);
        // Over both plugins, and what runs counts.
        let order = world.order(&quotas, 9);
        assert_eq!(order.matches('x').count(), 2, "{order}");
        world.running.insert(x.clone(), 2);
        let order = world.order(&quotas, 12);
        assert_eq!(order.matches('x').count(), 0, "{order}");
        assert_eq!(order.split(' ').count(), 12, "the others are served: {order}");
        // Its turns are the oldest once there is room.
        world.running.insert(x, 0);
        assert_eq!(world.order(&quotas, 2), "ax bx");
    }

    #[test]
    fn a_plugin_at_its_quota_keeps_its_position() {
        let mut world = World::new(&[("a", "x", 9), ("a", "y", 9), ("b", "", 9)]);
        let none = |name| ClaimQuota { tasks_max: 0, ..quota(name) };
        let one = |name| ClaimQuota { tasks_max: 1, ..quota(name) };
        assert_eq!(world.order(&[none("a"), quota("b")], 3), "b b b");
        assert_eq!(world.order(&[one("a"), quota("b")], 3), "ax b b");
        assert_eq!(world.order(&[quota("a"), quota("b")], 4), "ay ax b ay");
        assert_eq!(world.order(&[quota("b")], 1), "b", "of no others is anything claimed");
    }

    #[test]
    fn a_task_beyond_available_memory_ends_the_claim_and_keeps_its_position() {
        let mut world = World::new(&[("a", "x", 9), ("b", "y", 9)]);
        let quotas =
            [ClaimQuota { memory_bytes: 5, ..quota("a") }, ClaimQuota { memory_bytes: 1, ..quota("b") }];
        assert_eq!(world.claim(&quotas, 9, 6), (vec!["ax".to_owned(), "by".to_owned()], false));
        assert_eq!(world.claim(&quotas, 9, 4), (vec![], false));
        assert_eq!(world.claim(&quotas, 9, 5), (vec!["ax".to_owned()], false));
        assert_eq!(world.claim(&quotas, 2, 6), (vec!["by".to_owned(), "ax".to_owned()], true));
    }

    #[test]
    fn unused_groups_are_forgotten_even_if_their_plugin_never_runs() {
        let mut fair_queue = FairQueue::default();
        let mut limit = 0;
        for number in 0..100_000 {
            let group = format!("g{number}").parse().expect("valid");
            let plugin = quota("a").plugin;
            fair_queue.plugin_queue(&plugin).is_known = true;
            fair_queue.add(&plugin, &group);
            fair_queue.forget_if_over(10);
            limit =
                limit.max(fair_queue.plugins.values().map(|plugin_queue| plugin_queue.queued.len()).sum());
        }
        assert!(limit <= UNUSED_GROUPS_MAX + 10, "{limit}");
        for number in 0..100_000 {
            fair_queue.own_turn_of(&format!("p{number}").parse().expect("valid"));
            fair_queue.forget_if_over(10);
        }
        assert!(fair_queue.plugins.len() <= UNUSED_GROUPS_MAX + 10, "{}", fair_queue.plugins.len());
    }

    impl FairQueue {
        /// Claims an ungrouped task of the plugin.
        fn own_turn_of(&mut self, plugin: &PluginName) {
            self.last += 1;
            self.plugin_queue(plugin).own = self.last;
        }
    }

    #[test]
    fn a_group_emptied_by_others_is_skipped() {
        let mut world = World::new(&[("a", "x", 1), ("a", "y", 1)]);
        world.ready[0].2 = 0;
        assert_eq!(world.order(&[quota("a")], 9), "ay");
        world.come("a", "x", 1);
        assert_eq!(world.order(&[quota("a")], 9), "ax");
    }
}
