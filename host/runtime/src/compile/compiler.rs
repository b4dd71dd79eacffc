//! Compiles in a child process, so that a hostile file can crash or exhaust only the child.
//!
//! Called by the loader with validated bytes. The child's side is in `child`.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::compile::child::{CompileRequest, SUBCOMMAND, precompile};
use crate::compile::config::CompilerConfig;
use crate::compile::kill_handle::KillHandle;
use crate::config::ARTIFACT_BYTES_MAX;
use crate::config::RuntimeConfig;
use crate::engine::engines::Engines;
use crate::engine::profile::Profile;
use crate::error::format;

/// The maximum ratio of compiled code to wasm; it is four or five for most files.
const ARTIFACT_BYTES_PER_BYTE: u64 = 64;
/// Bytes of code allowed in addition.
const ARTIFACT_BYTES_SPARE: u64 = 16 << 20;

/// Compiles wasm to machine code.
pub(crate) struct Compiler {
    runtime: RuntimeConfig,
    /// `None` compiles in this process, without limits.
    child: Option<CompilerConfig>,
}

impl Compiler {
    pub(crate) fn new(runtime: RuntimeConfig, child: Option<CompilerConfig>) -> Self {
        Self { runtime, child }
    }

    /// Compiles valid wasm for the engine of a profile.
    ///
    /// # Errors
    ///
    /// Says why it cannot be compiled, and names the limit that was exceeded.
    pub(crate) fn compile(
        &self,
        engines: &Engines,
        profile: Profile,
        wasm: &[u8],
        kill_handle: &KillHandle,
    ) -> Result<Vec<u8>, String> {
        let engine = engines.get(profile);
        let Some(config) = &self.child else { return precompile(engine, wasm) };
        let request = CompileRequest::new(&self.runtime, engines, profile, config);
        let child = spawn_child(config, &request)?;
        let outcome = wait_child(child, config.wall, wasm, kill_handle);
        outcome
            .map_err(|error| {
                format!(
                    "failed to communicate with the compiler: \
                                         {error}"
                )
            })?
            .into_result(config)
    }
}

fn spawn_child(config: &CompilerConfig, request: &CompileRequest) -> Result<Child, String> {
    Command::new(&config.program)
        .args([SUBCOMMAND, &request.to_string()])
        .env_clear()
        .current_dir("/")
        // A signal from the terminal reaches the server's whole process group; the child must not die of it, which
        // would look like a file that cannot be compiled.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("failed to start the compiler {}: {error}", config.program.display()))
}

struct ChildOutcome {
    status: ExitStatus,
    /// It was killed at its time limit.
    timed_out: bool,
    /// The load was aborted.
    is_killed: bool,
    output: CompilerOutput,
    /// The beginning of its stderr.
    stderr_text: String,
}

/// The stdout of a child.
enum CompilerOutput {
    Code(Vec<u8>),
    /// It exceeded this number of bytes.
    TooLarge(u64),
    Incomplete,
}

/// Feeds a child and waits for its end.
fn wait_child(
    mut child: Child,
    wall: Duration,
    wasm: &[u8],
    kill_handle: &KillHandle,
) -> io::Result<ChildOutcome> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    kill_handle.attach(pid);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let output_bytes_max =
        ARTIFACT_BYTES_MAX.min(ARTIFACT_BYTES_SPARE + ARTIFACT_BYTES_PER_BYTE * wasm.len() as u64);
    let timed_out = AtomicBool::new(false);
    let (ended, end) = mpsc::channel::<()>();
    let (output, stderr_text) = thread::scope(|scope| {
        let timed_out = &timed_out;
        scope.spawn(move || {
            if end.recv_timeout(wall) == Err(mpsc::RecvTimeoutError::Timeout) {
                timed_out.store(true, Ordering::Relaxed);
                kill_handle.kill_child();
            }
        });
        // This fails if the child ends early; its exit status says why.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(wasm)));
        let output = scope.spawn(move || read_output(stdout, output_bytes_max));
        let stderr_text = scope.spawn(move || read(stderr, format::MESSAGE_BYTES_MAX as u64));
        // The child is not reaped yet, so its pid cannot be reused until the handle is detached.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        drop(ended);
        kill_handle.detach();
        waited?;
        io::Result::Ok((
            output.join().unwrap_or(CompilerOutput::Incomplete),
            stderr_text.join().unwrap_or_default(),
        ))
    })?;
    Ok(ChildOutcome {
        status: child.wait()?,
        timed_out: timed_out.into_inner(),
        is_killed: kill_handle.is_killed(),
        output,
        stderr_text: format::truncate(
            String::from_utf8_lossy(&stderr_text).into_owned(),
            format::MESSAGE_BYTES_MAX,
        ),
    })
}

/// Reads the length of the code, then the code, into one allocation.
fn read_output(pipe: Option<impl Read>, bytes_max: u64) -> CompilerOutput {
    let read = || {
        let mut pipe = pipe?;
        let mut length = [0; 8];
        pipe.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        if length > bytes_max {
            return Some(CompilerOutput::TooLarge(bytes_max));
        }
        let mut code = Vec::new();
        code.try_reserve_exact(length as usize).ok()?;
        pipe.take(length).read_to_end(&mut code).ok()?;
        (code.len() as u64 == length).then_some(CompilerOutput::Code(code))
    };
    read().unwrap_or(CompilerOutput::Incomplete)
}

/// Reads up to `bytes_max`; a child that writes more finds its pipe closed.
fn read(pipe: Option<impl Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // An error leaves the output incomplete, which its length shows.
        let _ = pipe.take(bytes_max).read_to_end(&mut bytes);
    }
    bytes
}

impl ChildOutcome {
    /// Returns the code of a successful child, or the reason of its failure.
    fn into_result(self, config: &CompilerConfig) -> Result<Vec<u8>, String> {
        if self.is_killed {
            return Err(
                "compilation was aborted because the file changed or the server is stopping".to_owned()
            );
        }
        if self.timed_out {
            return Err(format!(
                "compilation exceeded its time limit of {:?} (setting compile_timeout)",
                config.wall
            ));
        }
        match self.output {
            CompilerOutput::TooLarge(limit) => {
                return Err(format!("the compiled code exceeds {}", format::bytes(limit)));
            }
            CompilerOutput::Code(code) if self.status.success() => return Ok(code),
            CompilerOutput::Incomplete if self.status.success() => {
                return Err("the compiler returned incomplete output".to_owned());
            }
            CompilerOutput::Code(_) | CompilerOutput::Incomplete => {}
        }
        let signal = self.status.signal();
        if signal == Some(Signal::XCPU.as_raw()) {
            return Err(format!("compilation exceeded its CPU limit of {:?}", config.cpu));
        }
        if ["memory allocation of", "unhandled out-of-memory error", "Cannot allocate memory", "os error 12"]
            .iter()
            .any(|text| self.stderr_text.contains(text))
        {
            let limit = format::bytes(config.memory_bytes);
            return Err(format!("compilation exceeded its memory limit of {limit} (setting compile_memory)"));
        }
        match (signal, self.stderr_text.trim()) {
            (None, stderr_text) if !stderr_text.is_empty() => Err(stderr_text.to_owned()),
            (_, stderr_text) => {
                Err(format::bounded(format_args!("the compiler crashed ({}) {stderr_text}", self.status)))
            }
        }
    }
}
