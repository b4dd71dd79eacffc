//! Tests the query plans: a scan of all tasks would make every call slower with every task that ever finished.
//!
//! The statements are read from the source, so that none is forgotten.

use std::fs;
use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::connection::database::Connection;
use crate::connection::schema;
use crate::connection::server::{Purpose, Server};
use crate::dependency::resolution;
use crate::postgres_server::PostgresServer;
use crate::queue::{claim, finish, new_rows, post_event, promote};
use crate::read::{filtered_list, queries};
use crate::schedule::schedules;

/// Tables that grow with every task that is stored.
const LARGE: [&str; 12] = [
    "task",
    "task_file",
    "content_part",
    "input",
    "log",
    "checkpoint",
    "posted_event",
    "tag",
    "attempt",
    "dependent",
    "webhook",
    "idempotency",
];

/// Statements that read a whole table, once at each start.
const AT_START: [&str; 2] = ["writer/plugin_counts.rs RECOUNT", "writer/key_usage.rs RECOUNT"];

/// 20,000 tasks, most of which are finished, with all that they have beside them.
const FILL: &str = "
    INSERT INTO task (id, plugin, state, created_at, ready_at, sort_key, started_at, finished_at, attempt, attempts_max,
        claim_token, timeout_ms, task_group, unique_key, tags, schedule, input_bytes, log_lines, result)
    SELECT gen_random_uuid(), 'plugin-' || n % 10, state, n, n, n, CASE WHEN has_run THEN n END,
        CASE WHEN is_over THEN n END, 1, 3, 1, 60000, CASE WHEN n % 5 = 0 THEN 'group-' || n % 500 ELSE '' END,
        CASE WHEN n % 7 = 0 THEN 'key-' || n END, ARRAY['tag-' || n % 50], CASE WHEN n % 40 = 0 THEN 'schedule-' || n % 8 END,
        10, 1, CASE WHEN state = 'completed' THEN '1'::bytea END
    FROM (SELECT n, state, state IN ('completed', 'failed', 'cancelled') AS is_over,
            state IN ('running', 'completed', 'failed') AS has_run
        FROM (SELECT n, CASE WHEN n < 18000 THEN (ARRAY['completed', 'completed', 'completed', 'completed', 'completed',
                    'completed', 'completed', 'completed', 'failed', 'cancelled'])[1 + n % 10]
                WHEN n < 18050 THEN 'running'
                ELSE (ARRAY['available', 'available', 'available', 'available', 'scheduled', 'suspended', 'blocked'])[1 + n % 7]
            END AS state FROM generate_series(1, 20000) AS n) AS states) AS tasks;
    INSERT INTO input SELECT seq, '{\"n\": 1}' FROM task;
    INSERT INTO log SELECT seq, 'a line' FROM task;
    INSERT INTO tag SELECT 'tag-' || seq % 50, seq FROM task;
    INSERT INTO checkpoint SELECT seq, 'state' FROM task;
    INSERT INTO posted_event SELECT seq, 1, NULL, '1' FROM task;
    INSERT INTO attempt SELECT seq, 1, 'trap', 'm', 1, 2 FROM task;
    INSERT INTO dependent SELECT seq, false, false, NULL, NULL FROM task WHERE seq % 3 = 0;
    INSERT INTO dependency SELECT seq, 0, id, CASE WHEN seq > 18000 THEN seq - 1 END FROM task WHERE seq % 3 = 0;
    INSERT INTO webhook SELECT seq, 'http://example.org', 'http://example.org', CASE WHEN seq % 100 = 0 THEN 'pending'
        ELSE 'delivered' END, seq, CASE WHEN seq % 100 = 0 THEN seq END FROM task;
    INSERT INTO webhook_attempt SELECT seq, 1, 1, 1 FROM task;
    INSERT INTO task_file SELECT seq, false, 'a', 'text/plain', gen_random_uuid(), 1, 'd' FROM task WHERE seq % 3 = 0;
    INSERT INTO content_part SELECT content, 0, 'x' FROM task_file;
    INSERT INTO unused_content SELECT gen_random_uuid(), seq FROM task WHERE seq % 30 = 0;
    INSERT INTO idempotency (key, digest, created_at, answer) SELECT 'key-' || seq, 'd', seq, 'a' FROM task;
    ANALYZE";

/// A statement, and the file and name of its constant.
struct Found {
    name: String,
    sql: String,
}

