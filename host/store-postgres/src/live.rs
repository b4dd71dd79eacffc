//! Runs at other hosts: their progress, usage and logs while they run.
//!
//! Each host writes what its runs report, and the logs that others ask for, into two unlogged tables. None of it takes
//! the turn or waits for a disk, and nothing is written while there is one host.

mod carry_hints;
pub(crate) mod relay;
pub(crate) mod reports;
pub(crate) mod watched_logs;
