//! Unmodified programs from crates.io, compiled for WASI, work as plugins.
//!
//! `make programs` builds those of `tests/programs/list.txt` into the user's cache folder. Without them these
//! tests are skipped with a line on stderr, or fail with `WASMILL_TEST_REQUIRE=all`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{Answer, Server, skip};

const LIST: &str = include_str!("../../programs/list.txt");
const DOC: &str = include_str!("../../../docs/reference/programs.md");

/// Deadline for a program to compile on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Returns the lines of the list: plugin name, package and flags.
fn listed() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    LIST.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split_whitespace();
        let [plugin, package] = [words.next(), words.next()].map(|word| word.expect("a word"));
        (plugin, package, words.collect::<Vec<_>>().join(" "))
    })
}

fn cache() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
    cache.expect("HOME is set").join("wasmill/programs")
}

/// Reads a program; if it was not built, or from another line of the list, prints that and returns `None`.
fn built(plugin: &str) -> Option<Vec<u8>> {
    let (plugin, package, flags) =
        listed().find(|(listed, ..)| *listed == plugin).expect("the program is in the list");
    let file = cache().join(format!("{plugin}.wasm"));
    let built = fs::read_to_string(file.with_extension("built")).unwrap_or_default();
    if file.exists() && built.trim() == format!("{plugin} {package} {flags}").trim() {
        return Some(fs::read(file).expect("readable"));
    }
    skip(&format!("{package} is not built as {}: make programs", file.display()));
    None
}

/// A server with one program as its plugin, which may read `/in` and write `/out`.
struct Program {
    plugin: &'static str,
    server: Server,
}

impl Program {
    /// Starts a server with the program and these files in `/in`; `None` if it is not built.
    async fn start(plugin: &'static str, args: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let wasm = built(plugin)?;
        let program = Self { plugin, server: Server::start(args) };
        fs::create_dir(program.path("out")).expect("a folder");
        for (name, text) in files {
            let file = program.path("in").join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            fs::write(file, text).expect("written");
        }
        fs::create_dir_all(program.path("in")).expect("a folder");
        let manifest = format!(
            "allow.dirs = [{{ host = {:?}, guest = \"/in\" }}, {{ host = {:?}, guest = \"/out\", write = true }}]",
            program.path("in"),
            program.path("out")
        );
        let plugins = program.path("plugins");
        fs::write(plugins.join(format!("{plugin}.toml")), manifest).expect("written");
        fs::write(plugins.join(format!("{plugin}.wasm")), wasm).expect("written");
        program.until_ready().await;
        Some(program)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.folder().join(name)
    }

