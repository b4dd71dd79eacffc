//! The generated parts of the reference pages: what the server and the command line say of themselves.
//!
//! Such a part stands between two comments of its page. A test fails if it differs; `make docs` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use wasmill_tests::{Server, repository, wasmill};

use crate::docs::book::{quoted, read};
use crate::http::metrics::busy_server;

/// The variable that makes the tests write the pages.
const WRITE: &str = "WRITE_DOCS";

/// Compares the generated part of a page with the rows of this table, or writes them.
#[track_caller]
fn table(page: &str, part: &str, heads: &[&str], rows: &[Vec<String>]) {
    let line = |cells: Vec<String>| {
        let cells = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")).replace("  ", " ")
    };
    let mut text = line(heads.iter().map(|head| (*head).to_owned()).collect());
    text.push_str(&line(vec!["---".to_owned(); heads.len()]));
    text.extend(rows.iter().cloned().map(line));
    assert!(rows.len() > 5, "{part}: {text}");
    generated(page, part, "table", &text);
}

/// Compares the generated part of a page with this text, or writes it.
#[track_caller]
fn generated(page: &str, part: &str, kind: &str, text: &str) {
    let file = format!("docs/reference/{page}.md");
    let whole = read(&file);
    let start = format!("<!-- {part}: `make docs` writes this {kind} -->\n\n");
    let end = format!("\n<!-- end of the {kind} -->");
    let (before, rest) = whole.split_once(&start).unwrap_or_else(|| panic!("{file} has no {start}"));
    let (shown, after) = rest.split_once(&end).expect("an end");
    if std::env::var_os(WRITE).is_some() {
        fs::write(repository().join(&file), format!("{before}{start}{text}{end}{after}")).expect("written");
    } else {
        assert_eq!(shown, text, "{file} differs: run `make docs`");
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn help(command: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    wasmill(folder.path(), &[command, &["--help"]].concat()).out
}

/// Returns the paragraphs of a help text, each on one line.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() && !last.is_empty() => *last = format!("{last} {line}"),
            Some(last) if !line.is_empty() => line.clone_into(last),
            _ => paragraphs.push(String::new()),
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

/// Returns the row of an option: flag, variable, default, meaning.
fn option_row(option: &str) -> Vec<String> {
    let (flag, text) = option.split_once('\n').expect("a description");
    let flag = flag.split([' ', '[']).next().expect("a flag");
    let (text, variable) = text.split_once("[env: ").expect("a variable");
    let (variable, default) = variable.split_once(']').expect("its end");
    // One whose value is never shown has no sign behind it.
    let variable = variable.trim_end_matches('=');
    let mut meaning = paragraphs(text);
    if let Some(values) = meaning.last_mut().filter(|last| last.starts_with("Possible values: ")) {
        let each = values.split(" - ").skip(1).filter_map(|value| value.split_once(':'));
        let each: Vec<_> = each.map(|(value, means)| format!("`{value}`: {}", means.trim())).collect();
        *values = each.join("; ");
    }
    let meaning = meaning.join(". ");
    // A default that is no value stands in the text.
    let (meaning, prose) =
        meaning.split_once(" [default: ").map_or((meaning.as_str(), ""), |(text, rest)| {
            let (prose, after) = rest.split_once(']').expect("its end");
            assert!(after.is_empty() || after.starts_with(". "), "{option}");
            (text, prose)
        });
    let rest = paragraphs(text).into_iter().skip_while(|paragraph| !paragraph.contains("[default: ")).skip(1);
    let meaning = [meaning.to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join(". ");
    let value = default.trim().strip_prefix("[default: ").and_then(|value| value.strip_suffix(']'));
    let default = value.map_or(prose.to_owned(), code);
    vec![code(&format!("--{flag}")), code(variable), default, meaning]
}

#[test]
fn the_page_of_settings_lists_the_options_of_serve() {
    let help = help(&["serve"]);
    let (options, _) = help.split_once("\n  -h, --help").expect("the end of the options");
    let rows: Vec<_> = options.split("\n      --").skip(1).map(option_row).collect();
    table("settings", "settings", &["flag", "environment", "default", "meaning"], &rows);
}

/// Adds the rows of a command, or of its subcommands.
fn add_commands(path: &[&str], rows: &mut Vec<Vec<String>>) {
    let help = help(path);
    let (about, rest) = help.split_once("Usage: wasmill ").expect("a usage");
    if let Some((_, commands)) = rest.split_once("\nCommands:\n") {
        let (commands, _) = commands.split_once("\n\n").expect("their end");
        let names = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            add_commands(&[path, &[name]].concat(), rows);
        }
    } else {
        let usage = rest.lines().next().expect("a line").replace("[OPTIONS] ", "").replace(" [OPTIONS]", "");
        rows.push(vec![code(&usage), paragraphs(about).swap_remove(0)]);
    }
}

#[test]
fn the_page_of_the_command_line_lists_commands_and_exit_codes() {
    let mut rows = Vec::new();
    add_commands(&[], &mut rows);
    table("cli", "commands", &["command", "what it does"], &rows);
    let help = help(&[]);
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes");
    let codes = codes.lines().filter_map(|line| line.trim().split_once(' '));
    let rows: Vec<_> =
        codes.map(|(code, meaning)| vec![code.to_owned(), meaning.trim().to_owned()]).collect();
    table("cli", "exit codes", &["exit code", "meaning"], &rows);
}

/// Returns the text of a key, or nothing.
fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

#[tokio::test]
async fn the_page_of_routes_lists_the_operations_of_the_document() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let row = |(method, path, operation): (&str, &str, &Value)| {
        let codes = operation["responses"].as_object().expect("responses").keys();
        let codes: Vec<_> = codes.filter(|status| status.starts_with('2')).cloned().collect();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|parameter| parameter["in"] == "query");
        let query: Vec<_> = query.map(|parameter| code(&text(parameter, "name"))).collect();
        let what = format!("{} {}", sentence(&text(operation, "summary")), text(operation, "description"));
        let keys =
            operation["security"].as_array().into_iter().flatten().filter_map(|key| key["key"].as_array());
        let scopes = |key: &Vec<Value>| {
            let names = key.iter().filter_map(Value::as_str).map(code);
            names.collect::<Vec<_>>().join(" and ")
        };
        let keys: Vec<_> = keys.map(scopes).collect();
        let route = code(&format!("{} {path}", method.to_uppercase()));
        let reach = text(operation, "x-reach");
        vec![route, keys.join(", or "), reach, codes.join(", "), query.join(" "), what.trim().to_owned()]
    };
    let rows: Vec<_> = document.operations().map(row).collect();
    table("rest", "routes", &["route", "scope", "reach", "success", "parameters", "what it does"], &rows);
}

