//! Host memory used on behalf of a guest is bounded: each host import is flooded while the memory of the
//! server is measured.
//!
//! The imports are listed from the WIT files of wasmtime and of this project, and from the linker for preview
//! 1, so that a new one cannot be forgotten: the guest reports unknown ones.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{FLOOD, Server, repository};
use wasmtime::{Engine, Linker, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

/// Memory limit of the flooding guest.
const LIMIT_BYTES: u64 = 16 << 20;
/// Allowed growth of the server: the guest's memory, as much again for the copies of one call, and some for
/// itself.
const GROWTH_BYTES_MAX: u64 = 2 * LIMIT_BYTES + (24 << 20);

/// A server with the flooding guest, which has every permission.
struct Flooded {
    server: Server,
    web: MockServer,
}

impl Flooded {
    /// Starts a server with these plugins and permissions.
    fn start(plugins: &[(String, Vec<u8>)], permits: impl Fn(&Path, u16) -> String) -> Self {
        // A head just below the limit, and the start of an endless body.
        let head =
            format!("HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 99999999\r\n\r\n", "a".repeat(50_000));
        let answer: &'static str = format!("{head}{}", "b".repeat(1 << 20)).leak();
        let web = MockServer::start(move |_| Reply::Bytes(answer));
        let folder = Server::folder_with_guests();
        let files = folder.path().join("files");
        fs::create_dir(&files).expect("a folder");
        fs::write(files.join("large"), vec![b'x'; 2 << 20]).expect("written");
        let manifest = format!(
            "limits = {{ memory = \"{LIMIT_BYTES}B\", timeout = \"5s\" }}\nretry.max_attempts = 1\n{}",
            permits(&files, web.port())
        );
        for (name, bytes) in plugins {
            let file = folder.path().join("plugins").join(name);
            fs::write(file.with_extension("wasm"), bytes).expect("written");
            fs::write(file.with_extension("toml"), &manifest).expect("written");
        }
        let server = Server::start_in(folder, &["--slots", "2"]).expect("a server");
        server.wait_for_plugins();
        Self { server, web }
    }

    /// Runs one flood, and returns its outcome and the growth of the server in bytes.
    async fn flood(&self, plugin: &str, input: Value) -> (String, u64) {
        let client = self.server.client();
        fs::write(format!("/proc/{}/clear_refs", self.server.pid()), "5").expect("the peak is reset");
        let before = self.server.memory("VmRSS");
        let ended =
            client.until_finished(&client.submit(&json!({"plugin": plugin, "input": input})).await).await;
        let grown = self.server.memory("VmHWM").saturating_sub(before);
        (format!("{} {} {}", ended.str("status"), ended.json["result"], ended.json["error"]), grown)
    }
}

fn permits_all(files: &Path, port: u16) -> String {
    format!(
        "[allow]\nhttp = [\"http://127.0.0.1:{port}\"]\ndirs = [{{ host = \"{}\", guest = \"/\", write = true }}]\n",
        files.display()
    )
}

/// Returns the source folder of a package, from cargo.
fn sources(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = repository().join("Cargo.toml");
    // Without a platform filter, cargo would need packages that were never downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments =
        ["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", &platform];
    let output =
        Command::new(cargo).args(arguments).arg("--manifest-path").arg(root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let of = |found: &&Value| found["name"] == package;
    let manifest = packages.iter().find(of).expect(package)["manifest_path"].as_str().expect("a path");
    Path::new(manifest).parent().expect("a folder").to_owned()
}

/// Lists the functions of all interfaces in a WIT file, such as `wasi:io/streams#input-stream.read`.
fn functions(wit: &str) -> Vec<String> {
    let (mut package, mut interface, mut resource) = ("", "", "");
    let (mut depth, mut is_unstable) = (0, false);
    let mut found = Vec::new();
    for line in wit.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let words: Vec<_> = line.split([' ', '(', ':', ';']).filter(|word| !word.is_empty()).collect();
        match (depth, words.as_slice()) {
            (0, ["package", ..]) => {
                package = line.trim_start_matches("package ").split(['@', ';']).next().unwrap_or("");
            }
            (0, ["interface", name, ..]) => interface = name,
            (1, ["resource", name, ..]) => resource = name,
            _ => {}
        }
        let (before, rest) = line.split_once(':').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let function = if line.starts_with("constructor(") {
            Some(format!("[constructor]{resource}"))
        } else if rest.starts_with("func")
            || rest.starts_with("static func")
            || rest.starts_with("async func")
        {
            let name = before.trim_start_matches('%');
            Some(if depth == 2 { format!("{resource}.{name}") } else { name.to_owned() })
        } else {
            None
        };
        if let Some(function) = function
            && !is_unstable
            && !interface.is_empty()
        {
            found.push(format!("{package}/{interface}#{function}"));
        }
        is_unstable = line.contains("@unstable") || (is_unstable && line.starts_with('@'));
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        if depth == 0 && line.contains('}') {
            interface = "";
        }
    }
    found
}

/// Lists every function that components can import.
fn imports() -> Vec<String> {
    let wasi = sources("wasmtime-wasi").join("src/p2/wit/deps");
    let mut files: Vec<_> =
        fs::read_dir(wasi).expect("WIT").map(|file| file.expect("a file").path()).collect();
    files.push(sources("wasmtime-wasi-http").join("wit/deps/http.wit"));
    files.push(repository().join("wit/task.wit"));
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("WIT"));
    let mut imports: Vec<_> = texts.flat_map(|text| functions(&text)).collect();
    // These are exports of guests, not imports.
    let exports =
        ["wasi:cli/run#", "wasi:http/incoming-handler#", "wasmill:task/job#", "wasmill:task/resumable-job#"];
    imports.retain(|import| !exports.iter().any(|export| import.starts_with(export)));
    imports.sort();
    imports.dedup();
    imports
}

