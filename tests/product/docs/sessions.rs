//! Runs every command that README and the tutorials show, and compares the output with what they show.
//!
//! A `console` block is a session: a line that starts with `$ ` is a command, the lines below are its stdout. All
//! blocks of a page share a shell and a server. In the shown output, `…` stands for any text; ids, times, digests
//! and measured numbers may differ, but an id that is shown twice has to be the same task. Commands that only read
//! are repeated until they print what is shown. `kill -9` in another block kills the server, and starts it again.
//! A task that takes a minute there takes 4 s here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wasmill_tests::{Server, binary, builds_plugins, command, repository, skip};

use crate::docs::book::read;

/// Deadline for a command to print what is shown. Some build a plugin.
const DEADLINE: Duration = Duration::from_secs(30);

const WORDS: &[u8] = include_bytes!(env!("GUEST_WORDS"));
const MAP_REDUCE: &[u8] = include_bytes!(env!("GUEST_MAP_REDUCE"));

/// A step of a page.
#[derive(Debug)]
enum Step {
    Command { line: String, shown: String },
    Kill,
}

/// Reads the steps of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (block, line) {
            (None, _) => block = line.strip_prefix("```").filter(|_| line.starts_with("```")),
            (Some(_), "```") => block = None,
            (Some("console"), line) => console_line(&mut steps, line),
            (Some("bash"), line) if line.starts_with("kill -9 ") => steps.push(Step::Kill),
            (Some(_), _) => {}
        }
    }
    steps
}

fn console_line(steps: &mut Vec<Step>, line: &str) {
    if let Some(line) = line.strip_prefix("$ ") {
        steps.push(Step::Command { line: line.to_owned(), shown: String::new() });
        return;
    }
    let Some(Step::Command { line: command, shown }) = steps.last_mut() else {
        panic!("output without a command: {line}");
    };
    let goes_on = command.ends_with('\\') || command.matches('\'').count() % 2 == 1;
    let text = if shown.is_empty() && goes_on { command } else { shown };
    text.push('\n');
    text.push_str(line);
}

/// A shell, and the server that it talks to.
struct Session {
    server: Option<Server>,
    folder: PathBuf,
    /// Ids that a page shows, and those of this session.
    ids: BTreeMap<String, String>,
}

impl Session {
    fn start() -> Self {
        let server = Server::start(&[]);
        let folder = server.folder().to_owned();
        std::fs::create_dir(folder.join("bin")).expect("a folder");
        std::os::unix::fs::symlink(binary().expect("a binary"), folder.join("bin/wasmill")).expect("a link");
        std::fs::write(folder.join("plugins/words.wasm"), WORDS).expect("a plugin");
        std::fs::write(folder.join("plugins/map-reduce.wasm"), MAP_REDUCE).expect("a plugin");
        std::fs::write(folder.join("shell-state"), "").expect("a file");
        Self { server: Some(server), folder, ids: BTreeMap::new() }
    }

    /// Runs a command in the shell, and returns its stdout.
    fn run(&self, line: &str) -> String {
        let address = self.server.as_ref().expect("a server").address().to_string();
        let mut line = line.replace("localhost:8080", &address).replace("60000", "4000");
        for (shown, own) in &self.ids {
            line = line.replace(shown, own);
        }
        let state = self.folder.join("shell-state");
        let state = state.display();
        // Variables and the current folder last from one command to the next.
        let script = format!(
            "set -a; . {state}; {{\n{line}\n}}\ncode=$?; {{ declare -p id first 2>/dev/null; echo \"cd $PWD\"; }} > {state}; exit $code"
        );
        let mut shell = Command::new("bash");
        isolate(&mut shell, &self.folder);
        shell.args(["-c", &script]).env("WASMILL_SERVER", format!("http://{address}"));
        shell.stdin(Stdio::null());
        let output = shell.output().expect("bash");
        let [out, err] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{line}\n{out}{err}");
        out
    }

