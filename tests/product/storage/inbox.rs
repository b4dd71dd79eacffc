//! Tasks that applications submit within their own transactions. Without PostgreSQL these tests are skipped.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{PostgresServer, Server, skip};

use crate::docs::book::read;

const PAGE: &str = "docs/how-to/submit-inside-a-transaction.md";

fn server(url: &str) -> Server {
    Server::start(&["--database", url, "--database-migrate", "--slots", "4"])
}

/// Runs SQL as a role; returns what it prints.
fn run_as(postgres: &PostgresServer, role: &str, database: &str, sql: &str) -> String {
    let Output { status, stdout, stderr } =
        postgres.psql(role, database).args(["-c", sql]).output().expect("psql");
    assert!(status.success(), "{sql}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

#[tokio::test]
async fn what_a_transaction_submits_runs_once_it_has_committed() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let server = server(&postgres.create("inbox"));
    let client = server.client();
    postgres.run(
        "inbox",
        "CREATE ROLE inserts LOGIN; GRANT USAGE ON SCHEMA wasmill TO inserts;
        GRANT EXECUTE ON FUNCTION wasmill.submit TO inserts",
    );
    let submit = |arguments: &str| {
        run_as(postgres, "inserts", "inbox", &format!("SELECT wasmill.submit({arguments})"))
    };
    let began = Instant::now();
    let id = submit("'noop', '{\"a\": [1, 2]}', '{\"priority\": 3, \"tags\": [\"from-sql\"]}'");
    let task = client.until_task(&id, "completed", |task| task["state"] == "completed").await.json;
    println!("a row was a task that had completed after {:?}", began.elapsed());
    assert_eq!((&task["priority"], &task["tags"]), (&json!(3), &json!(["from-sql"])), "{task}");
    let input = client.get(&format!("/task/{id}/input")).await;
    assert_eq!(input.json, json!({"a": [1, 2]}), "{}", input.text);
    let lost = run_as(postgres, "inserts", "inbox", "BEGIN; SELECT wasmill.submit('noop'); ROLLBACK");
    let wrong = [
        (
            submit("'noop', NULL, '{\"priority\": \"high\", \"colour\": 1}'"),
            ["priority", "unknown field 'colour'"],
        ),
        (submit("'noop', NULL, '{\"plugin\": \"io-stub\"}'"), ["field 'plugin'", "more than once"]),
        (submit("'noop', NULL, '{\"timeout\": \"900 days\"}'"), ["timeout must be", "to"]),
    ];
    for (id, words) in wrong {
        let task = client.until(&id, "failed").await;
        assert_eq!(task.json["error"]["cause"], "invalid-request", "{}", task.text);
        assert_eq!(
            (&task.json["attempt"], &task.json["started_at"]),
            (&json!(0), &Value::Null),
            "{}",
            task.text
        );
        let message = task.json["error"]["message"].as_str().expect("a message");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert_eq!(client.get(&format!("/task/{lost}")).await.status, 404);
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("\nwasmill_inbox_rows 0.0\n"), "{metrics}");
    let listed = client.get("/task?state=failed").await.json;
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
}

#[tokio::test]
async fn each_row_becomes_one_task_though_hosts_are_killed() {
    const ROUNDS: usize = 6;
    const ROWS: usize = 400;
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("inbox_killed");
    let (other, mut killed) = (server(&url), server(&url));
    let submit =
        format!("SELECT count(wasmill.submit('noop', to_jsonb(n))) FROM generate_series(1, {ROWS}) AS n");
    for round in 0..ROUNDS {
        let (inserts, restarted) = std::thread::scope(|scope| {
            let inserting = scope.spawn(|| postgres.run("inbox_killed", &submit));
            std::thread::sleep(Duration::from_millis(40 * round as u64));
            let restarted = killed.kill_and_restart();
            (inserting.join().expect("inserted"), restarted)
        });
        killed = restarted;
        assert_eq!(inserts, ROWS.to_string());
    }
    let client = other.client();
    let all = (ROUNDS * ROWS) as u64;
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let stats = client.get("/stats").await.json;
        let left = postgres.run("inbox_killed", "SELECT count(*) FROM wasmill.inbox");
        if left == "0" && stats["finished"]["completed"] == all {
            break;
        }
        assert!(Instant::now() < deadline, "{left} rows left: {stats}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let tasks = postgres.run(
        "inbox_killed",
        "SELECT count(*), count(*) FILTER (WHERE state = 'completed') FROM wasmill.task",
    );
    assert_eq!(tasks, format!("{all}|{all}"));
}

/// Returns the blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    let page = read(PAGE);
    let fence = format!("```{language}\n");
    let blocks =
        page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    blocks.collect()
}

/// Returns a Python that has the libraries of the page.
fn python() -> Option<String> {
    let python = std::env::var("WASMILL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_all = Command::new(&python).args(["-c", "import psycopg, sqlalchemy"]).output();
    if has_all.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip("psycopg and SQLAlchemy are not installed: name a Python that has them in WASMILL_TEST_PYTHON");
    None
}

#[tokio::test]
async fn the_examples_of_the_page_submit_with_their_orders() {
    let (Some(postgres), Some(python)) = (PostgresServer::shared(), python()) else { return };
    let server = server(&postgres.create("shop"));
    postgres.run(
        "shop",
        "CREATE ROLE shop LOGIN; CREATE TABLE public.orders (id bigint PRIMARY KEY, total bigint NOT NULL);
        GRANT SELECT, INSERT ON public.orders TO shop",
    );
    let sql = blocks("sql");
    postgres.run("shop", &sql[0]);
    let mut ids = vec![run_as(postgres, "shop", "shop", &sql[1])];
    let url = format!("postgresql://shop@/shop?host={}", postgres.folder().display());
    for program in blocks("python") {
        let ran = Command::new(&python)
            .args(["-c", &program])
            .env("SHOP_DATABASE", &url)
            .output()
            .expect("it runs");
        assert!(ran.status.success(), "{program}\n{}", String::from_utf8_lossy(&ran.stderr));
        ids.push(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    let client = server.client();
    for id in &ids {
        client.until(id, "completed").await;
    }
    assert_eq!((ids.len(), postgres.run("shop", "SELECT count(*) FROM public.orders")), (3, "3".to_owned()));
    postgres.run("shop", &sql[2]);
    let insert = "INSERT INTO wasmill.inbox (plugin, input)
        VALUES ('io-stub', '{\"min_ms\": 1, \"max_ms\": 2, \"fail_rate\": 0}')";
    run_as(postgres, "shop", "shop", insert);
    for _ in 0..600 {
        if client.get("/stats").await.json["finished"]["completed"] == 4 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the row has not become a task: {}", client.get("/stats").await.text);
}
