//! `wasmill test`: runs the cases of a plugin without a server.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use wasmill_tests::terminal::Terminal;
use wasmill_tests::{CommandOutput, MISBEHAVE, PROGRAM, wasmill};

/// Creates a folder with a plugin and its cases.
fn folder(cases: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("misbehave.wasm"), MISBEHAVE).expect("written");
    fs::write(folder.path().join("misbehave.test.toml"), cases).expect("written");
    folder
}

fn test(folder: &TempDir, options: &[&str]) -> CommandOutput {
    wasmill(folder.path(), &[&["test"], options].concat())
}

const PASSING: &str = r#"
[[case]]
name = "an echo"
input = { do = "echo", text = "grüße" }
result = "grüße"

[[case]]
name = "a result that is JSON"
input = { do = "echo", text = '{"b": [1, 2.5], "a": null}' }
result_file = "expected.json"

[[case]]
name = "a part of a result"
input = { do = "echo", text = "one two" }
result_has = ["one", "two"]
limits = { memory = "64MiB", cpu = "20s", http_requests = 0 }

[[case]]
name = "a log"
input = { do = "log", out = "to stdout", err = "to stderr" }
log_has = ["to stdout\n", "to stderr\n"]

[[case]]
name = "a failure"
input = { do = "fail", kind = "io", message = "the disk is gone" }
failure = "io"
message_has = "disk"

[[case]]
name = "a timeout"
input = { do = "sleep", ms = 60000 }
timeout = "100ms"
failure = "timeout"

[[case]]
name = "a second attempt that finds the checkpoint of the first"
input = { do = "count-then-fail", succeed_on = 2 }
max_attempts = 2

[[case]]
name = "an input that is refused"
input_file = "input.json"
failure = "invalid-input"
"#;

