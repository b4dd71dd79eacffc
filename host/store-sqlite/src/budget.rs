//! What each statement costs, counted in steps of SQLite's machine: not its plan, which looks the same for one row
//! and for a million that are passed over, but what it did beside few and beside many other rows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::{Connection, StatementStatus};
use tokio::sync::oneshot;
use wasmill_model::{
    KeySpace, NewDependencies, NewEvent, NewTask, OnConflict, OnFailure, PluginName, Suspension, TaskState,
    Timestamp, Tracer, Transition, Unique, WakeOn, Webhook,
};
use wasmill_store::commit::WriterStats;
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::finish::Finish;
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::{
    AttemptOutcome, ClaimQuota, Claims, DeliveryAttempt, DueQuery, Filter, IdempotencyKey, ListQuery,
    PruneCursor, RetentionBounds,
};

use crate::delivery::deliveries::{self, Redeliver, Tried};
use crate::dependency::results;
use crate::file::connection;
use crate::file::home::Home;
use crate::plans;
use crate::queue::cancel::Cancel;
use crate::queue::cancel_many::CancelMany;
use crate::queue::claim::ClaimReady;
use crate::queue::idempotency::{self, PruneKeys};
use crate::queue::insert::Insert;
use crate::queue::post_event::{self, PostEvent};
use crate::queue::recover;
use crate::queue::remove::Remove;
use crate::read::{filtered_list, queries};
use crate::retention::prune::{self, Prune};
use crate::schedule::schedules;
use crate::writer::batch::{Job, Operation, Pending};
use crate::writer::batcher::Batcher;
use crate::writer::plugin_counts;

/// Fills a database with so many rows of each kind, those that are in the way before all others:
/// ended tasks whose results are wanted, and those who want them; ended ones whose delivery is pending; plain ended
/// ones; tasks that are put off, of the plugin that is claimed from, with and without a group; answered requests.
const FILL: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?rows)
    SELECT i FROM n;
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, finished_at, attempt, attempts_max,
        claim_token, timeout_ms, result, webhook_on)
    SELECT part * ?rows + i, randomblob(16), 'a', 'completed', 1000 + part * ?rows + i, 1000, 1000,
        1000 + part * ?rows + i, 1, 1, 1, 600000, 'result', iif(part = 1, 7, NULL)
    FROM n, (SELECT 0 AS part UNION ALL SELECT 1 UNION ALL SELECT 2);
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, attempts_max, timeout_ms,
        pending_dependencies, task_group)
    SELECT (3 + part) * ?rows + i, randomblob(16), iif(part = 0, 'held', 'a'),
        iif(part = 0, 'blocked', 'scheduled'), 1000, iif(part = 0, 1000, 9000000000000000000 - i),
        iif(part = 0, 1000, 9000000000000000000 - i), 1, 600000, iif(part = 0, 1, NULL), iif(part = 2, 'g', NULL)
    FROM n, (SELECT 0 AS part UNION ALL SELECT 1 UNION ALL SELECT 2);
    INSERT INTO dependent (seq, on_failure, pass_results) SELECT 3 * ?rows + i, 0, 1 FROM n;
    INSERT INTO dependency (seq, position, id, on_seq, outcome)
    SELECT 3 * ?rows + i, 0, task.id, i, 'completed' FROM n JOIN task ON task.seq = i;
    INSERT INTO webhook (seq, url, origin, state, pending_since, next_attempt_at)
    SELECT ?rows + i, 'http://a.example/', 'http://a.example', 'pending', 1000, 1700003600000000000 FROM n;
    INSERT INTO idempotency (key, digest, created_at, answer)
    SELECT 'k' || i, zeroblob(32), 1700000000000000000, zeroblob(32) FROM n;
    INSERT INTO finished_count (plugin, state, tasks)
    SELECT plugin, state, count(*) FROM task WHERE state = 'completed' GROUP BY 1;
    DROP TABLE n;";

fn at(second: i64) -> Timestamp {
    DateTime::from_timestamp(1_700_000_000 + second, 0).expect("in range")
}

fn plugin() -> PluginName {
    "a".parse().expect("valid")
}

fn new_task() -> NewTask {
    NewTask::new(plugin(), at(0), Duration::from_secs(1))
}

/// A store that is as full as it is asked to be, on one connection, which counts.
struct Full {
    batcher: Batcher,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
}

impl Full {
    fn new(dir: &std::path::Path, rows: u32) -> Self {
        let path: Arc<std::path::Path> = dir.join("wasmill.db").into();
        let connection = connection::writer(&path).expect("opened");
        connection.execute_batch(&FILL.replace("?rows", &rows.to_string())).expect("filled");
        let (_, writer_state) = recover::recover(&connection, at(0), &Tracer::default()).expect("recovered");
        let plugin_counts = AllPluginCounts::new(plugin_counts::load(&connection).expect("read"));
        drop(connection);
        // What an opening does is not counted: it looks at all that waits.
        let connection = connection::writer(&path).expect("opened");
        let stats = Arc::new(WriterStats::new(writer_state, plugin_counts));
        let live_runs = Arc::new(LiveRuns::new(0, Tracer::default()));
        let home = Arc::new(Home::of(path));
        let batcher =
            Batcher::new(connection, home, writer_state, stats.clone(), live_runs.clone(), Arc::default());
        Self { batcher, stats, live_runs }
    }

