//! Faults of the PostgreSQL server under a busy server.

use wasmill_tests::PostgresServer;

use crate::rng::Rng;

/// The connections of servers.
const BACKENDS: &str = "FROM pg_stat_activity WHERE application_name LIKE 'wasmill%'";

/// Causes one fault and returns its name. The server accepts connections again when this returns.
pub(crate) fn disrupt(server: &PostgresServer, rng: &mut Rng) -> &'static str {
    match rng.below(6) {
        0 => {
            server.run("postgres", &format!("SELECT count(pg_terminate_backend(pid)) {BACKENDS}"));
            "all connections of PostgreSQL cut"
        }
        1 => {
            let one = format!("SELECT pg_terminate_backend(pid) {BACKENDS} ORDER BY random() LIMIT 1");
            server.run("postgres", &one);
            "one connection of PostgreSQL cut"
        }
        2 => {
            server.restart();
            "PostgreSQL restarted"
        }
        3 => {
            let pid = server.run("postgres", &format!("SELECT pid {BACKENDS} ORDER BY random() LIMIT 1"));
            if !pid.is_empty() {
                server.kill_backend(&pid);
            }
            "a process of PostgreSQL killed"
        }
        _ => {
            server.crash();
            "PostgreSQL killed"
        }
    }
}
