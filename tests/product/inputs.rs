//! A wrong input is refused when the task is submitted, and the examples show how.

use std::fs;
use std::path::Path;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{NOOP, Server};

/// Starts a server on which these examples are in service, as far as their manifests and schemas go: what they do
/// is for `examples`.
fn server_with(examples: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    for example in examples {
        fs::write(plugins.join(example).with_extension("wasm"), NOOP).expect("written");
        for beside in ["toml", "schema.json"] {
            let file = format!("{example}.{beside}");
            fs::copy(shipped.join(&file), plugins.join(&file)).expect("copied");
        }
    }
    Server::start_in(folder, &[]).expect("a server")
}

#[tokio::test]
async fn the_examples_refuse_a_wrong_input_when_it_is_submitted() {
    let server = server_with(&["mail-merge", "report", "io-stub-parked"]);
    let client = server.client();
    let right: [(&str, Value); 4] = [
        ("mail-merge", json!({"template": "Dear {{name}}", "rows": [{"name": "Ada"}], "escape": false})),
        ("report", json!({"texts": {"short": "It rains."}})),
        ("io-stub-parked", json!({"min_ms": 1, "max_ms": 2, "fail_rate": 0.5})),
        ("io-stub-parked", json!(null)),
    ];
    for (plugin, input) in right {
        client.submit(&json!({"plugin": plugin, "input": input})).await;
    }
    let wrong: [(&str, Value); 8] = [
        ("mail-merge", json!({"template": "Dear {{name}}"})),
        ("mail-merge", json!({"template": "Dear {{name}}", "rows": []})),
        ("mail-merge", json!({"template": 1, "rows": [{}]})),
        ("report", json!({"texts": {}})),
        ("report", json!({"texts": {"short": 1}})),
        ("report", json!(null)),
        ("io-stub-parked", json!({"min_ms": -1})),
        ("io-stub-parked", json!({"fail_rate": 2})),
    ];
    for (plugin, input) in wrong {
        let refused = client.post("/task", &json!({"plugin": plugin, "input": input})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{plugin} {input}: {}", refused.text);
    }
}
