//! The command line and the ways a start can fail.

use std::process::{Command, Output};

use wasmill_tests::{Server, binary};

fn wasmill(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    Command::new(binary().expect("a binary")).args(args).current_dir(folder.path()).output().expect("a run")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_teaches_the_first_steps() {
    let help = wasmill(&["serve", "--help"]);
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--listen", "WASMILL_SLOTS", "127.0.0.1:8080", "curl -X POST localhost:8080/task"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

#[test]
fn a_setting_that_cannot_work_is_refused_with_the_reason() {
    assert!(error(&wasmill(&["serve", "--slots", "0"])).contains("slots must be at least 1"));
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
async fn a_taken_port_is_named() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    let error = error(&wasmill(&["serve", "--listen", &address]));
    assert!(error.contains(&address), "{error}");
}

#[tokio::test]
async fn health_tells_a_ready_server_from_none() {
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
    assert!(run(None).contains("slots must be at least 1"), "the file is read");
    // With that mended by the environment, the next thing in its way is the port of the file, which
    // only root may listen on; as root it would serve, so the environment names a bad value instead.
    assert!(run(Some("none")).contains("WASMILL_SLOTS") || run(Some("none")).contains("--slots"));
}
