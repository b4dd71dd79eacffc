//! A PostgreSQL server in a temporary folder, from the package of the system. It ends with the process.
//!
//! The tests of `store-postgres` include this file: they do not build the product.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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
        SHARED.get_or_init(|| programs().map(Self::start)).as_ref()
    }

    fn start(programs: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("wasmill-pg").tempdir().expect("a folder").keep();
        let script = format!(
            "set -e; chown -R nobody {folder}; cd {folder}
            run() {{ if [ \"$(id -u)\" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups \"$@\"; else \"$@\"; fi; }}
            run {bin}/initdb -D {folder}/data -A trust -U wasmill --no-sync > {folder}/initdb.log
            run {bin}/pg_ctl -D {folder}/data -w -l {folder}/log -o \"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=300\" start > /dev/null
            (while kill -0 {pid} 2> /dev/null; do sleep 1; done; run {bin}/pg_ctl -D {folder}/data -m immediate stop; rm -rf {folder}) > /dev/null 2>&1 &",
            folder = folder.display(),
            bin = programs.display(),
            pid = std::process::id(),
        );
        let started = Command::new("sh").args(["-c", &script]).status().expect("a shell");
        assert!(started.success(), "PostgreSQL does not start: see {}", folder.display());
        Self { folder, programs }
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
        let psql = self.programs.join("psql");
        let output = Command::new(psql)
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "wasmill",
                "-d",
                database,
                "-c",
                sql,
            ])
            .arg("-h")
            .arg(&self.folder)
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
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

/// Returns the folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let newest = versions.and_then(|versions| versions.flatten().map(|entry| entry.path().join("bin")).max());
    let found = newest.filter(|programs| programs.join("initdb").exists());
    if found.is_none() {
        skip("PostgreSQL is not installed: apt-get install postgresql");
    }
    found
}
