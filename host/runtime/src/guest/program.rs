//! The input and output of a program: arguments, stdin and variables from the input of a task; stdout is the
//! result, the ends of stderr and stdout explain a failure.
//!
//! For the kinds `command` and `module`; `instance` reads the input here and collects the result.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::Value;
use wasmill_model::{Cause, Failure, LogTail};

use crate::error::format;
use crate::guest::output::{Overflow, Sink};
use crate::memory::Account;
use crate::plugin::config::Permissions;
use crate::secrets::RunSecrets;

/// Bytes of all arguments and variables together; the default of Linux.
const ARGS_AND_ENV_BYTES_MAX: usize = 2 << 20;
/// The overhead counted for each argument and variable.
const ARG_OVERHEAD_BYTES: usize = 32;
/// Bytes of stderr kept for the failure message.
const STDERR_TAIL_BYTES_MAX: usize = 2 << 10;
/// Bytes of stdout in the failure message. With those of stderr it fits into the bound of a message.
const STDOUT_TAIL_BYTES_MAX: usize = 1 << 10;
/// Lines of either in the failure message.
const TAIL_LINES_MAX: usize = 10;

/// The accepted forms of the input of a program.
const INPUT_FORMS: &str = "the input of a program must be a string (its stdin) or an object with `args`, `stdin` or `stdin_base64`, and `env`";

/// The input of a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramInput {
    /// The arguments after the program name.
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Vec<u8>,
    /// Variables in addition to those of the manifest, which they must not override.
    pub(crate) env: BTreeMap<String, String>,
}

/// The input as written: `{"args": [...], "stdin": "…", "env": {...}}`, or `stdin_base64` for any bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InputObject {
    args: Vec<String>,
    stdin: Option<String>,
    stdin_base64: Option<String>,
    env: BTreeMap<String, String>,
}

impl InputObject {
    fn check(self) -> Result<ProgramInput, String> {
        let Self { args, stdin, stdin_base64, env } = self;
        let stdin = match (stdin, stdin_base64) {
            (Some(_), Some(_)) => {
                return Err("the input has both `stdin` and `stdin_base64`; give one".to_owned());
            }
            (stdin, None) => stdin.unwrap_or_default().into_bytes(),
            (None, Some(encoded)) => BASE64
                .decode(encoded.as_bytes())
                .map_err(|error| format!("`stdin_base64` is not base64 with padding: {error}"))?,
        };
        Ok(ProgramInput { args, stdin, env })
    }
}

impl ProgramInput {
    /// Parses the JSON text of an input: a string is stdin, `null` or no input is empty.
    ///
    /// # Errors
    ///
    /// Fails with `invalid-input` if the input has another form, if an argument or a variable is invalid, or if a
    /// variable is set by the manifest.
    pub(crate) fn read(input: Option<&str>, fixed: &Permissions) -> Result<Self, Failure> {
        let refused = |reason: String| Failure::new(Cause::InvalidInput, format::bounded(reason));
        let malformed = |error: serde_json::Error| refused(format!("{INPUT_FORMS}: {error}"));
        let wrong_type = |found: &str| refused(format!("{INPUT_FORMS}, not {found}"));
        let read = match serde_json::from_str(input.unwrap_or("null")).map_err(malformed)? {
            Value::Null => Self::default(),
            Value::String(stdin) => Self { stdin: stdin.into_bytes(), ..Self::default() },
            // serde would read an array as the fields in order.
            Value::Array(_) => return Err(wrong_type("an array")),
            Value::Number(_) => return Err(wrong_type("a number")),
            Value::Bool(_) => return Err(wrong_type("true or false")),
            other => {
                serde_json::from_value::<InputObject>(other).map_err(malformed)?.check().map_err(refused)?
            }
        };
        read.check(fixed).map_err(refused)?;
        Ok(read)
    }

    /// Returns the bytes that the host keeps while the program runs.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.args.iter().chain(self.env.keys()).chain(self.env.values());
        self.stdin.len() + texts.map(|text| text.len() + ARG_OVERHEAD_BYTES).sum::<usize>()
    }

    fn check(&self, fixed: &Permissions) -> Result<(), String> {
        if self.args.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument contains a NUL character".to_owned());
        }
        let arguments = self.args.iter().map(String::len);
        let variables = self.env.iter().chain(&fixed.env).map(|(name, value)| name.len() + value.len());
        let bytes: usize = arguments.chain(variables).map(|bytes| bytes + ARG_OVERHEAD_BYTES).sum();
        if bytes > ARGS_AND_ENV_BYTES_MAX {
            let max = format::bytes(ARGS_AND_ENV_BYTES_MAX as u64);
            return Err(format!(
                "arguments and variables take {bytes} bytes, including {ARG_OVERHEAD_BYTES} for each; the \
                 limit is {max}; pass large data as stdin"
            ));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!(
                    "{name:?} is not a valid variable: its name is empty or contains `=`, or it contains a NUL"
                ));
            }
            if fixed.sets(name) {
                return Err(format!("the input may not set {name}, which the manifest of the plugin sets"));
            }
        }
        Ok(())
    }
}

