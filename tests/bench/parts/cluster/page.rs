//! Writes docs/explanation/cluster-figures.md.

use std::fmt::Write;

use anyhow::{Context, Result};
use wasmill_model::{Clock, SystemClock};

use crate::report::Table;

/// The page that it comes after in the book.
const BEFORE: &str = "- [Growth](explanation/growth.md)\n";
const LINE: &str = "- [Several hosts in figures](explanation/cluster-figures.md)\n";

/// Writes the page, and names it in the summary of the book.
pub(super) fn write(tables: &[Table]) -> Result<()> {
    let docs = wasmill_tests::repository().join("docs");
    std::fs::write(docs.join("explanation/cluster-figures.md"), page(tables)?)?;
    let path = docs.join("SUMMARY.md");
    let summary = std::fs::read_to_string(&path)?;
    if !summary.contains(LINE) {
        let (before, after) = summary.split_once(BEFORE).context("SUMMARY.md has no page about growth")?;
        std::fs::write(&path, format!("{before}{BEFORE}{LINE}{after}"))?;
    }
    println!("\nwritten: docs/explanation/cluster-figures.md");
    Ok(())
}

fn page(tables: &[Table]) -> Result<String> {
    let cores = std::thread::available_parallelism()?.get();
    let day = SystemClock.now().format("%Y-%m-%d");
    let mut page = format!(
        "# Several hosts in figures\n\n\
         Made by `make bench ARGS=cluster` on {day}: {cores} cores, which hosts, PostgreSQL and clients share.\n\
         Every commit is synced. The floors are bare batches of the same rows in the same server and the same run: compare \
         the ratios.\n\
         A goal stands in the title of a table.\n"
    );
    for Table { title, rows } in tables {
        write!(page, "\n## {title}\n\n| what | figure |\n| --- | --- |\n")?;
        for (name, figure) in rows {
            writeln!(page, "| {name} | {figure} |")?;
        }
    }
    page.push_str("\n[Beside its peers](peers.md) has Wasmill on PostgreSQL beside other job runners on the same server.\n");
    Ok(page)
}
