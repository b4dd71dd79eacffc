//! Time for a file to become a plugin, and for a server with many plugins to be ready.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_model::Limits;
use wasmill_runtime::{Runtime, RuntimeConfig};
use wasmill_tests::{Client, Server};

use crate::floors::to_anyhow;
use crate::generated::{self, LARGE, SMALL, Size};
use crate::report::{Spread, row, title};

/// How long a file must stay unchanged before it is loaded (`DEBOUNCE` of the runtime).
const SETTLE: Duration = Duration::from_millis(300);
/// Plugins that a server starts with; two exist already.
const PLUGINS: [usize; 2] = [10, 50];
/// How often a server is started.
const STARTS: usize = 10;

/// Measures from the moment a file is in the folder until the plugin is ready, compiled and from the cache.
pub(crate) async fn measure_drops() -> Result<()> {
    title("Plugins: from the file in the folder to ready, 300 ms of which it has to stay unchanged");
    let server = Server::start(&[]);
    measure_drop(&server, "small", SMALL, 5).await?;
    measure_drop(&server, "large", LARGE, 2).await
}

async fn measure_drop(server: &Server, name: &str, size: Size, samples: u64) -> Result<()> {
    let config = RuntimeConfig { slots: 1, limits: Limits::default(), memory_total_bytes: None };
    let runtime = Runtime::new(config, &[], None)?;
    let (mut alone, mut cold, mut cached) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for seed in 0..samples {
        let wasm = generated::plugin(size, seed);
        bytes = wasm.len();
        let start = Instant::now();
        runtime.engine().precompile_module(&wasm).map_err(to_anyhow)?;
        alone.push(start.elapsed());
        cold.push(drop_in(server, &format!("{name}-{seed}"), &wasm).await?);
        cached.push(drop_in(server, &format!("{name}-{seed}-again"), &wasm).await?);
        run(&server.client(), &format!("{name}-{seed}")).await?;
    }
    let (alone, cold, cached) = (Spread::of(alone), Spread::of(cold), Spread::of(cached));
    let floor = SETTLE + alone.median();
    let shown = if bytes < 1 << 20 {
        format!("{} KB", bytes / 1_000)
    } else {
        format!("{:.0} MB, {} MB of it code", bytes as f64 / 1e6, size.code / 1_000_000)
    };
    row(&format!("{shown}, compiled"), &cold.to_string());
    row("  floor: 300 ms and wasmtime compiling alone", &beside(floor, &cold));
    row(&format!("{shown}, from the cache"), &cached.to_string());
    row("  floor: 300 ms", &beside(SETTLE, &cached));
    Ok(())
}

fn beside(floor: Duration, measured: &Spread) -> String {
    let ratio = measured.median().as_secs_f64() / floor.as_secs_f64();
    format!("{:.0} ms; we take {ratio:.2} times that", floor.as_secs_f64() * 1e3)
}

/// Puts a complete file into the folder and waits until the plugin is ready.
async fn drop_in(server: &Server, name: &str, wasm: &[u8]) -> Result<Duration> {
    let aside = server.folder().join("aside");
    fs::write(&aside, wasm)?;
    let start = Instant::now();
    fs::rename(aside, server.folder().join("plugins").join(format!("{name}.wasm")))?;
    let client = server.client();
    loop {
        let plugin = client.get(&format!("/plugins/{name}")).await;
        match plugin.json["state"].as_str() {
            Some("ready") => return Ok(start.elapsed()),
            state => ensure!(state != Some("rejected"), "{}", plugin.text),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn run(client: &Client, plugin: &str) -> Result<()> {
    let id = client.submit(&json!({"plugin": plugin})).await;
    let task = client.until_finished(&id).await;
    ensure!(task.json["result"] == "ok\n", "{plugin} failed: {}", task.text);
    Ok(())
}

/// Measures from the start of the process until it and all its plugins are ready, from the cache.
pub(crate) async fn measure_start() -> Result<()> {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    title("Size, and from the start of the process to ready (goals: 10 plugins 100 ms, idle 40 MiB)");
    row("the binary", &mib(fs::metadata(wasmill_tests::binary()?)?.len()));
    let mut server = Server::start(&[]);
    for plugins in PLUGINS {
        fill_up(&server, plugins)?;
        let dropped = Instant::now();
        wait_until_ready(&server.client(), plugins).await;
        row(
            &format!("{plugins} plugins of 60 KB dropped in at once"),
            &format!("{} ms", dropped.elapsed().as_millis()),
        );
        let start = starts(&mut server, plugins).await?;
        row(&format!("{plugins} plugins, from the cache"), &start.to_string());
        row(&format!("{plugins} plugins, resident memory then"), &mib(server.memory("VmRSS")));
    }
    Ok(())
}

/// Adds plugins to the folder up to this number.
fn fill_up(server: &Server, plugins: usize) -> Result<()> {
    let folder = server.folder().join("plugins");
    for seed in fs::read_dir(&folder)?.count()..plugins {
        fs::write(folder.join(format!("p{seed}.wasm")), generated::plugin(SMALL, 100 + seed as u64))?;
    }
    Ok(())
}

async fn starts(server: &mut Server, plugins: usize) -> Result<Spread> {
    let mut samples = Vec::new();
    for _ in 0..STARTS {
        ensure!(server.terminate().success(), "{}", server.log());
        let start = Instant::now();
        *server = server.start_beside().context("no server")?;
        let client = server.client();
        let ready = client.get("/readyz").await;
        ensure!(ready.status == 200, "{}", ready.text);
        wait_until_ready(&client, plugins).await;
        samples.push(start.elapsed());
    }
    Ok(Spread::of(samples))
}

async fn wait_until_ready(client: &Client, plugins: usize) {
    let is_ready = |plugin: &&Value| plugin["state"] == "ready";
    loop {
        let list = client.get("/plugins").await;
        let ready = list.json.as_array().map_or(0, |list| list.iter().filter(is_ready).count());
        if ready >= plugins {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
