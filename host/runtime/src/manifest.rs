//! The manifest `<name>.toml` beside `<name>.wasm`: read, checked against the ceilings of the host, and
//! turned into the terms of the plugin.
//!
//! Called by the loader and by `check`. It reads the manifest and the schema that it names, and
//! carries nothing out.

mod allow;
mod schedule;

use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use wasmill_model::{ATTEMPTS_MAX, Backoff, InvalidDuration, InvalidRate, RetryOn, parse_duration};

use self::allow::Allow;
use self::schedule::ScheduleWish;
use crate::folder;
use crate::schema::InputSchema;
use crate::terms::{Ceilings, OutputFormat, Retry, Terms};
use crate::words;

/// The largest manifest.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// The largest schema.
const SCHEMA_BYTES_MAX: u64 = 256 << 10;
/// Bytes of the longest description.
const DESCRIPTION_BYTES_MAX: usize = 1 << 10;

/// Returns the terms that the manifest at `path` asks for, or `defaults` if there is none.
///
/// # Errors
///
/// Says in a sentence what is wrong, and where in the file.
pub(crate) fn read(path: &Path, defaults: &Arc<Terms>, ceilings: &Ceilings) -> Result<Arc<Terms>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let terms = match read_text(path, MANIFEST_BYTES_MAX) {
        Ok(None) => return Ok(Arc::clone(defaults)),
        Ok(Some(text)) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            parse(&text).and_then(|manifest| manifest.settle(folder, defaults, ceilings))
        }
        Err(reason) => Err(reason),
    };
    let refuse = |reason| words::bounded(format_args!("its manifest {name} is not valid: {reason}"));
    terms.map(Arc::new).map_err(refuse)
}

/// Returns where the schema lies that the manifest at `path` names, and the folders that it grants, whether they
/// are there or not.
pub(crate) fn needs(path: &Path) -> (Option<PathBuf>, Vec<PathBuf>) {
    let text = read_text(path, MANIFEST_BYTES_MAX).ok().flatten();
    let Some(manifest) = text.and_then(|text| parse(&text).ok()) else { return (None, Vec::new()) };
    let folder = path.parent().unwrap_or(Path::new(""));
    (manifest.input.schema.and_then(|schema| beside(folder, &schema)), manifest.allow.hosts())
}

/// Returns the folders that the manifest at `path` opens for writing, whether it is in force or not.
pub(crate) fn writable_folders(path: &Path) -> Vec<PathBuf> {
    let text = read_text(path, MANIFEST_BYTES_MAX).ok().flatten();
    text.and_then(|text| parse(&text).ok())
        .map(|manifest| manifest.allow.writable_hosts())
        .unwrap_or_default()
}

/// The file as it is written; what is left out is as the host has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Manifest {
    description: Option<String>,
    sha256: Option<String>,
    output: Option<Output>,
    limits: Wishes,
    retry: RetryWish,
    allow: Allow,
    input: InputWish,
    schedule: Option<ScheduleWish>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wishes {
    memory: Option<ByteSize>,
    timeout: Option<Span>,
    cpu: Option<Span>,
    output: Option<ByteSize>,
    logs: Option<ByteSize>,
    disk: Option<ByteSize>,
    concurrency: Option<u32>,
    rate: Option<String>,
    waiting: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryWish {
    max_attempts: Option<u32>,
    backoff: Option<BackoffWish>,
    on: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BackoffWish {
    first: Option<Span>,
    factor: Option<f64>,
    most: Option<Span>,
    jitter: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InputWish {
    schema: Option<String>,
}

/// A duration that is written with a unit, such as `10s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_duration(&text).map(Self)
    }
}

fn parse(text: &str) -> Result<Manifest, String> {
    toml::from_str(text).map_err(|error| match error.span() {
        Some(span) => format!("{}: {}", place(text, span.start), error.message()),
        None => error.message().to_owned(),
    })
}

/// Writes where in a text something is, as editors count.
fn place(text: &str, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

impl Manifest {
    fn settle(self, folder: &Path, defaults: &Terms, ceilings: &Ceilings) -> Result<Terms, String> {
        let Self { description, sha256, output, limits: wishes, retry, allow, input, schedule } = self;
        if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(format!("description is longer than {DESCRIPTION_BYTES_MAX} bytes"));
        }
        let sha256 = sha256.as_deref().map(check_digest).transpose()?;
        let mut terms = Terms { description, sha256, ..defaults.clone() };
        if let Some(output) = output {
            terms.output = match output {
                Output::Text => OutputFormat::Text,
                Output::Json => OutputFormat::Json,
            };
        }
        wishes.grant(&mut terms, ceilings)?;
        terms.retry = retry.check()?;
        terms.permissions = allow.check()?;
        terms.schema = input.schema.map(|file| read_schema(folder, &file)).transpose()?;
        terms.schedule = schedule.map(|wish| wish.check(terms.schema.as_ref())).transpose()?;
        Ok(terms)
    }
}

/// Reads a digest as `sha256sum` writes it.
fn check_digest(digest: &str) -> Result<String, String> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest.to_ascii_lowercase())
    } else {
        Err("sha256 must be 64 hexadecimal digits, as `sha256sum` writes them".to_owned())
    }
}

