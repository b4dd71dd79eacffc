//! Where claims begin to read a queue while the database cannot be cleaned up.
//!
//! A task that has been claimed leaves an entry in the index of available tasks. While somebody holds a snapshot these
//! entries stay, and a claim that reads a queue from its beginning passes over all of them. So claims note how far a queue
//! has been claimed, its *floor*, and later ones begin there. No available task of the queue is before its floor: whatever
//! makes one available lowers the floor in the same statement, and the transactions of all hosts are serial.

/// Builds a statement that makes tasks available, or may: it lowers the floors of their queues. The first part writes
/// `moved`, whose rows have the columns `plugin`, `task_group`, `state`, `sort_key` and `seq`; the second part reads it.
macro_rules! lowering_floors {
    ($moved:literal, $answer:literal) => {
        concat!(
            $moved,
            ", lowered AS (
                UPDATE queue_floor AS f SET sort_key = first.sort_key, seq = first.seq
                FROM (
                    SELECT DISTINCT ON (m.plugin, m.task_group) m.plugin, m.task_group, m.sort_key, m.seq
                    FROM moved m JOIN queue_floor g ON g.plugin = m.plugin AND g.task_group = m.task_group
                    WHERE m.state = 'available' AND (m.sort_key, m.seq) < (g.sort_key, g.seq)
                    ORDER BY m.plugin, m.task_group, m.sort_key, m.seq) AS first
                WHERE f.plugin = first.plugin AND f.task_group = first.task_group) ",
            $answer
        )
    };
}
pub(crate) use lowering_floors;