    async fn until_ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let plugin = self.server.client().get(&format!("/plugins/{}", self.plugin)).await;
            match plugin.json["state"].as_str() {
                Some("ready") => return assert_eq!(plugin.str("kind"), "command"),
                Some("rejected") => panic!("{}", plugin.text),
                _ => assert!(Instant::now() < deadline, "timed out: {}", plugin.text),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(&self, input: Value) -> Answer {
        let client = self.server.client();
        let id = client.submit(&json!({"plugin": self.plugin, "input": input})).await;
        client.until_finished(&id).await
    }

    /// Runs it with these arguments and this stdin, and returns its stdout.
    async fn stdout(&self, args: &[&str], stdin: &str) -> String {
        let task = self.run(json!({"args": args, "stdin": stdin})).await;
        assert_eq!(task.str("state"), "completed", "{}", task.text);
        task.str("result").to_owned()
    }

    /// Runs it with these arguments, and returns the failure message.
    async fn failure(&self, args: &[&str], stdin: &str) -> String {
        let task = self.run(json!({"args": args, "stdin": stdin})).await;
        assert_eq!(task.str("status"), "failed by exit code 1", "{}", task.text);
        task.json["error"]["message"].as_str().expect("a message").to_owned()
    }
}

#[test]
fn the_docs_name_each_listed_program_with_its_version() {
    assert!(listed().count() >= 8);
    for (plugin, package, _) in listed() {
        let row = format!("| `{plugin}` | {} |", package.replace('@', " "));
        assert!(DOC.contains(&row), "docs/reference/programs.md lacks: {row}");
    }
}

#[tokio::test]
async fn ripgrep_searches_a_granted_folder_and_reports_failures() {
    let files = [("a.txt", "hay\na needle\n"), ("deep/b.txt", "needles\n"), ("deep/c.txt", "hay\n")];
    let Some(rg) = Program::start("rg", &[], &files).await else { return };
    let found = rg.stdout(&["--line-number", "--sort", "path", "needles?", "/in"], "").await;
    assert_eq!(found, "/in/a.txt:2:a needle\n/in/deep/b.txt:1:needles\n");
    assert_eq!(rg.stdout(&["--only-matching", "[0-9]+", "-"], "a 17 b\n4\n").await, "17\n4\n");
    let message = rg.failure(&["(", "/in"], "").await;
    assert!(message.contains("with a failure") && message.contains("unclosed group"), "{message}");
    let denied = rg.failure(&["a", "/etc/passwd"], "").await;
    assert!(denied.contains("/etc/passwd"), "{denied}");
}

#[tokio::test]
async fn coreutils_read_a_megabyte_from_stdin_and_use_files() {
    let files = [("words.txt", "pear\napple\npear\n"), ("empty", "")];
    let Some(coreutils) = Program::start("coreutils", &["--body-max", "2MiB"], &files).await else { return };
    let line = |number: u32| format!("{number:09}\n");
    let stdin: String = (0..100_000).rev().map(line).collect();
    assert_eq!(stdin.len(), 1_000_000);
    let sorted = coreutils.stdout(&["sort"], &stdin).await;
    assert!(sorted.lines().eq(stdin.lines().rev()), "{}…", &sorted[..100]);
    assert_eq!(coreutils.stdout(&["wc", "-l", "-c"], &stdin).await.trim(), "100000 1000000");

    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(coreutils.stdout(&["sha256sum", "/in/empty"], "").await, format!("{nothing}  /in/empty\n"));
    let none = coreutils.stdout(&["sort", "-u", "-o", "/out/sorted.txt", "/in/words.txt"], "").await;
    assert_eq!(none, "");
    let sorted = fs::read_to_string(coreutils.path("out/sorted.txt")).expect("it was written");
    assert_eq!(sorted, "apple\npear\n");
    let denied = coreutils.failure(&["sort", "-o", "/in/words.txt", "/in/words.txt"], "").await;
    assert!(denied.contains("/in/words.txt"), "{denied}");
    let kept = fs::read_to_string(coreutils.path("in/words.txt")).expect("it is there");
    assert_eq!(kept, "pear\napple\npear\n");
}

#[tokio::test]
async fn comrak_renders_markdown() {
    let Some(comrak) = Program::start("comrak", &[], &[]).await else { return };
    let html = comrak.stdout(&["--gfm"], "# Hi\n\n|a|\n|-|\n|~~1~~|\n").await;
    let table =
        "<table>\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td><del>1</del></td>\n</tr>\n";
    assert_eq!(html, format!("<h1>Hi</h1>\n{table}</tbody>\n</table>\n"));
    let deep = comrak.stdout(&[], &format!("{} deep\n", ">".repeat(2_000))).await;
    assert_eq!(deep.matches("<blockquote>").count(), 2_000);
}

#[tokio::test]
async fn pulldown_cmark_renders_markdown() {
    let Some(cmark) = Program::start("pulldown-cmark", &[], &[]).await else { return };
    let html = cmark.stdout(&["--enable-strikethrough"], "*a* ~~b~~\n\n1. c\n").await;
    assert_eq!(html, "<p><em>a</em> <del>b</del></p>\n<ol>\n<li>c</li>\n</ol>\n");
}

#[tokio::test]
async fn grass_compiles_style_sheets_with_imports() {
    let files = [
        ("_theme.scss", "$ink: #123456;\n@function twice($n) { @return $n * 2; }\n"),
        ("main.scss", "@use 'theme';\na { b { color: theme.$ink; width: theme.twice(4px); } }\n"),
        ("bad.scss", "a { color: $nowhere; }\n"),
    ];
    let Some(grass) = Program::start("grass", &[], &files).await else { return };
    let css = grass.stdout(&["/in/main.scss"], "").await;
    assert_eq!(css, "a b {\n  color: #123456;\n  width: 8px;\n}\n");
    let message = grass.failure(&["/in/bad.scss"], "").await;
    assert!(message.contains("Undefined variable"), "{message}");
}

#[tokio::test]
async fn htmlq_selects_from_html_and_writes_a_file() {
    let Some(htmlq) = Program::start("htmlq", &[], &[]).await else { return };
    let page = "<ul><li class=a>one</li><li>two<a href='/three'>three</a></li></ul>";
    assert_eq!(htmlq.stdout(&["--text", "li.a"], page).await, "one\n");
    htmlq.stdout(&["--attribute", "href", "a", "--output", "/out/links"], page).await;
    assert_eq!(fs::read_to_string(htmlq.path("out/links")).expect("it was written"), "/three\n");
}

#[tokio::test]
async fn minijinja_fills_a_template() {
    let files = [("letter.j2", "Dear {{ name|title }},{% for n in sums %} {{ n * 2 }}{% endfor %}")];
    let Some(minijinja) = Program::start("minijinja-cli", &[], &files).await else { return };
    let args = ["--format", "json", "/in/letter.j2", "-"];
    let letter = minijinja.stdout(&args, r#"{"name": "ada", "sums": [1, 21]}"#).await;
    assert_eq!(letter, "Dear Ada, 2 42\n");
}

#[tokio::test]
async fn resvg_draws_an_image() {
    let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">
        <circle cx="20" cy="15" r="10" fill="#c0ffee"/></svg>"##;
    let Some(resvg) = Program::start("resvg", &[], &[("dot.svg", svg)]).await else { return };
    resvg.stdout(&["--zoom", "2", "/in/dot.svg", "/out/dot.png"], "").await;
    let png = fs::read(resvg.path("out/dot.png")).expect("it was written");
    let (signature, size) = (&png[..8], [&png[16..20], &png[20..24]]);
    assert_eq!(signature, b"\x89PNG\r\n\x1a\n");
    assert_eq!(size, [80_u32.to_be_bytes(), 60_u32.to_be_bytes()]);
}

#[tokio::test]
async fn rhai_interprets_a_script() {
    let primes = "
        let sieve = []; sieve.pad(1000, true);
        for n in 2..1000 { if sieve[n] { for m in range(n * n, 1000, n) { sieve[m] = false; } } }
        let count = 0; for n in 2..1000 { if sieve[n] { count += 1; } }
        fn depth(n) { if n == 0 { 0 } else { 1 + depth(n - 1) } }
        print(`${count} primes, ${depth(50)} calls deep`);";
    let files = [("primes.rhai", primes), ("bad.rhai", "throw \"no luck\";")];
    let Some(rhai) = Program::start("rhai-run", &[], &files).await else { return };
    let printed = rhai.stdout(&["/in/primes.rhai"], "").await;
    assert!(printed.contains("168 primes, 50 calls deep"), "{printed}");
    let bad = rhai.run(json!({"args": ["/in/bad.rhai"]})).await;
    assert!(bad.text.contains("no luck"), "{}", bad.text);
}

#[tokio::test]
async fn svgbob_renders_ascii_art() {
    let Some(svgbob) = Program::start("svgbob_cli", &[], &[]).await else { return };
    let svg = svgbob.stdout(&["--stroke-width", "3"], "+-----+\n| box |--->\n+-----+\n").await;
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(
        svg.contains("<rect ") && svg.contains(">box</text>") && svg.contains("stroke-width: 3"),
        "{svg}"
    );
}