impl Wishes {
    fn grant(self, terms: &mut Terms, ceilings: &Ceilings) -> Result<(), String> {
        let limits = &mut terms.limits;
        if let Some(wish) = self.memory {
            limits.memory_bytes = bytes("memory", wish, 64 << 10, "memory_max", ceilings.memory_bytes)?;
        }
        if let Some(wish) = self.output {
            limits.output_bytes = bytes("output", wish, 1, "output_max", ceilings.output_bytes)?;
        }
        if let Some(wish) = self.logs {
            limits.log_bytes = bytes("logs", wish, 0, "log_tail_max", ceilings.log_bytes)?;
        }
        if let Some(wish) = self.disk {
            limits.disk_bytes = bytes("disk", wish, 0, "disk_max", ceilings.disk_bytes)?;
        }
        if let Some(Span(wish)) = self.timeout {
            limits.timeout = duration("timeout", wish, "timeout_max", Some(ceilings.timeout))?;
        }
        if let Some(Span(wish)) = self.cpu {
            limits.cpu = Some(duration("cpu", wish, "cpu_max", ceilings.cpu)?);
        }
        if let Some(wish) = self.concurrency {
            terms.concurrency = Some(concurrency(wish, ceilings.concurrency)?);
        }
        if let Some(wish) = self.rate {
            let rate = wish.parse().map_err(|error: InvalidRate| format!("limits.rate: {error}"))?;
            terms.rate = Some(rate);
        }
        if let Some(wish) = self.waiting {
            if wish == 0 {
                return Err("limits.waiting must be at least 1, or no task would be accepted".to_owned());
            }
            terms.waiting_max = Some(wish);
        }
        Ok(())
    }
}

fn bytes(name: &str, wish: ByteSize, least: u64, ceiling: &str, most: u64) -> Result<u64, String> {
    let asked = wish.as_u64();
    if asked > most {
        let (asked, most) = (words::bytes(asked), words::bytes(most));
        return Err(format!(
            "limits.{name} asks for {asked}, and the ceiling of this host, {ceiling}, is {most}"
        ));
    }
    if asked < least {
        return Err(format!("limits.{name} must be at least {}", words::bytes(least)));
    }
    Ok(asked)
}

fn duration(name: &str, wish: Duration, ceiling: &str, most: Option<Duration>) -> Result<Duration, String> {
    if let Some(most) = most.filter(|most| wish > *most) {
        let (wish, most) = (humantime::format_duration(wish), humantime::format_duration(most));
        return Err(format!(
            "limits.{name} asks for {wish}, and the ceiling of this host, {ceiling}, is {most}"
        ));
    }
    if wish < Duration::from_millis(1) {
        return Err(format!("limits.{name} must be at least 1ms"));
    }
    Ok(wish)
}

fn concurrency(wish: u32, most: Option<u32>) -> Result<u32, String> {
    match most {
        Some(most) if wish > most => Err(format!(
            "limits.concurrency asks for {wish}, and the ceiling of this host, concurrency, is {most}"
        )),
        _ if wish == 0 => Err("limits.concurrency must be at least 1, or no task would ever run".to_owned()),
        _ => Ok(wish),
    }
}

