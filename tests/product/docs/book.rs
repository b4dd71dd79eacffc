//! The book agrees with itself and with the code: links, test names, commands, tables of the database.
//!
//! `reference.rs` generates the tables of reference pages, and `sessions.rs` runs what README and tutorials show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use wasmill_tests::{Server, embedded_only, repository, wasmill};

/// Pages outside of the book.
const TOP_PAGES: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns all files below a folder with this extension, relative to the repository.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(folder)).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let path = format!("{folder}/{name}");
        if repository().join(&path).is_dir() {
            if name != "target" {
                found.extend(files(&path, extension));
            }
        } else if path.ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<String> {
    let mut pages = TOP_PAGES.map(str::to_owned).to_vec();
    pages.extend(files("docs", ".md"));
    pages.extend(files("plugins", "README.md"));
    pages
}

/// Removes fenced code.
fn prose(page: &str) -> String {
    let mut in_code = false;
    let mut kept = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Returns the targets of all links.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// Returns the anchors of all headings, as GitHub and mdBook form them.
fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

/// Resolves a link against the page that it is on.
fn resolve(page: &str, target: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(page).parent().expect("a folder").join(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{page}: {target} leads out of the repository"),
            part => path.push(part),
        }
    }
    path.into_os_string().into_string().expect("UTF-8")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut dead = Vec::new();
    for page in pages() {
        for link in links(&read(&page)) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, at)| (file, Some(at)));
            let target = if file.is_empty() { page.clone() } else { resolve(&page, file) };
            let is_dead = !repository().join(&target).exists()
                || anchor.is_some_and(|anchor| !anchors(&read(&target)).contains(anchor));
            if is_dead {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_summary_lists_every_page_once() {
    let mut listed: Vec<_> =
        links(&read("docs/SUMMARY.md")).iter().map(|link| resolve("docs/SUMMARY.md", link)).collect();
    listed.sort();
    let pages: Vec<_> = files("docs", ".md").into_iter().filter(|page| page != "docs/SUMMARY.md").collect();
    assert_eq!(listed, pages);
}

/// Returns what stands between backticks in prose.
pub(crate) fn quoted(page: &str) -> Vec<String> {
    prose(page).lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_test_that_a_page_names_exists() {
    let sources = || ["host", "tests"].into_iter().flat_map(|folder| files(folder, ".rs"));
    let names: BTreeSet<String> = sources()
        .flat_map(|file| {
            let text = read(&file);
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let sources: Vec<_> = sources().collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for page in pages().into_iter().filter(|page| page != "CHANGELOG.md") {
        for name in quoted(&read(&page)) {
            let is_name = name.matches('_').count() > 2
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
                && !name.starts_with("wasmill_");
            let is_file = name.ends_with(".rs") && page == "docs/explanation/invariants.md";
            if is_name && !names.contains(&name) && !is_schema_or_metric(&name)
                || is_file && !sources.iter().any(|file| file.ends_with(&format!("/{name}")))
            {
                missing.push(format!("{page}: {name}"));
            }
            found += usize::from(is_name);
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
    assert!(found > 150, "{found}");
}

#[test]
fn every_promise_of_the_security_page_names_its_test() {
    let page = read("SECURITY.md");
    let (_, promises) = page.split_once("## What Wasmill promises").expect("promises");
    let (promises, _) = promises.split_once("\n## ").expect("their end");
    let promises: Vec<_> = promises.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(promises.len() > 20, "{}", promises.len());
    for promise in promises {
        let names_test = quoted(promise)
            .iter()
            .any(|name| name == "make chaos" || name.matches('_').count() > 2 && !name.contains(' '));
        assert!(names_test, "no test is named: {promise}");
    }
}

#[test]
fn every_invariant_names_what_checks_it() {
    let page = read("docs/explanation/invariants.md");
    let invariants: Vec<_> = page.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(invariants.len() > 60, "{}", invariants.len());
    let bare: Vec<_> = invariants.into_iter().filter(|line| !line.contains("[`")).collect();
    assert!(bare.is_empty(), "no check is named: {bare:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let sources = ["host", "tests", "plugins"].into_iter().flat_map(|folder| files(folder, ".rs"));
    let silent: Vec<_> = sources.filter(|file| !read(file).starts_with("//! ")).collect();
    assert!(silent.is_empty(), "no //! in {silent:?}");
}

#[test]
fn every_file_that_a_comment_names_exists() {
    let sources: Vec<_> =
        ["host", "tests", "plugins"].into_iter().flat_map(|folder| files(folder, ".rs")).collect();
    let schemas = files("host", ".sql");
    let mut found = 0;
    for file in sources.iter().chain(&schemas) {
        let text = read(file);
        let comments =
            text.lines().map(str::trim_start).filter(|line| line.starts_with("//") || line.starts_with("--"));
        let words = comments.flat_map(|line| {
            line.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_/.".contains(letter))
        });
        for name in words.filter(|word| word.ends_with(".rs") && word.len() > 3) {
            let is_known = sources.iter().any(|source| format!("/{source}").ends_with(&format!("/{name}")));
            assert!(is_known, "{file} names {name}");
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}

#[test]
fn the_image_is_built_from_every_crate() {
    let dockerfile = read("host/Dockerfile");
    for manifest in files("host", "toml").iter().filter(|file| file.ends_with("/Cargo.toml")) {
        assert!(
            dockerfile.contains(&format!("COPY {manifest} ")),
            "host/Dockerfile does not copy {manifest}"
        );
    }
}

#[test]
fn only_the_loader_contains_unsafe_code() {
    let lints = read("Cargo.toml");
    assert!(lints.contains("unsafe_code = \"deny\""), "the lint is off");
    for manifest in files("host", "Cargo.toml") {
        assert!(read(&manifest).contains("[lints]\nworkspace = true"), "{manifest} does not use the lints");
    }
    // In two parts, or this file would name it.
    let attribute = concat!("(unsafe", "_code");
    let allowed: Vec<_> =
        files("host", ".rs").into_iter().filter(|file| read(file).contains(attribute)).collect();
    assert_eq!(allowed, ["host/runtime/src/load/loader.rs"]);
    assert_eq!(read(&allowed[0]).matches("unsafe {").count(), 2);
}

/// Names of fields with many underscores that are no tests.
fn is_schema_or_metric(name: &str) -> bool {
    name.ends_with("_seconds") || name.ends_with("_bytes") || name.ends_with("_total")
}

/// Returns the cells of all rows of all tables of a page.
fn rows(page: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| ---");
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    read(page).lines().filter(is_row).map(|line| cells(&line.replace("\\|", "/"))).collect()
}

/// Returns the words between backticks of a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_of_the_schema_lists_the_tables() {
    embedded_only!("the page is about the embedded database");
    let server = Server::start(&[]);
    let database = server.folder().join("data/wasmill.db");
    let database =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut query = database.prepare(query).expect("a statement");
    let tables = query.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    let tables: BTreeSet<_> = tables.map(|table| table.expect("a name")).collect();
    let shown = rows("docs/reference/database.md").into_iter().flat_map(|row| words(&row[0]));
    assert_eq!(shown.collect::<BTreeSet<_>>(), tables);
}

#[test]
fn the_page_of_the_contract_lists_its_functions_and_worlds() {
    let (contract, page) = (read("wit/task.wit"), read("docs/reference/wit.md"));
    let package = contract.lines().find_map(|line| line.strip_prefix("package ")).expect("a package");
    assert!(page.contains(&format!("`{}`", package.trim_end_matches(';'))), "{package}");
    let quoted = quoted(&page);
    let listed: BTreeSet<_> = quoted
        .iter()
        .map(|name| name.split('(').next().expect("a part").rsplit('/').next().expect("a part"))
        .collect();
    let functions =
        contract.lines().filter_map(|line| line.trim().split_once(": func(")).map(|(name, _)| name);
    let blocks = contract.lines().filter_map(|line| {
        line.strip_prefix("interface ").or_else(|| line.strip_prefix("world "))?.split(' ').next()
    });
    let blocks = blocks.filter(|name| *name != "types");
    let missing: Vec<_> = functions
        .chain(blocks)
        .filter(|name| !listed.iter().any(|shown| shown.split('@').next() == Some(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let mut named = 0;
    for page in pages().into_iter().filter(|page| page != "CHANGELOG.md") {
        let text = read(&page);
        let commands = text.lines().filter_map(|line| line.trim_start_matches("$ ").strip_prefix("make "));
        let quoted = quoted(&text);
        let quoted = quoted.iter().filter_map(|command| command.strip_prefix("make "));
        for target in commands.chain(quoted).filter_map(|rest| rest.split_whitespace().next()) {
            assert!(makefile.contains(&format!("\n{target}: ")), "{page} names make {target}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

/// Returns the lines of blocks with commands.
fn commands(page: &str) -> Vec<&str> {
    let mut is_shell = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_shell = ["bash", "console"].contains(&language);
        } else if is_shell {
            lines.push(line);
        }
    }
    lines
}

/// Splits a shown command into the words of the command and its options. `wasmill schedule set x --missed one` is
/// `schedule set` with `--missed`.
fn command_and_options(shown: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let (_, shown) = shown.split_once("wasmill ")?;
    let shown = shown.split([')', '|', '#', ';', '`']).next()?;
    let words: Vec<_> = shown.split_whitespace().take_while(|word| *word != "--").collect();
    let depth = if ["schedule", "plugin", "key"].contains(words.first()?) { 2 } else { 1 };
    let command: Vec<_> = words.iter().copied().take(depth).collect();
    let is_command = command.iter().all(|word| word.bytes().all(|letter| letter.is_ascii_lowercase()));
    let option = |word: &&str| {
        word.starts_with("--") && word[2..].starts_with(|letter: char| letter.is_ascii_lowercase())
    };
    let options = words.into_iter().filter(option).map(|word| word.split('=').next().expect("a word"));
    is_command.then(|| (command, options.collect()))
}

#[test]
fn every_command_and_option_that_a_page_shows_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut helps = BTreeMap::new();
    let mut compared = 0;
    for page in pages().into_iter().filter(|page| page != "CHANGELOG.md") {
        let text = read(&page);
        let lines = commands(&text).join("\n").replace("\\\n", " ");
        let quoted = quoted(&text);
        let is_command = |line: &&str| {
            let line = line.trim_start_matches("$ ");
            line.starts_with("wasmill ") || line.contains("$(wasmill ") || line.contains("| wasmill ")
        };
        let shown = lines.lines().filter(is_command);
        let quoted = quoted.iter().map(String::as_str).filter(|quoted| quoted.starts_with("wasmill "));
        for (command, options) in shown.chain(quoted).filter_map(command_and_options) {
            let help = helps.entry(command.join(" ")).or_insert_with(|| {
                let out = wasmill(folder.path(), &[&command[..], &["--help"]].concat()).out;
                assert!(out.contains("Usage: "), "{page} shows wasmill {}", command.join(" "));
                out
            });
            for option in options {
                assert!(help.contains(option), "{page} shows wasmill {} {option}", command.join(" "));
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "{compared}");
}
