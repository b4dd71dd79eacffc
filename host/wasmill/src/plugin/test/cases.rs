//! The file with the cases of a plugin.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use wasmill_model::{ATTEMPTS_MAX, CauseFilter, parse_duration, position, without_bom};
use wasmill_runtime::read_text;

use crate::exit::{Exit, cli_error, read_error};
use crate::settings::value::parse_size;

/// Maximum size of a file with cases, and of each file that it names.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A task, and what should happen to it.
#[derive(Debug, PartialEq)]
pub(super) struct Case {
    pub(super) name: String,
    /// The JSON text of the input.
    pub(super) input: Option<String>,
    pub(super) expected: Expected,
    /// Texts that the log has.
    pub(super) log: Vec<String>,
    /// `None` means the manifest's.
    pub(super) timeout: Option<Duration>,
    pub(super) attempts_max: u32,
    pub(super) limits: CaseLimits,
}

/// How a task should end.
#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    /// With a result that has all of these texts.
    Containing(Vec<String>),
    /// With this text as the result.
    Text(String),
    /// With a result that is this JSON.
    Json(Value),
    /// With a failure of this cause, whose message has all of these texts.
    Failure(CauseFilter, Vec<String>),
}

/// What a run may use at most, besides the limits of the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CaseLimits {
    pub(super) memory_bytes: Option<u64>,
    pub(super) cpu: Option<Duration>,
    pub(super) log_bytes: Option<u64>,
    pub(super) disk_bytes: Option<u64>,
    pub(super) http_requests: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTable {
    #[serde(default)]
    case: Vec<toml::Spanned<CaseTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTable {
    name: String,
    input: Option<toml::Value>,
    input_file: Option<String>,
    result: Option<toml::Value>,
    result_file: Option<String>,
    result_has: Option<Texts>,
    failure: Option<String>,
    message_has: Option<Texts>,
    log_has: Option<Texts>,
    timeout: Option<String>,
    max_attempts: Option<u32>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    memory: Option<String>,
    cpu: Option<String>,
    logs: Option<String>,
    disk: Option<String>,
    http_requests: Option<u64>,
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or an array of texts")]
enum Texts {
    One(String),
    Several(Vec<String>),
}

/// Reads a file with cases.
///
/// # Errors
///
/// Says what is wrong with it, and where.
pub(super) fn read(path: &Path) -> Result<Vec<Case>> {
    let text = read_text(path, FILE_BYTES_MAX)
        .map_err(|error| read_error(format!("cases {}", path.display()), &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(without_bom(&text), folder)
        .map_err(|error| cli_error(Exit::Usage, format!("invalid cases in {}: {error:#}", path.display())))
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Case>> {
    let at = |offset| position(text, offset);
    let file: FileTable = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        anyhow!("{}: {}", at(start), error.message())
    })?;
    ensure!(!file.case.is_empty(), "there is no [[case]]");
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for table in file.case {
        let start = table.span().start;
        let case = table.into_inner();
        let name = case.name.clone();
        ensure!(!name.trim().is_empty(), "{}: a case has an empty name", at(start));
        ensure!(names.insert(name.clone()), "{}: a second case has the name '{name}'", at(start));
        cases.push(case.resolve(folder).with_context(|| format!("{}: case '{name}'", at(start)))?);
    }
    Ok(cases)
}

impl CaseTable {
    fn resolve(self, folder: &Path) -> Result<Case> {
        let input = match (self.input, self.input_file) {
            (Some(_), Some(_)) => bail!("input and input_file exclude each other"),
            (Some(input), None) => Some(json(input)?.to_string()),
            (None, Some(file)) => Some(json_file(folder, &file)?.to_string()),
            (None, None) => None,
        };
        let expected = match (self.failure, self.message_has) {
            (None, Some(_)) => bail!("message_has needs failure: a task that completes has no message"),
            (Some(cause), message) => {
                let has_result =
                    self.result.is_some() || self.result_file.is_some() || self.result_has.is_some();
                ensure!(!has_result, "failure excludes a result: a task that fails has none");
                let cause = cause.parse().map_err(|error| anyhow!("failure = \"{cause}\": {error}"))?;
                Expected::Failure(cause, texts(message))
            }
            (None, None) => result(folder, self.result, self.result_file, self.result_has)?,
        };
        let timeout = self.timeout.as_deref().map(parse_duration).transpose().context("timeout")?;
        let attempts_max = self.max_attempts.unwrap_or(1);
        ensure!((1..=ATTEMPTS_MAX).contains(&attempts_max), "max_attempts must be from 1 to {ATTEMPTS_MAX}");
        Ok(Case {
            name: self.name,
            input,
            expected,
            log: texts(self.log_has),
            timeout,
            attempts_max,
            limits: self.limits.resolve()?,
        })
    }
}

impl LimitsTable {
    fn resolve(self) -> Result<CaseLimits> {
        let size = |name: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match parse_size(&text) {
                Ok(size) => Ok(Some(size.as_u64())),
                Err(error) => Err(anyhow!("limits.{name} = \"{text}\": {error}")),
            },
        };
        Ok(CaseLimits {
            memory_bytes: size("memory", self.memory)?,
            cpu: self.cpu.as_deref().map(parse_duration).transpose().context("limits.cpu")?,
            log_bytes: size("logs", self.logs)?,
            disk_bytes: size("disk", self.disk)?,
            http_requests: self.http_requests,
        })
    }
}

fn result(
    folder: &Path,
    result: Option<toml::Value>,
    file: Option<String>,
    has: Option<Texts>,
) -> Result<Expected> {
    match (result, file, has) {
        (Some(toml::Value::String(text)), None, None) => Ok(Expected::Text(text)),
        (Some(value), None, None) => Ok(Expected::Json(json(value)?)),
        (None, Some(file), None) if file.ends_with(".json") => Ok(Expected::Json(json_file(folder, &file)?)),
        (None, Some(file), None) => Ok(Expected::Text(text_file(folder, &file)?)),
        (None, None, has) => Ok(Expected::Containing(texts(has))),
        _ => bail!("result, result_file and result_has exclude each other"),
    }
}

fn texts(texts: Option<Texts>) -> Vec<String> {
    match texts {
        None => Vec::new(),
        Some(Texts::One(text)) => vec![text],
        Some(Texts::Several(texts)) => texts,
    }
}

/// A date of TOML is the text of it.
fn json(value: toml::Value) -> Result<Value> {
    Ok(match value {
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect::<Result<_>>()?),
        toml::Value::Table(table) => {
            let members = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(members.collect::<Result<_>>()?)
        }
        toml::Value::Float(number) => {
            let number = serde_json::Number::from_f64(number);
            Value::Number(number.with_context(|| "JSON has no infinite number and no nan".to_owned())?)
        }
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(is_true) => Value::Bool(is_true),
    })
}

fn text_file(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    read_text(&path, FILE_BYTES_MAX).map_err(|error| read_error(path.display(), &error))
}

fn json_file(folder: &Path, file: &str) -> Result<Value> {
    let text = text_file(folder, file)?;
    serde_json::from_str(without_bom(&text)).with_context(|| format!("{file} is not JSON"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(text: &str) -> String {
        format!("{:#}", parse(text, Path::new("")).unwrap_err())
    }

    #[test]
    fn a_case_is_read_with_its_defaults() {
        let cases = parse(
            "[[case]]\nname = \"a\"\ninput = { n = [1, 2.5, true], at = 2026-11-30 }\nresult = [1]\n\
             [[case]]\nname = \"b\"\nfailure = \"exit\"\nmessage_has = \"x\"\ntimeout = \"2s\"\nmax_attempts = 3\n\
             limits = { memory = \"1MiB\", cpu = \"10ms\", http_requests = 0 }\n[[case]]\nname = \"c\"\n",
            Path::new(""),
        )
        .unwrap();
        assert_eq!(cases[0].input.as_deref(), Some(r#"{"at":"2026-11-30","n":[1,2.5,true]}"#));
        assert_eq!(cases[0].expected, Expected::Json(json!([1])));
        assert_eq!((cases[0].attempts_max, cases[0].timeout), (1, None));
        assert_eq!(cases[1].expected, Expected::Failure("exit".parse().unwrap(), vec!["x".to_owned()]));
        assert_eq!((cases[1].attempts_max, cases[1].timeout), (3, Some(Duration::from_secs(2))));
        let limits = CaseLimits {
            memory_bytes: Some(1 << 20),
            cpu: Some(Duration::from_millis(10)),
            http_requests: Some(0),
            ..CaseLimits::default()
        };
        assert_eq!(cases[1].limits, limits);
        assert_eq!(cases[2].expected, Expected::Containing(Vec::new()));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, said) in [
            ("", "there is no [[case]]"),
            ("[[case]]\ninput = 1\n", "line 1, column 1: missing field `name`"),
            ("[[case]]\nname = \"a\"\nresults = 1\n", "line 3, column 1: unknown field `results`"),
            (
                "[[case]]\nname = \"a\"\n[[case]]\nname = \"a\"\n",
                "line 3, column 1: a second case has the name 'a'",
            ),
            ("[[case]]\nname = \"a\"\nfailure = \"io\"\nresult = 1\n", "failure excludes a result"),
            ("[[case]]\nname = \"a\"\nfailure = \"bad luck\"\n", "failure = \"bad luck\": unknown cause"),
            ("[[case]]\nname = \"a\"\nmessage_has = \"x\"\n", "message_has needs failure"),
            ("[[case]]\nname = \"a\"\nresult = 1\nresult_has = \"x\"\n", "exclude each other"),
            ("[[case]]\nname = \"a\"\ninput = nan\n", "no infinite number"),
            ("[[case]]\nname = \"a\"\ntimeout = \"soon\"\n", "timeout"),
            ("[[case]]\nname = \"a\"\nmax_attempts = 0\n", "from 1 to 100"),
            ("[[case]]\nname = \"a\"\nlimits = { memory = \"much\" }\n", "limits.memory = \"much\""),
            ("[[case]]\nname = \"a\"\ninput_file = \"missing.json\"\n", "missing.json"),
            ("[[case]]\nname = \"a\"\nlog_has = 1\n", "expected a text, or an array of texts"),
        ] {
            let wrong = wrong(text);
            assert!(wrong.contains(said), "{text}: {wrong}");
        }
    }
}
