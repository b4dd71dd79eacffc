//! The book agrees with itself and with the code: links, test names, settings, codes, routes, commands, tables.
//!
//! `sessions.rs` runs what README and tutorials show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use wasmill_tests::{Server, wasmill};

/// Pages outside of the book.
const TOP_PAGES: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/// Returns the repository. Found at run time: the tests may have been compiled in another clone of it.
pub(crate) fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    PathBuf::from(package).join("..")
}

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
fn quoted(page: &str) -> Vec<String> {
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

#[test]
fn the_page_of_settings_lists_the_options_of_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = wasmill(folder.path(), &["serve", "--help"]).out;
    let variables = help.split("[env: ").skip(1).filter_map(|rest| rest.split_once(['=', ']']));
    let variables: BTreeSet<_> = variables.map(|(name, _)| name.to_owned()).collect();
    let starts = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags = starts.map(|flag| flag.split([' ', '[']).next().expect("a word").to_owned());
    let flags: BTreeSet<_> = flags.filter(|flag| flag != "color").collect();
    let mut shown_flags = BTreeSet::new();
    let mut shown_variables = BTreeSet::new();
    for row in rows("docs/reference/settings.md").iter().filter(|row| row[0].contains("`--")) {
        let flags: Vec<_> =
            words(&row[0]).iter().map(|flag| flag.trim_start_matches("--").to_owned()).collect();
        // The second of two variables is shown by its end.
        let ends = words(&row[1]);
        for (flag, variable) in flags.iter().zip(&ends) {
            let whole = format!("WASMILL_{}", flag.to_uppercase().replace('-', "_"));
            assert!(whole.ends_with(variable.trim_start_matches('…')), "--{flag} is not {variable}");
            shown_variables.insert(whole);
        }
        assert_eq!(flags.len(), ends.len(), "{row:?}");
        shown_flags.extend(flags);
    }
    assert_eq!(shown_flags, flags);
    assert_eq!(shown_variables, variables);
}

/// Returns an option's default in `serve --help`, if it is a plain value.
fn default_of(help: &str, flag: &str) -> Option<String> {
    let (_, rest) = help.split_once(&format!("\n      --{flag} "))?;
    let option = rest.split("\n      --").next()?;
    let option = option.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, default) = option.split_once("[default: ")?;
    let default = default.split(']').next()?;
    (!default.contains([' ', ','])).then(|| default.to_owned())
}

#[test]
fn the_page_of_settings_shows_the_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = wasmill(folder.path(), &["serve", "--help"]).out;
    let mut compared = 0;
    for row in rows("docs/reference/settings.md").iter().filter(|row| row[0].contains("`--")) {
        let flags = words(&row[0]);
        let shown: Vec<_> = row[2].split(", ").map(|cell| cell.trim_matches('`').to_owned()).collect();
        for (flag, shown) in flags.iter().zip(&shown) {
            if let Some(default) = default_of(&help, flag.trim_start_matches("--")) {
                let is_shown = *shown == default || (shown == "off" && default == "false");
                assert!(
                    is_shown || default == "none" && shown == "none",
                    "{flag}: {default}, the page has {shown}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 15, "{compared}");
}

/// Returns the name of the status and the seconds of `Retry-After` of each problem code in the code.
fn problem_kinds() -> BTreeMap<String, (String, Option<String>)> {
    let source = files("host/api/src", ".rs").into_iter().map(|file| read(&file)).collect::<String>();
    let kinds = source.split("ProblemKind::new(").skip(1).map(|rest| rest.split(';').next().expect("an end"));
    let kind = |kind: &str| {
        let (_, rest) = kind.split_once("StatusCode::").expect("a status");
        let (status, rest) = rest.split_once(',').expect("a code");
        let code = rest.split('"').nth(1).expect("a code");
        let seconds =
            rest.split_once(".retry_after(").map(|(_, rest)| rest.split(')').next().expect("seconds"));
        (code.to_owned(), (status.to_owned(), seconds.map(str::to_owned)))
    };
    kinds.map(kind).collect()
}

#[test]
fn the_page_of_problem_codes_lists_all_with_status_and_seconds() {
    let rows: Vec<_> =
        rows("docs/reference/problem-codes.md").into_iter().filter(|row| row[1].starts_with('`')).collect();
    let mut shown = BTreeMap::new();
    for row in &rows {
        let status = hyper::StatusCode::from_bytes(row[0].as_bytes()).expect("a status");
        let status = status.canonical_reason().expect("a reason").to_uppercase().replace([' ', '-'], "_");
        let seconds = row[3].strip_suffix(" s").map(str::to_owned);
        shown.insert(words(&row[1])[0].clone(), (status, seconds));
    }
    assert_eq!(shown.len(), rows.len(), "a code is listed twice");
    assert_eq!(shown, problem_kinds());
}

#[tokio::test]
async fn the_page_of_routes_lists_exactly_the_routes() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let named = |path: &str| path.replace("{schedule}", "{name}");
    let routes =
        document.operations().map(|(method, path, _)| format!("{} {}", method.to_uppercase(), named(path)));
    let routes: BTreeSet<_> = routes.filter(|route| !route.ends_with(".js")).collect();
    let mut shown = BTreeSet::new();
    for row in rows("docs/reference/rest.md") {
        let mut before = String::new();
        let mut methods = Vec::new();
        for word in words(&row[0]) {
            if !word.contains('/') {
                methods.push(word);
                continue;
            }
            let (method, path) =
                word.split_once(' ').unwrap_or((before.split(' ').next().unwrap_or(""), &word));
            // `…/resume` is the route before with another end.
            let path = path.strip_prefix('…').map_or_else(
                || path.to_owned(),
                |end| {
                    let whole = before.split(' ').nth(1).expect("a path");
                    format!("{}{end}", whole.rsplit_once('/').expect("a path").0)
                },
            );
            before = format!("{method} {path}");
            shown.extend(methods.drain(..).map(|method| format!("{method} {path}")));
            shown.insert(before.clone());
        }
    }
    assert_eq!(shown, routes);
}

#[test]
fn the_page_of_the_command_line_lists_commands_and_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = wasmill(folder.path(), &["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").expect("commands");
    let (commands, _) = commands.split_once("\n\n").expect("their end");
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: BTreeSet<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    let rows = rows("docs/reference/cli.md");
    let cells: Vec<_> = rows.iter().flat_map(|row| words(&row[0])).collect();
    for command in commands.iter().filter(|command| **command != "help") {
        let is_shown = cells.iter().any(|cell| cell.split(' ').next() == Some(*command));
        assert!(is_shown, "docs/reference/cli.md lacks {command}");
    }
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes");
    for line in codes.lines().filter(|line| !line.trim().is_empty()) {
        let (code, meaning) = line.trim().split_once(' ').expect("a code");
        let shown = rows.iter().find(|row| row[0] == code).unwrap_or_else(|| panic!("no exit code {code}"));
        let short = |text: &str| text.replace(" or ", ", ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(short(&shown[1]), short(meaning), "exit code {code}");
    }
}

#[tokio::test]
async fn the_page_of_the_schema_lists_the_tables() {
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
    let depth = if ["schedule", "plugin"].contains(words.first()?) { 2 } else { 1 };
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
