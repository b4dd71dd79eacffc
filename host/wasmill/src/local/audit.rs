//! `wasmill audit`: shows who did what, from the files of a server.

use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmill_access::{AuditDetails, AuditLine, AuditTarget, read_audit};
use wasmill_model::{Clock, SystemClock, TimeDelta, Timestamp};

use crate::cli::AuditArgs;
use crate::exit::{self, Exit, cli_error};
use crate::output::{data, out};
use crate::settings::Settings;
use crate::terminal::style::Style;

/// Prints the lines that the options select, oldest first.
pub(crate) fn audit(args: AuditArgs) -> Result<()> {
    let AuditArgs { since, who, json, given } = args;
    let settings = Settings::load(given)?;
    let AuditTarget::File(path) = settings.audit_target() else {
        return Err(cli_error(Exit::Usage, "--audit-file is -, so the audit is in the log of the server"));
    };
    let since = since.map(begin).transpose()?;
    let is_wanted = |line: &AuditLine| {
        let is_recent =
            since.is_none_or(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time >= since));
        let named = |who: &str| line.who.as_ref().is_some_and(|key| key.name == who || key.key == who);
        is_recent && who.as_deref().is_none_or(named)
    };
    if !json {
        let head = format!("{:<24}  {:<16}  {:<15}  {:<16}  {:>3}  PATH", "TIME", "WHO", "FROM", "DID", "");
        out!("{}", Style::stdout().bold(head));
    }
    let read = read_audit(&path, |line| {
        if !is_wanted(&line) {
            return;
        }
        if json {
            data!("{}", serde_json::to_string(&line).unwrap_or_default());
            return;
        }
        let AuditLine { time, who, from, did, path, outcome, details } = line;
        let who = who.map_or("-".to_owned(), |key| key.name);
        let from = from.map_or("-".to_owned(), |from| from.to_string());
        let outcome = outcome.map_or("-".to_owned(), |outcome| outcome.to_string());
        out!("{time:<24}  {who:<16}  {from:<15}  {did:<16}  {outcome:>3}  {path}{}", shown(&details));
    });
    read.map_err(|error| exit::read_error(path.display(), &error))
}

/// Shows what an operation added to its line.
fn shown(details: &AuditDetails) -> String {
    let AuditDetails { count, digest_before, digest_after } = details;
    let short = |digest: &Option<String>| {
        digest.as_deref().map_or("nothing".to_owned(), |digest| digest.chars().take(12).collect())
    };
    let count = count.map(|count| format!("  ({count} tasks)")).unwrap_or_default();
    if digest_before.is_none() && digest_after.is_none() {
        return count;
    }
    format!("{count}  ({} to {})", short(digest_before), short(digest_after))
}

/// Returns the time that was so long ago.
fn begin(span: Duration) -> Result<Timestamp> {
    let span = TimeDelta::from_std(span).ok();
    let time = span.and_then(|span| SystemClock.now().checked_sub_signed(span));
    time.ok_or_else(|| anyhow!("the time is too far back"))
}
