//! The command line, and the ways a start can fail.

use std::process::{Command, Output};

use wasmill_tests::{NOOP, Server, binary};

fn wasmill(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    Command::new(binary().expect("a binary")).args(args).current_dir(folder.path()).output().expect("a run")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_shows_the_first_steps() {
    let help = wasmill(&["serve", "--help"]);
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--listen", "WASMILL_SLOTS", "127.0.0.1:8080", "curl -X POST localhost:8080/task"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

#[test]
fn an_impossible_setting_is_refused_with_the_reason() {
    assert!(
        error(&wasmill(&["serve", "--slots", "0"]))
            .contains("for '--slots <N>': must be at least 1, or no task")
    );
    assert!(error(&wasmill(&["serve", "--drain", "soon"])).contains("--drain"));
    assert!(error(&wasmill(&["serve", "--config", "missing.toml"])).contains("missing.toml"));
}

#[tokio::test]
async fn a_second_host_on_the_same_folder_is_refused() {
    let server = Server::start(&[]);
    let Err(error) = server.start_beside() else { panic!("two hosts share a folder") };
    let error = error.to_string();
    assert!(error.contains("in use") && error.contains(&server.pid().to_string()), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named_in_the_error() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    let error = error(&wasmill(&["serve", "--listen", &address]));
    assert!(error.contains(&address), "{error}");
}

#[tokio::test]
async fn health_distinguishes_a_ready_server_from_none() {
    let mut server = Server::start(&[]);
    let address = server.address().to_string();
    assert!(wasmill(&["health", "--listen", &address]).status.success());
    server.terminate();
    assert!(error(&wasmill(&["health", "--listen", &address])).contains("failed to connect"));
}

#[test]
fn settings_come_from_a_file_and_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("wasmill.toml"), "listen = \"127.0.0.1:1\"\nslots = 0")
        .expect("written");
    let run = |slots: Option<&str>| {
        let mut command = Command::new(binary().expect("a binary"));
        command.arg("serve").current_dir(folder.path());
        if let Some(slots) = slots {
            command.env("WASMILL_SLOTS", slots);
        }
        error(&command.output().expect("a run"))
    };
    assert!(run(None).contains("line 2, column 9"), "the file is read");
    // With that fixed by the environment, the next obstacle is the port of the file, which only root may
    // bind; root would serve, so the environment sets an invalid value instead.
    assert!(run(Some("none")).contains("WASMILL_SLOTS") || run(Some("none")).contains("--slots"));
}

#[test]
fn plugin_check_agrees_with_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |file: &str| {
        let mut command = Command::new(binary().expect("a binary"));
        command.args(["plugin", "check", file]).current_dir(folder.path()).output().expect("a run")
    };
    std::fs::write(folder.path().join("good.wasm"), NOOP).expect("written");
    std::fs::write(folder.path().join("bad.wasm"), &NOOP[..99]).expect("written");
    let good = check("good.wasm");
    let printed = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success() && printed.contains("kind      task"), "{printed}");
    assert!(error(&check("bad.wasm")).contains("bad.wasm is rejected"));
    assert!(error(&check("missing.wasm")).contains("failed to read missing.wasm"));
    assert!(error(&check("good.txt")).contains("end in .wasm"));
    std::fs::write(folder.path().join("good.toml"), "limits.memory = \"1GiB\"").expect("written");
    assert!(error(&check("good.wasm")).contains("1 GiB"));
    std::fs::write(folder.path().join("wasmill.toml"), "memory_max = \"1GiB\"").expect("written");
    assert!(check("good.wasm").status.success(), "the settings of serve count");
}

#[tokio::test]
async fn list_shows_the_plugins_of_a_server() {
    let server = Server::start(&[]);
    let address = format!("http://{}", server.address());
    let list = wasmill(&["plugin", "list", "--server", &address]);
    let printed = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.status.success() && printed.contains("misbehave") && printed.contains("ready"), "{printed}");
    let json = wasmill(&["plugin", "list", "--json", "--server", &address]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(3));
}

#[test]
fn a_message_says_what_is_wrong_where_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let file = file.path().to_str().expect("text");
    for (args, parts) in [
        (
            &["serve", "--listen", &address][..],
            &[address.as_str(), "another process uses this port", "--listen"][..],
        ),
        (&["serve", "--listen", "0", "--data", file], &[file, "is a file", "choose another data folder"]),
        (&["serve", "--disk", "big"], &["'big'", "--disk", "such as 64MiB"]),
        (&["serve", "--memory", "big"], &["'big'", "--memory", "such as 64MiB"]),
        (&["list", "--limit", "x"], &["'x'", "--limit", "must be a whole number"]),
        (&["run", "io-stub", "--max-attempts", "0"], &["'0'", "--max-attempts", "from 1 to 100"]),
        (&["submit", "--priority", "high"], &["'high'", "--priority", "such as 5 or -5"]),
        (&["list", "--server", "http://no.invalid"], &["http://no.invalid", "not found", "WASMILL_SERVER"]),
        (&["list", "--server", "http://127.0.0.1:1"], &["127.0.0.1:1", "refused", "`wasmill serve`"]),
    ] {
        let printed = error(&wasmill(args));
        for part in parts {
            assert!(printed.contains(part), "{args:?} lacks {part}: {printed}");
        }
    }
}