#[tokio::test]
async fn no_import_makes_the_host_use_more_memory_than_the_guest_may() {
    let imports = imports();
    assert!(imports.len() > 150, "{imports:?}");
    let flooded = Flooded::start(&[("flood".to_owned(), FLOOD.to_vec())], permits_all);
    // The first run allocates what stays: code, threads and allocator pools.
    flooded.flood("flood", json!("wasi:io/streams#output-stream.write")).await;
    let mut faults = String::new();
    for import in imports {
        let (ended, grown) =
            flooded.flood("flood", json!(format!("{import} 127.0.0.1:{}", flooded.web.port()))).await;
        if ended.contains("unknown") || ended.contains("host fault") || grown > GROWTH_BYTES_MAX {
            let _ = writeln!(faults, "{import}: {ended}, {} MiB more", grown >> 20);
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[tokio::test]
async fn a_plugin_without_permissions_makes_the_host_use_no_more_memory() {
    let flooded = Flooded::start(&[("flood".to_owned(), FLOOD.to_vec())], |_, _| String::new());
    flooded.flood("flood", json!("wasi:io/poll#poll")).await;
    for import in imports().into_iter().filter(|import| import.starts_with("wasi:http/")) {
        let (ended, grown) =
            flooded.flood("flood", json!(format!("{import} 127.0.0.1:{}", flooded.web.port()))).await;
        assert!(grown <= GROWTH_BYTES_MAX, "{import}: {ended}, {} MiB more", grown >> 20);
    }
    assert_eq!(flooded.web.count(), 0, "no request was sent");
}

/// Builds a module that calls one preview 1 function in a loop, with numbers that may be descriptors,
/// pointers or lengths.
fn preview1_flood(name: &str, parameters: &[String], has_result: bool) -> Vec<u8> {
    // A descriptor of a folder, a pointer to a buffer list, lengths, and invalid values.
    const NUMBERS: [u32; 6] = [3, 1_024, 1 << 20, 6 << 20, 64, 0];
    let mut calls = String::new();
    for shift in 0..36 {
        for position in 0..parameters.len() {
            let number = NUMBERS[(shift / 6 * position + shift) % 6];
            let _ = write!(calls, "({}.const {number}) ", parameters[position]);
        }
        let _ = writeln!(calls, "call $flood {}", if has_result { "drop" } else { "" });
    }
    let buffer = r"\00\00\10\00\00\00\60\00".repeat(64);
    let result = if has_result { "(result i32)" } else { "" };
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "{name}" (func $flood (param {}) {result}))
            (memory (export "memory") 255)
            (data (i32.const 1024) "{buffer}")
            (func (export "_start") (local $round i32)
                (loop $again
                    {calls}
                    (br_if $again (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 50))))))"#,
        parameters.join(" ")
    );
    wat::parse_str(text).expect("a module")
}

#[tokio::test]
async fn no_preview_1_import_makes_the_host_use_more_memory_than_the_guest_may() {
    let engine = Engine::default();
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_async(&mut linker, |context| context).expect("it links");
    let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
    let offered: Vec<_> = linker.iter(&mut store).map(|(_, name, item)| (name.to_owned(), item)).collect();
    assert!(offered.len() > 40);
    let modules = offered.into_iter().map(|(name, item)| {
        let ty = item.into_func().expect("a function").ty(&store);
        let parameters: Vec<_> = ty.params().map(|parameter| parameter.to_string()).collect();
        (name.replace('_', "-"), preview1_flood(&name, &parameters, ty.results().len() > 0))
    });
    let modules: Vec<_> = modules.collect();
    let flooded = Flooded::start(&modules, permits_all);
    flooded.flood("sched-yield", json!(null)).await;
    for (name, _) in modules {
        let (ended, grown) = flooded.flood(&name, json!(null)).await;
        assert!(!ended.contains("host fault"), "{name}: {ended}");
        assert!(grown <= GROWTH_BYTES_MAX, "{name}: {ended}, {} MiB more", grown >> 20);
    }
}
