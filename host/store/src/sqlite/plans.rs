//! How SQLite carries out each statement: a scan of all tasks would make every call slower with every
//! task that ever ended.

use super::{
    cancel, cancel_many, claim, connection, dependency, dependency_results, due_runs, events, finish, insert,
    keys, lanes, pause, prune, quarantine, queries, recover, remove, save, schedules, starts,
};
use super::{plugin_counts, walk, wall, webhooks};

/// Those that their files do not list.
const STATEMENTS: [&str; 105] = [
    insert::TASK,
    insert::UNDO,
    insert::HOLDER,
    insert::INPUT,
    insert::TAG,
    keys::FIND,
    keys::STEPS,
    keys::KEEP,
    keys::OLDEST,
    keys::FORGET,
    claim::RANKED,
    claim::GROUPED,
    lanes::GROUPS,
    claim::LET_IN,
    claim::NEXT_RANKED,
    recover::RANKED,
    claim::READY,
    claim::READY_LATER,
    claim::NEXT,
    claim::CLAIMED,
    claim::CLAIM,
    claim::STATE,
    claim::INPUT,
    finish::END,
    finish::WAIT,
    finish::KEPT,
    finish::KEEP,
    events::RESERVED,
    events::RESERVE,
    finish::ATTEMPT,
    queries::ATTEMPTS,
    queries::ID,
    pause::PAUSED,
    pause::PAUSE,
    pause::RESUME,
    save::SAVE,
    cancel::FIND,
    cancel::CANCEL,
    cancel::REQUEST_STOP,
    finish::STOPPING,
    starts::NOTE,
    starts::FORGET,
    starts::STARTS,
    finish::LINES_GIVEN,
    finish::LEAVE_OUT_LINES,
    cancel_many::FIND,
    remove::REMOVE,
    queries::TASK,
    queries::ROW,
    queries::PAGE,
    queries::LOG,
    queries::CHECKPOINT,
    queries::AGAIN,
    queries::INPUT,
    queries::WAITING,
    walk::ALL,
    walk::WAITING,
    walk::RUNNING,
    walk::FAILED,
    walk::CANCELLED,
    walk::ALL_WAITING,
    walk::ALL_RUNNING,
    walk::TAGGED,
    walk::OF_SCHEDULE,
    walk::OF_GROUP,
    walk::OF_KEY,
    walk::ONE,
    walk::IDS,
    recover::COUNT_WAITING,
    recover::COUNT_RUNNING,
    recover::SEQ_NEXT,
    recover::RUNNING,
    schedules::ALL,
    schedules::ONE,
    schedules::DUE,
    schedules::NEXT,
    schedules::SETTLED,
    schedules::MAKE,
    schedules::REPLACE,
    schedules::REMOVE,
    schedules::PAUSE,
    schedules::NOTE,
    due_runs::LIVE,
    due_runs::FIRED,
    due_runs::RAN,
    dependency::FIND,
    dependency::DEPENDANT,
    dependency::DEPENDENCY,
    dependency::NOTE,
    dependency::NOTE_IF_AWAITED,
    dependency::LET_GO,
    dependency::NEXT_END,
    dependency::FORGET_END,
    dependency::AWAITING,
    dependency::TELL,
    dependency::COUNT_DOWN,
    dependency::LET_IN,
    dependency::BLAME,
    dependency_results::DEPENDS,
    dependency_results::HANDED,
    dependency_results::RESULT,
    dependency_results::AGAIN,
    claim::HAND_OVER,
    finish::DROP_CHECKPOINT,
    schedules::COUNT,
];

/// A scan of one of these is meant: they hold what waits and runs, or stop after a bounded walk.
const SCANNED: [&str; 4] =
    ["INDEX task_waiting", "INDEX task_running", "INDEX task_finished", "INDEX task_grouped"];

/// Returns everything that is asked while the host serves or starts.
pub(super) fn all() -> Vec<&'static str> {
    STATEMENTS
        .into_iter()
        .chain([wall::LATEST, wall::KEEP, wall::NEWEST, wall::SHORTEN, wall::READY_AGAIN])
        .chain([recover::DEPENDED_ON, recover::SETTLING])
        .chain([quarantine::FIND, quarantine::FAIL])
        .chain(plugin_counts::STATEMENTS)
        .chain(prune::STATEMENTS)
        .chain(webhooks::STATEMENTS)
        .collect()
}

#[test]
fn no_statement_looks_at_all_tasks() {
    let dir = tempfile::tempdir().expect("a folder");
    let connection = connection::writer(&dir.path().join("wasmill.db")).expect("opened");
    for sql in all() {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
        let parameters = vec![1; statement.parameter_count()];
        let plan = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3))
            .expect(sql)
            .collect::<Result<Vec<_>, _>>()
            .expect(sql);
        for step in &plan {
            let scan = step.starts_with("SCAN task") && !SCANNED.iter().any(|index| step.ends_with(index));
            assert!(!scan, "{sql}: {plan:?}");
            let all = ["SCAN dependency", "SCAN dependant"].iter().any(|scan| step.starts_with(scan));
            let is_meant = step.ends_with("INDEX dependency_on") || step == "SCAN dependency_end";
            assert!(!all || is_meant, "{sql}: {plan:?}");
            let sorts = step.contains("TEMP B-TREE");
            assert!(!sorts || sql == walk::WAITING, "{sql}: {plan:?}");
        }
    }
}