#[tokio::test]
async fn no_statement_scans_all_tasks() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let address = Address::new(&postgres.create("plans"), None, None).expect("a URL");
    let connection = Server::new(address, "wasmill").connect(Purpose::Write).await.expect("connected");
    schema::migrate(&connection, "wasmill").await.expect("migrated");
    connection.batch(FILL).await.expect("filled");
    let statements = statements();
    assert!(statements.len() > 100, "{}", statements.len());
    for Found { name, sql } in &statements {
        if AT_START.contains(&name.as_str()) {
            continue;
        }
        // A host runs a statement with a plan of its own at first, later perhaps with one for all values.
        for (mode, has_values) in [("force_generic_plan", false), ("force_custom_plan", true)] {
            let plan = plan(&connection, sql, mode, has_values).await;
            let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}: {sql}"));
            let scanned =
                plan.lines().filter_map(|line| line.split_once("Seq Scan on ")?.1.split(' ').next());
            let large: Vec<_> = scanned.filter(|table| LARGE.contains(table)).collect();
            assert!(large.is_empty(), "{name} with {mode} scans {large:?}:\n{sql}\n{plan}");
        }
    }
}

/// Tasks of a round beside a held snapshot, and how many a claim takes.
const ROUND: i64 = 4_000;
const CLAIMED: i64 = 100;

/// What somebody has to read who claims one task, after rounds of tasks that were claimed and ended while a snapshot was
/// held: the pages before, and after each round.
async fn pages_of_claims(database: &str, groups: i64, floor_every: &str) -> Option<Vec<u64>> {
    let postgres = PostgresServer::shared()?;
    let address = Address::new(&postgres.create(database), None, None).expect("a URL");
    let server = Server::new(address, "wasmill");
    let (connection, holder) = (
        server.connect(Purpose::Write).await.expect("connected"),
        server.connect(Purpose::Read).await.expect("connected"),
    );
    schema::migrate(&connection, "wasmill").await.expect("migrated");
    holder
        .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM task")
        .await
        .expect("it holds a snapshot");
    connection.batch(&format!("PREPARE claim AS {}", claim::CLAIM)).await.expect("prepared");
    let execute = |tasks: i64| {
        format!(
            "EXECUTE claim ('{{p}}', '{{{tasks}}}', '{{1}}', {tasks}, 1000000, 'p', '', 5, 7, false, '{{}}', '{{}}', '{{}}', \
             {floor_every})"
        )
    };
    let insert = |tasks: i64| {
        format!(
            "INSERT INTO task (id, plugin, state, created_at, ready_at, sort_key, attempts_max, timeout_ms, task_group)
            SELECT gen_random_uuid(), 'p', 'available', 1, 1, 1, 1, 1, 'group-' || n % {groups} FROM generate_series(1, {tasks}) n"
        )
    };
    let end =
        "UPDATE task SET state = 'completed', finished_at = 1 WHERE seq > (SELECT max(seq) FROM task) - 4000
        AND state || '' = 'running'";
    let mut pages = Vec::new();
    for round in 0..4 {
        if round > 0 {
            connection.batch(&insert(ROUND)).await.expect("stored");
            for _ in 0..ROUND / CLAIMED {
                connection.batch(&format!("{}; {end}", execute(CLAIMED))).await.expect("claimed");
            }
        }
        connection.batch(&insert(1)).await.expect("stored");
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) {}", execute(1));
        let rows = connection.client().simple_query(&explain).await.expect("explained");
        // The first line of its kind is that of the whole statement.
        let read = rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                row.get(0)?.trim().strip_prefix("Buffers: shared ")
            }
            _ => None,
        });
        let numbers = read.expect("buffers").split([' ', '=']).filter_map(|word| word.parse::<u64>().ok());
        pages.push(numbers.take(1).sum());
        connection.batch(end).await.expect("ended");
    }
    let left: i64 = connection
        .one("SELECT count(*) FROM task WHERE finished_at IS NULL", &[])
        .await
        .expect("read")
        .get(0);
    assert_eq!(left, 0, "all were claimed");
    Some(pages)
}

#[tokio::test]
async fn a_claim_beside_a_held_snapshot_reads_as_few_pages_as_before() {
    let Some(without) = pages_of_claims("no_floors", 1, "NULL").await else { return };
    assert!(without[3] > without[0] + 500, "what they leave behind is passed over: {without:?}");
    for groups in [1, 4] {
        let with = pages_of_claims(&format!("floors_{groups}"), groups, "64").await.expect("it runs");
        println!(
            "pages read by a claim after 0, 4,000, 8,000 and 12,000 tasks in {groups} groups: {with:?}, without {without:?}"
        );
        assert!(with[1..].iter().all(|pages| *pages < with[0] + 150 * groups.unsigned_abs()), "{with:?}");
    }
}

