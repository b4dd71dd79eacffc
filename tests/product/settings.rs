//! Where settings come from: flags, the environment and the file; and what is refused of each, by its name.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::fake::{Fake, Reply};
use wasmill_tests::{Said, command};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs a command with these variables.
fn run(folder: &TempDir, variables: &[(&str, &str)], args: &[&str]) -> Said {
    let mut command = command(folder.path(), args);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().expect("it starts");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Reads the settings of `serve` and goes no further: the file that it names last is not there.
fn settings(variables: &[(&str, &str)], flags: &[&str]) -> Said {
    let args = [&["serve"], flags, &["--config", "no-such-file.toml"]].concat();
    run(&folder(), variables, &args)
}

#[track_caller]
fn is_taken(said: &Said) {
    assert!(said.code == 5 && said.err.contains("no-such-file.toml"), "{said:?}");
}

#[track_caller]
fn is_refused(said: &Said, named: &[&str]) {
    assert_eq!(said.code, 2, "{said:?}");
    for name in named {
        assert!(said.err.contains(name), "{name} is not named: {}", said.err);
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = [
        "SLOTS",
        "LISTEN",
        "DRAIN",
        "MEMORY",
        "ALLOW_UPLOAD",
        "LOG",
        "LOG_FORMAT",
        "KEEP_FOR",
        "DATA",
        "SERVER",
    ]
    .map(|name| format!("WASMILL_{name}"));
    let empty: Vec<_> = empty.iter().map(|name| (name.as_str(), "")).collect();
    is_taken(&settings(&empty, &[]));
    let unknown =
        run(&folder(), &[("WASMILL_SERVER", ""), ("WASMILL_HEADERS", "")], &["list", "--state", "none"]);
    assert!(unknown.err.contains("http://127.0.0.1:8080"), "the default: {unknown:?}");
}

#[test]
fn the_words_for_yes_and_no_are_booleans() {
    for word in ["1", "true", "yes", "on", "TRUE", "0", "false", "no", "off"] {
        is_taken(&settings(&[("WASMILL_ALLOW_UPLOAD", word), ("WASMILL_DEBUG_REMOTE", word)], &[]));
        is_taken(&settings(&[], &["--allow-upload", word]));
    }
    is_refused(&settings(&[("WASMILL_ALLOW_UPLOAD", "maybe")], &[]), &["'maybe'", "WASMILL_ALLOW_UPLOAD"]);
}

#[test]
fn an_error_names_the_variable_that_the_value_came_from() {
    is_refused(&settings(&[("WASMILL_SLOTS", "many")], &[]), &["'many'", "WASMILL_SLOTS"]);
    is_refused(&settings(&[("WASMILL_LOG_FORMAT", "xml")], &[]), &["'xml'", "WASMILL_LOG_FORMAT"]);
    let flag = settings(&[("WASMILL_SLOTS", "5")], &["--slots", "many"]);
    is_refused(&flag, &["'many'", "'--slots"]);
    assert!(!flag.err.contains("WASMILL_SLOTS"), "{}", flag.err);
}

#[test]
fn a_variable_of_this_program_that_means_nothing_is_an_error_with_the_nearest_name() {
    for command in [&["serve"][..], &["list"], &["plugin", "check", "x.wasm"], &["run", "io-stub"]] {
        is_refused(
            &run(&folder(), &[("WASMILL_SLOT", "3")], command),
            &["WASMILL_SLOT ", "did you mean WASMILL_SLOTS?"],
        );
    }
    let doctor = run(&folder(), &[("WASMILL_LISTENS", ":1")], &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&doctor.out).expect("JSON");
    assert_eq!((doctor.code, report["checks"][0]["state"].as_str()), (1, Some("fail")));
    assert!(doctor.out.contains("did you mean WASMILL_LISTEN?"), "{}", doctor.out);
    // What Kubernetes sets for a service of this name, and what tests and shells read.
    let others =
        [("WASMILL_PORT", "tcp://10.0.0.1:80"), ("WASMILL_SERVICE_HOST", "10.0.0.1"), ("WASMILL_SLOT", "")];
    is_taken(&settings(&others, &[]));
    assert_eq!(run(&folder(), &[("WASMILL_SLOT", "3")], &["completions", "bash"]).code, 0);
}

#[test]
fn a_log_level_that_is_none_is_refused_by_its_name() {
    for word in ["warning", "verbose", "info,critical"] {
        let named = word.rsplit(',').next().unwrap_or_default();
        is_refused(&settings(&[("WASMILL_LOG", word)], &[]), &[named, "no log level", "WASMILL_LOG"]);
        is_refused(&settings(&[], &["--log", word]), &[named, "no log level"]);
    }
    for filter in ["warn", "debug,hyper=warn", "wasmill_store=trace", "off"] {
        is_taken(&settings(&[("WASMILL_LOG", filter)], &[]));
    }
    let folder = folder();
    std::fs::write(folder.path().join("wasmill.toml"), "log = \"warning\"").expect("written");
    let said = run(&folder, &[], &["serve"]);
    is_refused(&said, &["'warning' is no log level"]);
}

#[test]
fn a_settings_file_that_leads_nowhere_is_an_error_and_a_byte_order_mark_is_none() {
    let folder = folder();
    let file = folder.path().join("wasmill.toml");
    std::os::unix::fs::symlink("not-mounted.toml", &file).expect("a link");
    for command in [&["serve"][..], &["plugin", "check", "x.wasm"], &["backup", "x.db"], &["run", "io-stub"]]
    {
        let said = run(&folder, &[], command);
        assert!(said.code == 5 && said.err.contains("wasmill.toml"), "{command:?}: {said:?}");
    }
    std::fs::write(folder.path().join("not-mounted.toml"), "\u{feff}slots = 0").expect("written");
    let said = run(&folder, &[], &["serve"]);
    is_refused(&said, &["slots must be at least 1"]);
}

#[test]
fn what_makes_no_sense_ends_with_2_and_a_file_that_is_not_there_with_5() {
    for flags in [&["--slots", "0"][..], &["--slots", "-1"], &["--memory", "10"], &["--timeout", "1month"]] {
        is_refused(&run(&folder(), &[], &[&["serve"], flags].concat()), &[]);
    }
    is_refused(
        &run(&folder(), &[("WASMILL_SLOTS", "abc")], &["serve"]),
        &["WASMILL_SLOTS", "a whole number"],
    );
    is_refused(&run(&folder(), &[], &["serve", "--slots", "-1"]), &["--slots", "a whole number, 0 or more"]);
    is_refused(
        &run(&folder(), &[("WASMILL_WEBHOOK_SECRET", "short")], &["serve"]),
        &["WASMILL_WEBHOOK_SECRET"],
    );
    for (line, named) in [
        ("slots = \"four\"", "expected a whole number, 0 or more"),
        ("slots = 0", "slots must be at least 1"),
        ("slotz = 4", "slotz"),
        ("allow_upload = \"maybe\"", "true, yes, on or 1"),
        ("allow_upload = \"on\"\nslots = 0", "slots must be at least 1"),
    ] {
        let folder = folder();
        std::fs::write(folder.path().join("wasmill.toml"), line).expect("written");
        is_refused(&run(&folder, &[], &["serve"]), &[named]);
    }
    for args in [
        &["serve", "--config", "missing"][..],
        &["serve", "--listen", "0", "--webhook-secret-file", "missing"],
        &["plugin", "check", "missing.wasm"],
        &["plugin", "put", "missing.wasm"],
        &["run", "missing.wasm"],
        &["backup", "copy.db", "--data", "missing"],
    ] {
        let said = run(&folder(), &[], args);
        assert!(said.code == 5 && said.err.contains("missing"), "{args:?}: {said:?}");
    }
}

#[test]
fn a_variable_that_is_set_is_not_shown_as_an_option_that_is_required() {
    let said = run(&folder(), &[("WASMILL_SERVER", "http://127.0.0.1:9")], &["status"]);
    is_refused(&said, &["Usage: wasmill status"]);
    assert!(!said.err.contains("--server"), "{}", said.err);
}

#[test]
fn the_help_of_a_command_has_no_torn_lines_and_lists_its_own_options_apart_from_those_of_the_server() {
    let said = run(&folder(), &[], &["serve", "--help"]);
    assert!(said.out.lines().all(|line| line != "'-'." && !line.starts_with("'-'. A")), "{}", said.out);
    assert!(!said.out.contains("possible values: true, false"), "{}", said.out);
    let said = run(&folder(), &[], &["status", "--help"]);
    let (own, server) = said.out.split_once("Server:").expect("two parts");
    assert!(own.contains("--input") && !server.contains("--input"), "{}", said.out);
}

#[test]
fn health_asks_the_server_of_a_flag_then_of_a_variable_and_words_a_refusal() {
    let fake = Fake::start(|_| {
        Reply::Json(
            503,
            json!({"title": "Not ready", "detail": "the server is draining", "code": "draining"}),
        )
    });
    let url = fake.url();
    for (variables, args) in [
        (&[][..], &["health", "--server", &url][..]),
        (&[("WASMILL_SERVER", url.as_str()), ("WASMILL_LISTEN", "127.0.0.1:9")], &["health"]),
    ] {
        let said = run(&folder(), variables, args);
        assert!(said.code == 1 && said.err.contains("the server is draining"), "{said:?}");
        assert!(!said.err.contains('{'), "{said:?}");
    }
    let said = run(&folder(), &[("WASMILL_SERVER", &url)], &["health", "--listen", "127.0.0.1:9"]);
    assert!(said.code == 1 && said.err.contains("127.0.0.1:9"), "{said:?}");
}

/// A server that was started with variables and flags of its own.
struct Served {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Served {
    fn start(folder: &TempDir, variables: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut command = command(folder.path(), &[&["serve", "--log-format", "json"], flags].concat());
        let mut child = command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Returns all that is logged until it serves, and where it does.
    fn until_serving(&mut self) -> (String, String) {
        let mut log = String::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("read") > 0, "it ended: {log}");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            log.push_str(&line);
            if event["message"] == "serving" {
                return (log, event["address"].as_str().expect("an address").to_owned());
            }
        }
    }

    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("a process");
        assert!(self.child.wait().expect("its end").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_port_alone_and_localhost_listen_on_loopback() {
    for listen in ["0", ":0", "localhost:0"] {
        let folder = folder();
        let mut server = Served::start(&folder, &[("WASMILL_LISTEN", listen)], &["--debug-listen", listen]);
        let (log, address) = server.until_serving();
        assert!(address.starts_with("127.0.0.1:"), "{listen}: {log}");
        let health =
            run(&folder, &[("WASMILL_LISTEN", address.trim_start_matches("127.0.0.1"))], &["health"]);
        assert_eq!(health.code, 0, "{health:?}");
        server.stop();
    }
    is_refused(
        &settings(&[("WASMILL_LISTEN", "somewhere:80")], &[]),
        &["'somewhere:80'", "WASMILL_LISTEN", "0.0.0.0"],
    );
    is_refused(&settings(&[], &["--listen", "*:80"]), &["'*:80'", "--listen"]);
}

#[test]
fn an_empty_secret_counts_as_unset_and_the_log_says_so() {
    let folder = folder();
    let mut server = Served::start(&folder, &[("WASMILL_WEBHOOK_SECRET", ""), ("WASMILL_LISTEN", ":0")], &[]);
    let (log, _) = server.until_serving();
    assert!(log.contains("WASMILL_WEBHOOK_SECRET is empty"), "{log}");
    server.stop();
    let blank = run(&folder, &[("WASMILL_WEBHOOK_SECRET", " \n"), ("WASMILL_LISTEN", ":0")], &["serve"]);
    assert!(blank.code == 2 && blank.err.contains("WASMILL_WEBHOOK_SECRET holds no secret"), "{blank:?}");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "\u{feff}whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\r\n").expect("written");
    let flags = ["--listen", ":0", "--webhook-secret-file", "secret"];
    let mut server = Served::start(&folder, &[], &flags);
    server.until_serving();
    server.stop();
}

#[test]
fn headers_for_a_proxy_go_with_every_request_and_are_never_shown() {
    let fake = Fake::start(|_| Reply::Json(401, json!({"code": "none", "detail": "no entrance"})));
    let url = fake.url();
    let secret = ("WASMILL_HEADERS", "Authorization: Bearer s3cret\nX-Team: 7");
    for command in [&["list"][..], &["stats"], &["submit", "x"], &["plugin", "list"], &["schedule", "list"]] {
        let said = run(&folder(), &[secret, ("WASMILL_SERVER", &url)], command);
        assert!(said.code == 2 && said.err.contains("no entrance"), "{command:?}: {said:?}");
        assert!(!said.err.contains("s3cret"), "{said:?}");
    }
    let flags =
        ["list", "--server", &url, "--header", "Authorization: Bearer s3cret", "--header", "X-Team: 7"];
    run(&folder(), &[], &flags);
    let asked = fake.asked();
    assert_eq!(asked.len(), 6);
    for asked in asked {
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"), "{asked:?}");
        assert_eq!(asked.header("x-team"), Some("7"), "{asked:?}");
    }
    let wrong = run(&folder(), &[("WASMILL_HEADERS", "Authorization Bearer s3cret")], &["list"]);
    is_refused(&wrong, &["WASMILL_HEADERS", "has no ':'"]);
    let help = run(&folder(), &[secret], &["list", "--help"]);
    assert!(!wrong.err.contains("s3cret") && !help.out.contains("s3cret"), "{wrong:?} {help:?}");
}