    fn check(&mut self, line: &str, shown: &str) {
        let deadline = Instant::now() + DEADLINE;
        let reads_only =
            ["-d ", "-X", "submit", "cancel ", "new ", "cp "].iter().all(|word| !line.contains(word));
        loop {
            let out = self.run(line);
            let mut ids = self.ids.clone();
            if shown.is_empty() || matches(&tokens(shown), &tokens(&out), "", &mut ids) {
                self.ids = ids;
                return;
            }
            // A plugin that was just dropped in is not in service yet; nothing was stored then.
            let may_repeat = reads_only || out.contains("\"status\":422") || out.contains("plugin-compiling");
            assert!(may_repeat && Instant::now() < deadline, "{line}\nshown:\n{shown}\nprinted:\n{out}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Isolates a shell as the harness does a command, and hides from it that cargo runs it.
fn isolate(shell: &mut Command, folder: &Path) {
    let like = command(folder, &[]);
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    builds_plugins(shell);
    let path = std::env::var("PATH").expect("a path");
    shell.env("PATH", format!("{}:{path}", folder.join("bin").display())).current_dir(folder);
}

/// Splits text into words and single signs.
fn tokens(text: &str) -> Vec<&str> {
    // A time is one word, but the colon behind a key is none.
    let starts_word = |letter: char| letter.is_alphanumeric() || "_-.+".contains(letter);
    let is_word = |letter: char| starts_word(letter) || letter == ':';
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if starts_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// What a measured number stands behind.
const MEASURED: [&str; 15] = [
    "duration",
    "duration_ms",
    "fraction",
    "cpu_ms",
    "wall_ms",
    "queue_ms",
    "instantiate_us",
    "peak_memory_bytes",
    "log_bytes",
    "disk_written_bytes",
    "waiting",
    "result",
    "size",
    "in",
    "checkpoints",
];

/// Compares output with what is shown; `before` is the last word.
fn matches(shown: &[&str], printed: &[&str], before: &str, ids: &mut BTreeMap<String, String>) -> bool {
    let Some((first, shown_rest)) = shown.split_first() else { return printed.is_empty() };
    if *first == "…" {
        return (0..=printed.len()).any(|skipped| {
            let mut tried = ids.clone();
            let is_match = matches(shown_rest, &printed[skipped..], "", &mut tried);
            if is_match {
                *ids = tried;
            }
            is_match
        });
    }
    let Some((own, printed_rest)) = printed.split_first() else { return false };
    if !is_same(first, own, before, ids) {
        return false;
    }
    let is_word = first.chars().any(char::is_alphanumeric) && number(first).is_none();
    matches(shown_rest, printed_rest, if is_word { first } else { before }, ids)
}

fn is_same(shown: &str, own: &str, before: &str, ids: &mut BTreeMap<String, String>) -> bool {
    if is_id(shown) && is_id(own) {
        let known = ids.entry(shown.to_owned()).or_insert_with(|| own.to_owned());
        return known == own;
    }
    let is_digest = |text: &str| text.len() >= 12 && text.chars().all(|letter| letter.is_ascii_hexdigit());
    let is_time = |text: &str| text.len() > 19 && text.ends_with('Z') && text.contains('T');
    shown == own
        || is_digest(shown) && is_digest(own)
        || is_time(shown) && is_time(own)
        || number(shown).is_some() && number(own).is_some() && MEASURED.contains(&before)
}

fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.chars().enumerate().all(|(at, letter)| match at {
            8 | 13 | 18 | 23 => letter == '-',
            _ => letter.is_ascii_hexdigit(),
        })
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Runs all sessions of a page.
fn run(page: &str) {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !has("curl") || !has("bash") {
        skip("curl or bash is missing, which the sessions of the documents use");
        return;
    }
    let steps = steps(&read(page));
    let commands = steps.iter().filter(|step| matches!(step, Step::Command { .. })).count();
    assert!(commands > 2, "{page}: {steps:?}");
    let mut session = Session::start();
    session.server.as_ref().expect("a server").wait_for_plugins();
    for step in &steps {
        match step {
            Step::Command { line, shown } => session.check(line, shown),
            Step::Kill => session.server = session.server.take().map(Server::kill_and_restart),
        }
    }
}

#[tokio::test]
async fn the_readme_shows_what_happens() {
    run("README.md");
}

#[tokio::test]
async fn the_first_task_is_as_its_tutorial_shows() {
    run("docs/tutorial/first-task.md");
}

#[tokio::test]
async fn the_first_plugin_is_as_its_tutorial_shows() {
    run("docs/tutorial/first-plugin.md");
    let source = read("host/wasmill/templates/rust/src/lib.rs.in");
    let tutorial = read("docs/tutorial/first-plugin.md");
    let (_, code) = tutorial.split_once("```rust\n").expect("the source");
    let (code, _) = code.split_once("```").expect("its end");
    for line in code.lines().map(str::trim).filter(|line| *line != "…") {
        assert!(source.contains(line), "the template lacks: {line}");
    }
}

#[tokio::test]
async fn a_crash_is_survived_as_the_tutorial_shows() {
    run("docs/tutorial/survive-a-crash.md");
}

#[tokio::test]
async fn a_pipeline_runs_as_its_tutorial_shows() {
    run("docs/tutorial/pipeline.md");
}

#[tokio::test]
async fn files_go_in_and_out_as_their_page_shows() {
    run("docs/how-to/files.md");
}

#[tokio::test]
async fn a_workflow_runs_as_its_page_shows() {
    run("docs/how-to/children.md");
}

#[test]
fn every_tutorial_has_a_test() {
    let own = include_str!("sessions.rs");
    for entry in std::fs::read_dir(repository().join("docs/tutorial")).expect("tutorials") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(own.contains(&format!("run(\"docs/tutorial/{name}\")")), "{name} is not run");
    }
}
