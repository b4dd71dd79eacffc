//! Keys with a reach: what they say, and that nothing outside is seen, changed or inferred.

mod alone;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Client, CommandOutput, Server, wasmill};

fn key(server: &Server, args: &[&str]) -> CommandOutput {
    wasmill(server.folder(), &[&["key"], args].concat())
}

/// Returns a client with a new key of a server.
fn client(server: &Server, name: &str, scopes: &str, reach: &[&str]) -> Client {
    server.client().with_key(&server.create_key(name, &[&["--scope", scopes], reach].concat()))
}

/// Starts a server with a key that may do everything.
fn server(args: &[&str]) -> (Server, Client) {
    let server = Server::start(args);
    let admin = client(&server, "ops", "admin", &[]);
    (server, admin)
}

const UNKNOWN: &str = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";

#[tokio::test]
async fn a_key_says_what_it_reaches() {
    let (server, _) = server(&[]);
    let reach = ["--plugin", "noop,img-*", "--group", "t1", "--tag", "eu \"1\"", "--json"];
    let made = key(&server, &[&["create", "ci", "--scope", "submit,read"], &reach[..]].concat());
    let made: Value = serde_json::from_str(&made.out).expect("JSON");
    let expected = (&json!(["img-*", "noop"]), &json!(["t1"]), &json!(["eu \"1\""]));
    assert_eq!((&made["plugins"], &made["groups"], &made["tags"]), expected, "{made}");
    // A rotation keeps it.
    assert_eq!(key(&server, &["rotate", "ci"]).code, 0);
    let listed: Value = serde_json::from_str(&key(&server, &["list", "--json"]).out).expect("JSON");
    for row in &listed.as_array().expect("an array")[..2] {
        assert_eq!((&row["plugins"], &row["groups"], &row["tags"]), expected, "{listed}");
    }
    assert_eq!(listed[2]["plugins"], Value::Null, "{listed}");
    let listed = key(&server, &["list"]).out;
    assert!(listed.contains("read,submit within plugins img-*, noop; groups t1; tags eu \"1\""), "{listed}");
    for (scope, reach, why) in [
        ("admin", ["--group", "t1"], "the scope admin reaches everything"),
        ("metrics", ["--plugin", "a"], "the metrics count all tasks"),
        ("plugins", ["--group", "t1"], "a plugin is changed for all its tasks"),
        ("read", ["--plugin", "A b"], "'A b' is no plugin"),
        ("read", ["--group", ""], "1 to 64 characters"),
    ] {
        let refused = key(&server, &[&["create", "other", "--scope", scope], &reach[..]].concat());
        assert!(refused.code == 2 && refused.err.contains(why), "{scope}: {}", refused.err);
    }
    assert_eq!(key(&server, &["create", "other", "--scope", "plugins", "--plugin", "img-*"]).code, 0);
}

