//! A PostgreSQL server in a temporary folder, from the package of the system. It ends with the process.
//!
//! The tests of `store-postgres` include this file: they do not build the product.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::skip::skip;

/// A running server that listens on a socket only.
pub struct PostgresServer {
    folder: PathBuf,
    programs: PathBuf,
}

impl PostgresServer {
    /// Returns the server of this process, started on first use; `None` if PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// If it does not start, or `WASMILL_TEST_REQUIRE=all` asks for it and it is not installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("")).as_ref()
    }

    /// Starts a server of its own with further lines of its configuration; `None` if PostgreSQL is not installed. Dropping
    /// it stops it.
    ///
    /// # Panics
    ///
    /// Like [`PostgresServer::shared`].
    pub fn start(settings: &str) -> Option<Self> {
        programs().map(|programs| Self::create_and_start(programs, settings))
    }

    fn create_and_start(programs: PathBuf, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("wasmill-pg").tempdir().expect("a folder").keep();
        let server = Self { folder, programs };
        server.shell(&format!(
            "chown -R nobody $folder
            run initdb -D data -A trust -U wasmill --no-sync > initdb.log
            run sh -c \"echo \\\"unix_socket_directories = '$folder'
                listen_addresses = ''
                fsync = off
                max_connections = 300
                {settings}\\\" >> data/postgresql.conf\"
            run pg_ctl -D data -w -l log start > /dev/null
            (while kill -0 {pid} 2> /dev/null; do sleep 1; done; run pg_ctl -D data -m immediate stop; rm -rf $folder) \
                > /dev/null 2>&1 &",
            pid = std::process::id(),
        ));
        server
    }

    /// Stops it, keeps a copy of its data, and starts it again.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn copy(&self) {
        self.shell(
            "run pg_ctl -D data -w -m fast stop > /dev/null
            run cp -a data copy
            run pg_ctl -D data -w -l log start > /dev/null",
        );
    }

    /// Goes back to the copy, as a failover to a standby does that has not got everything.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn go_back(&self) {
        self.shell(
            "run pg_ctl -D data -w -m immediate stop > /dev/null
            rm -rf data
            mv copy data
            run pg_ctl -D data -w -l log start > /dev/null",
        );
    }

    /// Changes a setting of the running server.
    ///
    /// # Panics
    ///
    /// If it is no such setting.
    pub fn set(&self, name: &str, value: &str) {
        self.run("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.run("postgres", "SELECT pg_reload_conf()");
        // The processes read it one after the other.
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.run("postgres", &format!("SELECT current_setting('{name}')")) != value {
            assert!(Instant::now() < deadline, "{name} does not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a script in its folder, in which `run` starts a program as the user of the server.
    fn shell(&self, script: &str) {
        let run = "run() { if [ \"$(id -u)\" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups \"$@\"; \
            else \"$@\"; fi; }";
        let done = Command::new("sh")
            .args(["-ec", &format!("PATH=$programs:$PATH; cd $folder; {run}\n{script}")])
            .env("folder", &self.folder)
            .env("programs", &self.programs)
            .status()
            .expect("a shell");
        assert!(done.success(), "PostgreSQL does not start: see {}", self.folder.display());
    }

    /// Restarts it as an administrator does: connections end, and new ones are refused meanwhile.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&self) {
        self.shell("run pg_ctl -D data -w -l log -m fast restart > /dev/null");
    }

    /// Restarts it with these variables of the environment.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart_with(&self, variables: &[(&str, String)]) {
        let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let variables = variables.join(" ");
        self.shell(&format!("run env {variables} pg_ctl -D data -w -l log -m fast restart > /dev/null"));
    }

    /// Kills it as `kill -9` does, and starts it again once its processes have noticed.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn crash(&self) {
        self.shell(
            "kill -9 $(head -1 data/postmaster.pid)
            n=0; until run pg_ctl -D data -w -l log start > /dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ]; sleep 0.1; done",
        );
    }

    /// Kills one process of it, as the kernel does without memory; it then ends all others and recovers.
    ///
    /// # Panics
    ///
    /// If it does not recover.
    pub fn kill_backend(&self, pid: &str) {
        // The process may have ended meanwhile. It takes a moment until the server notices.
        self.shell(&format!(
            "kill -9 {pid} || true; sleep 0.2
            n=0; until pg_isready -q -h $folder; do n=$((n+1)); [ $n -lt 100 ]; sleep 0.1; done"
        ));
    }

    /// Returns the id of its main process, the parent of all others.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        file.lines().next().and_then(|pid| pid.parse().ok()).expect("a process id")
    }

    /// Returns the folder of its socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://wasmill@{folder}/{database}")
    }

    /// Runs SQL in a database, as the superuser.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn run(&self, database: &str, sql: &str) -> String {
        self.query(database, sql).expect("it runs")
    }

    /// Runs SQL in a database, as the superuser; returns rows as lines, and columns between bars.
    ///
    /// # Errors
    ///
    /// Fails if the SQL does.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.psql("wasmill", database).args(["-c", sql]).output()?;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if status.success() { Ok(text(&stdout)) } else { Err(Error::other(text(&stderr))) }
    }

    /// Returns its client, for this user.
    pub fn psql(&self, user: &str, database: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-h"]);
        psql.arg(&self.folder);
        psql
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// If it exists.
    pub fn create(&self, database: &str) -> String {
        self.run("postgres", &format!("CREATE DATABASE {database}"));
        self.url(database)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // What watches this process removes the folder.
        self.shell("run pg_ctl -D data -m immediate stop > /dev/null 2>&1 || true");
    }
}

/// Returns the folder of the newest version's programs.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let newest = versions.and_then(|versions| versions.flatten().map(|entry| entry.path().join("bin")).max());
    let found = newest.filter(|programs| programs.join("initdb").exists());
    if found.is_none() {
        skip("PostgreSQL is not installed: apt-get install postgresql");
    }
    found
}
