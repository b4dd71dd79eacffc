//! Hints: a host that others have something for looks at once, instead of at its next poll.
//!
//! Nothing depends on a hint: it may be lost, late or wrong, and a poll stands behind it. It is sent after the commit, on
//! the connection of what runs report, since a NOTIFY holds a lock of the whole server until its transaction has ended;
//! and only to hosts that have something to do, so hosts whose slots are taken pay nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Maximum hosts that hear of the tasks of one transaction. Those that take some wake nobody else; the rest look later.
const HOSTS_MAX: usize = 8;

/// Another host, as of the last look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) id: i64,
    pub(crate) slots: u64,
    pub(crate) used: u64,
    pub(crate) is_draining: bool,
}

/// Whom this host has something to tell.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    peers: Mutex<Vec<Peer>>,
    /// With whom the next offer starts.
    turn: AtomicUsize,
    due: Mutex<BTreeSet<i64>>,
    added: Notify,
}

impl Hints {
    /// Replaces what is known of the other hosts.
    pub(crate) fn set_peers(&self, peers: Vec<Peer>) {
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    /// Tells these hosts to look.
    pub(crate) fn tell(&self, hosts: BTreeSet<i64>) {
        if !hosts.is_empty() {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).extend(hosts);
            self.added.notify_one();
        }
    }

    /// Tells hosts with free slots of tasks that became available, if there are any; `running` is how many tasks all
    /// other hosts run.
    pub(crate) fn offer(&self, tasks: u64, running: u64) {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = peers.iter().filter(|peer| !peer.is_draining && peer.slots > 0).collect();
        // Known with the last transaction; who has the free ones was known at the last look.
        let free = open.iter().map(|peer| peer.slots).sum::<u64>().saturating_sub(running);
        let mut left = tasks.min(free);
        if left == 0 {
            return;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % open.len();
        let mut hosts = BTreeSet::new();
        for peer in open[first..].iter().chain(&open[..first]).filter(|peer| peer.used < peer.slots) {
            hosts.insert(peer.id);
            left = left.saturating_sub(peer.slots - peer.used);
            if left == 0 || hosts.len() == HOSTS_MAX {
                break;
            }
        }
        if hosts.is_empty() {
            // All were full at the last look, and one is no longer.
            hosts.insert(open[first].id);
        }
        self.tell(hosts);
    }

    /// Returns whom to tell, once there is somebody.
    pub(crate) async fn next(&self) -> Vec<i64> {
        loop {
            self.added.notified().await;
            let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
            if !due.is_empty() {
                return due.into_iter().collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peers: &[(i64, u64, u64)], tasks: u64, running: u64) -> Vec<i64> {
        let hints = Hints::default();
        let peer = |&(id, slots, used): &(i64, u64, u64)| Peer { id, slots, used, is_draining: id < 0 };
        hints.set_peers(peers.iter().map(peer).collect());
        hints.offer(tasks, running);
        hints.due.into_inner().expect("no panic").into_iter().collect()
    }

    #[test]
    fn as_many_hosts_are_told_as_the_tasks_need() {
        let idle: Vec<_> = (1..=50).map(|id| (id, 4, 0)).collect();
        assert_eq!(told(&idle, 1, 0), [1]);
        assert_eq!(told(&idle, 4, 0), [1]);
        assert_eq!(told(&idle, 5, 0), [1, 2]);
        assert_eq!(told(&idle, 10_000, 0).len(), HOSTS_MAX);
        assert_eq!(told(&[(1, 4, 4), (2, 4, 3)], 1, 7), [2]);
    }

    #[test]
    fn nobody_is_told_without_a_free_slot() {
        assert!(told(&[], 1, 0).is_empty());
        assert!(told(&[(1, 0, 0), (-1, 4, 0)], 1, 0).is_empty());
        // What was reported is older than what is counted.
        assert!(told(&[(1, 4, 0), (2, 4, 1)], 1, 8).is_empty());
        assert_eq!(told(&[(1, 4, 4), (2, 4, 4)], 1, 7), [1]);
    }

    #[test]
    fn hosts_are_told_in_turns() {
        let hints = Hints::default();
        let peer = |id| Peer { id, slots: 4, used: 0, is_draining: false };
        hints.set_peers(vec![peer(1), peer(2), peer(3)]);
        for _ in 0..3 {
            hints.offer(1, 0);
        }
        assert_eq!(*hints.due.lock().expect("no panic"), BTreeSet::from([1, 2, 3]));
    }
}
