//! A pgbouncer before a PostgreSQL server, from the package of the system. It ends with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::PostgresServer;
use crate::skip::skip;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Deadline for its start.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running pooler.
pub struct Pgbouncer {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Pgbouncer {
    /// Starts one with these lines of configuration, such as `pool_mode = session`; `None` if it is not installed.
    ///
    /// # Panics
    ///
    /// If it does not start, or `WASMILL_TEST_REQUIRE=all` asks for it and it is not installed.
    pub fn start(server: &PostgresServer, settings: &str) -> Option<Self> {
        if !std::path::Path::new(PROGRAM).exists() {
            skip("pgbouncer is not installed: apt-get install pgbouncer");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let config = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = users\n{settings}\n",
            server.folder().display()
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), config).expect("written");
        std::fs::write(folder.path().join("users"), "\"wasmill\" \"\"\n").expect("written");
        let process = launch(&folder, port);
        Some(Self { folder, port, process })
    }

    /// Returns the URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://wasmill@127.0.0.1:{}/{database}", self.port)
    }

    /// Kills it as `kill -9` does, and starts it again.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn kill_and_restart(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("its end");
        self.process = launch(&self.folder, self.port);
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts it as another user than root, which it refuses, and waits until it accepts connections.
fn launch(folder: &TempDir, port: u16) -> Child {
    let script = "if [ \"$(id -u)\" = 0 ]; then
            chown -R nobody .
            exec setpriv --reuid=nobody --regid=nogroup --clear-groups --pdeathsig KILL \"$0\" -q pgbouncer.ini
        fi
        exec \"$0\" -q pgbouncer.ini";
    let process = Command::new("sh")
        .args(["-ec", script, PROGRAM])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let deadline = Instant::now() + DEADLINE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "pgbouncer does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}
