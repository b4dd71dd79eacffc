//! A PostgreSQL server in a temporary folder, and a schema of it for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmill_model::{Timestamp, Tracer};
use wasmill_store::{Recovery, Store};
use wasmill_store_postgres::{Address, Database, PostgresConfig};
use wasmill_store_suite::Fixture;

/// A server; it ends with the test process.
struct Cluster {
    folder: PathBuf,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

/// Starts a server that listens on a socket in its folder only. It ends when this process does.
fn start() -> Cluster {
    let programs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let version = programs.flatten().map(|entry| entry.path()).max().expect("a version of PostgreSQL");
    let folder = tempfile::Builder::new().prefix("wasmill-pg").tempdir().expect("a folder").keep();
    let script = format!(
        "set -e; chown -R nobody {folder}; cd {folder}
        run() {{ if [ \"$(id -u)\" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups \"$@\"; else \"$@\"; fi; }}
        run {bin}/initdb -D {folder}/data -A trust -U wasmill --no-sync > {folder}/initdb.log
        run {bin}/pg_ctl -D {folder}/data -w -l {folder}/log -o \"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=300\" start > /dev/null
        (while kill -0 {pid} 2> /dev/null; do sleep 1; done; run {bin}/pg_ctl -D {folder}/data -m immediate stop; rm -rf {folder}) > /dev/null 2>&1 &",
        folder = folder.display(),
        bin = version.join("bin").display(),
        pid = std::process::id(),
    );
    let started = Command::new("sh").args(["-c", &script]).status().expect("a shell");
    assert!(started.success(), "PostgreSQL does not start: see {}", folder.display());
    Cluster { folder }
}

/// A schema of its own.
pub(crate) struct Schema {
    name: String,
    folder: &'static Path,
}

impl Fixture for Schema {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { name, folder: &cluster().folder }
    }

    fn open_with(&self, waiting_max: u64, tracer: &Tracer, now: Timestamp) -> (Store, Recovery) {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        let address =
            Address::new(&format!("postgres://wasmill@{folder}/postgres"), None, None).expect("a URL");
        let (schema, tracer) = (self.name.clone(), tracer.clone());
        let config =
            PostgresConfig { schema, migrate: true, waiting_max, tracer, ..PostgresConfig::new(address) };
        // On a thread without a runtime, since the test has one.
        let open = move || Database::open(config).and_then(|database| database.start(now));
        std::thread::spawn(open).join().expect("no panic").expect("the store opens")
    }
}
