//! One `wasmill serve` process with folders of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, MISBEHAVE, NOOP};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server that is dropped may take to answer, and its slots to agree with what runs.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// A running server; dropping it kills it.
///
/// Dropped by a test that has not failed, it looks for what must never be, and panics if it finds it: an error
/// or a panic in the log, unless [`Server::expect_errors`] was called; slots that are used and run nothing.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reads_log: JoinHandle<()>,
    expects_errors: AtomicBool,
    folder: Arc<TempDir>,
    args: Vec<String>,
    open_files: Option<u32>,
}

impl Server {
    /// Starts a server in a fresh folder with the guests `misbehave` and `noop` as plugins.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(args: &[&str]) -> Self {
        let server = Self::start_in(Self::folder_with_guests(), args).expect("a server");
        server.wait_for_plugins();
        server
    }

    /// Waits until no plugin compiles any more: on a busy machine the server begins to serve before that.
    pub fn wait_for_plugins(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.plugins().contains(r#""state":"compiling""#) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks for the plugins, as text; nothing from a server that does not answer.
    fn plugins(&self) -> String {
        self.ask("/plugins", PATIENCE).unwrap_or_default()
    }

    /// GETs a path without a runtime, and returns the whole answer as text.
    fn ask(&self, path: &str, patience: Duration) -> std::io::Result<String> {
        let mut answer = String::new();
        let mut server = TcpStream::connect_timeout(&self.address, patience)?;
        server.set_read_timeout(Some(patience))?;
        server.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        server.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Says that this test makes the server log errors on purpose.
    pub fn expect_errors(&self) {
        self.expects_errors.store(true, Ordering::Relaxed);
    }

    /// Finds slots that are used though nothing runs in them, or tasks that run in no slot. A run that begins or
    /// ends looks like that for a moment.
    fn wrong_slots(&self) -> Option<String> {
        let deadline = Instant::now() + LAST_LOOK;
        loop {
            // One that is gone or stands still says nothing.
            let answer = self.ask("/stats", Duration::from_secs(1)).ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let stats: Value = serde_json::from_str(body).ok().filter(|_| head.contains(" 200 "))?;
            if stats["slots"]["used"] == stats["running"] {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("the slots that are used are not what runs: {stats}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Finds lines of the log that tell of an error or a panic.
    fn errors(&self) -> Option<String> {
        // What writes to it may be a process that outlives the server.
        let deadline = Instant::now() + LAST_LOOK;
        while !self.reads_log.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let is_error = |line: &&String| line.contains(r#""level":"ERROR""#) || line.contains("panicked");
        let errors: Vec<_> = log.iter().filter(is_error).map(String::as_str).collect();
        (!errors.is_empty()).then(|| format!("the server has logged errors:\n{}", errors.join("\n")))
    }

    /// Makes a folder with `misbehave` and `noop` in its folder `plugins`.
    ///
    /// # Panics
    ///
    /// If the disk does not take it.
    pub fn folder_with_guests() -> Arc<TempDir> {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder for plugins");
        std::fs::write(plugins.join("misbehave.wasm"), MISBEHAVE).expect("a plugin");
        std::fs::write(plugins.join("noop.wasm"), NOOP).expect("a plugin");
        folder
    }

    /// Starts a server in a folder that was made ready for it.
    ///
    /// # Errors
    ///
    /// Fails with what the process wrote if it ends instead of serving.
    pub fn start_in(folder: Arc<TempDir>, args: &[&str]) -> Result<Self> {
        Self::launch(folder, args.iter().map(ToString::to_string).collect(), None)
    }

    /// Starts a server that may have so many files open.
    ///
    /// # Errors
    ///
    /// Fails with what the process wrote if it ends instead of serving.
    pub fn start_with_open_files(folder: Arc<TempDir>, args: &[&str], open_files: u32) -> Result<Self> {
        Self::launch(folder, args.iter().map(ToString::to_string).collect(), Some(open_files))
    }

    /// Tries to start another server on the same folders.
    ///
    /// # Errors
    ///
    /// Fails with what the process wrote if it ends instead of serving.
    pub fn start_beside(&self) -> Result<Self> {
        let server = Self::launch(Arc::clone(&self.folder), self.args.clone(), self.open_files)?;
        server.expects_errors.store(self.expects_errors.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(server)
    }

    /// Does the same with further arguments.
    ///
    /// # Errors
    ///
    /// Fails with what the process wrote if it ends instead of serving.
    pub fn start_beside_with(&self, args: &[&str]) -> Result<Self> {
        let further = args.iter().map(ToString::to_string);
        let args = self.args.iter().cloned().chain(further).collect();
        Self::launch(Arc::clone(&self.folder), args, self.open_files)
    }

    /// Kills the process as `kill -9` does and starts another on the same folders.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn kill_and_restart(mut self) -> Self {
        self.kill();
        self.start_beside().expect("a server")
    }

    /// Kills the process as `kill -9` does and waits for its end.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
    }

    /// Asks the process to stop, as `docker stop` does, and waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal();
        self.wait()
    }

    /// Stops the process in order and starts another on the same folders.
    ///
    /// # Panics
    ///
    /// If it does not stop well or does not start.
    pub fn stop_and_restart(mut self) -> Self {
        assert!(self.terminate().success(), "{}", self.log());
        self.start_beside().expect("a server")
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn signal(&self) {
        self.send(Signal::TERM);
    }

    /// Sends SIGSTOP: the process stands still, as under a debugger or a frozen container.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn pause(&self) {
        self.send(Signal::STOP);
    }

    /// Sends SIGCONT: the process goes on.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn resume(&self) {
        self.send(Signal::CONT);
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not stop: {}", self.log());
    }

    /// Makes a client of this server.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a figure of its memory, such as `VmRSS`, in bytes.
    ///
    /// # Panics
    ///
    /// If there is no process or no such figure.
    pub fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("a figure");
        let kib: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse().expect("a number");
        kib << 10
    }

    /// Returns the folder that its data and plugins are in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns all it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn launch(folder: Arc<TempDir>, args: Vec<String>, open_files: Option<u32>) -> Result<Self> {
        let mut command = match open_files {
            None => Command::new(binary()?),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(binary()?);
                shell
            }
        };
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(folder.path().join("data"))
            .arg("--plugins")
            .arg(folder.path().join("plugins"))
            .args(&args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (serving, wait) = mpsc::channel();
        let kept = Arc::clone(&log);
        let reads_log = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = address(&line) {
                    // The receiver is gone once the address is known.
                    let _ = serving.send(address);
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let address = wait.recv_timeout(PATIENCE);
        let Ok(address) = address else {
            // Killing fails if it has ended already, which is fine.
            let _ = child.kill();
            let status = child.wait()?;
            bail!("{status}: {}", log.lock().unwrap_or_else(PoisonError::into_inner).join("\n"));
        };
        let expects_errors = AtomicBool::new(false);
        Ok(Self { child, address, log, reads_log, expects_errors, folder, args, open_files })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let has_failed = std::thread::panicking();
        let wrong_slots = if has_failed { None } else { self.wrong_slots() };
        // Both fail if it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if has_failed {
            return;
        }
        let errors = if *self.expects_errors.get_mut() { None } else { self.errors() };
        let wrong: Vec<_> = wrong_slots.into_iter().chain(errors).collect();
        assert!(wrong.is_empty(), "the test has passed, but {}", wrong.join("; and "));
    }
}

/// Reads the address from the line that says the server is serving.
fn address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
}

/// Finds the binary that was built with this profile.
///
/// # Errors
///
/// Fails with what to type if it was not built.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("no target folder")?;
    let binary = profile.join("wasmill");
    if !binary.exists() {
        bail!("{} is not built: cargo build --release -p wasmill", binary.display());
    }
    Ok(binary)
}
