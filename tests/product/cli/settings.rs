//! Settings from flags, the environment and the file, and the errors that name them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{CommandOutput, command};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs a command with these environment variables.
fn run(folder: &TempDir, variables: &[(&str, &str)], args: &[&str]) -> CommandOutput {
    let mut command = command(folder.path(), args);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().expect("it starts");
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Makes `serve` parse its settings and then stop: the last file it names does not exist.
fn settings(variables: &[(&str, &str)], flags: &[&str]) -> CommandOutput {
    let args = [&["serve"], flags, &["--config", "no-such-file.toml"]].concat();
    run(&folder(), variables, &args)
}

#[track_caller]
fn is_taken(printed: &CommandOutput) {
    assert!(printed.code == 5 && printed.err.contains("no-such-file.toml"), "{printed:?}");
}

#[track_caller]
fn is_refused(printed: &CommandOutput, named: &[&str]) {
    assert_eq!(printed.code, 2, "{printed:?}");
    for name in named {
        assert!(printed.err.contains(name), "{name} is not named: {}", printed.err);
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
fn yes_and_no_are_booleans() {
    for word in ["1", "true", "yes", "on", "TRUE", "0", "false", "no", "off"] {
        is_taken(&settings(&[("WASMILL_ALLOW_UPLOAD", word), ("WASMILL_DEBUG_REMOTE", word)], &[]));
        is_taken(&settings(&[], &["--allow-upload", word]));
    }
    is_refused(&settings(&[("WASMILL_ALLOW_UPLOAD", "maybe")], &[]), &["'maybe'", "WASMILL_ALLOW_UPLOAD"]);
}

#[test]
fn an_error_names_the_variable_of_the_value() {
    is_refused(&settings(&[("WASMILL_SLOTS", "many")], &[]), &["'many'", "WASMILL_SLOTS"]);
    is_refused(&settings(&[("WASMILL_LOG_FORMAT", "xml")], &[]), &["'xml'", "WASMILL_LOG_FORMAT"]);
    let flag = settings(&[("WASMILL_SLOTS", "5")], &["--slots", "many"]);
    is_refused(&flag, &["'many'", "'--slots"]);
    assert!(!flag.err.contains("WASMILL_SLOTS"), "{}", flag.err);
}

#[test]
fn an_unknown_variable_is_an_error_with_the_nearest_name() {
    for command in [&["serve"][..], &["list"], &["plugin", "check", "x.wasm"], &["run", "io-stub"]] {
        is_refused(
            &run(&folder(), &[("WASMILL_SLOT", "3")], command),
            &["WASMILL_SLOT;", "did you mean WASMILL_SLOTS?"],
        );
    }
    let doctor = run(&folder(), &[("WASMILL_LISTENS", ":1")], &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&doctor.out).expect("JSON");
    assert_eq!((doctor.code, report["checks"][0]["state"].as_str()), (1, Some("fail")));
    assert!(doctor.out.contains("did you mean WASMILL_LISTEN?"), "{}", doctor.out);
    // Variables that Kubernetes sets for a service of this name, and those of tests and shells.
    let others =
        [("WASMILL_PORT", "tcp://10.0.0.1:80"), ("WASMILL_SERVICE_HOST", "10.0.0.1"), ("WASMILL_SLOT", "")];
    is_taken(&settings(&others, &[]));
    assert_eq!(run(&folder(), &[("WASMILL_SLOT", "3")], &["completions", "bash"]).code, 0);
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_names_it() {
    let raw = OsStr::from_bytes(b"\xff");
    let run = |variable: &OsStr, args: &[&str]| {
        let mut command = command(folder().path(), args);
        let output = command.env(variable, raw).current_dir("/").stdin(Stdio::null()).output();
        let output = output.expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let serve = &["serve", "--listen", "127.0.0.1:0", "--data", "/dev/null/none"][..];
    for (variable, args) in [
        ("WASMILL_SLOTS", serve),
        ("WASMILL_LISTEN", &["serve", "--data", "/dev/null/none"]),
        ("WASMILL_OTLP_ENDPOINT", serve),
        ("WASMILL_GROUP_TAG", serve),
        ("WASMILL_PUBLIC_HOST", serve),
        ("WASMILL_LOG", serve),
        ("WASMILL_WEBHOOK_SECRET", serve),
        ("WASMILL_NOTHING", serve),
        ("WASMILL_SERVER", &["list"]),
        ("WASMILL_HEADERS", &["health"]),
        ("WASMILL_SLOTS", &["doctor"]),
        ("WASMILL_SLOTS", &["plugin", "check", "x.wasm"]),
        ("WASMILL_MEMORY", &["run", "io-stub"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", serve),
        ("OTEL_EXPORTER_OTLP_HEADERS", serve),
        ("OTEL_SERVICE_NAME", serve),
    ] {
        let (code, printed) = run(variable.as_ref(), args);
        assert!(code == Some(2) && printed.contains(variable), "{variable}: {code:?} {printed}");
        assert!(!printed.contains("panicked"), "{printed}");
    }
    let (code, printed) = run(OsStr::from_bytes(b"WASMILL_\xff"), serve);
    assert!(code == Some(2) && printed.contains("WASMILL_\u{fffd}"), "{code:?} {printed}");

    // Arguments, also beside an error in another one.
    for args in [&["serve", "--slots"][..], &["serve", "--slots", "many", "--data"], &["submit", "--input"]] {
        let output = command(folder().path(), args).arg(raw).current_dir("/").output().expect("it starts");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && !printed.contains("panicked"), "{args:?}: {printed}");
        assert!(printed.contains("many") || printed.contains("'\u{fffd}' is not UTF-8"), "{printed}");
    }
}

#[test]
fn an_invalid_log_level_is_named_in_the_error() {
    for word in ["warning", "verbose", "info,critical"] {
        let named = word.rsplit(',').next().unwrap_or_default();
        is_refused(&settings(&[("WASMILL_LOG", word)], &[]), &[named, "not a log level", "WASMILL_LOG"]);
        is_refused(&settings(&[], &["--log", word]), &[named, "not a log level"]);
    }
    for filter in ["warn", "debug,hyper=warn", "wasmill_store=trace", "off"] {
        is_taken(&settings(&[("WASMILL_LOG", filter)], &[]));
    }
    let folder = folder();
    std::fs::write(folder.path().join("wasmill.toml"), "log = \"warning\"").expect("written");
    let printed = run(&folder, &[], &["serve"]);
    is_refused(&printed, &["'warning' is not a log level"]);
}

#[test]
fn a_missing_settings_file_is_an_error_and_a_byte_order_mark_is_not() {
    let folder = folder();
    let file = folder.path().join("wasmill.toml");
    symlink("not-mounted.toml", &file).expect("a link");
    for command in [&["serve"][..], &["plugin", "check", "x.wasm"], &["backup", "x.db"], &["run", "io-stub"]]
    {
        let printed = run(&folder, &[], command);
        assert!(printed.code == 5 && printed.err.contains("wasmill.toml"), "{command:?}: {printed:?}");
    }
    std::fs::write(folder.path().join("not-mounted.toml"), "\u{feff}slots = 0").expect("written");
    let printed = run(&folder, &[], &["serve"]);
    is_refused(&printed, &["for '--slots <N>': must be at least 1"]);
}

#[test]
fn invalid_settings_exit_with_2_and_missing_files_with_5() {
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
        ("slots = \"four\"", "must be a whole number, 0 or more"),
        ("slots = 0", "for '--slots <N>': must be at least 1"),
        ("slotz = 4", "unknown setting slotz; did you mean slots?"),
        ("allow_upload = \"maybe\"", "true, yes, on or 1"),
        ("allow_upload = \"on\"\nslots = 0", "for '--slots <N>': must be at least 1"),
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
        let printed = run(&folder(), &[], args);
        assert!(printed.code == 5 && printed.err.contains("missing"), "{args:?}: {printed:?}");
    }
}

#[test]
fn an_option_set_by_a_variable_is_not_shown_as_required() {
    let printed = run(&folder(), &[("WASMILL_SERVER", "http://127.0.0.1:9")], &["status"]);
    is_refused(&printed, &["Usage: wasmill status"]);
    assert!(!printed.err.contains("--server"), "{}", printed.err);
}

#[test]
fn help_has_no_broken_lines_and_lists_server_options_separately() {
    let printed = run(&folder(), &[], &["serve", "--help"]);
    assert!(printed.out.lines().all(|line| line != "'-'." && !line.starts_with("'-'. A")), "{}", printed.out);
    assert!(!printed.out.contains("possible values: true, false"), "{}", printed.out);
    let printed = run(&folder(), &[], &["status", "--help"]);
    let (own, server) = printed.out.split_once("Server:").expect("two parts");
    assert!(own.contains("--input") && !server.contains("--input"), "{}", printed.out);
}

#[test]
fn health_prefers_the_flag_over_the_variable_and_prints_the_reason() {
    let mock_server = MockServer::start(|_| {
        Reply::Json(
            503,
            json!({"title": "Not ready", "detail": "the server is draining", "code": "draining"}),
        )
    });
    let url = mock_server.url();
    for (variables, args) in [
        (&[][..], &["health", "--server", &url][..]),
        (&[("WASMILL_SERVER", url.as_str()), ("WASMILL_LISTEN", "127.0.0.1:9")], &["health"]),
    ] {
        let printed = run(&folder(), variables, args);
        assert!(printed.code == 1 && printed.err.contains("the server is draining"), "{printed:?}");
        assert!(!printed.err.contains('{'), "{printed:?}");
    }
    let printed = run(&folder(), &[("WASMILL_SERVER", &url)], &["health", "--listen", "127.0.0.1:9"]);
    assert!(printed.code == 1 && printed.err.contains("127.0.0.1:9"), "{printed:?}");
}

/// A server started with these variables and flags.
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

    /// Returns the log until it serves, and its address.
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
        // Both fail if it has already exited.
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
    assert!(blank.code == 2 && blank.err.contains("WASMILL_WEBHOOK_SECRET contains no secret"), "{blank:?}");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "\u{feff}whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\r\n").expect("written");
    let flags = ["--listen", ":0", "--webhook-secret-file", "secret"];
    let mut server = Served::start(&folder, &[], &flags);
    server.until_serving();
    server.stop();
}

#[test]
fn proxy_headers_are_sent_with_every_request_and_never_shown() {
    let mock_server =
        MockServer::start(|_| Reply::Json(401, json!({"code": "none", "detail": "no entrance"})));
    let url = mock_server.url();
    let secret = ("WASMILL_HEADERS", "Authorization: Bearer s3cret\nX-Team: 7");
    for command in [&["list"][..], &["stats"], &["submit", "x"], &["plugin", "list"], &["schedule", "list"]] {
        let printed = run(&folder(), &[secret, ("WASMILL_SERVER", &url)], command);
        assert!(printed.code == 2 && printed.err.contains("no entrance"), "{command:?}: {printed:?}");
        assert!(!printed.err.contains("s3cret"), "{printed:?}");
    }
    let flags =
        ["list", "--server", &url, "--header", "Authorization: Bearer s3cret", "--header", "X-Team: 7"];
    run(&folder(), &[], &flags);
    let received = mock_server.requests();
    assert_eq!(received.len(), 6);
    for received in received {
        assert_eq!(received.header("authorization"), Some("Bearer s3cret"), "{received:?}");
        assert_eq!(received.header("x-team"), Some("7"), "{received:?}");
    }
    let wrong = run(&folder(), &[("WASMILL_HEADERS", "Authorization Bearer s3cret")], &["list"]);
    is_refused(&wrong, &["WASMILL_HEADERS", "has no ':'"]);
    let help = run(&folder(), &[secret], &["list", "--help"]);
    assert!(!wrong.err.contains("s3cret") && !help.out.contains("s3cret"), "{wrong:?} {help:?}");
}

/// Runs a command that must end by itself, without reading all of an endless file.
fn ends(mut command: Command) -> CommandOutput {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().expect("a process").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a process");
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its end");
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn endless_files_are_refused_wherever_a_file_is_named() {
    let folder = folder();
    let [device, pipe, large] = ["device.wasm", "pipe.wasm", "large.wasm"];
    symlink("/dev/zero", folder.path().join(device)).expect("a link");
    mknodat(CWD, folder.path().join(pipe), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    File::create(folder.path().join(large)).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    for name in [device, pipe, large] {
        let input = format!("@{name}");
        let commands = [
            &["serve", "--config", name][..],
            &["doctor", "--config", name],
            &["backup", "copy.db", "--config", name],
            &["serve", "--listen", "0", "--webhook-secret-file", name],
            &["serve", "--listen", "0", "--http-roots", name],
            &["serve", "--listen", "0", "--otlp-endpoint", "https://127.0.0.1:9"],
            &["list", "--server", "https://127.0.0.1:9", "--ca", name],
            &["submit", "--input", &input],
            &["submit", "--stdin", name],
            &["schedule", "set", "a", "@daily", "--input", &input],
            &["run", "io-stub", "--input", &input],
            &["run", name],
            &["plugin", "check", name],
            &["plugin", "put", name],
        ];
        for args in commands {
            let mut command = command(folder.path(), args);
            command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", name).stdin(Stdio::null());
            let printed = ends(command);
            let said = if args[0] == "doctor" { &printed.out } else { &printed.err };
            assert!(matches!(printed.code, 1 | 2), "{args:?}: {printed:?}");
            let why = if name == large { "larger than" } else { "not a regular file" };
            assert!(said.contains(why), "{args:?}: {printed:?}");
        }
    }
    for args in [&["submit", "--input", "-"], &["submit", "--stdin", "-"]] {
        let mut command = command(folder.path(), args);
        command.stdin(File::open("/dev/zero").expect("a device"));
        let printed = ends(command);
        assert!(printed.code == 1 && printed.err.contains("larger than 256 MiB"), "{args:?}: {printed:?}");
    }
}