#[tokio::test]
async fn the_page_of_access_lists_the_scopes_of_the_document() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let scopes = document.json()["x-scopes"].as_array().expect("scopes");
    let rows: Vec<_> =
        scopes.iter().map(|scope| vec![code(&text(scope, "scope")), text(scope, "may")]).collect();
    table("access", "scopes", &["scope", "may"], &rows);
}

#[tokio::test]
async fn the_page_of_problem_codes_lists_those_of_the_document() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let kinds = document.json()["x-problems"].as_array().expect("kinds");
    let row = |kind: &Value| {
        let seconds = kind["retry_after"].as_u64().map_or(String::new(), |seconds| format!("{seconds} s"));
        vec![kind["status"].to_string(), code(&text(kind, "code")), text(kind, "when"), seconds]
    };
    let mut rows: Vec<_> = kinds.iter().map(row).collect();
    rows.sort();
    rows.dedup();
    table("problem-codes", "problem codes", &["status", "code", "when", "retry after"], &rows);
    let codes: BTreeMap<_, _> = rows.iter().map(|row| (&row[1], &row[0])).collect();
    assert_eq!(codes.len(), rows.len(), "a code has one status");
}

/// Describes the values that a schema accepts.
fn shape(schema: &Value, document: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return shape(document.pointer(reference.trim_start_matches('#')).expect("a schema"), document);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let choices = choices.iter().filter(|choice| choice["type"] != "null");
            return choices.map(|choice| shape(choice, document)).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter(|value| !value.is_null());
        return values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    let kinds = &schema["type"];
    let kind = kinds.as_str().or_else(|| kinds[0].as_str()).unwrap_or("any JSON");
    let (kind, max, unit) = match kind {
        "string" if text(schema, "pattern").contains("nsec") => ("duration", &Value::Null, ""),
        "string" if schema["format"] == "date-time" => ("time", &Value::Null, ""),
        "string" => ("text", &schema["maxLength"], " characters"),
        "array" => ("list", &schema["maxItems"], ""),
        "integer" => ("integer", &schema["maximum"], ""),
        other => (other, &Value::Null, ""),
    };
    match (&schema["minimum"], max) {
        (_, Value::Null) => kind.to_owned(),
        (Value::Null, max) => format!("{kind}, up to {max}{unit}"),
        (min, max) => format!("{kind}, {min} to {max}{unit}"),
    }
}

