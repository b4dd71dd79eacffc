//! Input and results that are bytes: they arrive as they are, or with a mark that they are base64.

use std::fs;
use std::process::Stdio;

use data_encoding::BASE64;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PROGRAM, Server, ServerFolder, command};

/// All bytes, which are no text.
fn all_bytes() -> Vec<u8> {
    (0..=255).collect()
}

/// Starts a server with the program as plugins of these names and manifests.
fn server(plugins: &[(&str, &str)]) -> Server {
    let folder = ServerFolder::new();
    let files = folder.path().join("plugins");
    fs::create_dir(&files).expect("a folder");
    for (name, manifest) in plugins {
        fs::write(files.join(format!("{name}.toml")), manifest).expect("written");
        fs::write(files.join(format!("{name}.wasm")), PROGRAM).expect("written");
    }
    let server = Server::start_in(folder, &[]).expect("a server");
    server.wait_for_plugins();
    server
}

/// Runs a plugin that copies these bytes, and returns its id.
async fn copy(client: &Client, plugin: &str, bytes: &[u8]) -> String {
    let input = json!({"args": ["cat"], "stdin_base64": BASE64.encode(bytes)});
    let id = client.submit(&json!({"plugin": plugin, "input": input})).await;
    let task = client.until_finished(&id).await;
    assert_eq!(task.str("state"), "completed", "{}", task.text);
    id
}

