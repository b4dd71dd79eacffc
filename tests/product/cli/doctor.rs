//! `wasmill doctor`: finds what would prevent a server from running, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use wasmill_tests::{NOOP, Server, binary, embedded_only};

fn doctor(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary().expect("a binary"));
    command.arg("doctor").args(args).current_dir(folder).output().expect("a run")
}

/// Runs it with `--json` and returns the exit code and the report.
fn report(folder: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output = doctor(folder, &[&["--json"], args].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("an array");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn doctor_passes_on_a_good_machine_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    fs::write(folder.path().join("plugins/noop.wasm"), NOOP).expect("a plugin");
    fs::write(folder.path().join("wasmill.toml"), "slots = 5\nlisten = \"127.0.0.1:0\"").expect("written");
    let (code, report) = report(folder.path(), &[]);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report}");
    for name in [
        "kernel",
        "processors",
        "clock",
        "memory",
        "slots",
        "open files",
        "processes",
        "data folder",
        "disk space",
        "disk",
        "plugins",
        "watching",
        "port",
        "engine",
        "compiler",
        "webhooks",
        "traces",
    ] {
        let check = check(&report, name);
        assert_ne!(check["state"], "fail", "{check}");
        let is_ok = check["state"] == "ok";
        assert_eq!((check["cost"].is_null(), check["fix"].is_null()), (is_ok, is_ok), "{check}");
    }
    assert!(check(&report, "slots")["found"].as_str().expect("words").starts_with("5 "), "{report}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left.len(), 2, "no data folder is made: {left:?}");
    assert_eq!(fs::read_dir(folder.path().join("plugins")).expect("a folder").count(), 1);
}

#[test]
fn doctor_prints_one_line_per_check_without_colour_in_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = doctor(folder.path(), &["--listen", "127.0.0.1:0", "--slots", "5"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    assert!(
        printed.contains("ok   compiler") && printed.contains("checks: ") && !printed.contains('\u{1b}'),
        "{printed}"
    );
}

#[test]
fn a_failed_check_explains_its_effect_and_its_fix() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    // Root ignores permissions, but a file in place of a folder fails for everyone.
    fs::write(folder.path().join("file"), "").expect("written");
    symlink("nowhere", folder.path().join("dangling")).expect("a link");
    fs::create_dir_all(folder.path().join("locked/wasmill.lock")).expect("a folder");
    let long = "x".repeat(300);
    for (args, name, found) in [
        (["--listen", &address], "port", "in use by another process"),
        (["--debug-listen", &address], "debug port", "in use by another process"),
        (["--data", "file"], "data folder", "is a file"),
        (["--data", "dangling/data"], "data folder", "dangling is a link that leads nowhere"),
        (["--data", &long], "data folder", "too long"),
        (["--data", "locked"], "data folder", "wasmill.lock in it is not a regular file"),
        (["--data", "/proc/wasmill"], "data folder", "/proc/wasmill is not writable"),
        (["--otlp-endpoint", "ftp://collector"], "traces", "otlp_endpoint"),
        (["--plugins", "file"], "plugins", "is not readable"),
        (["--slots", "4000000000"], "slots", "4000000000 are requested"),
        (["--memory-total", "7TiB"], "memory", "7.0 TiB of it"),
        (["--http-roots", "missing.pem"], "engine", "missing.pem"),
        (
            ["--timeout", "2d"],
            "settings",
            "invalid value for --timeout: 2days is more than timeout_max (1day)",
        ),
    ] {
        let usual = [["--slots", "5"], ["--listen", "127.0.0.1:0"]];
        let usual = usual.into_iter().filter(|usual| usual[0] != args[0]).flatten();
        let args: Vec<_> = usual.chain(args).collect();
        let (code, report) = report(folder.path(), &args);
        let check = check(&report, name);
        assert_eq!((code, &check["state"]), (Some(1), &Value::from("fail")), "{report}");
        assert!(check["found"].as_str().expect("words").contains(found), "{check}");
        assert!(check["cost"].is_string() && check["fix"].is_string(), "{check}");
        assert!(!check["fix"].as_str().expect("words").contains("chown"), "it would not help: {check}");
        if check["cost"] == "serve does not start" {
            // As long as the doctor is right, this ends.
            let mut serve = Command::new(binary().expect("a binary"));
            let serve = serve.arg("serve").args(&args).current_dir(folder.path()).output().expect("a run");
            assert!(!serve.status.success(), "{args:?}");
        }
    }
}

#[test]
fn two_ports_of_one_number_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").to_string();
    let (_, report) = report(folder.path(), &["--listen", &free, "--debug-listen", &free, "--slots", "5"]);
    let check = check(&report, "debug port");
    assert_eq!(check["found"], format!("{free} is the port of --listen"), "{check}");
}