#[tokio::test]
async fn the_page_of_the_task_request_lists_the_fields_of_the_schema() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document").json();
    let schema = &document["components"]["schemas"]["TaskRequest"];
    let fields = schema["properties"].as_object().expect("fields").iter();
    let row = |(name, field): (&String, &Value)| {
        vec![code(name), shape(field, document), text(field, "description")]
    };
    let rows: Vec<_> = fields.map(row).collect();
    table("task-request", "fields", &["field", "value", "meaning"], &rows);
}

#[tokio::test]
async fn the_page_of_metrics_lists_what_a_busy_server_exports() {
    let (_server, page) = busy_server().await;
    let mut rows = Vec::new();
    for family in page.split("# HELP ").skip(1) {
        let (name, help) = family.lines().next().and_then(|line| line.split_once(' ')).expect("a help text");
        let kind = family.lines().nth(1).and_then(|line| line.rsplit_once(' ')).expect("a type").1;
        let sample = family.lines().nth(2).unwrap_or_default();
        let labels = sample
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label);
        let labels: Vec<_> = labels.filter(|label| *label != "le").map(code).collect();
        let end = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        rows.push(vec![code(&format!("{name}{end}")), kind.to_owned(), labels.join(", "), help.to_owned()]);
    }
    table("metrics", "metrics", &["metric", "kind", "labels", "meaning"], &rows);
}

#[test]
fn the_page_of_the_contract_shows_the_signatures() {
    let contract = read("wit/task.wit");
    let mut text = String::from("```wit\n");
    for line in contract.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let last = text.lines().last().unwrap_or_default();
        // A blank line between two functions separates the comment of the second one, which is left out.
        let is_gap = last.is_empty() || last.ends_with('{') || last.starts_with(' ') && last.ends_with(';');
        if !(line.is_empty() && is_gap) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str("```\n");
    generated("wit", "signatures", "block", &text);
}

#[test]
fn the_plugin_that_the_page_of_the_contract_shows_is_the_template() {
    let page = read("docs/reference/wit.md");
    for (language, template) in [("toml", "rust/Cargo.toml.in"), ("rust", "rust/src/lib.rs.in")] {
        let (_, block) = page.split_once(&format!("```{language}\n")).expect("a block");
        let (block, _) = block.split_once("```").expect("its end");
        let template = read(&format!("host/wasmill/templates/{template}"));
        for line in block.lines().map(str::trim).filter(|line| *line != "…") {
            assert!(template.contains(line), "the template lacks: {line}");
        }
    }
}

/// Returns the keys that a manifest may have where this text has `unknown`.
fn keys(folder: &Path, manifest: &str) -> Vec<String> {
    fs::write(folder.join("x.wasm"), "no module").expect("written");
    fs::write(folder.join("x.toml"), manifest).expect("written");
    let printed = wasmill(folder, &["plugin", "check", "x.wasm"]);
    let (_, keys) = printed.err.split_once("expected ").unwrap_or_else(|| panic!("{printed:?}"));
    keys.lines().next().expect("a line").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_manifest_shows_every_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = read("docs/reference/manifest.md");
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let words = examples
        .flat_map(|example| example.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'));
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    words.extend(quoted(&page));
    let mut compared = 0;
    for table in ["", "[limits]", "[retry]", "[allow]", "[input]", "[schedule]"] {
        for key in keys(folder.path(), &format!("{table}\nunknown = 1")) {
            assert!(words.contains(&key), "docs/reference/manifest.md lacks {key} of {table}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}
