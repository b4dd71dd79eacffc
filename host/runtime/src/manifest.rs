//! Reads the manifest `<name>.toml` beside `<name>.wasm`, checks it against the maximum limits of the host, and
//! resolves it to a `PluginConfig`.
//!
//! Called by the loader and by `check`. Reads only the manifest and the schema that it names.

mod allow;
mod output;
mod outputs;
mod schedule;
mod scratch;
mod table;

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use wasmill_model::{ATTEMPTS_MAX, Backoff, InvalidDuration, InvalidRate, RetryOn, parse_duration, position};

use self::allow::Allow;
use self::output::OutputFormat;
use self::outputs::check_outputs;
use self::schedule::ScheduleTable;
use self::table::Table;
use crate::error::format;
use crate::files::regular_file;
use crate::plugin::config::{MaxLimits, PluginConfig, RetryPolicy};
use crate::plugin::schema::InputSchema;
use crate::trust::Vouch;

/// The maximum size of a manifest.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// The maximum size of a schema.
pub(crate) const SCHEMA_BYTES_MAX: u64 = 256 << 10;
/// The maximum size of a description.
const DESCRIPTION_BYTES_MAX: usize = 1 << 10;
/// The maximum exit code that a manifest may name: an exit status of Unix has eight bits.
const EXIT_CODE_MAX: i32 = 255;

/// Resolves the manifest at `path`; returns `defaults` if there is none. Manifest and schema are parsed once they are
/// vouched for; each is read once.
///
/// # Errors
///
/// Says what is wrong, and where in the file.
pub(crate) fn read(
    path: &Path,
    defaults: &Arc<PluginConfig>,
    max_limits: &MaxLimits,
    vouch: &Vouch<'_>,
) -> Result<Arc<PluginConfig>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let config = match read_text(path, MANIFEST_BYTES_MAX) {
        Ok(None) => return Ok(Arc::clone(defaults)),
        Ok(Some(text)) => {
            vouch.check(&name, text.as_bytes())?;
            let folder = path.parent().unwrap_or(Path::new(""));
            parse(&text).and_then(|manifest| manifest.resolve(folder, defaults, max_limits, vouch))
        }
        Err(reason) => Err(reason),
    };
    let refuse = |reason| format::bounded(format_args!("its manifest {name} is not valid: {reason}"));
    config.map(Arc::new).map_err(refuse)
}

/// What a manifest names, whether it exists or not.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// The schema file.
    pub(crate) schema: Option<PathBuf>,
    /// The folders.
    pub(crate) folders: Vec<PathBuf>,
    /// The names of secrets.
    pub(crate) secrets: Vec<String>,
}

/// Returns what the manifest at `path` names.
pub(crate) fn needs(path: &Path) -> Needs {
    let text = read_text(path, MANIFEST_BYTES_MAX).ok().flatten();
    let Some(manifest) = text.and_then(|text| parse(&text).ok()) else { return Needs::default() };
    let folder = path.parent().unwrap_or(Path::new(""));
    let schema = manifest.input.0.schema.and_then(|schema| beside(folder, &schema));
    let secrets = manifest.allow.0.secrets();
    Needs { schema, folders: manifest.allow.0.hosts(), secrets }
}

/// Returns the folders that the manifest at `path` grants for writing, whether it is in effect or not.
pub(crate) fn writable_folders(path: &Path) -> Vec<PathBuf> {
    let text = read_text(path, MANIFEST_BYTES_MAX).ok().flatten();
    text.and_then(|text| parse(&text).ok())
        .map(|manifest| manifest.allow.0.writable_hosts())
        .unwrap_or_default()
}