#[test]
fn cases_that_pass_are_counted() {
    let folder = folder(PASSING);
    fs::write(folder.path().join("expected.json"), r#"{"a": null, "b": [1, 2.5]}"#).expect("written");
    fs::write(folder.path().join("input.json"), r#"{"do": "nothing that it knows"}"#).expect("written");
    fs::write(folder.path().join("misbehave.toml"), "[retry]\nbackoff = { first = \"10ms\" }\n")
        .expect("written");
    let printed = test(&folder, &[]);
    assert!(printed.code == 0 && printed.out.ends_with("8 of 8 cases passed\n"), "{printed:?}");
    assert!(printed.out.starts_with("ok      misbehave: an echo ("), "{printed:?}");
    assert_eq!(printed.err, "", "a log is shown of failures only");
    // The same by the file of the plugin, the file of the cases, and both.
    for options in [
        &["misbehave.wasm"][..],
        &["--cases", "misbehave.test.toml"],
        &["./misbehave.wasm", "--cases", "./misbehave.test.toml"],
    ] {
        let printed = test(&folder, options);
        assert!(printed.code == 0 && printed.out.contains("8 of 8"), "{options:?}: {printed:?}");
    }
    let printed = test(&folder, &["--filter", "misbehave: a t"]);
    assert!(
        printed.code == 0 && printed.out.contains("a timeout") && printed.out.contains("1 of 1"),
        "{printed:?}"
    );
}

#[test]
fn a_case_that_fails_shows_the_difference_and_the_log() {
    let folder = folder(
        r#"
[[case]]
name = "another line"
input = { do = "echo", text = "one\ntwo\nthree" }
result = "one\nto\nthree"

[[case]]
name = "another end"
input = { do = "log", out = "written before", err = "" }
failure = "trap"

[[case]]
name = "too much memory"
input = { do = "noop" }
limits = { memory = "64KiB" }

[[case]]
name = "one that passes"
input = { do = "noop" }
"#,
    );
    let printed = test(&folder, &[]);
    assert!(printed.code == 1 && printed.out.ends_with("1 of 4 cases passed\n"), "{printed:?}");
    for shown in [
        "FAILED  misbehave: another line (",
        "\n          one\n        - to\n        + two\n          three\n",
        "it should fail with \"trap\", but completed: \"ok\"",
        "its log:\n          written before\n",
        "of memory, more than 64.0 KiB (65536 bytes)",
        "ok      misbehave: one that passes (",
    ] {
        assert!(printed.out.contains(shown), "{shown}: {}", printed.out);
    }
    let printed = test(&folder, &["--json"]);
    let lines: Vec<Value> =
        printed.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let passed: Vec<_> = lines.iter().map(|line| line["passed"].as_bool().expect("a boolean")).collect();
    assert_eq!((printed.code, passed), (1, vec![false, false, false, true]));
    assert!(lines[0]["wrong"][0].as_str().expect("a text").contains("+ two"), "{}", lines[0]);
    assert!(lines[3]["usage"]["peak_memory_bytes"].as_u64().expect("bytes") > 0, "{}", lines[3]);
}

#[test]
fn a_mistake_in_the_cases_is_told_before_any_runs() {
    let ran = "[[case]]\nname = \"a\"\ninput = { do = \"noop\" }\n";
    let missing = tempfile::tempdir().expect("a folder");
    let printed = wasmill(missing.path(), &["test"]);
    assert!(printed.code == 5 && printed.err.contains(".test.toml"), "{printed:?}");
    fs::write(missing.path().join("gone.test.toml"), ran).expect("written");
    let printed = wasmill(missing.path(), &["test"]);
    assert!(printed.code == 5 && printed.err.contains("gone.wasm"), "{printed:?}");

    let wrong = folder(&format!("{ran}[[case]]\nname = \"b\"\nresult = 1\nfailure = \"io\"\n"));
    let printed = test(&wrong, &[]);
    assert!(
        printed.code == 2 && printed.err.contains("line 4, column 1: case 'b': failure excludes"),
        "{printed:?}"
    );
    assert_eq!(printed.out, "");

    let folder = folder(ran);
    let printed = test(&folder, &["--filter", "b"]);
    assert!(
        printed.code == 0 && printed.out.contains("misbehave: a"),
        "the plugin's name counts: {printed:?}"
    );
    let printed = test(&folder, &["--filter", "xyz"]);
    assert!(printed.code == 2 && printed.err.contains("no case has 'xyz'"), "{printed:?}");
    let printed = test(&folder, &["io-stub"]);
    assert!(printed.code == 2 && printed.err.contains("--cases FILE"), "{printed:?}");
    fs::write(folder.path().join("misbehave.wasm"), "no wasm").expect("written");
    let printed = test(&folder, &[]);
    assert!(printed.code == 2 && printed.err.contains("misbehave.wasm cannot run"), "{printed:?}");
}

#[test]
fn programs_and_built_in_plugins_have_cases_too() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("program.wasm"), PROGRAM).expect("written");
    let cases = "[[case]]\nname = \"an exit\"\ninput = { args = [\"exit\", \"3\"] }\nfailure = \"exit-1\"\nmessage_has = \"last line\"\n";
    fs::write(folder.path().join("program.test.toml"), cases).expect("written");
    let printed = wasmill(folder.path(), &["test"]);
    assert!(printed.code == 0 && printed.out.contains("1 of 1"), "{printed:?}");
    let cases =
        "[[case]]\nname = \"at once\"\ninput = { min_ms = 0, max_ms = 0, fail_rate = 1 }\nfailure = \"io\"\n";
    fs::write(folder.path().join("stub.toml"), cases).expect("written");
    let printed = wasmill(folder.path(), &["test", "io-stub", "--cases", "stub.toml"]);
    assert!(printed.code == 0 && printed.out.contains("ok      io-stub: at once"), "{printed:?}");
}

#[test]
fn ctrl_c_ends_the_cases() {
    let folder = folder(
        "[[case]]\nname = \"the first\"\ninput = { do = \"noop\" }\n\
         [[case]]\nname = \"one that waits\"\ninput = { do = \"sleep\", ms = 600000 }\n\
         [[case]]\nname = \"the last\"\ninput = { do = \"noop\" }\n",
    );
    let mut terminal = Terminal::start(folder.path(), &["test"]);
    terminal.until_shows("the first");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(
        code == 3 && shown.contains("1 of 1 cases passed") && shown.contains("stopped before"),
        "{shown}"
    );
}
