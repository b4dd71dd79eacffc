//! Hostile files against the real binary, whose compiler runs in a child process with lowered limits.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use wasmill_model::{Limits, Runner};
use wasmill_runtime::{
    CacheConfig, CompilerConfig, LoaderConfig, PluginInfo, PluginState, Runtime, RuntimeConfig,
};
use wasmill_tests::{Server, binary, tiny};

/// Start of the function that a test enlarges.
const BODY: &str = "i32.const 16)\n";

fn start(folder: &Path, compiler: CompilerConfig, cache: Option<CacheConfig>) -> Runtime {
    let plugins = LoaderConfig {
        folder: Some(folder.to_owned()),
        compiler: Some(compiler),
        cache,
        load_timeout: Duration::from_secs(300),
        ..LoaderConfig::default()
    };
    Runtime::start(
        RuntimeConfig { slots: 2, limits: Limits::default(), memory_total_bytes: None },
        &[],
        plugins,
    )
    .expect("a runtime")
}

fn compiler() -> CompilerConfig {
    CompilerConfig::new(binary().expect("a binary"))
}

fn info(runtime: &Runtime, name: &str) -> PluginInfo {
    runtime.plugins_info().into_iter().find(|info| info.name == name).expect("a plugin")
}

/// Builds a plugin with a valid function that takes very long to compile.
fn bomb() -> Vec<u8> {
    let wasm = slow(400_000);
    assert!(wasm.len() > 2 << 20);
    wasm
}

/// Builds a plugin with a function of this many instructions, which is slow to compile.
fn slow(steps: usize) -> Vec<u8> {
    let step = "local.get 0 if local.get 1 i32.const 7 i32.mul local.get 0 i32.xor local.set 0 end ";
    let work = step.repeat(steps);
    let text = tiny::text("bomb").replacen(BODY, &format!("{work}{BODY}"), 1);
    tiny::parse(&text)
}

#[tokio::test]
async fn a_task_for_a_plugin_still_compiling_gets_503_with_retry_after() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = json!({"plugin": "slow"});
    std::fs::write(server.folder().join("plugins/slow.wasm"), slow(40_000)).expect("written");
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut refusals = 0;
    let accepted = loop {
        let answer = client.post("/task", &task).await;
        match answer.status {
            // The watcher has not seen it yet.
            StatusCode::UNPROCESSABLE_ENTITY => assert_eq!(refusals, 0, "{}", answer.text),
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(answer.str("code"), "plugin-compiling");
                assert_eq!(answer.headers["retry-after"], "1");
                assert_eq!(client.get("/plugins/slow").await.str("name"), "slow");
                refusals += 1;
            }
            _ => break answer,
        }
        assert!(Instant::now() < deadline, "it is never compiled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    assert!(refusals > 0, "it was compiled before anyone could ask");
    client.until(accepted.str("id"), "completed").await;

    // The version in service keeps serving while the next one compiles.
    std::fs::write(server.folder().join("plugins/slow.wasm"), slow(40_001)).expect("written");
    while client.get("/plugins/slow").await.str("state") != "compiling" {
        assert!(Instant::now() < deadline, "the change is never detected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.submit(&task).await;
}

#[test]
fn a_compile_bomb_is_rejected_with_its_limit_and_affects_no_other_plugin() {
    let bomb = bomb();
    for (limited, named) in [
        (CompilerConfig { wall: Duration::from_secs(1), ..compiler() }, "time limit of 1s"),
        (CompilerConfig { cpu: Duration::from_secs(1), ..compiler() }, "CPU limit of 1s"),
        (CompilerConfig { memory_bytes: 200 << 20, ..compiler() }, "memory limit of 200 MiB"),
    ] {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("bomb.wasm"), &bomb).expect("written");
        std::fs::write(folder.path().join("good.wasm"), tiny::plugin("good")).expect("written");
        let runtime = start(folder.path(), limited, None);
        let PluginState::Rejected(reason) = info(&runtime, "bomb").state else { panic!("{named}") };
        assert!(reason.contains(named), "{reason}");
        assert_eq!(info(&runtime, "good").state, PluginState::Ready);
    }
}

#[test]
fn removing_a_file_stops_its_compiler() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("bomb.wasm");
    std::fs::write(&path, bomb()).expect("written");
    let impatient = LoaderConfig {
        folder: Some(folder.path().to_owned()),
        compiler: Some(compiler()),
        load_timeout: Duration::ZERO,
        ..LoaderConfig::default()
    };
    let config = RuntimeConfig { slots: 2, limits: Limits::default(), memory_total_bytes: None };
    let runtime = Runtime::start(config, &[], impatient).expect("a runtime");
    let until = |is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "timed out: {:?}", runtime.plugins_info());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until(&|| !runtime.plugins_info().is_empty());
    std::fs::remove_file(path).expect("removed");
    until(&|| runtime.plugins_info().is_empty());
}

#[test]
fn a_thousand_corrupted_files_are_ready_or_rejected() {
    let folder = TempDir::new().expect("a folder");
    let whole = tiny::plugin("flip");
    // A fixed sequence, so that failures are reproducible.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for number in 0..1_000 {
        let mut wasm = whole.clone();
        for _ in 0..=number % 3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let position = (state >> 16) as usize % wasm.len();
            wasm[position] ^= 1 << (state % 8);
        }
        std::fs::write(folder.path().join(format!("f{number}.wasm")), wasm).expect("written");
    }
    let runtime = start(folder.path(), compiler(), None);
    let infos = runtime.plugins_info();
    assert_eq!(infos.len(), 1_000);
    assert!(infos.iter().all(|info| info.state != PluginState::Compiling));
    assert!(!runtime.plugins().is_empty() && runtime.plugins().len() < 1_000);
}

#[test]
fn a_cached_plugin_skips_the_compiler_and_a_tampered_one_does_not() {
    let (folder, data) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    std::fs::write(folder.path().join("a.wasm"), tiny::plugin("once")).expect("written");
    let cache = Some(CacheConfig::new(data.path()));
    drop(start(folder.path(), compiler(), cache.clone()));
    let nobody = CompilerConfig::new("/nobody/compiles/here");
    let cached = start(folder.path(), nobody.clone(), cache.clone());
    assert_eq!(info(&cached, "a").state, PluginState::Ready);
    drop(cached);

    let entry = std::fs::read_dir(data.path().join("cache")).expect("a cache").next().expect("an entry");
    let entry = entry.expect("an entry").path();
    let mut code = std::fs::read(&entry).expect("code");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&entry, code).expect("written");
    let PluginState::Rejected(reason) = info(&start(folder.path(), nobody, cache.clone()), "a").state else {
        panic!("tampered code was loaded")
    };
    assert!(reason.starts_with("failed to start the compiler"), "{reason}");
    assert_eq!(info(&start(folder.path(), compiler(), cache), "a").state, PluginState::Ready);
}