#[tokio::test]
async fn what_is_submitted_gets_the_group_and_the_tags_of_its_key() {
    let (server, admin) = server(&["--group-tag", "of:"]);
    let one = client(&server, "one", "submit,read", &["--group", "t1", "--tag", "eu"]);
    let two = client(&server, "two", "submit,read", &["--group", "t1", "--group", "t2"]);
    let plugins = client(&server, "plugins", "submit,read", &["--plugin", "no*"]);
    let labels = async |client: &Client, task: Value| {
        let record = client.get(&format!("/task/{}", client.submit(&task).await)).await;
        (record.json["group"].clone(), record.json["tags"].clone())
    };
    assert_eq!(labels(&one, json!({"plugin": "noop"})).await, (json!("t1"), json!(["eu"])));
    let given = json!({"plugin": "noop", "group": "t1", "tags": ["a", "eu"]});
    assert_eq!(labels(&one, given).await, (json!("t1"), json!(["a", "eu"])));
    assert_eq!(labels(&two, json!({"plugin": "noop", "group": "t2"})).await, (json!("t2"), json!([])));
    assert_eq!(labels(&two, json!({"plugin": "noop", "tags": ["of:t2"]})).await.0, "t2");
    assert_eq!(labels(&plugins, json!({"plugin": "noop"})).await, (Value::Null, json!([])));
    let many: Vec<_> = (0..16).map(|number| format!("tag-{number}")).collect();
    for (client, task, pointer, why) in [
        (&one, json!({"plugin": "noop", "group": "t2"}), "/group", "one that the key reaches: t1"),
        (&one, json!({"plugin": "noop", "tags": ["of:t2"]}), "/group", "one that the key reaches: t1"),
        (&one, json!({"plugin": "noop", "tags": many}), "/tags", "with those that the key adds: eu"),
        (&two, json!({"plugin": "noop"}), "/group", "one that the key reaches: t1, t2"),
        (&plugins, json!({"plugin": "misbehave"}), "/plugin", "misbehave"),
        (&plugins, json!({}), "/plugin", "io-stub"),
    ] {
        for (path, body, prefix) in [("/task", task.clone(), ""), ("/task/batch", json!([task]), "/0")] {
            let refused = client.post(path, &body).await;
            let pointers = (refused.status.as_u16(), refused.pointers());
            assert_eq!(pointers, (422, vec![&*format!("{prefix}{pointer}")]), "{}", refused.text);
            assert!(refused.text.contains(why), "{}", refused.text);
        }
    }
    // A plugin outside is refused like one that does not exist.
    let refusal = async |plugin: &str| {
        let refused = plugins.post("/task", &json!({"plugin": plugin})).await;
        refused.text.replace(plugin, "it")
    };
    assert_eq!(refusal("misbehave").await, refusal("missing-1").await);
    assert_eq!(admin.get("/task").await.json.as_array().map(Vec::len), Some(5));
}

/// Returns an answer without what differs between two ids.
async fn answer(client: &Client, method: &Method, path: &str, id: &str) -> (StatusCode, String) {
    let path = path.replace("{id}", id);
    let answer = client.send(method.clone(), &path, None).await.expect("an answer");
    (answer.status, answer.text.replace(id, "ID").replace(&id.replacen('0', "%30", 1), "ID"))
}