#[test]
fn a_database_that_serve_would_refuse_fails_with_the_error_of_serve() {
    embedded_only!("it damages the file of the database");
    let mut server = Server::start(&["--slots", "5"]);
    server.terminate();
    let folder = server.folder().to_owned();
    let args = ["--slots", "5", "--listen", "127.0.0.1:0"];
    let file = folder.join("data/wasmill.db");
    let whole = fs::read(&file).expect("a database");
    assert_eq!(check(&report(&folder, &args).1, "database")["state"], "ok");
    let mut scratched = whole.clone();
    for (offset, byte) in scratched[4096..12_288].iter_mut().enumerate() {
        *byte = (offset * 7 % 251) as u8;
    }
    for damaged in [&scratched[..], b"garbage\n"] {
        fs::write(&file, damaged).expect("written");
        let before: Vec<_> =
            folder.join("data").read_dir().expect("a folder").flatten().map(|f| f.path()).collect();
        let (code, report) = report(&folder, &args);
        let after: Vec<_> =
            folder.join("data").read_dir().expect("a folder").flatten().map(|f| f.path()).collect();
        assert_eq!((fs::read(&file).expect("a database").as_slice(), after), (damaged, before), "changed");
        let check = check(&report, "database");
        assert_eq!((code, &check["state"]), (Some(1), &Value::from("fail")), "{report}");
        let mut serve = Command::new(binary().expect("a binary"));
        let refused = serve.arg("serve").args(args).current_dir(&folder).output().expect("a run");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && error.contains(check["found"].as_str().expect("text")),
            "{error} {check}"
        );
    }
}

#[tokio::test]
async fn doctor_passes_beside_a_running_server_and_does_not_disturb_it() {
    let server = Server::start(&["--slots", "5"]);
    let listen = server.address().to_string();
    let (data, plugins) = (server.folder().join("data"), server.folder().join("plugins"));
    let args = ["--listen", &listen, "--slots", "5", "--data", data.to_str().expect("text"), "--plugins"];
    let args = [&args[..], &[plugins.to_str().expect("text")]].concat();
    let (code, report) = report(server.folder(), &args);
    assert_eq!(code, Some(0), "{report}");
    let held = check(&report, "data folder");
    assert_eq!(held["state"], "warn");
    assert!(held["found"].as_str().expect("words").contains(&server.pid().to_string()), "{held}");
    assert_eq!(check(&report, "port")["state"], "warn");
    let id = server.client().submit(&serde_json::json!({"plugin": "noop"})).await;
    server.client().until(&id, "completed").await;
}

#[test]
fn doctor_uses_the_requested_colours() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, is_coloured) in
        [(&[][..], false), (&["--color", "always"], true), (&["--color", "never"], false)]
    {
        let output = doctor(folder.path(), &[args, &["--listen", "127.0.0.1:0", "--slots", "5"]].concat());
        assert_eq!(output.stdout.contains(&0x1b), is_coloured, "{args:?}");
    }
}

#[tokio::test]
async fn a_running_server_checks_itself() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let shallow = client.get("/doctor").await;
    assert_eq!(
        (&shallow.json["ok"], &shallow.json["deep"]),
        (&Value::Bool(true), &Value::Bool(false)),
        "{}",
        shallow.text
    );
    for name in ["kernel", "memory", "slots", "open files", "disk space", "plugins", "webhooks", "traces"] {
        assert_ne!(check(&shallow.json, name)["state"], "fail", "{}", shallow.text);
    }
    let names = |report: &Value| {
        let checks = report["checks"].as_array().expect("an array").iter();
        checks.map(|check| check["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert!(!names(&shallow.json).contains(&"compiler".to_owned()), "{}", shallow.text);
    let deep = client.get("/doctor?deep=true").await;
    assert_eq!(
        (&deep.json["ok"], &deep.json["deep"]),
        (&Value::Bool(true), &Value::Bool(true)),
        "{}",
        deep.text
    );
    assert_eq!(check(&deep.json, "compiler")["state"], "ok", "{}", deep.text);
    assert!(!names(&deep.json).contains(&"port".to_owned()), "its own ports are in use: {}", deep.text);
    let again = client.get("/doctor?deep=true").await;
    assert_eq!(again.json["checked_at"], deep.json["checked_at"], "it is not made again at once");
    assert_eq!(client.get("/doctor?deep=1").await.str("code"), "invalid-request");
}
