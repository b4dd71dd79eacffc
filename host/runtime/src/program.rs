//! What a program is given and what it leaves behind: arguments, stdin and variables from the input of
//! a task, stdout as its answer, the end of stderr as its last words.
//!
//! For the kinds `command` and `module`; `instance` reads the input here and collects the answer.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWrite;
use wasmill_model::{Cause, Failure, LogTail};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::memory::Account;
use crate::words;

/// Bytes that a program may write in one call.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Bytes of all arguments and variables of a program together; Linux has the same bound by default.
const SURROUNDINGS_BYTES_MAX: usize = 2 << 20;
/// What each argument and variable costs beside its text.
const SURROUNDING_BYTES: usize = 32;
/// Bytes of stderr kept for the message of a program that fails.
const LAST_WORDS_BYTES_MAX: usize = 2 << 10;
/// Lines of stderr in that message.
const LAST_WORDS_LINES_MAX: usize = 10;

/// The forms that the input of a program has.
const FORM: &str =
    "the input of a program is a string, which is its stdin, or an object with `args`, `stdin` and `env`";

/// What the input of a task hands to a program: `{"args": [...], "stdin": "…", "env": {...}}`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProgramInput {
    /// The arguments after the name of the program.
    pub(crate) args: Vec<String>,
    pub(crate) stdin: String,
    /// Variables beside those of the manifest, which they may not replace.
    pub(crate) env: BTreeMap<String, String>,
}

impl ProgramInput {
    /// Reads the JSON text of an input: a string alone is stdin, `null` or no input is nothing.
    ///
    /// # Errors
    ///
    /// Fails with `invalid-input` if it has another form, if an argument or a variable cannot be
    /// handed over, or if a variable is one that the manifest has set (`fixed`).
    pub(crate) fn read(input: Option<&str>, fixed: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let refused = |reason: String| Failure::new(Cause::InvalidInput, words::bounded(reason));
        let form = |error: serde_json::Error| refused(format!("{FORM}: {error}"));
        let unlike = |found: &str| format!("{FORM}, and not {found}");
        let read = match serde_json::from_str(input.unwrap_or("null")).map_err(form)? {
            Value::Null => Self::default(),
            Value::String(stdin) => Self { stdin, ..Self::default() },
            // An array would be taken for the fields in their order.
            Value::Array(_) => return Err(refused(unlike("an array"))),
            Value::Number(_) => return Err(refused(unlike("a number"))),
            Value::Bool(_) => return Err(refused(unlike("true or false"))),
            other => serde_json::from_value(other).map_err(form)?,
        };
        read.check(fixed).map_err(refused)?;
        Ok(read)
    }

    /// Returns the bytes that the host keeps of it while the program runs.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.args.iter().chain(self.env.keys()).chain(self.env.values());
        self.stdin.len() + texts.map(|text| text.len() + SURROUNDING_BYTES).sum::<usize>()
    }

    fn check(&self, fixed: &BTreeMap<String, String>) -> Result<(), String> {
        if self.args.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument contains the character NUL".to_owned());
        }
        let arguments = self.args.iter().map(String::len);
        let variables = self.env.iter().chain(fixed).map(|(name, value)| name.len() + value.len());
        let bytes: usize = arguments.chain(variables).map(|bytes| bytes + SURROUNDING_BYTES).sum();
        if bytes > SURROUNDINGS_BYTES_MAX {
            let most = words::bytes(SURROUNDINGS_BYTES_MAX as u64);
            return Err(format!(
                "arguments and variables take {bytes} bytes, {SURROUNDING_BYTES} counted for each beside its \
                 text, and the limit for every program is {most}; hand large data over as stdin"
            ));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!(
                    "{name:?} cannot be a variable: its name is empty or contains `=`, or there is a NUL"
                ));
            }
            if fixed.contains_key(name) {
                return Err(format!("the input may not set {name}: the manifest of the plugin does"));
            }
        }
        Ok(())
    }
}

/// stdout of a program, kept as its answer up to a limit. Clones share what they keep.
#[derive(Clone)]
pub(crate) struct Answer {
    shared: Arc<Mutex<Kept>>,
    bytes_max: usize,
    /// What it keeps counts against the memory limit of the program.
    account: Arc<Account>,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    overflowed: bool,
}

/// The program wrote more than there is room for.
#[derive(Debug, thiserror::Error)]
enum Overflow {
    #[error("stdout is over the limit `output`")]
    Output,
    #[error("stdout does not fit into the limit `memory`")]
    Memory,
}

