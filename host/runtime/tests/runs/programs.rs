//! Plain programs run as plugins: arguments, stdin and variables in, stdout and an exit code out.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use data_encoding::BASE64;
use serde_json::json;
use wasmill_model::{Cause, DependencyResult, Failure, RunRequest, Runner, TaskId, TaskResult, TaskState};
use wasmill_runtime::{Permissions, PluginConfig, ResultFormat, Runtime};

use crate::support::{Host, done, finish, finish_with, plugin_config, program, run as run_of, runtime_of};

/// Returns a runtime with the program, whose manifest sets one variable.
fn shared() -> &'static Runtime {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    SHARED.get_or_init(|| {
        let env = BTreeMap::from([("REGION".to_owned(), "eu".to_owned())]);
        let permissions = Permissions { env, ..Permissions::default() };
        runtime_of("program", program(), PluginConfig { permissions, ..plugin_config() })
    })
}

async fn run(args: &[&str]) -> Result<String, Failure> {
    finish(shared(), "program", &json!({ "args": args }).to_string()).await
}

#[tokio::test]
async fn a_program_sees_its_name_and_its_arguments() {
    assert_eq!(run(&["args", "-n", "grüße"]).await.unwrap(), "[\"program\", \"args\", \"-n\", \"grüße\"]\n");
    assert_eq!(finish(shared(), "program", "null").await.unwrap(), "nothing to do\n");
}

#[tokio::test]
async fn stdin_is_the_input_and_stdout_the_result() {
    let input = json!({ "args": ["cat"], "stdin": "äöü".repeat(10_000) }).to_string();
    assert_eq!(finish(shared(), "program", &input).await.unwrap(), "äöü".repeat(10_000));
}

#[tokio::test]
async fn it_sees_the_variables_of_manifest_and_input_and_no_others() {
    let input = json!({ "args": ["env"], "env": { "COLOUR": "blue" } }).to_string();
    assert_eq!(finish(shared(), "program", &input).await.unwrap(), "REGION=eu\nCOLOUR=blue\n");
    let input = json!({ "args": ["env"], "env": { "REGION": "us" } }).to_string();
    let failure = finish(shared(), "program", &input).await.unwrap_err();
    assert_eq!(failure.cause, Cause::InvalidInput);
}

#[tokio::test]
async fn an_exit_code_fails_the_run_with_the_end_of_stderr() {
    for (args, code) in [(["exit", "1"], 1), (["exit-with", "42"], 42), (["exit-with", "255"], 255)] {
        let failure = run(&args).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Exit(code));
    }
    let failure = run(&["exit-with", "42"]).await.unwrap_err();
    assert!(failure.message.starts_with("the program ended with exit code 42"), "{failure}");
    let failure = run(&["exit", "1"]).await.unwrap_err();
    assert!(!failure.message.contains("code 1"), "WASI 0.2 passes no code on: {failure}");
    let ends = "; the end of its stderr:\nfirst line\nlast line\nthe end of its stdout:\nbefore";
    assert!(failure.message.ends_with(ends), "{failure}");
    let failure = run(&["fail"]).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Exit(1));
    assert!(failure.message.contains("no luck"), "{failure}");
}

#[tokio::test]
async fn an_exit_with_code_0_is_a_result() {
    assert_eq!(run(&["exit", "0"]).await.unwrap(), "before\n");
    assert_eq!(run(&["exit-with", "0"]).await.unwrap(), "");
}

#[tokio::test]
async fn the_stdout_of_a_program_that_fails_is_shown() {
    let failure = run(&["print-and-exit-with", "sat", "10"]).await.unwrap_err();
    let message =
        "the program ended with exit code 10 and wrote nothing to stderr; the end of its stdout:\nsat";
    assert_eq!((failure.cause, failure.message.as_str()), (Cause::Exit(10), message));
}

#[tokio::test]
async fn a_program_completes_with_the_exit_codes_of_its_manifest() {
    let runtime = runtime_of("program", program(), PluginConfig { exit_ok: vec![1, 10], ..plugin_config() });
    let run = async |args: &[&str]| {
        let host = Arc::new(Host::default());
        let result = finish_with(&runtime, "program", &json!({ "args": args }).to_string(), &host).await;
        (result, host.meter.read().exit_code)
    };
    assert_eq!(run(&["print-and-exit-with", "sat", "10"]).await, (Ok("sat\n".to_owned()), 10));
    // WASI 0.2 passes no code on, which counts as 1.
    assert_eq!(run(&["exit", "7"]).await, (Ok("before\n".to_owned()), 1));
    assert_eq!(run(&["args"]).await.1, 0);
    let (result, code) = run(&["print-and-exit-with", "sat", "11"]).await;
    assert_eq!((result.unwrap_err().cause, code), (Cause::Exit(11), 11));
}

