//! A `wasmill serve` process with its own folders.

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

use crate::{Client, MISBEHAVE, NOOP, ServerFolder, warm_cache, wasmill};

/// Deadline for the start and the stop of a server.
const DEADLINE: Duration = Duration::from_secs(60);

/// Deadline for the checks on drop.
const DROP_CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server; dropping it kills it.
///
/// If the test has not failed, dropping it also checks what must never happen, and panics on an error or a
/// panic in the log (unless [`Server::expect_errors`] was called), and on used slots that run nothing.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reads_log: JoinHandle<()>,
    expects_errors: AtomicBool,
    folder: Arc<ServerFolder>,
    args: Vec<String>,
    open_files: Option<u32>,
}

impl Server {
    /// Starts a server in a new folder with the plugins `misbehave` and `noop`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(args: &[&str]) -> Self {
        let server = Self::start_in(Self::folder_with_guests(), args).expect("a server");
        server.wait_for_plugins();
        server
    }

    /// Starts a server whose plugin `misbehave` has this manifest.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_with_manifest(manifest: &str, args: &[&str]) -> Self {
        let folder = Self::folder_with_guests();
        std::fs::write(folder.path().join("plugins/misbehave.toml"), manifest).expect("written");
        let server = Self::start_in(folder, args).expect("a server");
        server.wait_for_plugins();
        server
    }

    /// Waits until no plugin is compiling; on a busy machine the server may serve before that.
    pub fn wait_for_plugins(&self) {
        let deadline = Instant::now() + DEADLINE;
        while self.plugins().contains(r#""state":"compiling""#) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the plugins as text; empty if the server does not respond.
    fn plugins(&self) -> String {
        self.ask("/plugins", DEADLINE).unwrap_or_default()
    }

    /// GETs a path without an async runtime, and returns the whole response as text.
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

    /// Allows errors in the log of this server.
    pub fn expect_errors(&self) {
        self.expects_errors.store(true, Ordering::Relaxed);
    }

    /// Finds used slots without a run, or runs without a slot. A run that is starting or ending may look like
    /// that for a moment.
    fn slot_mismatch(&self) -> Option<String> {
        let deadline = Instant::now() + DROP_CHECK_TIMEOUT;
        loop {
            // A server that is gone or stopped does not respond.
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

    /// Finds log lines with an error or a panic.
    fn errors(&self) -> Option<String> {
        // A process that outlives the server may still hold the pipe.
        let deadline = Instant::now() + DROP_CHECK_TIMEOUT;
        while !self.reads_log.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let is_error = |line: &&String| line.contains(r#""level":"ERROR""#) || line.contains("panicked");
        let errors: Vec<_> = log.iter().filter(is_error).map(String::as_str).collect();
        (!errors.is_empty()).then(|| format!("the server has logged errors:\n{}", errors.join("\n")))
    }

    /// Creates a folder with the plugins `misbehave` and `noop`.
    ///
    /// # Panics
    ///
    /// If the folder cannot be written.
    pub fn folder_with_guests() -> Arc<ServerFolder> {
        let folder = ServerFolder::new();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder for plugins");
        std::fs::write(plugins.join("misbehave.wasm"), MISBEHAVE).expect("a plugin");
        std::fs::write(plugins.join("noop.wasm"), NOOP).expect("a plugin");
        folder
    }

    /// Starts a server like [`Server::start`] that has to compile its guests.
    ///
    /// # Errors
    ///
    /// Fails with the output of the process if it exits instead of serving.
    pub fn start_cold() -> Result<Self> {
        Self::launch(Self::folder_with_guests(), Vec::new(), None)
    }

    /// Starts a server in a prepared folder. If it has no data folder yet, the guests are compiled already.
    ///
    /// # Errors
    ///
    /// Fails with the output of the process if it exits instead of serving.
    pub fn start_in(folder: Arc<ServerFolder>, args: &[&str]) -> Result<Self> {
        Self::prepare(&folder)?;
        Self::launch(folder, args.iter().map(ToString::to_string).collect(), None)
    }

    fn prepare(folder: &ServerFolder) -> Result<()> {
        let data = folder.path().join("data");
        if data.exists() { Ok(()) } else { warm_cache::fill(&data) }
    }

    /// Starts a server with this limit of open files.
    ///
    /// # Errors
    ///
    /// Fails with the output of the process if it exits instead of serving.
    pub fn start_with_open_files(folder: Arc<ServerFolder>, args: &[&str], open_files: u32) -> Result<Self> {
        Self::prepare(&folder)?;
        Self::launch(folder, args.iter().map(ToString::to_string).collect(), Some(open_files))
    }

    /// Tries to start a second server on the same folders.
    ///
    /// # Errors
    ///
    /// Fails with the output of the process if it exits instead of serving.
    pub fn start_beside(&self) -> Result<Self> {
        let server = Self::launch(Arc::clone(&self.folder), self.args.clone(), self.open_files)?;
        server.expects_errors.store(self.expects_errors.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(server)
    }

    /// Does the same with additional arguments.
    ///
    /// # Errors
    ///
    /// Fails with the output of the process if it exits instead of serving.
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

    /// Kills the process as `kill -9` does and waits for the exit.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
    }

    /// Sends SIGTERM, as `docker stop` does, and waits for the exit.
    ///
    /// # Panics
    ///
    /// If it does not exit in time.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal();
        self.wait()
    }

    /// Stops the process gracefully and starts another on the same folders.
    ///
    /// # Panics
    ///
    /// If it does not stop cleanly or does not start.
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

    /// Sends SIGSTOP: freezes the process, as a debugger or container engine does.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn pause(&self) {
        self.send(Signal::STOP);
    }

    /// Sends SIGCONT: resumes the process.
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

    /// Waits for the process to exit.
    ///
    /// # Panics
    ///
    /// If it does not exit in time.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not stop: {}", self.log());
    }

    /// Creates a client of this server.
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

    /// Returns a value of `/proc/PID/status`, such as `VmRSS`, in bytes.
    ///
    /// # Panics
    ///
    /// If there is no process or no such value.
    pub fn memory(&self, metric_value: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(metric_value)).expect("a figure");
        let kib: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse().expect("a number");
        kib << 10
    }

    /// Creates a key with these options, waits until the server knows it, and returns its text.
    ///
    /// # Panics
    ///
    /// If it cannot be created, or the server does not take it.
    pub fn create_key(&self, name: &str, options: &[&str]) -> String {
        self.change_key(name, &[&["create", name], options].concat())
    }

    /// Rotates a key with these options, waits until the server knows its successor, and returns the text of that.
    ///
    /// # Panics
    ///
    /// If it cannot be rotated, or the server does not take it.
    pub fn rotate_key(&self, name: &str, options: &[&str]) -> String {
        self.change_key(name, &[&["rotate", name], options].concat())
    }

    /// Runs a command of keys that makes a new one, and waits until the server knows that, as its audit says: a request with
    /// a key that is not known yet would count as one with a wrong key, and an address may send few of those.
    fn change_key(&self, name: &str, args: &[&str]) -> String {
        let (audit, path) = (self.folder().join("data/audit.log"), format!("\"path\":\"{name} "));
        let known = || {
            let lines = std::fs::read_to_string(&audit).unwrap_or_default();
            lines.lines().filter(|line| line.contains("\"keyNew\"") && line.contains(&path)).count()
        };
        let before = known();
        let made = wasmill(self.folder(), &[&["key"], args].concat());
        assert_eq!(made.code, 0, "{}", made.err);
        let start = Instant::now();
        while known() == before {
            assert!(start.elapsed() < DEADLINE, "the server does not know the key {name}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        made.out.trim().to_owned()
    }

    /// Returns the folder of its data and plugins.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a statement in its database; see [`ServerFolder::query`].
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.folder.query(sql).expect("it runs")
    }

    /// Returns its whole log.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn launch(folder: Arc<ServerFolder>, args: Vec<String>, open_files: Option<u32>) -> Result<Self> {
        let mut command = match open_files {
            None => Command::new(binary()?),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(binary()?);
                shell
            }
        };
        folder.set_variables(&mut command);
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
                    // The receiver is dropped once the address is known.
                    let _ = serving.send(address);
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let address = wait.recv_timeout(DEADLINE);
        let Ok(address) = address else {
            // Fails if it has already exited.
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
        let slot_mismatch = if has_failed { None } else { self.slot_mismatch() };
        // Both fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if has_failed {
            return;
        }
        let errors = if *self.expects_errors.get_mut() { None } else { self.errors() };
        let wrong: Vec<_> = slot_mismatch.into_iter().chain(errors).collect();
        assert!(wrong.is_empty(), "the test has passed, but {}", wrong.join("; and "));
    }
}

/// Parses the address from the log line of a serving server.
fn address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
}

/// Finds the binary of this build profile.
///
/// # Errors
///
/// Fails with the build command if it was not built.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("no target folder")?;
    let binary = profile.join("wasmill");
    if !binary.exists() {
        bail!("{} is not built: cargo build --release -p wasmill", binary.display());
    }
    Ok(binary)
}