impl RetryWish {
    fn check(self) -> Result<Retry, String> {
        if self.max_attempts.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
            return Err(format!("retry.max_attempts must be from 1 to {ATTEMPTS_MAX}"));
        }
        let backoff = self.backoff.map(|BackoffWish { first, factor, most, jitter }| {
            Backoff::of(first.map(|span| span.0), factor, most.map(|span| span.0), jitter)
                .map_err(|error| format!("retry.backoff: {error}"))
        });
        let on = self.on.map(|words| RetryOn::of(words.iter().map(String::as_str)));
        let on = on.transpose().map_err(|error| format!("retry.on: {error}"))?.unwrap_or_default();
        Ok(Retry { attempts_max: self.max_attempts, backoff: backoff.transpose()?, on })
    }
}

fn read_schema(folder: &Path, file: &str) -> Result<InputSchema, String> {
    let path = beside(folder, file)
        .ok_or_else(|| format!("input.schema must name a file beside the manifest, not '{file}'"))?;
    let read = read_text(&path, SCHEMA_BYTES_MAX).and_then(|text| {
        let text = text.ok_or_else(|| "there is no such file".to_owned())?;
        InputSchema::compile(&text)
    });
    read.map_err(|reason| format!("input.schema {file}: {reason}"))
}

/// Returns the path of a file that is named from within a folder; `None` if that leads elsewhere, since
/// a manifest that came with a plugin must not make the host tell what is in other files.
fn beside(folder: &Path, file: &str) -> Option<PathBuf> {
    let named = Path::new(file);
    let is_beside = !file.is_empty() && named.components().all(|part| matches!(part, Component::Normal(_)));
    is_beside.then(|| folder.join(named))
}

