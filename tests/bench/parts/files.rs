//! Cost of a guest's file calls: a module for WASI preview 1, in a folder on the local disk.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wasmill_tests::{Server, ServerFolder, tiny};

use crate::report::{row, title};

/// Files in the folder.
const FILES: u32 = 3_000;
/// Iterations of each loop.
const ROUNDS: u32 = 20_000;

const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 16)
    ;; A buffer of 4 KiB, and names.
    (data (i32.const 0) "\00\00\01\00\00\10\00\00") (data (i32.const 64) "file-7") (data (i32.const 80) "new")
    (func $good (param $errno i32) (if (local.get $errno) (then unreachable)))
    (func $open (param $path i32) (param $bytes i32) (param $how i32) (param $rights i64)
        (call $good (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $bytes)
            (local.get $how) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16))))"#;

/// The name of a loop, its iterations, its setup, and its body.
const LOOPS: [(&str, u32, &str, &str); 4] = [
    (
        "stat",
        ROUNDS,
        "",
        "(call $good (call $stat (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 6) (i32.const 256)))",
    ),
    (
        "open-read-close",
        ROUNDS,
        "",
        "(call $open (i32.const 64) (i32.const 6) (i32.const 0) (i64.const 2))
         (call $good (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
         (call $good (call $close (i32.load (i32.const 16))))",
    ),
    (
        "write-4k",
        ROUNDS,
        "(call $open (i32.const 80) (i32.const 3) (i32.const 9) (i64.const 0x40))",
        "(call $good (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))",
    ),
    (
        "list",
        10,
        "",
        "(call $good (call $readdir (i32.const 3) (i32.const 131072) (i32.const 524288) (i64.const 0) (i32.const 8)))",
    ),
];

/// Measures each loop.
pub(crate) async fn measure() -> Result<()> {
    title("Cost of a guest's file calls, local disk");
    let folder = ServerFolder::new();
    let (plugins, granted) = (folder.path().join("plugins"), folder.path().join("granted"));
    fs::create_dir(&plugins)?;
    fs::create_dir(&granted)?;
    for number in 0..FILES {
        fs::write(granted.join(format!("file-{number}")), "seven bytes")?;
    }
    for (name, rounds, before, round) in LOOPS {
        let text = format!(
            r#"(module {PRELUDE} (func (export "_start") (local $n i32) {before}
                (local.set $n (i32.const {rounds}))
                (loop $more {round} (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
        );
        fs::write(plugins.join(format!("{name}.wasm")), tiny::parse(&text))?;
        let manifest = format!("allow.dirs = [{{ host = {granted:?}, guest = \"/in\", write = true }}]");
        fs::write(plugins.join(format!("{name}.toml")), manifest)?;
    }
    let server = Server::start_in(folder, &[])?;
    let client = server.client();
    for (name, rounds, ..) in LOOPS {
        let mut best = u64::MAX;
        for _ in 0..3 {
            let task = client.until_finished(&client.submit(&json!({"plugin": name})).await).await;
            ensure!(task.str("state") == "completed", "{}", task.text);
            best = best.min(task.json["usage"]["wall_ms"].as_u64().context("no time")?);
        }
        let each = best as f64 * 1_000.0 / f64::from(rounds);
        let what = if name == "list" { format!("list a folder of {FILES}") } else { name.replace('-', ", ") };
        row(&what, &format!("{each:.1} us"));
    }
    Ok(())
}
