//! Runs the real binary in a terminal: shows what a user would see, and presses keys.
//!
//! The pty is real, created by `script` of util-linux, which every Debian has; a terminal emulator renders
//! the output, so that tests see the screen rather than escape sequences.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::binary;
use crate::command::surroundings;

/// Deadline for a text to appear, or a command to exit.
const DEADLINE: Duration = Duration::from_secs(60);
/// The size of the terminal.
pub const COLUMNS: u16 = 100;
/// The size of the terminal.
pub const ROWS: u16 = 30;

/// A terminal; dropping it kills its command.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Screen>,
}

struct Screen {
    drawn: Mutex<Drawn>,
    changed: Condvar,
}

struct Drawn {
    parser: vt100::Parser,
    written: Vec<u8>,
    has_ended: bool,
}

impl Terminal {
    /// Starts a command in a terminal.
    ///
    /// # Panics
    ///
    /// If there is no `script`, or the binary was not built.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let wasmill = binary().expect("a binary").display().to_string();
        let words: Vec<_> =
            std::iter::once(wasmill.as_str()).chain(args.iter().copied()).map(quoted).collect();
        let line = format!("stty rows {ROWS} cols {COLUMNS} && exec {}", words.join(" "));
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]);
        surroundings(&mut command, folder);
        command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("script of util-linux");
        let keys = child.stdin.take().expect("a pipe");
        let mut output = child.stdout.take().expect("a pipe");
        let parser = vt100::Parser::new(ROWS, COLUMNS, 0);
        let drawn = Mutex::new(Drawn { parser, written: Vec::new(), has_ended: false });
        let screen = Arc::new(Screen { drawn, changed: Condvar::new() });
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            loop {
                let count = output.read(&mut bytes).unwrap_or(0);
                let mut drawn = shared.drawn.lock().unwrap_or_else(PoisonError::into_inner);
                drawn.parser.process(&bytes[..count]);
                drawn.written.extend_from_slice(&bytes[..count]);
                drawn.has_ended = count == 0;
                shared.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { child, keys, screen }
    }

    /// Types these keys.
    ///
    /// # Panics
    ///
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("a terminal");
    }

    /// Waits until the screen shows this text, and returns the screen.
    ///
    /// # Panics
    ///
    /// If it does not in time, or the command exits before.
    pub fn until_shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen fulfils this condition, and returns the screen.
    ///
    /// # Panics
    ///
    /// If it does not in time, or the command exits before.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        let mut drawn = self.screen.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let shown = drawn.parser.screen().contents();
            if is_so(&shown) {
                return shown;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !drawn.has_ended, "the screen does not show '{what}':\n{shown}");
            drawn = self.screen.changed.wait_timeout(drawn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the command to exit; returns its exit code and the final screen.
    ///
    /// # Panics
    ///
    /// If it does not exit in time.
    pub fn end(&mut self) -> (i32, String) {
        let until = Instant::now() + DEADLINE;
        let mut drawn = self.screen.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        while !drawn.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the command does not end:\n{}", drawn.parser.screen().contents());
            drawn = self.screen.changed.wait_timeout(drawn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let shown = drawn.parser.screen().contents();
        drop(drawn);
        (self.child.wait().expect("its end").code().unwrap_or(-1), shown)
    }

    /// Returns all output so far, escape sequences included.
    pub fn written(&self) -> String {
        let drawn = self.screen.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&drawn.written).into_owned()
    }

    /// Returns whether the command uses the alternate screen, and whether the cursor is hidden.
    pub fn modes(&self) -> (bool, bool) {
        let drawn = self.screen.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = drawn.parser.screen();
        (screen.alternate_screen(), screen.hide_cursor())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