/// The manifest as written; missing keys take the defaults of the host.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Manifest {
    description: Option<String>,
    sha256: Option<String>,
    #[serde(alias = "result")]
    output: Option<OutputFormat>,
    outputs: Vec<String>,
    exit_ok: Vec<i32>,
    limits: Table<LimitsTable>,
    retry: Table<RetryTable>,
    allow: Table<Allow>,
    input: Table<InputTable>,
    schedule: Option<Table<ScheduleTable>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsTable {
    memory: Option<ByteSize>,
    timeout: Option<DurationText>,
    cpu: Option<DurationText>,
    result: Option<ByteSize>,
    logs: Option<ByteSize>,
    disk: Option<ByteSize>,
    concurrency: Option<u32>,
    rate: Option<String>,
    waiting: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryTable {
    max_attempts: Option<u32>,
    backoff: Option<Table<BackoffTable>>,
    on: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BackoffTable {
    first: Option<DurationText>,
    factor: Option<f64>,
    max: Option<DurationText>,
    jitter: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InputTable {
    schema: Option<String>,
}

/// A duration with a unit, such as `10s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct DurationText(Duration);

impl TryFrom<String> for DurationText {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_duration(&text).map(Self)
    }
}

fn parse(text: &str) -> Result<Manifest, String> {
    toml::from_str(text).map_err(|error| match error.span() {
        Some(span) => format!("{}: {}", position(text, span.start), error.message()),
        None => error.message().to_owned(),
    })
}

impl Manifest {
    fn resolve(
        self,
        folder: &Path,
        defaults: &PluginConfig,
        max_limits: &MaxLimits,
        vouch: &Vouch<'_>,
    ) -> Result<PluginConfig, String> {
        let Self {
            description,
            sha256,
            output,
            outputs,
            exit_ok,
            limits: limits_table,
            retry,
            allow,
            input,
            schedule,
        } = self;
        if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(format!("description is longer than {DESCRIPTION_BYTES_MAX} bytes"));
        }
        let sha256 = sha256.as_deref().map(check_digest).transpose()?;
        let mut config = PluginConfig { description, sha256, ..defaults.clone() };
        if let Some(OutputFormat(format)) = output {
            config.result = format;
        }
        config.exit_ok = check_exit_codes(exit_ok)?;
        limits_table.0.apply(&mut config, max_limits)?;
        config.retry = retry.0.check()?;
        config.permissions = allow.0.check(max_limits.disk_bytes)?;
        config.outputs = check_outputs(&outputs, config.permissions.scratch.as_ref())?;
        config.schema = input.0.schema.map(|file| read_schema(folder, &file, vouch)).transpose()?;
        config.schedule =
            schedule.map(|Table(requested)| requested.check(config.schema.as_ref())).transpose()?;
        Ok(config)
    }
}

/// Parses a digest as printed by `sha256sum`.
fn check_digest(digest: &str) -> Result<String, String> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digest.to_ascii_lowercase())
    } else {
        Err("sha256 must be 64 hexadecimal digits, as printed by `sha256sum`".to_owned())
    }
}

/// Checks the exit codes that complete a task, and sorts them.
fn check_exit_codes(mut codes: Vec<i32>) -> Result<Vec<i32>, String> {
    if let Some(code) = codes.iter().find(|code| !(1..=EXIT_CODE_MAX).contains(*code)) {
        return Err(format!(
            "exit_ok: {code} is not from 1 to {EXIT_CODE_MAX}; code 0 always completes the task"
        ));
    }
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
}

