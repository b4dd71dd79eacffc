//! Tests the query plans: a scan of all tasks would make every call slower with every task that ever
//! finished.

use super::{
    cancel, cancel_many, claim, connection, dependency, dependency_resolution, dependency_results, due_runs,
    events, fair_queue, finish, idempotency, insert, pause, promote, prune, quarantine, queries, recover,
    remove, save, schedules, starts,
};
use super::{clock_skew, filtered_list, plugin_counts, webhooks};

/// Statements that their modules do not list.
const STATEMENTS: [&str; 101] = [
    insert::TASK,
    insert::UNDO,
    insert::HOLDER,
    insert::INPUT,
    insert::TAG,
    idempotency::FIND,
    idempotency::STEPS,
    idempotency::KEEP,
    idempotency::OLDEST,
    idempotency::FORGET,
    promote::DUE,
    promote::PROMOTE,
    promote::NEXT_DUE,
    fair_queue::NEXT_GROUP,
    claim::AVAILABLE,
    claim::CLAIMED,
    claim::CHECKPOINT,
    claim::CLAIM,
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
    filtered_list::ALL,
    filtered_list::WAITING,
    filtered_list::RUNNING,
    filtered_list::FAILED,
    filtered_list::CANCELLED,
    filtered_list::ALL_WAITING,
    filtered_list::ALL_RUNNING,
    filtered_list::TAGGED,
    filtered_list::OF_SCHEDULE,
    filtered_list::OF_GROUP,
    filtered_list::OF_KEY,
    filtered_list::ONE,
    filtered_list::IDS,
    recover::COUNT_WAITING,
    recover::COUNT_RUNNING,
    recover::SEQ_NEXT,
    recover::RUNNING,
    schedules::ALL,
    schedules::ONE,
    schedules::DUE,
    schedules::NEXT,
    schedules::EVALUATED_UNTIL,
    schedules::MAKE,
    schedules::REPLACE,
    schedules::REMOVE,
    schedules::PAUSE,
    schedules::NOTE,
    due_runs::LIVE,
    due_runs::FIRED,
    due_runs::RAN,
    dependency::FIND,
    dependency::ADD_DEPENDENT,
    dependency::ADD_DEPENDENCY,
    dependency::ADD_END,
    dependency::ADD_END_IF_AWAITED,
    dependency::DROP_DEPENDENCIES,
    dependency_resolution::NEXT_END,
    dependency_resolution::REMOVE_END,
    dependency_resolution::AWAITING,
    dependency_resolution::RECORD_OUTCOME,
    dependency_resolution::COUNT_DOWN,
    dependency_resolution::RELEASE,
    dependency_resolution::SET_CAUSE,
    dependency_results::DEPENDS,
    dependency_results::RESULTS,
    dependency_results::RESULT,
    dependency_results::AGAIN,
    claim::PASS_RESULTS,
    save::DROP_CHECKPOINT,
    schedules::COUNT,
];

/// Scans of these are intended: they hold unfinished tasks, or stop at a limit.
const SCANNED: [&str; 3] = ["INDEX task_waiting", "INDEX task_running", "INDEX task_finished"];

/// Returns every statement that a host runs.
pub(super) fn all() -> Vec<&'static str> {
    STATEMENTS
        .into_iter()
        .chain([clock_skew::LATEST, clock_skew::STORE_LATEST, clock_skew::SHORTEN])
        .chain([recover::DEPENDED_ON, recover::SETTLING])
        .chain([quarantine::FIND, quarantine::FAIL])
        .chain(plugin_counts::STATEMENTS)
        .chain(prune::STATEMENTS)
        .chain(webhooks::STATEMENTS)
        .collect()
}

#[test]
fn no_statement_scans_all_tasks() {
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
            let all = ["SCAN dependency", "SCAN dependent"].iter().any(|scan| step.starts_with(scan));
            let is_meant = step.ends_with("INDEX dependency_on") || step == "SCAN dependency_end";
            assert!(!all || is_meant, "{sql}: {plan:?}");
            let sorts = step.contains("TEMP B-TREE");
            assert!(!sorts || sql == filtered_list::WAITING, "{sql}: {plan:?}");
        }
    }
}