#[tokio::test]
async fn a_task_outside_a_reach_is_unknown_on_every_route() {
    let (server, admin) = server(&[]);
    let document = admin.document().await.expect("a document");
    let outside = admin.submit(&json!({"plugin": "misbehave", "group": "t2", "delay": "1h"})).await;
    let ended = admin.submit(&json!({"plugin": "noop", "group": "t2"})).await;
    admin.until(&ended, "completed").await;
    let mut tenants = Vec::new();
    for scopes in ["read,submit,cancel", "submit", "watch", "cancel", "read"] {
        for (number, reach) in
            [&["--group", "t1"][..], &["--plugin", "io-*"], &["--tag", "eu"]].iter().enumerate()
        {
            tenants.push(client(&server, &format!("{scopes}-{number}").replace(',', "-"), scopes, reach));
        }
    }
    let mut tried = 0;
    for (method, path, operation) in document.operations() {
        if operation["x-reach"] != "task" {
            continue;
        }
        let method: Method = method.to_uppercase().parse().expect("a method");
        for tenant in &tenants {
            for query in ["", "?nothing=1", "?wait=1x", "?grace=1x"] {
                let path = format!("{path}{query}");
                let unknown = answer(tenant, &method, &path, UNKNOWN).await;
                for id in [&outside, &ended] {
                    assert_eq!(answer(tenant, &method, &path, id).await, unknown, "{method} {path}");
                    // However it is spelled.
                    let spelled = id.replacen('0', "%30", 1);
                    let (status, _) = answer(tenant, &method, &path, &spelled).await;
                    assert_eq!(status, unknown.0, "{method} {path}");
                    tried += 1;
                }
                assert_eq!(unknown.0, StatusCode::NOT_FOUND, "{method} {path}: {}", unknown.1);
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
    // Nothing happened to them.
    assert_eq!(admin.get(&format!("/task/{outside}")).await.str("state"), "waiting");
    assert_eq!(admin.get("/task").await.json.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_concerns_all_refuses_a_key_with_a_reach() {
    let (server, admin) = server(&["--allow-upload"]);
    let document = admin.document().await.expect("a document");
    let tenant = client(&server, "one", "read,submit,cancel", &["--group", "t1"]);
    let operator = client(&server, "img", "read,plugins", &["--plugin", "img-*"]);
    let mut refused = Vec::new();
    for (method, path, operation) in document.operations() {
        if operation["x-reach"] != "refused" {
            continue;
        }
        let method: Method = method.to_uppercase().parse().expect("a method");
        for client in [&tenant, &operator] {
            let answer = client.send(method.clone(), path, None).await.expect("an answer");
            let code = (answer.status.as_u16(), answer.str("code"));
            assert_eq!(code, (403, "out-of-reach"), "{method} {path}: {}", answer.text);
        }
        refused.push(operation["operationId"].as_str().expect("an id"));
    }
    assert!(refused.len() > 7, "{refused:?}");
    // Plugins outside are unknown, and cannot be changed.
    for path in ["/plugins/noop", "/plugins/noop/schema"] {
        let unknown = operator.get(&path.replace("noop", "missing")).await;
        let outside = operator.get(path).await;
        assert_eq!(
            (outside.status, outside.text.replace("noop", "missing")),
            (StatusCode::NOT_FOUND, unknown.text),
            "{path}"
        );
    }
    for name in ["noop", "missing"] {
        for (method, path) in
            [(Method::PUT, ""), (Method::DELETE, ""), (Method::POST, "/pause"), (Method::POST, "/resume")]
        {
            let path = format!("/plugins/{name}{path}");
            let body = (method == Method::PUT).then(|| ("application/wasm", b"\0asm".to_vec()));
            let answer = operator.send(method.clone(), &path, body).await.expect("an answer");
            assert_eq!(answer.str("code"), "out-of-reach", "{method} {path}");
        }
    }
    let names = |plugins: &Value| {
        let names = plugins.as_array().expect("an array").iter();
        names.map(|plugin| plugin["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&operator.get("/plugins").await.json).is_empty());
    let put = operator.put_plugin("img-a", wasmill_tests::NOOP).await;
    assert!(put.status.is_success() || put.str("code") == "plugin-rejected", "{}", put.text);
    assert_eq!(operator.post("/plugins/img-a/pause", &json!({})).await.status, StatusCode::OK);
    // With groups, the counts of a plugin are of others, too.
    let shown = tenant.get("/plugins").await;
    assert!(names(&shown.json).contains(&"noop".to_owned()), "{}", shown.text);
    assert!(shown.json.as_array().expect("an array").iter().all(|plugin| plugin["tasks"].is_null()));
}

/// Returns the names of listed schedules.
fn names(answer: &wasmill_tests::Answer) -> Vec<String> {
    let all = answer.json.as_array().expect("an array");
    all.iter().map(|schedule| schedule["name"].as_str().expect("a name").to_owned()).collect()
}

/// Sends a request without a body about a schedule.
async fn ask(client: &Client, method: Method, name: &str, below: &str) -> wasmill_tests::Answer {
    client.send(method, &format!("/schedules/{name}{below}"), None).await.expect("an answer")
}

#[tokio::test]
async fn the_schedules_of_a_tenant_are_its_own() {
    let (server, admin) = server(&[]);
    let one = client(&server, "one", "read,submit,schedule", &["--group", "t1", "--tag", "eu"]);
    let two = client(&server, "two", "read,submit,schedule", &["--plugin", "noop"]);
    let nightly = |task: Value| json!({"cron": "30 2 1 1 *", "task": task});
    let put =
        one.put_schedule("nightly", &nightly(json!({"plugin": "noop", "input": 1.0, "tags": ["a"]}))).await;
    assert_eq!((put.status, put.str("name")), (StatusCode::CREATED, "nightly"), "{}", put.text);
    // It has the labels of the key, whoever runs it.
    assert_eq!(put.json["task"], json!({"plugin": "noop", "input": 1.0, "group": "t1", "tags": ["a", "eu"]}));
    // Names of others are free, and lead nowhere.
    for client in [&two, &admin] {
        let put = client.put_schedule("nightly", &nightly(json!({"plugin": "noop"}))).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
    }
    for (task, pointer) in
        [(json!({"group": "t2"}), "/task/group"), (json!({"plugin": "missing"}), "/task/plugin")]
    {
        let refused = one.put_schedule("other", &nightly(task)).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec![pointer]), "{}", refused.text);
    }
    assert_eq!(names(&one.get("/schedules").await), ["nightly"]);
    let all = names(&admin.get("/schedules").await);
    let first_run = ask(&one, Method::POST, "nightly", "/run").await;
    let first = admin.get(&format!("/task/{}", first_run.str("id"))).await.json;
    let of_one = first["schedule"].as_str().expect("with its space").to_owned();
    assert!(all.len() == 3 && all.contains(&"nightly".to_owned()) && of_one.ends_with(":nightly"), "{all:?}");
    for name in [&of_one, "missing", "A", &"a".repeat(40)] {
        for (method, below) in
            [(Method::GET, ""), (Method::POST, "/run"), (Method::POST, "/pause"), (Method::DELETE, "")]
        {
            let answer = ask(&one, method, name, below).await;
            assert_eq!((answer.status.as_u16(), answer.str("code")), (404, "unknown-schedule"), "{name}");
        }
    }
    // An operator finds them under their long names, and does not replace them.
    let replaced = admin.put_schedule(&of_one, &nightly(json!({}))).await;
    assert_eq!(replaced.str("code"), "invalid-schedule-name", "{}", replaced.text);
    let mut runs = Vec::new();
    for (client, name) in
        [(&one, "nightly"), (&two, "nightly"), (&admin, "nightly"), (&admin, of_one.as_str())]
    {
        let run = ask(client, Method::POST, name, "/run").await;
        assert_eq!(run.status, StatusCode::CREATED, "{}", run.text);
        runs.push(run.str("id").to_owned());
    }
    let record = one.get(&format!("/task/{}", runs[0])).await.json;
    assert_eq!((&record["schedule"], &record["group"]), (&json!("nightly"), &json!("t1")), "{record}");
    let shown = admin.get(&format!("/task/{}", runs[0])).await.json["schedule"].clone();
    assert!(all.iter().any(|name| shown == *name && name.ends_with(":nightly")), "{shown}");
    let of_schedule = one.get("/task?schedule=nightly").await.json;
    assert_eq!(of_schedule.as_array().map(Vec::len), Some(3), "{of_schedule}");
    // Of a schedule of others, only the task is seen.
    let seen = two.get(&format!("/task/{}", runs[2])).await.json;
    assert_eq!((&seen["plugin"], &seen["schedule"]), (&json!("noop"), &Value::Null), "{seen}");
    assert_eq!(ask(&one, Method::DELETE, "nightly", "").await.status, StatusCode::NO_CONTENT);
    assert!(names(&one.get("/schedules").await).is_empty());
    assert_eq!(names(&admin.get("/schedules").await).len(), 2);
}

#[tokio::test]
async fn the_tasks_of_a_schedule_count_for_the_limits_of_its_keys() {
    let (server, admin) = server(&[]);
    let limited = ["--group", "t1", "--waiting", "1"];
    let tenant = client(&server, "one", "read,submit,schedule", &limited);
    admin.post("/pause", &json!({})).await;
    let schedule = json!({"cron": "30 2 1 1 *", "task": {"plugin": "noop", "unique_key": "k"}});
    assert_eq!(tenant.put_schedule("yearly", &schedule).await.status, StatusCode::CREATED);
    // Its unique key is that of the tenant, not of all.
    admin.submit(&json!({"plugin": "noop", "unique_key": "k"})).await;
    let run = async || tenant.send(Method::POST, "/schedules/yearly/run", None).await.expect("an answer");
    assert_eq!(run().await.status, StatusCode::CREATED);
    assert_eq!(tenant.post("/task", &json!({"plugin": "noop"})).await.str("code"), "key-queue-full");
    tenant.put_schedule("yearly", &json!({"cron": "30 2 1 1 *", "task": {"plugin": "noop"}})).await;
    assert_eq!(run().await.str("code"), "key-queue-full");
}

#[tokio::test]
async fn the_statistics_of_a_tenant_count_its_tasks() {
    let (server, admin) = server(&[]);
    let groups = client(&server, "groups", "watch,submit", &["--group", "t1", "--group", "t3"]);
    let tags = client(&server, "tags", "watch", &["--tag", "eu", "--plugin", "noop"]);
    let plugins = client(&server, "plugins", "watch", &["--plugin", "misbehave"]);
    let nobody = client(&server, "nobody", "watch", &["--group", "t9"]);
    let delayed =
        |group: &str, tags: Value| json!({"plugin": "noop", "group": group, "delay": "1h", "tags": tags});
    for task in [delayed("t1", json!(["eu"])), delayed("t2", json!(["eu"])), delayed("t3", json!([]))] {
        admin.submit(&task).await;
    }
    let ended = admin.submit(&json!({"plugin": "misbehave", "group": "t1", "input": {"do": "noop"}})).await;
    admin.until(&ended, "completed").await;
    let stored = async |client: &Client| {
        let stats = client.get("/stats").await.json;
        assert_eq!(
            (&stats["slots"], &stats["memory"], &stats["is_at_least"]),
            (&Value::Null, &Value::Null, &json!(false))
        );
        let plugins: Vec<_> = stats["plugins"].as_object().expect("an object").keys().cloned().collect();
        (
            stats["stored"]["scheduled"].clone(),
            stats["stored"]["completed"].clone(),
            stats["waiting"].clone(),
            plugins.join(" "),
        )
    };
    assert_eq!(stored(&groups).await, (json!(2), json!(1), json!(2), "misbehave noop".to_owned()));
    assert_eq!(stored(&tags).await, (json!(2), json!(0), json!(2), "noop".to_owned()));
    assert_eq!(stored(&plugins).await, (json!(0), json!(1), json!(0), "misbehave".to_owned()));
    assert_eq!(stored(&nobody).await, (json!(0), json!(0), json!(0), String::new()));
    assert_eq!(groups.get("/stats").await.json["finished"], Value::Null);
    assert_eq!(plugins.get("/stats").await.json["finished"]["completed"], json!(1));
    assert_eq!(admin.get("/stats").await.json["stored"]["scheduled"], json!(3));
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_the_links_that_others_make() {
    let (server, admin) = server(&[]);
    let tenant = client(&server, "one", "read,submit,cancel", &["--group", "t1"]);
    let other = admin.submit(&json!({"plugin": "noop", "group": "t2", "delay": "1h"})).await;
    let linked = json!({"plugin": "noop", "group": "t1", "depends_on": [other]});
    let own = admin.submit(&linked).await;
    let dependent = admin.submit(&json!({"plugin": "noop", "group": "t2", "depends_on": [own]})).await;
    for path in ["", "/status", "/why", "/activity", "/dependents"] {
        let shown = tenant.get(&format!("/task/{own}{path}")).await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
        assert!(!shown.text.contains(&other) && !shown.text.contains(&dependent), "{path}: {}", shown.text);
    }
    assert_eq!(admin.delete(&format!("/task/{other}")).await.status, StatusCode::NO_CONTENT);
    let shown = admin.until(&own, "cancelled").await;
    assert!(shown.text.contains(&other), "{}", shown.text);
    for path in ["", "/status", "/result", "/why"] {
        let shown = tenant.get(&format!("/task/{own}{path}")).await;
        assert!(!shown.text.contains(&other), "{path}: {}", shown.text);
    }
    let listed = tenant.get("/task").await;
    assert!(listed.text.contains(&own) && !listed.text.contains(&other), "{}", listed.text);
    let retried = tenant.post(&format!("/task/{own}/retry"), &json!({})).await;
    assert!(!retried.text.contains(&other), "{}", retried.text);
}

#[tokio::test]
async fn the_events_of_a_tenant_are_of_its_tasks() {
    let (server, admin) = server(&[]);
    for (name, reach) in [("group", &["--group", "t1"][..]), ("plugin", &["--plugin", "noo*"])] {
        let tenant = client(&server, name, "watch", reach);
        let mut stream = tenant.follow("/events", None).await;
        assert_eq!(stream.status, StatusCode::OK);
        let others = json!({"plugin": "misbehave", "group": "t2", "input": {"do": "echo", "text": "x"}});
        let mut own = Vec::new();
        for _ in 0..20 {
            let many: Vec<_> = (0..40).map(|_| others.clone()).collect();
            admin.submit_batch(&json!(many)).await;
            own.push(admin.submit(&json!({"plugin": "noop", "group": "t1"})).await);
        }
        for id in &own {
            admin.until(id, "completed").await;
            assert_eq!(admin.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
        }
        let mut seen = Vec::new();
        while seen.len() < 4 * own.len() {
            let event = stream.next().await.expect("an event");
            let task = event.data["task"].as_str().expect("a task").to_owned();
            assert!(own.contains(&task), "{event:?}");
            seen.push((task, event.name));
        }
        for id in &own {
            let names: Vec<_> = seen.iter().filter(|(task, _)| task == id).map(|(_, name)| &**name).collect();
            assert_eq!(names, ["created", "started", "completed", "deleted"], "{id}");
        }
        let refused = tenant.get("/events?sample=5").await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    }
}

#[tokio::test]
async fn a_change_of_its_reach_ends_the_streams_of_a_key() {
    let (server, admin) = server(&[]);
    let tenant = client(&server, "one", "read", &["--group", "t1"]);
    let id = admin.submit(&json!({"plugin": "noop", "group": "t1", "delay": "1h"})).await;
    let path = format!("/task/{id}/events");
    let mut stream = tenant.follow(&path, None).await;
    assert_eq!(stream.status, StatusCode::OK);
    let file = server.folder().join("data/keys.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("groups = [\"t1\"]", "groups = [\"t2\"]")).expect("written");
    stream.drain().await;
    assert_eq!(tenant.get(&path).await.str("code"), "unknown-task");
}

#[tokio::test]
async fn no_spelling_of_an_id_shows_what_another_key_submitted() {
    let (server, admin) = server(&[]);
    let other = client(&server, "other", "submit", &[]);
    let id = admin.submit(&json!({"plugin": "misbehave", "input": {"do": "echo", "text": "a secret"}})).await;
    admin.until(&id, "completed").await;
    for spelled in [id.clone(), id.replacen('0', "%30", 1), id.to_uppercase(), id.replace('-', "%2D")] {
        for part in ["", "/status", "/result", "/input", "/logs"] {
            let path = format!("/task/{spelled}{part}");
            let answer = other.get(&path).await;
            assert!(!answer.text.contains("a secret"), "{path}: {}", answer.text);
            assert_ne!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn the_keys_in_force_are_listed_for_admins_without_their_secrets() {
    let (server, admin) = server(&[]);
    let reach = ["--group", "t1", "--tag", "eu", "--rate", "200/s"];
    let secret = server.create_key("one", &[&["--scope", "submit,read"], &reach[..]].concat());
    let tenant = server.client().with_key(&secret);
    assert_eq!(tenant.get("/task").await.status, StatusCode::OK);
    let listed = admin.get("/keys").await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.text);
    let keys = listed.json.as_array().expect("an array");
    let names: Vec<_> =
        keys.iter().map(|key| (key["name"].as_str().expect("a name"), &key["this"])).collect();
    assert_eq!(names, [("one", &json!(false)), ("ops", &json!(true))]);
    let one = &keys[0];
    assert_eq!(one["scopes"], json!(["read", "submit"]), "{one}");
    assert_eq!(
        (&one["plugins"], &one["groups"], &one["tags"]),
        (&Value::Null, &json!(["t1"]), &json!(["eu"]))
    );
    assert!(one["rate"].is_string() && one["expired"] == false, "{one}");
    assert!(one["last_used_at"].is_string() && one["last_used_from"] == "127.0.0.1", "{one}");
    let text = secret.rsplit('_').next().expect("its text");
    for answer in [&listed.text, &admin.clone().undocumented().get("/ui/keys").await.text] {
        assert!(answer.contains("one") && !answer.contains(text) && !answer.contains("hash"), "{answer}");
    }
    for reader in [&tenant, &client(&server, "two", "read,submit,cancel,schedule,plugins,metrics", &[])] {
        assert_eq!(reader.get("/keys").await.status, StatusCode::FORBIDDEN);
        assert_eq!(reader.clone().undocumented().get("/ui/keys").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_tenant_finds_and_deletes_its_own() {
    let (server, admin) = server(&[]);
    let tenant = client(&server, "one", "read,submit,cancel", &["--group", "t1"]);
    let task = |group: &str| json!({"plugin": "noop", "group": group, "tags": ["shared"]});
    let (own, other) = (admin.submit(&task("t1")).await, admin.submit(&task("t2")).await);
    for id in [&own, &other] {
        admin.until(id, "completed").await;
    }
    let page = async |text: &str| tenant.clone().undocumented().get(&format!("/ui/find?text={text}")).await;
    // What is found alone is opened.
    let found = page("shared").await;
    assert_eq!(found.headers["location"], format!("task/{own}").as_str(), "{}", found.text);
    for text in [&other, "t2", "nightly"] {
        let found = page(text).await;
        assert!(found.status == StatusCode::OK && found.text.contains("Nothing was found"), "{text}");
    }
    for dry_run in [true, false] {
        let deleted = tenant.post(&format!("/task/delete?tag=shared&dry_run={dry_run}"), &json!({})).await;
        assert_eq!(deleted.json["deleted"], 1, "{}", deleted.text);
    }
    assert_eq!(admin.get(&format!("/task/{own}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.get(&format!("/task/{other}")).await.status, StatusCode::OK);
    let reader = client(&server, "reader", "read,submit", &[]);
    assert_eq!(reader.post("/task/delete?all=true", &json!({})).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_pages_show_a_tenant_its_own() {
    let (server, admin) = server(&[]);
    let tenant = client(&server, "one", "read,submit,cancel", &["--group", "t1"]);
    let own = admin.submit(&json!({"plugin": "noop", "group": "t1", "tags": ["mine"], "delay": "1h"})).await;
    let other =
        admin.submit(&json!({"plugin": "noop", "group": "t2", "tags": ["theirs"], "delay": "1h"})).await;
    let page = async |path: &str| tenant.clone().undocumented().get(path).await;
    let tasks = page("/ui/tasks").await;
    assert_eq!(tasks.status, StatusCode::OK, "{}", tasks.text);
    assert!(tasks.text.contains(&own) && !tasks.text.contains(&other) && !tasks.text.contains("theirs"));
    assert_eq!(page(&format!("/ui/task/{own}")).await.status, StatusCode::OK);
    assert_eq!(page(&format!("/ui/task/{other}")).await.status, StatusCode::NOT_FOUND);
    let overview = page("/ui/").await;
    assert_eq!(
        (overview.status, &overview.headers["location"]),
        (StatusCode::SEE_OTHER, &"tasks".parse().unwrap())
    );
    for (path, status) in
        [("/ui/plugins", 200), ("/ui/submit", 200), ("/ui/schedules", 200), ("/ui/hosts", 403)]
    {
        assert_eq!(page(path).await.status.as_u16(), status, "{path}");
    }
}
