//! The input of a task, from the command line, a file or stdin: always the text of one JSON value.
//!
//! Read once by `run` and `submit`, before anything else.

use std::io::{self, ErrorKind, stdin};
use std::path::Path;

use anyhow::Result;
use data_encoding::BASE64;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_model::without_bom;
use wasmill_runtime::{read_bounded, read_file};

use crate::cli::run::InputArgs;
use crate::exit::{Exit, cli_error, read_error};

/// Maximum size of an input: the largest body that a server can be configured for.
const BYTES_MAX: u64 = 256 << 20;

impl InputArgs {
    /// Returns the JSON text of the input, if any.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or if the input is not JSON.
    pub(crate) fn read(&self) -> Result<Option<Box<RawValue>>> {
        let Self { input, stdin, args } = self;
        if stdin.is_some() || !args.is_empty() {
            let stdin = stdin.as_deref().map(read_bytes).transpose()?.unwrap_or_default();
            let input = match String::from_utf8(stdin) {
                Ok(stdin) => json!({ "args": args, "stdin": stdin }),
                Err(bytes) => json!({ "args": args, "stdin_base64": BASE64.encode(bytes.as_bytes()) }),
            };
            return Ok(Some(raw(&input.to_string(), "the arguments")?));
        }
        match input.as_deref() {
            None => Ok(None),
            Some(text) => json_of(text, |text| raw(text, "--input")).map(Some),
        }
    }
}

/// Returns the JSON text of an argument: JSON, or @FILE or - with JSON.
///
/// # Errors
///
/// Fails if a file cannot be read or if it is not JSON.
pub(crate) fn json_argument(text: &str) -> Result<Box<RawValue>> {
    json_of(text, |text| {
        RawValue::from_string(without_bom(text).trim().to_owned()).map_err(|error| {
            cli_error(
                Exit::Usage,
                format!("the payload is not JSON: {error}; quote a string, as in '\"text\"'"),
            )
        })
    })
}

fn json_of(text: &str, given: impl FnOnce(&str) -> Result<Box<RawValue>>) -> Result<Box<RawValue>> {
    match text.strip_prefix('@') {
        _ if text == "-" => raw(&read("-")?, "stdin"),
        Some(file) => raw(&read(file)?, file),
        None => given(text),
    }
}

fn raw(text: &str, source: &str) -> Result<Box<RawValue>> {
    let text = without_bom(text);
    RawValue::from_string(text.trim().to_owned()).map_err(|error| {
        let message = format!(
            "the input from {source} is not JSON: {error}; quote a string, as in --input '\"text\"', and \
             use --stdin FILE for the stdin of a program"
        );
        cli_error(Exit::Usage, message)
    })
}

fn read(file: &str) -> Result<String> {
    let shown = if file == "-" { "stdin" } else { file };
    String::from_utf8(read_bytes(file)?).map_err(|_| cli_error(Exit::Usage, format!("{shown} is not UTF-8")))
}

fn read_bytes(file: &str) -> Result<Vec<u8>> {
    let (bytes, shown) = if file == "-" {
        (read_bounded(stdin().lock(), BYTES_MAX), "stdin")
    } else {
        // A pipe of the shell, such as <(command), is no regular file.
        let read = read_file(Path::new(file), BYTES_MAX).map_err(|error| match error.kind() {
            ErrorKind::Other => io::Error::other(format!("{error}; use - to read from stdin")),
            _ => error,
        });
        (read, file)
    };
    bytes.map_err(|error| read_error(shown, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::exit;

    fn input(text: &str) -> InputArgs {
        InputArgs { input: Some(text.to_owned()), ..InputArgs::default() }
    }

    #[test]
    fn an_input_is_passed_unchanged() {
        let read = |args: InputArgs| args.read().unwrap().map(|raw| raw.get().to_owned());
        assert_eq!(read(InputArgs::default()), None);
        let exact = r#"{"n": 12345678901234567890123, "n": 1.10}"#;
        assert_eq!(read(input(exact)).as_deref(), Some(exact));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("input.json");
        fs::write(&file, "\n[1, 2]\n").unwrap();
        assert_eq!(read(input(&format!("@{}", file.display()))).as_deref(), Some("[1, 2]"));
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("input.json");
        fs::write(&file, "\u{feff}{\"n\": \"\u{feff}\"}\n").unwrap();
        let read = input(&format!("@{}", file.display())).read().unwrap().unwrap();
        assert_eq!(read.get(), "{\"n\": \"\u{feff}\"}");
    }

    #[test]
    fn arguments_and_stdin_become_the_input_of_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        fs::write(&file, "a\nb\n").unwrap();
        let args = InputArgs {
            stdin: Some(file.display().to_string()),
            args: vec!["-n".to_owned(), "x y".to_owned()],
            ..InputArgs::default()
        };
        let read: serde_json::Value = serde_json::from_str(args.read().unwrap().unwrap().get()).unwrap();
        assert_eq!(read, json!({ "args": ["-n", "x y"], "stdin": "a\nb\n" }));
    }

    #[test]
    fn a_stdin_of_bytes_is_sent_as_base64() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bytes");
        fs::write(&file, [0x89, 0x50, 0xff]).unwrap();
        let args = InputArgs { stdin: Some(file.display().to_string()), ..InputArgs::default() };
        let read: serde_json::Value = serde_json::from_str(args.read().unwrap().unwrap().get()).unwrap();
        assert_eq!(read, json!({ "args": [], "stdin_base64": "iVD/" }));
    }

    #[test]
    fn an_invalid_input_is_rejected_with_a_hint() {
        let error = input("hello").read().unwrap_err();
        assert_eq!(exit::code_of(&error), Exit::Usage);
        assert!(error.to_string().contains("'\"text\"'"), "{error}");
        let error = input("@/no/such/file").read().unwrap_err();
        assert_eq!(exit::code_of(&error), Exit::NotFound);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("latin1");
        fs::write(&file, [b'"', 0xe4, b'"']).unwrap();
        let error = input(&format!("@{}", file.display())).read().unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }
}
