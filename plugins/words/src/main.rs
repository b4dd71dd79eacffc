//! Counts the words of a text: `words [--top N] [--shortest LETTERS] [--json FILE] [TEXT]`.
//!
//! An ordinary program that knows nothing of Wasmill and runs in a shell as well. stdin, or the file TEXT, is the text,
//! stdout the result, stderr the log, and an exit code other than 0 fails the task.

use std::collections::HashMap;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: words [--top N] [--shortest LETTERS] [--json FILE] [TEXT]";

/// The parsed arguments.
struct Options {
    /// The number of words to list.
    top: usize,
    /// The minimum number of letters of a word.
    shortest: usize,
    /// Where all counts are written.
    json: Option<String>,
    /// The file with the text; `None` for stdin.
    text: Option<String>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { top: 10, shortest: 1, json: None, text: None };
    while let Some(name) = args.next() {
        let place = match name.as_str() {
            "--top" => &mut options.top,
            "--shortest" => &mut options.shortest,
            "--json" => {
                options.json = Some(args.next().ok_or("--json needs a file")?);
                continue;
            }
            text if !text.starts_with('-') && options.text.is_none() => {
                options.text = Some(name);
                continue;
            }
            _ => return Err(format!("unknown argument '{name}'")),
        };
        let value = args.next().ok_or_else(|| format!("{name} needs a number"))?;
        *place = value.parse().map_err(|_| format!("{name} needs a number, not '{value}'"))?;
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let text = match &options.text {
        Some(file) => std::fs::read_to_string(file),
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
    };
    let text = text.map_err(|error| format!("failed to read the text: {error}"))?;
    let counts = count(&text, options.shortest);
    let words: usize = counts.iter().map(|(_, times)| times).sum();
    eprintln!("{words} words, {} different ones", counts.len());
    if let Some(file) = &options.json {
        std::fs::write(file, json(&counts)).map_err(|error| format!("failed to write {file}: {error}"))?;
    }
    print(&counts[..counts.len().min(options.top)])
        .map_err(|error| format!("failed to write the result: {error}"))
}

/// Counts the words, most frequent first, ties in alphabetical order.
fn count(text: &str, shortest: usize) -> Vec<(String, usize)> {
    let mut counts = HashMap::new();
    let is_between = |c: char| !c.is_alphanumeric() && c != '\'' && c != '’';
    for word in text.split(is_between).map(|word| word.trim_matches(['\'', '’'])) {
        if !word.is_empty() && word.chars().count() >= shortest {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

/// Returns an object of words and counts. A word has nothing that JSON would escape.
fn json(counts: &[(String, usize)]) -> String {
    let members: Vec<_> = counts.iter().map(|(word, times)| format!("\"{word}\":{times}")).collect();
    format!("{{{}}}\n", members.join(","))
}

fn print(counts: &[(String, usize)]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (word, times) in counts {
        writeln!(out, "{times:>7} {word}")?;
    }
    out.flush()
}