/// The stdout of a program, buffered up to a limit as its result. Clones share the buffer.
#[derive(Clone)]
pub(crate) struct StdoutBuffer {
    shared: Arc<Mutex<BufferState>>,
    bytes_max: usize,
    /// The buffer counts against the memory limit of the program.
    account: Arc<Account>,
}

#[derive(Default)]
struct BufferState {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl StdoutBuffer {
    pub(crate) fn new(bytes_max: u64, account: &Arc<Account>) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { shared: Arc::default(), bytes_max, account: Arc::clone(account) }
    }

    /// Returns true if the program exceeded its result limit.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.state().overflowed
    }

    /// Removes revealed secrets.
    pub(crate) fn redact(&self, secrets: &RunSecrets) {
        let mut state = self.state();
        if let Cow::Owned(redacted) = secrets.redact_bytes(&state.bytes) {
            state.bytes = redacted;
        }
    }

    /// Takes the buffered output.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().bytes)
    }

    /// Returns the last lines; empty if there were none.
    pub(crate) fn tail(&self) -> String {
        let state = self.state();
        let bytes = &state.bytes[state.bytes.len().saturating_sub(STDOUT_TAIL_BYTES_MAX)..];
        last_lines(&String::from_utf8_lossy(bytes))
    }

    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for StdoutBuffer {
    fn append(&self, written: &[u8]) -> Result<(), Overflow> {
        let mut state = self.state();
        if written.len() > self.bytes_max - state.bytes.len() {
            state.overflowed = true;
            return Err(Overflow::Result);
        }
        if !self.account.keep(written.len() as u64) {
            return Err(Overflow::Memory);
        }
        state.bytes.extend_from_slice(written);
        Ok(())
    }
}

/// The end of a program's stderr. Clones share the buffer.
#[derive(Clone)]
pub(crate) struct StderrTail(Arc<Mutex<LogTail>>);