impl LimitsTable {
    fn apply(self, config: &mut PluginConfig, max_limits: &MaxLimits) -> Result<(), String> {
        let limits = &mut config.limits;
        if let Some(requested) = self.memory {
            limits.memory_bytes =
                bytes("memory", requested, 64 << 10, "memory_max", max_limits.memory_bytes)?;
        }
        if let Some(requested) = self.result {
            limits.result_bytes = bytes("result", requested, 1, "result_max", max_limits.result_bytes)?;
        }
        if let Some(requested) = self.logs {
            limits.log_bytes = bytes("logs", requested, 0, "log_tail_max", max_limits.log_bytes)?;
        }
        if let Some(requested) = self.disk {
            limits.disk_bytes = bytes("disk", requested, 0, "disk_max", max_limits.disk_bytes)?;
        }
        if let Some(DurationText(requested)) = self.timeout {
            limits.timeout = duration("timeout", requested, "timeout_max", Some(max_limits.timeout))?;
        }
        if let Some(DurationText(requested)) = self.cpu {
            limits.cpu = Some(duration("cpu", requested, "cpu_max", max_limits.cpu)?);
        }
        if let Some(requested) = self.concurrency {
            config.concurrency = Some(concurrency(requested, max_limits.concurrency)?);
        }
        if let Some(requested) = self.rate {
            let rate = requested.parse().map_err(|error: InvalidRate| format!("limits.rate: {error}"))?;
            config.rate = Some(rate);
        }
        if let Some(requested) = self.waiting {
            if requested == 0 {
                return Err(
                    "limits.waiting must be at least 1, otherwise no task would be accepted".to_owned()
                );
            }
            config.waiting_max = Some(requested);
        }
        Ok(())
    }
}

fn bytes(name: &str, requested: ByteSize, min: u64, setting: &str, max: u64) -> Result<u64, String> {
    let asked = requested.as_u64();
    if asked > max {
        let (asked, max) = (format::bytes(asked), format::bytes(max));
        return Err(format!("limits.{name} asks for {asked}, but {setting} of this host is {max}"));
    }
    if asked < min {
        return Err(format!("limits.{name} must be at least {}", format::bytes(min)));
    }
    Ok(asked)
}

fn duration(
    name: &str,
    requested: Duration,
    setting: &str,
    max: Option<Duration>,
) -> Result<Duration, String> {
    if let Some(max) = max.filter(|max| requested > *max) {
        let (requested, max) = (humantime::format_duration(requested), humantime::format_duration(max));
        return Err(format!("limits.{name} asks for {requested}, but {setting} of this host is {max}"));
    }
    if requested < Duration::from_millis(1) {
        return Err(format!("limits.{name} must be at least 1ms"));
    }
    Ok(requested)
}

fn concurrency(requested: u32, max: Option<u32>) -> Result<u32, String> {
    match max {
        Some(max) if requested > max => {
            Err(format!("limits.concurrency asks for {requested}, but concurrency of this host is {max}"))
        }
        _ if requested == 0 => {
            Err("limits.concurrency must be at least 1, otherwise no task could run".to_owned())
        }
        _ => Ok(requested),
    }
}

impl RetryTable {
    fn check(self) -> Result<RetryPolicy, String> {
        if self.max_attempts.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
            return Err(format!("retry.max_attempts must be from 1 to {ATTEMPTS_MAX}"));
        }
        let backoff = self.backoff.map(|Table(BackoffTable { first, factor, max, jitter })| {
            Backoff::of(first.map(|span| span.0), factor, max.map(|span| span.0), jitter)
                .map_err(|error| format!("retry.backoff: {error}"))
        });
        let on = self.on.map(|words| RetryOn::of(words.iter().map(String::as_str)));
        let on = on.transpose().map_err(|error| format!("retry.on: {error}"))?.unwrap_or_default();
        Ok(RetryPolicy { attempts_max: self.max_attempts, backoff: backoff.transpose()?, on })
    }
}

fn read_schema(folder: &Path, file: &str, vouch: &Vouch<'_>) -> Result<InputSchema, String> {
    let path = beside(folder, file)
        .ok_or_else(|| format!("input.schema must name a file beside the manifest, not '{file}'"))?;
    let read = read_text(&path, SCHEMA_BYTES_MAX).and_then(|text| {
        let text = text.ok_or_else(|| "there is no such file".to_owned())?;
        vouch.check(file, text.as_bytes())?;
        InputSchema::compile(&text)
    });
    read.map_err(|reason| format!("input.schema {file}: {reason}"))
}