impl Answer {
    pub(crate) fn new(bytes_max: u64, account: &Arc<Account>) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { shared: Arc::default(), bytes_max, account: Arc::clone(account) }
    }

    /// Says whether the program tried to write more than its limit.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.kept().overflowed
    }

    /// Takes what was written, as text; bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut self.kept().bytes);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    fn keep(&self, written: &[u8]) -> Result<(), Overflow> {
        let mut kept = self.kept();
        if written.len() > self.bytes_max - kept.bytes.len() {
            kept.overflowed = true;
            return Err(Overflow::Output);
        }
        if !self.account.keep(written.len() as u64) {
            return Err(Overflow::Memory);
        }
        kept.bytes.extend_from_slice(written);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Answer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Answer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Answer {
    fn write(&mut self, written: Bytes) -> StreamResult<()> {
        // Ends the program at once: one that only saw an error could go on writing for ever.
        self.keep(&written).map_err(|overflow| StreamError::Trap(overflow.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Answer {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Answer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, written: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.keep(written).map(|()| written.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The end of stderr of a program, to tell why it failed. Clones share what they keep.
#[derive(Clone)]
pub(crate) struct LastWords(Arc<Mutex<LogTail>>);

impl LastWords {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LogTail::new(LAST_WORDS_BYTES_MAX))))
    }

    pub(crate) fn write(&self, written: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(written);
    }

    /// Returns the last lines; empty if there were none.
    pub(crate) fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).text();
        let lines: Vec<_> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES_MAX)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn read(input: &str) -> Result<ProgramInput, Failure> {
        let fixed = BTreeMap::from([("REGION".to_owned(), "eu".to_owned())]);
        ProgramInput::read(Some(input), &fixed)
    }

    #[test]
    fn an_input_is_arguments_stdin_and_variables() {
        let read = read(r#"{"args":["-n","1"],"stdin":"text","env":{"A":"b=c"}}"#).unwrap();
        assert_eq!(read.args, ["-n", "1"]);
        assert_eq!(read.stdin, "text");
        assert_eq!(read.env, BTreeMap::from([("A".to_owned(), "b=c".to_owned())]));
    }

    #[test]
    fn a_string_alone_is_stdin_and_null_is_nothing() {
        assert_eq!(
            read(r#""text""#).unwrap(),
            ProgramInput { stdin: "text".to_owned(), ..Default::default() }
        );
        for nothing in ["null", "{}"] {
            assert_eq!(read(nothing).unwrap(), ProgramInput::default());
        }
        assert_eq!(ProgramInput::read(None, &BTreeMap::new()).unwrap(), ProgramInput::default());
    }

    #[test]
    fn an_input_of_another_form_is_refused_with_what_is_wrong() {
        for (input, said) in [
            (r#"{"arg":[]}"#, "unknown field `arg`"),
            (r#"{"args":"-n"}"#, "expected a sequence"),
            (r#"{"args":[1]}"#, "expected a string"),
            ("[[],\"text\"]", "not an array"),
            ("7", "not a number"),
            ("{", "an object with `args`"),
            (r#"{"args":["a\u0000b"]}"#, "NUL"),
            (r#"{"env":{"":"b"}}"#, "cannot be a variable"),
            (r#"{"env":{"A=B":"c"}}"#, "cannot be a variable"),
            (r#"{"env":{"REGION":"us"}}"#, "may not set REGION"),
        ] {
            let failure = read(input).unwrap_err();
            assert_eq!(failure.cause, Cause::InvalidInput, "{input}");
            assert!(failure.message.contains(said), "{failure}");
        }
    }

    #[test]
    fn arguments_and_variables_over_their_limit_are_refused_with_both_sizes() {
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
    fn an_answer_is_kept_up_to_its_limit_and_no_further() {
        let answer = Answer::new(4, &account(1_000));
        assert!(answer.keep(b"ab").is_ok());
        assert!(answer.keep(b"cde").is_err());
        assert!(answer.has_overflowed());
        assert!(answer.keep(&[b'c', 0xff]).is_ok());
        assert_eq!(answer.take(), "abc\u{fffd}");
    }

    fn account(bytes_max: u64) -> Arc<Account> {
        let hold = Arc::new(Budget::new(u64::MAX, Box::new(|| None))).hold(0, false);
        Arc::new(Account::new(bytes_max, 0, Arc::new(hold)))
    }

    #[test]
    fn an_answer_counts_against_the_memory_of_its_program() {
        let account = account(10);
        let answer = Answer::new(100, &account);
        assert!(answer.keep(b"12345678").is_ok() && !account.is_overdrawn());
        assert!(matches!(answer.keep(b"90a"), Err(Overflow::Memory)));
        assert!(account.is_overdrawn() && !answer.has_overflowed());
    }

    #[test]
    fn last_words_are_the_last_lines() {
        let words = LastWords::new();
        assert_eq!(words.text(), "");
        for line in 0..1_000 {
            words.write(format!("line {line}\n").as_bytes());
        }
        let text = words.text();
        assert!(text.starts_with("line 990\n") && text.ends_with("\nline 999"), "{text}");
    }
}