/// Reads a file of text within its bound; `None` if it is not there.
fn read_text(path: &Path, bytes_max: u64) -> Result<Option<String>, String> {
    let failed = |error| format!("it cannot be read: {error}");
    let file = match folder::open(path) {
        // Without what it says, a plugin would run on other terms than somebody meant.
        Err(_) if folder::is_dangling(path) => return Err(folder::DANGLING.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > bytes_max {
        return Err(format!("it is larger than {}", words::bytes(bytes_max)));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmill_model::Limits;

    use super::*;
    use crate::terms::HttpRule;

    fn settle(text: &str) -> Result<Terms, String> {
        let defaults = Terms::default();
        parse(text)?.settle(Path::new("/nowhere"), &defaults, &Ceilings::of(&Limits::default()))
    }

    fn refusal(text: &str) -> String {
        settle(text).expect_err(text)
    }

    #[test]
    fn an_empty_manifest_changes_nothing() {
        assert_eq!(settle("").unwrap(), Terms::default());
    }

    #[test]
    fn everything_that_can_be_asked_for_is_carried() {
        let terms = settle(
            r#"
            description = "Thumbnails from a URL"
            sha256 = "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            output = "json"
            [limits]
            memory = "1MiB"
            timeout = "5s"
            cpu = "3s"
            output = "2KiB"
            logs = "1KiB"
            disk = "3MiB"
            concurrency = 50
            rate = "100/s"
            waiting = 1000
            [retry]
            max_attempts = 3
            backoff = { first = "2s", factor = 3, most = "1m", jitter = 0.1 }
            on = ["io", "memory-limit"]
            [allow]
            http = ["https://*.cdn.example.com:8443/img/"]
            env = { REGION = "eu" }
            dirs = [{ host = "/usr", guest = "/in" }]
            "#,
        )
        .unwrap();
        let limits = &terms.limits;
        assert_eq!(terms.description.as_deref(), Some("Thumbnails from a URL"));
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(terms.sha256.as_deref(), Some(digest));
        assert_eq!((limits.memory_bytes, limits.output_bytes, limits.log_bytes), (1 << 20, 2 << 10, 1 << 10));
        assert_eq!(limits.disk_bytes, 3 << 20);
        assert_eq!((limits.timeout, terms.concurrency), (Duration::from_secs(5), Some(50)));
        assert_eq!(limits.cpu, Some(Duration::from_secs(3)));
        assert_eq!((terms.rate.map(|rate| rate.starts), terms.waiting_max), (Some(100), Some(1_000)));
        assert_eq!(terms.output, OutputFormat::Json);
        assert_eq!(terms.retry.attempts_max, Some(3));
        assert_eq!(terms.retry.on.words(), ["io", "memory-limit"]);
        let backoff = terms.retry.backoff.unwrap();
        assert_eq!((backoff.most, backoff.jitter), (Duration::from_secs(60), 0.1));
        let rule = HttpRule {
            scheme: "https".to_owned(),
            host: "*.cdn.example.com".to_owned(),
            port: 8443,
            path_prefix: "/img/".to_owned(),
        };
        assert_eq!(terms.permissions.http, [rule]);
        assert_eq!(terms.permissions.env["REGION"], "eu");
        assert!(!terms.permissions.dirs[0].write);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let reason = refusal("output = \"json\"\n[limits]\nmemroy = \"1MiB\"");
        assert!(reason.starts_with("line 3, column 1: ") && reason.contains("memroy"), "{reason}");
        for text in ["colour = 1", "[allow]\nsockets = true", "[retry]\nfirst = \"1s\"", "[input]\na = 1"] {
            assert!(refusal(text).contains("unknown field"), "{text}");
        }
    }

    #[test]
    fn a_wish_over_the_ceiling_is_refused_with_both_numbers() {
        for (wish, numbers) in [
            ("memory = \"65MiB\"", ["65 MiB", "memory_max, is 64 MiB"]),
            ("output = \"2MiB\"", ["2 MiB", "output_max, is 1 MiB"]),
            ("logs = \"1MiB\"", ["1 MiB", "log_tail_max, is 16 KiB"]),
            ("disk = \"2GiB\"", ["2 GiB", "disk_max, is 1 GiB"]),
            ("timeout = \"11m\"", ["11m", "timeout_max, is 10m"]),
        ] {
            let reason = refusal(&format!("[limits]\n{wish}"));
            assert!(numbers.iter().all(|number| reason.contains(number)), "{reason}");
        }
        let idle = Ceilings { cpu: Some(Duration::from_secs(30)), ..Ceilings::of(&Limits::default()) };
        let reason = parse("limits.cpu = \"31s\"").unwrap().settle(Path::new(""), &Terms::default(), &idle);
        let reason = reason.unwrap_err();
        assert!(reason.contains("asks for 31s") && reason.contains("cpu_max, is 30s"), "{reason}");
        let few = Ceilings { concurrency: Some(3), ..Ceilings::of(&Limits::default()) };
        let reason = parse("limits.concurrency = 4").unwrap().settle(Path::new(""), &Terms::default(), &few);
        let reason = reason.unwrap_err();
        assert!(reason.contains("asks for 4") && reason.contains("is 3"), "{reason}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (text, named) in [
            ("limits.cpu = \"0s\"", "limits.cpu must be at least 1ms"),
            ("limits.concurrency = 0", "limits.concurrency"),
            ("limits.rate = \"100\"", "limits.rate: a rate is"),
            ("limits.waiting = 0", "limits.waiting"),
            ("limits.memory = \"1KiB\"", "64 KiB"),
            ("limits.timeout = \"0s\"", "1ms"),
            ("limits.timeout = \"soon\"", "line 1, column"),
            ("retry.max_attempts = 0", "from 1 to 100"),
            ("retry.backoff = { factor = 0.1 }", "factor"),
            ("retry.backoff = { jitter = 2 }", "jitter"),
            ("retry.on = [\"invalid-input\"]", "retry.on: 'invalid-input'"),
            ("output = \"xml\"", "xml"),
            ("input.schema = \"/etc/passwd\"", "beside the manifest"),
            ("input.schema = \"../other.json\"", "beside the manifest"),
            ("input.schema = \"missing.json\"", "there is no such file"),
            ("limits = 5\n[", "line 2"),
        ] {
            let reason = refusal(text);
            assert!(reason.contains(named), "{text}: {reason}");
        }
    }

    #[test]
    fn a_manifest_that_is_no_readable_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let read = || read(&path, &Arc::default(), &Ceilings::of(&Limits::default()));
        assert_eq!(*read().unwrap(), Terms::default());
        std::fs::write(&path, " ".repeat(100 << 10)).unwrap();
        assert!(read().unwrap_err().contains("a.toml is not valid: it is larger than 64 KiB"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read().unwrap_err().contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read().unwrap_err().contains("not a regular file"));
    }
}