#[tokio::test]
async fn stderr_is_the_log_and_stdout_is_not() {
    let host = Arc::new(Host::default());
    finish_with(shared(), "program", r#"{"args":["exit","0"]}"#, &host).await.unwrap();
    assert_eq!(host.log_text(), "first line\nlast line\n");
}

#[tokio::test]
async fn closing_stdout_early_is_harmless() {
    assert_eq!(run(&["close-stdout"]).await.unwrap(), "before");
}

#[tokio::test]
async fn output_that_is_no_text_is_kept_as_base64() {
    assert_eq!(run(&["write-bad-text"]).await.unwrap(), "Yf9i");
    let png = ResultFormat::Media("image/png".parse().unwrap());
    let typed = runtime_of("program", program(), PluginConfig { result: png, ..plugin_config() });
    let all: Vec<u8> = (0..=255).collect();
    let input = json!({ "args": ["cat"], "stdin_base64": BASE64.encode(&all) }).to_string();
    assert_eq!(finish(&typed, "program", &input).await.unwrap(), BASE64.encode(&all));
    let text =
        runtime_of("program", program(), PluginConfig { result: ResultFormat::Text, ..plugin_config() });
    let failure = finish(&text, "program", &input).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Plugin);
    assert!(failure.message.contains("byte 128 is no UTF-8"), "{failure}");
}

#[tokio::test]
async fn results_of_dependencies_reach_a_program_as_the_bytes_that_they_are() {
    let runtime = runtime_of("program", program(), plugin_config());
    let of = |text: &str, kind: Option<&str>| DependencyResult {
        id: TaskId::new(),
        outcome: TaskState::Completed,
        result: Some(TaskResult { text: text.to_owned(), r#type: kind.map(|kind| kind.parse().unwrap()) }),
    };
    let dependencies = Ok(vec![of("/w==", None), of("/w==", Some("image/png;base64"))]);
    let host = Arc::new(Host { dependencies, ..Host::default() });
    let input = json!({ "args": ["cat"], "stdin": "a" }).to_string();
    let run = RunRequest { plugin: "program".parse().unwrap(), pass_results: true, ..run_of(&input, &host) };
    assert_eq!(done(runtime.run(run)).await.unwrap(), BASE64.encode(b"a/w==\xff"));
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    assert_eq!(run(&["panic"]).await.unwrap_err().cause, Cause::Trap);
}

#[tokio::test]
async fn result_and_memory_are_limited() {
    assert_eq!(run(&["write", "65536"]).await.unwrap().len(), 65_536);
    let failure = run(&["write", "65537"]).await.unwrap_err();
    assert_eq!(failure.cause, Cause::ResultLimit);
    assert!(failure.message.contains("its limit `result` is 64 KiB"), "{failure}");
    assert_eq!(run(&["hog"]).await.unwrap_err().cause, Cause::MemoryLimit);
}

#[tokio::test]
async fn a_program_that_loops_ends_when_it_is_dropped() {
    let runtime = runtime_of("program", program(), plugin_config());
    let looping = tokio::spawn({
        let runtime = runtime.clone();
        async move { finish(&runtime, "program", r#"{"args":["spin"]}"#).await }
    });
    while runtime.pool_usage().instances == 0 {
        tokio::task::yield_now().await;
    }
    looping.abort();
    runtime_is_empty(&runtime).await;
    assert!(looping.await.unwrap_err().is_cancelled());
}

async fn runtime_is_empty(runtime: &Runtime) {
    while runtime.pool_usage().instances > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_declared_json_result_is_checked() {
    let plugin_config = PluginConfig { result: ResultFormat::Json, ..plugin_config() };
    let runtime = runtime_of("program", program(), plugin_config);
    let cat = |stdin: &str| json!({ "args": ["cat"], "stdin": stdin }).to_string();
    assert_eq!(finish(&runtime, "program", &cat(r#" {"a": [1]} "#)).await.unwrap(), r#" {"a": [1]} "#);
    let failure = finish(&runtime, "program", &cat("{")).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Plugin);
    assert!(failure.message.contains("is not valid JSON: EOF"), "{failure}");
}

/// Returns a command that imports one function of WASI 0.2.`minor` and returns.
fn command_of(minor: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:cli/environment@0.2.{minor}" (instance $environment
                (export "initial-cwd" (func (result (option string))))))
            (core module $m (func (export "f") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $f (result (result)) (canon lift (core func $i "f")))
            (instance $run (export "run" (func $f)))
            (export "wasi:cli/run@0.2.{minor}" (instance $run)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn every_minor_version_of_wasi_0_2_is_supported() {
    for minor in [0, 1, 3, 6, 12, 99] {
        let runtime = runtime_of("command", &command_of(minor), plugin_config());
        assert_eq!(finish(&runtime, "command", "null").await.unwrap(), "", "0.2.{minor}");
    }
}