    fn connection(&self) -> &Connection {
        self.batcher.connection()
    }

    fn run<O: Operation>(&mut self, operation: O) -> O::Answer {
        let (reply, mut answer) = oneshot::channel();
        self.batcher.commit(vec![Box::new(Pending::new(operation, reply)) as Box<dyn Job>]);
        answer.try_recv().expect("answered").expect("committed")
    }

    fn insert(&mut self, tasks: Vec<NewTask>, request: Option<(IdempotencyKey, Timestamp)>) {
        self.run(Insert { tasks, waiting_max: u64::MAX, request }).expect("stored");
    }

    fn claim(&mut self, second: i64) -> Claims {
        let quotas =
            vec![ClaimQuota::from(plugin()), ClaimQuota::from("held".parse::<PluginName>().expect("valid"))];
        let abandoned = Arc::default();
        let (now, group_limits) = (at(second), Arc::default());
        self.run(ClaimReady {
            quotas,
            tasks_max: 10,
            available_memory: u64::MAX,
            now,
            abandoned,
            group_limits,
        })
        .into_claims()
    }

    /// Does everything that a server does all day, a few times.
    fn work(&mut self) {
        let key = |key: &str| IdempotencyKey { key: key.to_owned(), digest: [1; 32] };
        let on = TaskState::ALL.into_iter().filter(|state| state.is_final()).collect();
        let (url, origin) = ("http://b.example/".to_owned(), "http://b.example".to_owned());
        for round in 0..5 {
            let first = NewTask {
                webhook: Some(Webhook { url: url.clone(), origin: origin.clone(), on: Vec::clone(&on) }),
                ..new_task()
            };
            let unique = Unique {
                key: format!("u{round}").parse().expect("valid"),
                on_conflict: OnConflict::Refuse,
                space: KeySpace::default(),
            };
            let grouped = NewTask { group: "mine".parse().ok(), unique: Some(unique), ..new_task() };
            let waits = NewDependencies {
                on: vec![first.id],
                on_failure: OnFailure::Cancel,
                pass_results: true,
                files_from: None,
            };
            let second = NewTask { dependencies: Some(waits), ..new_task() };
            let later = NewTask {
                run_at: Some(at(1_000_000)),
                tags: vec!["t".parse().expect("valid")],
                ..new_task()
            };
            let ids = [first.id, grouped.id, second.id, later.id];
            self.insert(vec![first, grouped, second, later], Some((key(&format!("r{round}")), at(round))));
            self.post_and_take(ids[1], round);
            for _ in 0..2 {
                for claimed in self.claim(round).claimed {
                    results::dependency_results(self.connection(), &claimed.claim).expect("read");
                    let (next, now) = (Transition::Completed("1".into()), at(round));
                    assert!(self.run(Finish { claim: claimed.claim, next, log: None, now }));
                }
            }
            self.run(Cancel { id: ids[3], now: at(round) });
            self.run(CancelMany {
                found: vec![wasmill_store::TaskRef(u128::MAX)],
                filter: Filter::default(),
                now: at(round),
            });
            self.deliver(round);
            self.run(Redeliver { task: ids[0], now: at(round) });
            self.read(ids);
            self.prune(round);
            self.run(Remove { id: ids[1], now: at(round) });
            self.run(PruneKeys { now: at(round) });
        }
    }

    /// Posts events to a task, which it takes when it runs.
    fn post_and_take(&mut self, task: wasmill_model::TaskId, round: i64) {
        let event = NewEvent { task, name: None, payload: "1".to_owned() };
        self.run(PostEvent { event: event.clone(), request: None, now: at(round) }).expect("stored");
        for claimed in self.claim(round).claimed {
            let (wake_on, now) = (WakeOn { event: true, any_child: true, all_children: true }, at(round));
            let suspension = Suspension { wait: Duration::ZERO, wake_on, state: vec![1] };
            if claimed.claim.id != task {
                let (next, log) = (Transition::Requeued, None);
                assert!(self.run(Finish { claim: claimed.claim, next, log, now }));
                continue;
            }
            let taken = post_event::next(self.connection(), &claimed.claim).expect("read").expect("posted");
            claimed.claim.take_events(taken.number);
            let next = Transition::Suspended(at(1_000_000), suspension);
            assert!(self.run(Finish { claim: claimed.claim, next, log: None, now }));
        }
        self.run(PostEvent { event, request: None, now: at(round) }).expect("stored");
    }

