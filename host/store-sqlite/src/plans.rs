//! Tests the query plans: a scan of all tasks would make every call slower with every task that ever
//! finished.

use crate::content::{task_files, unused};
use crate::delivery::deliveries;
use crate::dependency::{children, record, resolution, results};
use crate::file::connection;
use crate::queue::{
    cancel, cancel_many, claim, finish, idempotency, insert, insert_rows, pause, post_event, promote,
    recover, remove, save, starts, submit_children,
};
use crate::read::{ahead, filtered_list, queries};
use crate::retention::prune;
use crate::schedule::{due_runs, schedules};
use crate::writer::{clock_skew, events, key_usage, plugin_counts, quarantine};

/// Statements that their modules do not list.
const STATEMENTS: [&str; 142] = [
    insert::UNDO,
    insert::HOLDER,
    insert_rows::TASK,
    insert_rows::INPUT,
    insert_rows::TAG,
    idempotency::FIND,
    idempotency::STEPS,
    idempotency::KEEP,
    idempotency::OLDEST,
    idempotency::FORGET,
    promote::DUE,
    promote::PROMOTE,
    promote::NEXT_DUE,
    claim::NEXT_GROUP,
    claim::AVAILABLE,
    claim::RUNNING,
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
    post_event::FIND,
    post_event::KEPT,
    post_event::ADD,
    post_event::NUMBER,
    post_event::WAKE,
    post_event::NEXT,
    post_event::DROP_TAKEN,
    post_event::DROP_ALL,
    post_event::HAS_ANY,
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
    queries::CHECKPOINT_OF,
    queries::AGAIN,
    queries::INPUT,
    queries::LABELS,
    queries::WAITING,
    ahead::PLACE,
    ahead::AHEAD,
    filtered_list::ALL,
    filtered_list::AVAILABLE,
    filtered_list::LATER,
    filtered_list::RUNNING,
    filtered_list::FAILED,
    filtered_list::CANCELLED,
    filtered_list::ALL_AVAILABLE,
    filtered_list::ALL_LATER,
    filtered_list::ALL_RUNNING,
    filtered_list::TAGGED,
    filtered_list::OF_SCHEDULE,
    filtered_list::OF_GROUP,
    filtered_list::OF_KEY,
    filtered_list::OF_PARENT,
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
    record::FIND,
    record::ADD_DEPENDENT,
    record::ADD_DEPENDENCY,
    record::ADD_END,
    record::ADD_END_IF_AWAITED,
    record::DROP_DEPENDENCIES,
    resolution::NEXT_END,
    resolution::REMOVE_END,
    resolution::AWAITING,
    resolution::RECORD_OUTCOME,
    resolution::COUNT_DOWN,
    resolution::RELEASE,
    cancel::SET_CAUSE,
    results::DEPENDS,
    results::DEPENDENTS,
    results::RESULTS,
    results::WITH_FILES,
    results::RESULT,
    results::AGAIN,
    children::COUNT_ENDED,
    children::HAVE_ENDED,
    children::UNFINISHED,
    children::CHILDREN,
    submit_children::PARENT,
    submit_children::NAMED,
    submit_children::ADD,
    submit_children::COUNT,
    claim::PASSED,
    save::DROP_CHECKPOINT,
    schedules::COUNT,
    schedules::COUNT_WITHIN,
    task_files::ADD,
    task_files::ADD_OUT_BYTES,
    task_files::EXISTS,
    task_files::LIST,
    unused::BEGIN,
    unused::USE,
    unused::EXISTS,
    unused::IS_USED,
    unused::IS_UNUSED,
    unused::OLDEST,
    unused::DOOM,
    unused::FORGET,
    unused::RELEASE_ALL,
];

/// Scans of these are intended: they hold unfinished tasks, or stop at a limit.
const SCANNED: [&str; 4] =
    ["INDEX task_available", "INDEX task_later", "INDEX task_rare", "INDEX task_finished"];

/// Returns every statement that a host runs.
pub(crate) fn all() -> Vec<&'static str> {
    STATEMENTS
        .into_iter()
        .chain([clock_skew::LATEST, clock_skew::STORE_LATEST, clock_skew::SHORTEN])
        .chain([recover::DEPENDED_ON, recover::SETTLING, recover::LEFTOVERS])
        .chain([quarantine::FIND, quarantine::FAIL])
        .chain([insert_rows::TASKS.as_str()])
        .chain(plugin_counts::STATEMENTS)
        .chain(key_usage::STATEMENTS)
        .chain(prune::STATEMENTS)
        .chain(deliveries::STATEMENTS)
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
            assert!(
                !sorts || [filtered_list::AVAILABLE, filtered_list::LATER].contains(&sql),
                "{sql}: {plan:?}"
            );
        }
    }
}

#[test]
fn every_statement_is_listed() {
    let source =
        std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests"))
            .join("src");
    let plans = std::fs::read_to_string(source.join("plans.rs")).expect("this file");
    let mut count = 0;
    // Not those of `file`, which run once while the database is opened.
    let is_searched = |entry: &std::fs::DirEntry| entry.path().is_dir() && entry.file_name() != "file";
    for folder in std::fs::read_dir(&source).expect("a folder").flatten().filter(is_searched) {
        for file in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let path = file.path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let own = text.split_once("const STATEMENTS").map_or("", |(_, list)| list);
            let own = own.split(';').take(2).collect::<String>();
            for (name, value) in text.split("const ").skip(1).filter_map(|rest| rest.split_once(": &str =")) {
                let value = value.split(";\n").next().unwrap_or_default();
                // Others are pragmas and names of files.
                if !["SELECT", "INSERT", "UPDATE", "DELETE", "select_", "scan!"]
                    .iter()
                    .any(|word| value.contains(word))
                {
                    continue;
                }
                count += 1;
                let is_listed = plans.contains(&format!("{module}::{name}")) || own.contains(name);
                assert!(is_listed, "{module}::{name} is checked for neither plan nor cost");
            }
        }
    }
    assert!(count > 100, "{count}");
}
