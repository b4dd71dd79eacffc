//! Keys that commands keep for a server, and keys that are looked at.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use wasmill_access::SecretKey;
use wasmill_tests::{CommandOutput, Server, command, wasmill, wasmill_with_stdin};

/// Runs a command of a user with this folder for settings.
fn run(home: &Path, args: &[&str], key: Option<&str>) -> CommandOutput {
    let mut command = command(home, args);
    command.env("XDG_CONFIG_HOME", home.join("config")).stdin(Stdio::null());
    if let Some(key) = key {
        command.env("WASMILL_KEY", key);
    }
    let output = command.output().expect("it starts");
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_key_that_is_stored_is_sent_until_it_is_forgotten() {
    let (server, home) = (Server::start(&[]), tempfile::tempdir().expect("a folder"));
    let url = format!("http://{}", server.address());
    let at = ["--server", &url];
    let run = |args: &[&str], key: Option<&str>| run(home.path(), &[args, &at].concat(), key);
    let open = run(&["login"], Some(&"x".repeat(40)));
    assert!(open.code == 6 && open.err.contains("asks for no key"), "{} {}", open.code, open.err);
    let key = server.create_key("ada", &["--scope", "read,submit", "--group", "t1", "--expires", "never"]);
    assert_eq!(run(&["list"], None).code, 2, "it needs a key");
    // A key that the server does not take is not stored.
    let other = SecretKey::random();
    let refused = run(&["login"], Some(other.reveal()));
    assert!(refused.code != 0 && refused.err.contains("no key of this server"), "{}", refused.err);
    let damaged = run(&["login"], Some(&key[..60]));
    assert!(damaged.code == 2 && damaged.err.contains("not a key"), "{}", damaged.err);
    assert!(!home.path().join("config").exists());
    // A file of other lines keeps them.
    let list = home.path().join("config/wasmill/keys");
    let login = run(&["login", "--json"], Some(&key));
    assert_eq!(login.code, 0, "{}", login.err);
    let shown: Value = serde_json::from_str(&login.out).expect("JSON");
    assert_eq!(
        (&shown["name"], &shown["scopes"], &shown["groups"], &shown["expires"]),
        (&json!("ada"), &json!(["read", "submit"]), &json!(["t1"]), &Value::Null),
        "{shown}"
    );
    assert_eq!(list.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        list.parent().expect("a folder").metadata().expect("a folder").permissions().mode() & 0o777,
        0o700
    );
    let text = std::fs::read_to_string(&list).expect("a file");
    std::fs::write(&list, format!("https://tasks.example.org wmk_other\n{text}")).expect("written");
    assert_eq!(run(&["list"], None).code, 0, "later commands send it");
    let newer = server.create_key("eve", &["--scope", "watch"]);
    let login = run(&["login"], Some(&newer));
    assert!(login.code == 0 && login.err.contains("key eve may watch"), "{}", login.err);
    let text = std::fs::read_to_string(&list).expect("a file");
    assert_eq!(text, format!("https://tasks.example.org wmk_other\n{url} {newer}\n"));
    assert!(!login.err.contains(&newer[13..]) && !login.out.contains(&newer[13..]));
    for expected in ["forgot the key", "no key of"] {
        let logout = run(&["logout"], None);
        assert!(logout.code == 0 && logout.err.contains(expected), "{}", logout.err);
    }
    assert_eq!(run(&["list"], None).code, 2, "it is forgotten");
    assert_eq!(std::fs::read_to_string(&list).expect("a file"), "https://tasks.example.org wmk_other\n");
    // A list that others may read is neither used nor changed.
    std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let login = run(&["login"], Some(&newer));
    assert!(login.code == 1 && login.err.contains("chmod 600"), "{} {}", login.code, login.err);
}

#[test]
fn a_key_is_looked_at_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| wasmill(folder.path(), args);
    let create = |name: &str, options: &[&str]| {
        let made = run(&[&["key", "create", name], options].concat());
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim().to_owned()
    };
    let check = |key: &str, args: &[&str]| {
        wasmill_with_stdin(folder.path(), &[&["key", "check"], args].concat(), &format!("{key}\n"))
    };
    let key = create("ci", &["--scope", "submit,cancel", "--group", "t1", "--rate", "5/s"]);
    let shown = check(&key, &[]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    let expected =
        format!("key ci ({}) may submit,cancel within groups t1; at most 5/1s and ends at ", &key[4..12]);
    assert!(shown.out.starts_with(&expected), "{}", shown.out);
    let shown: Value = serde_json::from_str(&check(&key, &["--json"]).out).expect("JSON");
    assert_eq!(
        (&shown["in_force"], &shown["groups"], &shown["name"]),
        (&json!(true), &json!(["t1"]), &json!("ci"))
    );
    // A file, of which others must not read the key.
    let path = folder.path().join("ci.key");
    std::fs::write(&path, &key).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
    assert_eq!(run(&["key", "check", "--key-file", "ci.key"]).code, 0);
    let short = create("short", &["--scope", "watch", "--expires", "1ms"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let ended = check(&short, &[]);
    assert!(ended.code == 1 && ended.out.contains("has ended"), "{} {}", ended.out, ended.err);
    assert_eq!(run(&["key", "revoke", "ci"]).code, 0);
    for unknown in [key.as_str(), SecretKey::random().reveal(), &"x".repeat(40)] {
        let unknown = check(unknown, &[]);
        assert!(unknown.code == 1 && unknown.err.contains("no file has the key"), "{}", unknown.err);
    }
    assert_eq!(check(&key, &["--json"]).out.trim(), "null");
    for damaged in [&key[..61], &key.replace('_', "-"), "", "two words"] {
        let damaged = check(damaged, &[]);
        assert!(damaged.code == 2 || damaged.code == 1, "{}", damaged.err);
    }
    let mistyped = check(&format!("{}{}", &key[..61], if key.ends_with('A') { 'B' } else { 'A' }), &[]);
    assert!(mistyped.code == 2 && mistyped.err.contains("checksum"), "{} {}", mistyped.code, mistyped.err);
}