impl StderrTail {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LogTail::new(STDERR_TAIL_BYTES_MAX))))
    }

    pub(crate) fn write(&self, written: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(written);
    }

    /// Returns the last lines; empty if there were none.
    pub(crate) fn text(&self) -> String {
        last_lines(&self.0.lock().unwrap_or_else(PoisonError::into_inner).text())
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;
    use crate::secrets::SecretRule;

    fn read(input: &str) -> Result<ProgramInput, Failure> {
        let env = BTreeMap::from([("REGION".to_owned(), "eu".to_owned())]);
        let secrets = BTreeMap::from([("KEY".to_owned(), SecretRule::Revealed)]);
        let fixed = Permissions { env, secrets, ..Permissions::default() };
        ProgramInput::read(Some(input), &fixed)
    }

    #[test]
    fn an_input_is_arguments_stdin_and_variables() {
        let read = read(r#"{"args":["-n","1"],"stdin":"text","env":{"A":"b=c"}}"#).unwrap();
        assert_eq!(read.args, ["-n", "1"]);
        assert_eq!(read.stdin, b"text");
        assert_eq!(read.env, BTreeMap::from([("A".to_owned(), "b=c".to_owned())]));
    }

    #[test]
    fn a_string_is_stdin_and_null_is_empty() {
        assert_eq!(
            read(r#""text""#).unwrap(),
            ProgramInput { stdin: b"text".to_vec(), ..Default::default() }
        );
        for nothing in ["null", "{}"] {
            assert_eq!(read(nothing).unwrap(), ProgramInput::default());
        }
        assert_eq!(ProgramInput::read(None, &Permissions::default()).unwrap(), ProgramInput::default());
    }

    #[test]
    fn stdin_may_be_any_bytes_as_base64() {
        assert_eq!(read(r#"{"stdin_base64":"iVD/"}"#).unwrap().stdin, [0x89, 0x50, 0xff]);
        for (input, said) in [
            (r#"{"stdin_base64":"iVD"}"#, "not base64"),
            (r#"{"stdin_base64":"iVD/\n"}"#, "not base64"),
            (r#"{"stdin_base64":"-_-_"}"#, "not base64"),
            (r#"{"stdin_base64":"","stdin":""}"#, "both"),
        ] {
            let failure = read(input).unwrap_err();
            assert_eq!(failure.cause, Cause::InvalidInput);
            assert!(failure.message.contains(said), "{input}: {failure}");
        }
    }

    #[test]
    fn an_invalid_input_is_rejected_with_the_reason() {
        for (input, said) in [
            (r#"{"arg":[]}"#, "unknown field `arg`"),
            (r#"{"args":"-n"}"#, "expected a sequence"),
            (r#"{"args":[1]}"#, "expected a string"),
            ("[[],\"text\"]", "not an array"),
            ("7", "not a number"),
            ("{", "an object with `args`"),
            (r#"{"args":["a\u0000b"]}"#, "NUL"),
            (r#"{"env":{"":"b"}}"#, "not a valid variable"),
            (r#"{"env":{"A=B":"c"}}"#, "not a valid variable"),
            (r#"{"env":{"REGION":"us"}}"#, "may not set REGION"),
            (r#"{"env":{"KEY":"x"}}"#, "may not set KEY"),
        ] {
            let failure = read(input).unwrap_err();
            assert_eq!(failure.cause, Cause::InvalidInput, "{input}");
            assert!(failure.message.contains(said), "{failure}");
        }
    }

    #[test]
    fn arguments_and_variables_over_the_limit_are_rejected_with_both_sizes() {
        let args = |count: usize| serde_json::json!({ "args": vec!["x".repeat(1 << 10); count] }).to_string();
        assert_eq!(read(&args(1_900)).unwrap().args.len(), 1_900);
        let failure = read(&args(2_000)).unwrap_err();
        assert_eq!(failure.cause, Cause::InvalidInput);
        assert!(failure.message.contains("take 2112040 bytes"), "{failure}");
        assert!(failure.message.contains("is 2 MiB"), "{failure}");
        let many = serde_json::json!({ "args": vec![""; 70_000] }).to_string();
        assert!(read(&many).unwrap_err().message.contains("2 MiB"));
    }

    #[test]
    fn stdout_is_buffered_up_to_its_limit() {
        let stdout = StdoutBuffer::new(4, &account(1_000));
        assert!(stdout.append(b"ab").is_ok());
        assert!(stdout.append(b"cde").is_err());
        assert!(stdout.has_overflowed());
        assert!(stdout.append(&[b'c', 0xff]).is_ok());
        assert_eq!(stdout.take(), b"abc\xff");
    }

    fn account(bytes_max: u64) -> Arc<Account> {
        let reservation = Arc::new(Budget::new(u64::MAX, Box::new(|| None))).reserve(0, false);
        Arc::new(Account::new(bytes_max, 0, Arc::new(reservation)))
    }

    #[test]
    fn stdout_counts_against_the_memory_of_its_program() {
        let account = account(10);
        let stdout = StdoutBuffer::new(100, &account);
        assert!(stdout.append(b"12345678").is_ok() && !account.is_overdrawn());
        assert!(matches!(stdout.append(b"90a"), Err(Overflow::Memory)));
        assert!(account.is_overdrawn() && !stdout.has_overflowed());
    }

    #[test]
    fn the_tail_of_stdout_is_bounded_in_lines_and_bytes_and_leaves_the_result() {
        let stdout = StdoutBuffer::new(1 << 20, &account(1 << 20));
        assert_eq!(stdout.tail(), "");
        for line in 0..1_000 {
            stdout.append(format!("line {line}\n").as_bytes()).unwrap();
        }
        let tail = stdout.tail();
        assert!(tail.starts_with("line 990\n") && tail.ends_with("\nline 999"), "{tail}");
        stdout.append("\u{e4}".repeat(3_000).as_bytes()).unwrap();
        assert!(stdout.tail().len() <= STDOUT_TAIL_BYTES_MAX + 4);
        assert!(stdout.take().starts_with(b"line 0\n"));
    }

    #[test]
    fn the_stderr_tail_is_the_last_lines() {
        let words = StderrTail::new();
        assert_eq!(words.text(), "");
        for line in 0..1_000 {
            words.write(format!("line {line}\n").as_bytes());
        }
        let text = words.text();
        assert!(text.starts_with("line 990\n") && text.ends_with("\nline 999"), "{text}");
    }
}