/// Explains a statement, without values or with some that are of the filled tables.
async fn plan(
    connection: &Connection,
    sql: &str,
    mode: &str,
    has_values: bool,
) -> Result<String, tokio_postgres::Error> {
    let client = connection.client();
    let prepared = client.prepare(sql).await?;
    let values: Vec<_> =
        prepared.params().iter().map(|kind| if has_values { value(kind.name()) } else { "NULL" }).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    client.batch_execute(&format!("SET plan_cache_mode = {mode}; PREPARE explained AS {sql}")).await?;
    let rows = client.simple_query(&format!("EXPLAIN EXECUTE explained{values}")).await?;
    client.batch_execute("DEALLOCATE explained").await?;
    let line = |row: &tokio_postgres::SimpleQueryMessage| match row {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(rows.iter().filter_map(line).collect::<Vec<_>>().join("\n"))
}

/// Returns a value of this type.
fn value(kind: &str) -> &'static str {
    match kind {
        "int8" => "1000",
        "text" => "'plugin-3'",
        "bool" => "true",
        "float8" => "0.5",
        "uuid" => "'01900000-0000-7000-8000-000000000000'",
        "bytea" => "'\\x00'",
        "_bool" => "'{true}'",
        "_int8" => "'{1000}'",
        "_text" => "'{plugin-3}'",
        "_float8" => "'{0.5}'",
        "_uuid" => "'{01900000-0000-7000-8000-000000000000}'",
        "_bytea" => "'{x}'",
        _ => panic!("no value of type {kind}"),
    }
}

/// Returns every statement that a host runs.
fn statements() -> Vec<Found> {
    let source =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("src");
    let mut found = Vec::new();
    for folder in fs::read_dir(&source).expect("a folder").flatten().filter(|entry| entry.path().is_dir()) {
        // Those of `connection` run once, while the database is opened.
        if folder.file_name() != "connection" {
            read_folder(&source, &folder.path(), &mut found);
        }
    }
    let expanded = [
        ("read/queries.rs", &queries::EXPANDED[..]),
        ("read/filtered_list.rs", &filtered_list::EXPANDED[..]),
        ("schedule/schedules.rs", &schedules::EXPANDED[..]),
        ("queue/new_rows.rs", &new_rows::EXPANDED[..]),
        ("queue/promote.rs", &promote::EXPANDED[..]),
        ("queue/finish.rs", &finish::EXPANDED[..]),
        ("queue/post_event.rs", &post_event::EXPANDED[..]),
        ("dependency/resolution.rs", &resolution::EXPANDED[..]),
    ];
    for (file, statements) in expanded {
        let number = |(number, sql): (usize, &&str)| Found {
            name: format!("{file} {number}"),
            sql: (*sql).to_owned(),
        };
        found.extend(statements.iter().enumerate().map(number));
    }
    found
}

/// Reads the constants of all files in a folder.
fn read_folder(source: &Path, folder: &Path, found: &mut Vec<Found>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { read_folder(source, &path, found) } else { read(source, &path, found) }
    }
}

/// Reads the constants of a file. Those that macros make are in a list of their module.
fn read(source: &Path, file: &Path, found: &mut Vec<Found>) {
    let text = fs::read_to_string(file).expect("a source file");
    let file = file.strip_prefix(source).expect("it is there").display().to_string();
    let expanded =
        text.split_once("const EXPANDED").map_or("", |(_, list)| list.split(';').nth(1).unwrap_or_default());
    let constants = text.split("const ").skip(1).filter_map(|rest| rest.split_once(": &str ="));
    let is_constant = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    for (name, value) in constants.filter(|(name, _)| is_constant(name)) {
        let value = value.trim_start();
        let Some(literal) = value.strip_prefix('"') else {
            assert!(expanded.contains(name), "{file}: {name} is in no list");
            continue;
        };
        let sql = unescaped(literal);
        if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|word| sql.trim_start().starts_with(word))
        {
            found.push(Found { name: format!("{file} {name}"), sql });
        }
    }
}

/// Returns the text of a literal, from behind its first quote.
fn unescaped(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal.chars();
    while let Some(next) = rest.next().filter(|next| *next != '"') {
        match next {
            '\\' => text.extend(rest.next()),
            next => text.push(next),
        }
    }
    text
}