    fn deliver(&mut self, round: i64) {
        let query =
            DueQuery { now: at(round), after: None, busy_origins: HashSet::new(), per_origin: 9, limit: 9 };
        let due = deliveries::due(self.connection(), &query).expect("read");
        assert!(!due.deliveries.is_empty());
        for delivery in due.deliveries {
            let tried = DeliveryAttempt { at: at(round), took: Duration::ZERO, status: None, error: None };
            self.run(Tried { delivery, tried, after: AttemptOutcome::Delivered });
        }
    }

    fn read(&self, ids: [wasmill_model::TaskId; 4]) {
        let connection = self.connection();
        for id in ids {
            queries::task(connection, id, &self.live_runs).expect("read");
            queries::attempts(connection, id).expect("read");
            queries::again(connection, id, wasmill_model::TaskId::new(), at(0)).expect("read");
            results::dependencies(connection, id).expect("read");
            deliveries::log(connection, id).expect("read");
            queries::input(connection, id).expect("read");
            queries::checkpoint_of(connection, id).expect("read");
        }
        let tagged = Filter { tags: vec!["t".parse().expect("valid")], ..Filter::default() };
        let grouped = Filter { group: "mine".parse().ok(), ..Filter::default() };
        let scheduled = Filter { schedule: "mine".parse().ok(), ..Filter::default() };
        let keyed = Filter { unique_key: "u1".parse().ok(), ..Filter::default() };
        for filter in [Filter::default(), tagged, grouped, scheduled, keyed] {
            let query = ListQuery { limit: 9, before: None, filter };
            queries::page(connection, &query, self.stats.counts().waiting, &self.live_runs).expect("read");
        }
        idempotency::any_over(connection, at(0)).expect("read");
        let request = IdempotencyKey { key: "r1".to_owned(), digest: [1; 32] };
        idempotency::steps(connection, &request, at(0)).expect("read");
        schedules::due(connection, at(0), 9).expect("read");
        plugin_counts::oldest(connection, &self.stats.plugin_counts().all()).expect("read");
        queries::waiting(connection, &[plugin()], 9).expect("read");
    }

    /// Forgets 20 tasks, which stand behind all that are kept.
    fn prune(&mut self, round: i64) {
        let keep = RetentionBounds { ended_since: Some(at(round)), ..RetentionBounds::default() };
        let mut cursor = PruneCursor::default();
        loop {
            let excess = prune::excess(self.connection(), &keep, cursor, 0, 20).expect("read");
            cursor = excess.cursor;
            if let Some(step) = excess.steps.into_iter().next() {
                assert_eq!(self.run(Prune { step }).tasks, 20);
                return;
            }
            assert!(!excess.is_all, "there are tasks to forget");
        }
    }

    /// Returns the steps of each run of a statement; `None` for one that did not run.
    fn steps(&self, sql: &str) -> Option<i32> {
        let statement = self.connection().prepare_cached(sql).expect(sql);
        let runs = statement.get_status(StatementStatus::Run);
        (runs > 0).then(|| statement.get_status(StatementStatus::VmStep) / runs)
    }
}

/// Rows that are passed over are looked at by these, on a reader, which stops after so many.
const WALKS: [&str; 4] = [prune::ENDED, filtered_list::ALL, filtered_list::AVAILABLE, filtered_list::LATER];

#[test]
fn the_cost_of_a_statement_does_not_grow_with_the_database() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [few, many] = [(&dirs[0], 200), (&dirs[1], 5_000)].map(|(dir, rows)| {
        let mut full = Full::new(dir.path(), rows);
        full.work();
        full
    });
    let mut counted = 0;
    for sql in plans::all().into_iter().filter(|sql| !WALKS.contains(sql)) {
        let (Some(beside_few), Some(beside_many)) = (few.steps(sql), many.steps(sql)) else { continue };
        counted += 1;
        assert!(
            beside_many <= 2 * beside_few + 200,
            "{beside_few} steps beside few, {beside_many} beside many: {sql}"
        );
    }
    assert!(counted > 50, "only {counted} statements ran");
}

#[test]
fn a_claim_queries_no_plugin_without_waiting_tasks() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut full = Full::new(dir.path(), 10);
    full.insert(vec![new_task()], None);
    let runs = |full: &Full| {
        let statement = full.connection().prepare_cached(crate::queue::claim::AVAILABLE).expect("sound");
        statement.get_status(StatementStatus::Run)
    };
    let before = runs(&full);
    let name = |number| ClaimQuota::from(format!("p{number}").parse::<PluginName>().expect("valid"));
    let mut quotas: Vec<_> = (0..500).map(name).collect();
    quotas.push(plugin().into());
    let abandoned = Arc::default();
    let (now, group_limits) = (at(1), Arc::default());
    let claim =
        ClaimReady { quotas, tasks_max: 600, available_memory: u64::MAX, now, abandoned, group_limits };
    assert_eq!(full.run(claim).into_claims().claimed.len(), 1);
    assert_eq!(runs(&full) - before, 1, "of 501 plugins one has a task that waits");
}