/// Returns the path of a file in the manifest's folder; `None` if it leads elsewhere, because a manifest that comes
/// with a plugin must not make the host disclose other files.
fn beside(folder: &Path, file: &str) -> Option<PathBuf> {
    let named = Path::new(file);
    let is_beside = !file.is_empty() && named.components().all(|part| matches!(part, Component::Normal(_)));
    is_beside.then(|| folder.join(named))
}

/// Reads a text file of bounded size; `None` if it does not exist.
fn read_text(path: &Path, bytes_max: u64) -> Result<Option<String>, String> {
    match regular_file::read_text(path, bytes_max) {
        // Ignoring the link would run the plugin with a config that its author did not intend.
        Err(_) if regular_file::is_dangling(path) => Err(regular_file::DANGLING.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(error.to_string()),
        text => text.map(Some).map_err(|error| format!("it cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmill_model::Limits;

    use super::*;
    use crate::plugin::config::{HttpRule, ResultFormat};

    fn resolve(text: &str) -> Result<PluginConfig, String> {
        let defaults = PluginConfig::default();
        parse(text)?.resolve(
            Path::new("/nowhere"),
            &defaults,
            &MaxLimits::of(&Limits::default()),
            &Vouch::any(),
        )
    }

    fn refusal(text: &str) -> String {
        resolve(text).expect_err(text)
    }

    #[test]
    fn an_empty_manifest_changes_nothing() {
        assert_eq!(resolve("").unwrap(), PluginConfig::default());
    }

    #[test]
    fn every_key_reaches_the_config() {
        let config = resolve(
            r#"
            description = "Thumbnails from a URL"
            sha256 = "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            result = "json"
            exit_ok = [20, 10, 20]
            [limits]
            memory = "1MiB"
            timeout = "5s"
            cpu = "3s"
            result = "2KiB"
            logs = "1KiB"
            disk = "3MiB"
            concurrency = 50
            rate = "100/s"
            waiting = 1000
            [retry]
            max_attempts = 3
            backoff = { first = "2s", factor = 3, max = "1m", jitter = 0.1 }
            on = ["io", "memory-limit"]
            [allow]
            http = ["https://*.cdn.example.com:8443/img/"]
            env = { REGION = "eu" }
            dirs = [{ host = "/usr", guest = "/in" }]
            "#,
        )
        .unwrap();
        let limits = &config.limits;
        assert_eq!(config.description.as_deref(), Some("Thumbnails from a URL"));
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(config.sha256.as_deref(), Some(digest));
        assert_eq!((limits.memory_bytes, limits.result_bytes, limits.log_bytes), (1 << 20, 2 << 10, 1 << 10));
        assert_eq!(limits.disk_bytes, 3 << 20);
        assert_eq!((limits.timeout, config.concurrency), (Duration::from_secs(5), Some(50)));
        assert_eq!(limits.cpu, Some(Duration::from_secs(3)));
        assert_eq!((config.rate.map(|rate| rate.starts), config.waiting_max), (Some(100), Some(1_000)));
        assert_eq!((config.result, config.exit_ok), (ResultFormat::Json, vec![10, 20]));
        assert_eq!(config.retry.attempts_max, Some(3));
        assert_eq!(config.retry.on.words(), ["io", "memory-limit"]);
        let backoff = config.retry.backoff.unwrap();
        assert_eq!((backoff.max, backoff.jitter), (Duration::from_secs(60), 0.1));
        let rule = HttpRule {
            scheme: "https".to_owned(),
            host: "*.cdn.example.com".to_owned(),
            port: 8443,
            path_prefix: "/img/".to_owned(),
        };
        assert_eq!(config.permissions.http, [rule]);
        assert_eq!(config.permissions.env["REGION"], "eu");
        assert!(!config.permissions.dirs[0].write);
    }

    #[test]
    fn an_unknown_key_is_rejected_with_its_position() {
        let reason = refusal("result = \"json\"\n[limits]\nmemroy = \"1MiB\"");
        assert!(reason.starts_with("line 3, column 1: ") && reason.contains("memroy"), "{reason}");
        for text in ["colour = 1", "[allow]\nsockets = true", "[retry]\nfirst = \"1s\"", "[input]\na = 1"] {
            assert!(refusal(text).contains("unknown field"), "{text}");
        }
    }

    #[test]
    fn an_exit_code_that_cannot_be_is_rejected() {
        for text in ["exit_ok = [0]", "exit_ok = [10, 256]", "exit_ok = [-1]"] {
            assert!(refusal(text).contains("is not from 1 to 255"), "{text}");
        }
        for text in ["exit_ok = 10", "exit_ok = [\"10\"]"] {
            assert!(refusal(text).starts_with("line 1, column "), "{text}");
        }
    }

    #[test]
    fn an_array_in_place_of_a_table_is_rejected() {
        for text in [
            "limits = []",
            "retry = [3]",
            "retry.backoff = []",
            "allow = []",
            "allow.dirs = [[\"/\", \"/in\"]]",
            "input = [\"a.json\"]",
            "schedule = [\"@daily\"]",
            "limits = 7",
        ] {
            let reason = refusal(text);
            assert!(reason.starts_with("line 1, column ") && reason.contains("expected a table"), "{reason}");
        }
    }

    #[test]
    fn a_limit_over_the_maximum_is_rejected_with_both_numbers() {
        for (requested, numbers) in [
            ("memory = \"65MiB\"", ["65 MiB", "memory_max of this host is 64 MiB"]),
            ("result = \"2MiB\"", ["2 MiB", "result_max of this host is 1 MiB"]),
            ("logs = \"1MiB\"", ["1 MiB", "log_tail_max of this host is 16 KiB"]),
            ("disk = \"2GiB\"", ["2 GiB", "disk_max of this host is 1 GiB"]),
            ("timeout = \"11m\"", ["11m", "timeout_max of this host is 10m"]),
        ] {
            let reason = refusal(&format!("[limits]\n{requested}"));
            assert!(numbers.iter().all(|number| reason.contains(number)), "{reason}");
        }
        let idle = MaxLimits { cpu: Some(Duration::from_secs(30)), ..MaxLimits::of(&Limits::default()) };
        let reason = parse("limits.cpu = \"31s\"").unwrap().resolve(
            Path::new(""),
            &PluginConfig::default(),
            &idle,
            &Vouch::any(),
        );
        let reason = reason.unwrap_err();
        assert!(
            reason.contains("asks for 31s") && reason.contains("cpu_max of this host is 30s"),
            "{reason}"
        );
        let few = MaxLimits { concurrency: Some(3), ..MaxLimits::of(&Limits::default()) };
        let reason = parse("limits.concurrency = 4").unwrap().resolve(
            Path::new(""),
            &PluginConfig::default(),
            &few,
            &Vouch::any(),
        );
        let reason = reason.unwrap_err();
        assert!(reason.contains("asks for 4") && reason.contains("is 3"), "{reason}");
    }

    #[test]
    fn invalid_values_are_rejected() {
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
            ("output = \"exe\"", "such as image/png"),
            ("output = \"text\"\nresult = \"text\"", "duplicate"),
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
    fn an_unreadable_manifest_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let read = || read(&path, &Arc::default(), &MaxLimits::of(&Limits::default()), &Vouch::any());
        assert_eq!(*read().unwrap(), PluginConfig::default());
        std::fs::write(&path, " ".repeat(100 << 10)).unwrap();
        assert!(read().unwrap_err().contains("a.toml is not valid: it is larger than 64 KiB"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read().unwrap_err().contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read().unwrap_err().contains("not a regular file"));
    }
}
