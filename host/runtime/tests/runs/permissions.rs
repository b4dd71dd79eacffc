//! What a guest can access, seen from inside: nothing unless permitted, and no more than that.

use std::net::SocketAddr;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wasmill_model::Cause;
use wasmill_runtime::{DirRule, HttpRule, Permissions, PluginConfig, Runtime};

use crate::support::{finish, misbehave, plugin_config, program, runtime_of};

fn runtime(permissions: Permissions) -> Runtime {
    runtime_of("program", program(), PluginConfig { permissions, ..plugin_config() })
}

async fn run(runtime: &Runtime, args: &[&str]) -> String {
    finish(runtime, "program", &json!({ "args": args }).to_string()).await.unwrap()
}

/// Creates a folder with a file and a link to a secret beside the folder.
pub(crate) fn folders() -> (TempDir, std::path::PathBuf) {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    std::fs::write(inner.join("file"), "file").unwrap();
    std::os::unix::fs::symlink("../secret", inner.join("way-out")).unwrap();
    std::os::unix::fs::symlink(outer.path(), inner.join("up")).unwrap();
    (outer, inner)
}

fn with_folder(host: &std::path::Path, write: bool) -> Runtime {
    let dirs = vec![DirRule { host: host.to_owned(), guest: "/in".to_owned(), write }];
    runtime(Permissions { dirs, ..Permissions::default() })
}

#[tokio::test]
async fn a_folder_can_be_read_and_not_written_unless_permitted() {
    let (_outer, inner) = folders();
    let reader = with_folder(&inner, false);
    assert_eq!(run(&reader, &["read", "/in/file"]).await, "file");
    for args in [&["put", "/in/file", "new"][..], &["put", "/in/new", "new"], &["remove", "/in/file"]] {
        let said = run(&reader, args).await;
        assert!(said.contains("not permitted") || said.contains("denied"), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(inner.join("file")).unwrap(), "file");

    let writer = with_folder(&inner, true);
    assert_eq!(run(&writer, &["put", "/in/new", "new"]).await, "written");
    assert_eq!(std::fs::read_to_string(inner.join("new")).unwrap(), "new");
    assert_eq!(run(&writer, &["remove", "/in/new"]).await, "removed");
}

#[tokio::test]
async fn no_path_leads_out_of_a_folder() {
    let (outer, inner) = folders();
    let runtime = with_folder(&inner, true);
    for path in ["/in/../secret", "/in/way-out", "/in/up/secret", "/etc/passwd", "/in/x/../../secret"] {
        let said = run(&runtime, &["read", path]).await;
        assert!(!said.contains("secret") && !said.contains("root:"), "{path}: {said}");
        let said = run(&runtime, &["put", path, "overwritten"]).await;
        assert_ne!(said, "written", "{path}");
    }
    // Links created by the guest lead no further.
    run(&runtime, &["link", "/in/own", "../secret"]).await;
    run(&runtime, &["link", "/in/absolute", "/etc/passwd"]).await;
    for path in ["/in/own", "/in/absolute"] {
        let said = run(&runtime, &["read", path]).await;
        assert!(!said.contains("root:") && said != "secret", "{path}: {said}");
    }
    assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn without_permission_there_are_no_files() {
    let nothing = runtime(Permissions::default());
    for path in ["/", "/etc/passwd", "file", "/proc/self/environ"] {
        let said = run(&nothing, &["read", path]).await;
        assert!(!said.contains("root:"), "{said}");
        assert!(said.starts_with("NotFound") || said.contains("pre-opened"), "{path}: {said}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_a_host_fault() {
    let (outer, inner) = folders();
    let runtime = with_folder(&inner, false);
    drop(outer);
    let failure = finish(&runtime, "program", r#"{"args":["args"]}"#).await.unwrap_err();
    assert_eq!(failure.cause, Cause::HostFault);
    assert!(failure.message.contains(&inner.display().to_string()), "{failure}");
}

#[tokio::test]
async fn a_task_sees_its_variables_and_folders_too() {
    let (_outer, inner) = folders();
    let dirs = vec![DirRule { host: inner, guest: "/".to_owned(), write: false }];
    let env = [("REGION".to_owned(), "eu".to_owned())].into();
    for (permissions, seen) in [
        (Permissions { env, ..Permissions::default() }, "0 arguments, 1 variables, 0 files, network: false"),
        (Permissions { dirs, ..Permissions::default() }, "0 arguments, 0 variables, 3 files, network: false"),
    ] {
        let runtime = runtime_of("misbehave", misbehave(), PluginConfig { permissions, ..plugin_config() });
        assert_eq!(finish(&runtime, "misbehave", r#"{"do":"look-around"}"#).await.unwrap(), seen);
    }
}

/// Starts a server that responds with the requested path, and redirects from `/away`.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let bytes = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..bytes]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let head = if path == "/away" {
                format!("302 Found\r\nlocation: http://127.0.0.1:{}/inner", address.port())
            } else {
                "200 OK".to_owned()
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{path}",
                path.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn with_http(host: &str, port: u16, path_prefix: &str) -> Runtime {
    let rule = HttpRule {
        scheme: "http".to_owned(),
        host: host.to_owned(),
        port,
        path_prefix: path_prefix.to_owned(),
    };
    runtime(Permissions { http: vec![rule], ..Permissions::default() })
}

#[tokio::test]
async fn http_goes_only_where_it_is_permitted() {
    let port = server().await.port();
    let runtime = with_http("localhost", port, "/open/");
    let get = async |url: String| run(&runtime, &["get", &url]).await;
    assert_eq!(get(format!("http://localhost:{port}/open/a?b=c")).await, "200 /open/a?b=c");
    for url in [
        format!("http://localhost:{port}/closed"),
        format!("http://localhost:{port}/open/../closed"),
        format!("http://127.0.0.1:{port}/open/a"),
        format!("https://localhost:{port}/open/a"),
        "http://localhost/open/a".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://example.com/".to_owned(),
    ] {
        assert_eq!(get(url.clone()).await, "ErrorCode::HttpRequestDenied", "{url}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let port = server().await.port();
    let runtime = with_http("localhost", port, "/");
    assert_eq!(run(&runtime, &["get", &format!("http://localhost:{port}/away")]).await, "302 /away");
}

#[tokio::test]
async fn an_address_named_by_a_rule_is_reachable() {
    let port = server().await.port();
    let runtime = with_http("127.0.0.1", port, "/");
    assert_eq!(run(&runtime, &["get", &format!("http://127.0.0.1:{port}/a")]).await, "200 /a");
}

#[tokio::test]
async fn without_permission_there_is_no_http_and_never_a_socket() {
    let port = server().await.port();
    let nothing = runtime(Permissions::default());
    let url = format!("http://localhost:{port}/");
    assert_eq!(run(&nothing, &["get", &url]).await, "ErrorCode::HttpRequestDenied");
    let permitted = with_http("127.0.0.1", port, "/");
    for runtime in [&nothing, &permitted] {
        let said = run(runtime, &["connect", &format!("127.0.0.1:{port}")]).await;
        assert!(said.starts_with("PermissionDenied"), "{said}");
    }
}
