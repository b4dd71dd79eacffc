//! Invalid inputs are refused at submit, for `io-stub` and the examples.

use std::fs;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{NOOP, Server, repository, wasmill};

/// Starts a server with the manifests and schemas of these examples; `examples` tests what they do.
fn server_with(examples: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    let shipped = repository().join("plugins");
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
async fn io_stub_refuses_an_invalid_input_at_submit() {
    let server = Server::start(&[]);
    let client = server.client();
    for (input, named) in [
        (json!({"min_ms": -5}), "min_ms"),
        (json!({"min_ms": 1.5}), "min_ms"),
        (json!({"min_ms": 9, "max_ms": 8}), "min_ms (9) must not be greater than max_ms (8)"),
        (json!({"max_ms": 1_000}), "min_ms (180000) must not be greater than max_ms (1000)"),
        (json!({"min_ms": 1, "max_ms": 86_400_001}), "max_ms"),
        (json!({"fail_rate": 1.01}), "fail_rate"),
        (json!({"fail_rate": -0.1}), "fail_rate"),
        (json!({"fail_rate": "often"}), "fail_rate"),
        (json!({"min": 5}), "min"),
        (json!([1, 2, 0.5]), "object"),
        (json!("soon"), "object"),
    ] {
        let refused = client.post("/task", &json!({"input": input})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{input}: {}", refused.text);
        let error = &refused.json["errors"][0];
        assert!(
            error["pointer"].as_str().is_some_and(|pointer| pointer.starts_with("/input")),
            "{}",
            refused.text
        );
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{}", refused.text);
        // The same without a server.
        let output = wasmill(server.folder(), &["run", "io-stub", "--input", &input.to_string()]);
        assert!(output.code == 2 && output.err.contains(named), "{output:?}");
    }
    for input in [json!(null), json!({}), json!({"min_ms": 0, "max_ms": 0, "fail_rate": 0})] {
        client.submit(&json!({"input": input})).await;
    }
}

#[tokio::test]
async fn the_examples_refuse_an_invalid_input_at_submit() {
    let server = server_with(&["mail-merge", "report", "io-stub-suspended"]);
    let client = server.client();
    let right: [(&str, Value); 4] = [
        ("mail-merge", json!({"template": "Dear {{name}}", "rows": [{"name": "Ada"}], "escape": false})),
        ("report", json!({"texts": {"short": "It rains."}})),
        ("io-stub-suspended", json!({"min_ms": 1, "max_ms": 2, "fail_rate": 0.5})),
        ("io-stub-suspended", json!(null)),
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
        ("io-stub-suspended", json!({"min_ms": -1})),
        ("io-stub-suspended", json!({"fail_rate": 2})),
    ];
    for (plugin, input) in wrong {
        let refused = client.post("/task", &json!({"plugin": plugin, "input": input})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{plugin} {input}: {}", refused.text);
    }
}