async fn result(client: &Client, id: &str, accept: &str) -> Answer {
    let path = format!("/task/{id}/result");
    client.send_with(Method::GET, &path, &[("accept", accept)], None).await.expect("an answer")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn bytes_go_in_and_come_out_unaltered() {
    let server = server(&[("plain", ""), ("picture", "output = \"png\""), ("page", "output = \"html\"")]);
    let client = server.client();
    for (plugin, media) in [("plain", "application/octet-stream"), ("picture", "image/png")] {
        let id = copy(&client, plugin, &all_bytes()).await;
        let json = client.get(&format!("/task/{id}/result")).await;
        let encoded = BASE64.encode(&all_bytes());
        let expected = json!({"result": encoded, "result_type": media, "result_encoding": "base64"});
        assert_eq!((json.status, &json.json), (StatusCode::OK, &expected));
        let record = client.get(&format!("/task/{id}")).await;
        let keys = ["result", "result_type", "result_encoding"].map(|key| record.str(key).to_owned());
        assert_eq!(keys, [encoded.as_str(), media, "base64"]);
        for accept in [media, "application/octet-stream", "image/png;q=0.9, application/octet-stream"] {
            let raw = result(&client, &id, accept).await;
            let length = header(&raw.headers, "content-length");
            assert_eq!((raw.status, length), (StatusCode::OK, "256"), "{accept}: {}", raw.text);
            assert_eq!(raw.text, String::from_utf8_lossy(&all_bytes()));
            assert_eq!(header(&raw.headers, "x-content-type-options"), "nosniff");
        }
        assert_eq!(header(&result(&client, &id, media).await.headers, "content-type"), media);
    }
    let id = copy(&client, "page", b"<script>alert(1)</script>").await;
    let page = result(&client, &id, "text/html").await;
    assert_eq!(header(&page.headers, "content-type"), "text/html; charset=utf-8");
    assert!(header(&page.headers, "content-disposition").starts_with("attachment"), "{:?}", page.headers);
    assert!(header(&page.headers, "content-security-policy").starts_with("sandbox;"), "{:?}", page.headers);
    let browser = "text/html;q=0.9,application/xml;q=0.9,*/*;q=0.8";
    assert_eq!(
        header(&result(&client, &id, &format!("application/json,{browser}")).await.headers, "content-type"),
        "application/json"
    );
}

#[tokio::test]
async fn text_is_answered_as_before() {
    let server = server(&[("plain", "")]);
    let client = server.client();
    let id = copy(&client, "plain", "grün\n".as_bytes()).await;
    for accept in ["*/*", "application/json", "application/json, text/plain, */*", "image/png", "nonsense"] {
        let json = result(&client, &id, accept).await;
        assert_eq!(json.text, "{\"result\":\"grün\\n\"}", "{accept}");
    }
    let text = result(&client, &id, "text/plain").await;
    assert_eq!(
        (text.text.as_str(), header(&text.headers, "content-type")),
        ("grün\n", "text/plain; charset=utf-8")
    );
    let record = client.get(&format!("/task/{id}")).await;
    assert_eq!((&record.json["result_type"], &record.json["result_encoding"]), (&Value::Null, &Value::Null));
    // A task without a result says so whatever is accepted.
    let later = client.submit(&json!({"plugin": "plain", "delay": "1h"})).await;
    assert_eq!(result(&client, &later, "application/octet-stream").await.status, StatusCode::ACCEPTED);
    let failed = client.submit(&json!({"plugin": "plain", "input": {"args": ["fail"]}})).await;
    client.until_finished(&failed).await;
    assert_eq!(result(&client, &failed, "application/octet-stream").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_is_no_base64_or_not_what_was_declared_is_refused() {
    let server = server(&[("plain", ""), ("text", "output = \"text\"")]);
    let client = server.client();
    for input in [
        json!({"stdin_base64": "iVD"}),
        json!({"stdin_base64": "iVD/", "stdin": ""}),
        json!({"stdin_base64": [1]}),
    ] {
        let refused = client.post("/task", &json!({"plugin": "plain", "input": input})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert_eq!(refused.pointers(), ["/input"], "{}", refused.text);
    }
    let input = json!({"args": ["cat"], "stdin_base64": "gA=="});
    let id = client.submit(&json!({"plugin": "text", "input": input})).await;
    let task = client.until_finished(&id).await;
    assert_eq!(task.str("status"), "failed by plugin error", "{}", task.text);
    assert!(task.text.contains("its byte 0 is no UTF-8"), "{}", task.text);
}

#[tokio::test]
async fn a_dependent_reads_the_bytes_of_its_dependency() {
    let server = server(&[("plain", "")]);
    let client = server.client();
    let first = copy(&client, "plain", &all_bytes()).await;
    let second = json!({"plugin": "plain", "input": {"args": ["cat"]}, "depends_on": [first], "input_from": "dependencies"});
    let id = client.submit(&second).await;
    let task = client.until_finished(&id).await;
    assert_eq!(task.str("result"), BASE64.encode(&all_bytes()), "{}", task.text);
}

#[tokio::test]
async fn commands_pass_bytes_through() {
    let server = server(&[("plain", "")]);
    let address = format!("http://{}", server.address());
    let file = server.folder().join("bytes");
    fs::write(&file, all_bytes()).expect("written");
    let run = |args: &[&str]| {
        let output = command(server.folder(), args).stdin(Stdio::null()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let stdin = file.display().to_string();
    let waited = run(&["submit", "plain", "--server", &address, "--stdin", &stdin, "--wait", "--", "cat"]);
    assert_eq!(waited, all_bytes());
    let id = copy(&server.client(), "plain", &all_bytes()).await;
    assert_eq!(run(&["result", &id, "--server", &address]), all_bytes());
    let local = server.folder().join("plugins/plain.wasm").display().to_string();
    assert_eq!(run(&["run", &local, "--stdin", &stdin, "--", "cat"]), all_bytes());
}

#[tokio::test]
async fn the_dashboard_shows_bytes_as_what_they_are() {
    let server = server(&[("plain", ""), ("picture", "output = \"png\"")]);
    let client = server.client().undocumented();
    let shown = async |id: &str, query: &str| {
        let page = client.get(&format!("/ui/task/{id}/result{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        page.text
    };
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &all_bytes()].concat();
    let raw = async |id: &str| client.get(&format!("/ui/raw/{id}/result")).await.headers;
    for plugin in ["plain", "picture"] {
        let id = copy(&server.client(), plugin, &png).await;
        assert!(shown(&id, "").await.contains("<img class=\"result\""), "{plugin}");
        assert!(shown(&id, "?as=hex").await.contains("00000000  89 50 4e 47 0d 0a 1a 0a"), "{plugin}");
        let headers = raw(&id).await;
        assert_eq!(
            (header(&headers, "content-type"), header(&headers, "content-length")),
            ("image/png", "264")
        );
        assert!(header(&headers, "content-security-policy").starts_with("sandbox;"));
        assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
    }
    // What a manifest calls a picture and is none is shown as what it is.
    let id = copy(
        &server.client(),
        "picture",
        &[b"%PDF-1.7\n<script>alert(1)</script>".as_slice(), &[0xff; 9_000]].concat(),
    )
    .await;
    let page = shown(&id, "").await;
    assert!(page.contains("begins like a PDF document") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("Bytes 0 to 4,095 of 9,034"), "{page}");
    let last = shown(&id, "?from=8192").await;
    assert!(last.contains("00002000  ff ff") && !last.contains("00001ff0"), "{last}");
    let headers = raw(&id).await;
    assert_eq!(header(&headers, "content-type"), "application/octet-stream");
    assert_eq!(header(&headers, "content-disposition"), format!("attachment; filename=\"result-{id}.pdf\""));
    for query in ["?as=nonsense", "?from=-1", "?from=x"] {
        let refused = client.get(&format!("/ui/task/{id}/result{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    // Bytes as input come as base64 in JSON, which is what the client sent.
    assert!(client.get(&format!("/ui/task/{id}/input")).await.text.contains("stdin_base64"));
}
