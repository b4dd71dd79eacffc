//! Two PostgreSQL servers that Patroni keeps: a primary and a synchronous standby that takes its place. With etcd, all from
//! packages of the system, in a temporary folder. They end with the process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::skip::skip;

/// Maximum time until there are a primary and a synchronous standby; a failover takes some 20 seconds.
const DEADLINE: Duration = Duration::from_secs(90);

/// Maximum time of an answer over REST.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has to be installed beside PostgreSQL.
const PROGRAMS: [&str; 3] = ["patroni", "patronictl", "etcd"];

/// Runs a program as another user than root, as PostgreSQL demands.
const RUN: &str = "run() { if [ \"$(id -u)\" = 0 ]; then exec setpriv --reuid=nobody --regid=nogroup --clear-groups \"$@\"; \
    else exec \"$@\"; fi; }; run ";

/// Ends what the folder knows of. A number may belong to another process by now, which is elsewhere.
const STOP: &str = "for file in *.pid */postmaster.pid; do
        [ -f $file ] || continue
        pid=$(head -1 $file)
        case $(readlink /proc/$pid/cwd) in $PWD|$PWD/*) kill -9 $pid 2> /dev/null || true;; esac
    done";

/// A primary, its standby, and what decides which is which.
pub struct Patroni {
    folder: TempDir,
    programs: PathBuf,
    nodes: [Node; 2],
    etcd: Child,
}

struct Node {
    name: &'static str,
    port: u16,
    rest_port: u16,
    /// `None` while its machine is gone.
    process: Option<Child>,
}

impl Patroni {
    /// Starts them and waits until the standby is synchronous; `None` if something is not installed.
    ///
    /// # Errors
    ///
    /// Says what does not start.
    ///
    /// # Panics
    ///
    /// If `WASMILL_TEST_REQUIRE=all` asks for it and it is not installed.
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("wasmill-patroni").tempdir()?;
        let [etcd, of_etcd, a, of_a, b, of_b] = free_ports()?;
        let path = folder.path();
        for (name, port, rest_port) in [("a", a, of_a), ("b", b, of_b)] {
            std::fs::write(
                path.join(format!("{name}.yml")),
                config(path, &programs, name, (port, rest_port, etcd)),
            )?;
        }
        shell(path, "[ \"$(id -u)\" != 0 ] || chown -R nobody .")?;
        let url = format!("http://127.0.0.1:{etcd}");
        let of_peers = format!("http://127.0.0.1:{of_etcd}");
        let etcd = spawn(
            path,
            "etcd",
            &format!(
                "etcd --name etcd --data-dir etcd --enable-v2=true --unsafe-no-fsync --listen-client-urls {url} \
                 --advertise-client-urls {url} --listen-peer-urls {of_peers} --initial-advertise-peer-urls {of_peers} \
                 --initial-cluster etcd={of_peers}"
            ),
        )?;
        let node = |name, port, rest_port| Node { name, port, rest_port, process: None };
        let nodes = [node("a", a, of_a), node("b", b, of_b)];
        let mut patroni = Self { folder, programs, nodes, etcd };
        // It ends with this process, however that ends.
        shell(
            patroni.folder(),
            &format!(
                "(while kill -0 {pid} 2> /dev/null; do sleep 1; done; {STOP}; rm -rf $PWD) > /dev/null 2>&1 &",
                pid = std::process::id()
            ),
        )?;
        for node in 0..patroni.nodes.len() {
            patroni.start_node(node)?;
        }
        patroni.wait_for_standby()?;
        Ok(Some(patroni))
    }

    /// Returns the URL of a database, with both servers.
    pub fn url(&self, database: &str) -> String {
        let [a, b] = self.nodes.each_ref().map(|node| node.port);
        format!("postgres://wasmill@127.0.0.1:{a},127.0.0.1:{b}/{database}")
    }

    /// Runs SQL in a database of the primary; returns rows as lines, and columns between bars.
    ///
    /// # Errors
    ///
    /// Fails if the SQL does, or there is no primary.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let url = format!("{}?target_session_attrs=read-write&connect_timeout=2", self.url(database));
        let psql = self.programs.join("psql");
        let args = ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql];
        let output = Command::new(psql).args(args).output()?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes the standby the primary, in good order.
    ///
    /// # Errors
    ///
    /// Fails if Patroni does not do it.
    pub fn switch_over(&self) -> Result<()> {
        self.control("switchover wasmill --force")
    }

    /// Restarts the primary, in good order.
    ///
    /// # Errors
    ///
    /// Fails if Patroni does not do it.
    pub fn restart_primary(&self) -> Result<()> {
        let primary = self.primary().context("there is no primary")?;
        self.control(&format!("restart wasmill {} --force", self.nodes[primary].name))
    }

    /// Kills the primary alone; Patroni starts it again.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn kill_primary(&self) -> Result<()> {
        let primary = self.primary().context("there is no primary")?;
        shell(self.folder(), &format!("kill -9 $(head -1 {}/postmaster.pid)", self.nodes[primary].name))
    }

    /// Kills the primary with all that would start it again, as if its machine were gone. Returns its number.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn lose_primary(&mut self) -> Result<usize> {
        let primary = self.primary().context("there is no primary")?;
        let node = &mut self.nodes[primary];
        if let Some(mut process) = node.process.take() {
            process.kill()?;
            process.wait()?;
        }
        let name = node.name;
        shell(self.folder(), &format!("kill -9 $(head -1 {name}/postmaster.pid)"))?;
        Ok(primary)
    }

    /// Starts what [`Patroni::lose_primary`] killed.
    ///
    /// # Errors
    ///
    /// Fails if it does not start.
    pub fn start_node(&mut self, node: usize) -> Result<()> {
        let name = self.nodes[node].name;
        let process = spawn(self.folder.path(), name, &format!("patroni {name}.yml"))?;
        self.nodes[node].process = Some(process);
        Ok(())
    }

    /// Waits until there is a primary that accepts writes.
    ///
    /// # Errors
    ///
    /// Shows what Patroni says if there is none in time.
    pub fn wait_for_primary(&self) -> Result<()> {
        self.wait_for("a primary", |patroni| {
            patroni.query("postgres", "CREATE TEMPORARY TABLE written (id int)").is_ok()
        })
    }

    /// Waits until there are a primary and a synchronous standby.
    ///
    /// # Errors
    ///
    /// Shows what Patroni says if there are none in time.
    pub fn wait_for_standby(&self) -> Result<()> {
        self.wait_for("a synchronous standby", |patroni| {
            patroni.primary().is_some() && patroni.nodes.iter().any(|node| node.answers("/sync"))
        })
    }

    /// Returns which is the primary.
    pub fn primary(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.answers("/primary"))
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            if Instant::now() > deadline {
                bail!("there is no {what}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The end of what each part has logged.
    fn log(&self) -> String {
        let last = |name: &str| {
            let log = std::fs::read_to_string(self.folder().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        ["etcd", "a", "b"].map(last).concat()
    }

    fn control(&self, command: &str) -> Result<()> {
        let script = format!("HOME=$PWD timeout 60 patronictl -c a.yml {command} > control.log 2>&1");
        shell(self.folder(), &script)
            .with_context(|| std::fs::read_to_string(self.folder().join("control.log")).unwrap_or_default())
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        // Each of them may have ended.
        let _ = shell(self.folder.path(), STOP);
        let of_nodes = self.nodes.iter_mut().filter_map(|node| node.process.as_mut());
        for process in of_nodes.chain([&mut self.etcd]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Node {
    /// Returns true if Patroni says yes.
    fn answers(&self, path: &str) -> bool {
        let asked = || -> std::io::Result<bool> {
            let address = ([127, 0, 0, 1], self.rest_port).into();
            let mut server = TcpStream::connect_timeout(&address, PATIENCE)?;
            server.set_read_timeout(Some(PATIENCE))?;
            write!(server, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = [0; 12];
            server.read_exact(&mut answer)?;
            Ok(answer.ends_with(b" 200"))
        };
        self.process.is_some() && asked().unwrap_or(false)
    }
}

/// Returns the folder of PostgreSQL's programs if everything is installed.
fn programs() -> Option<PathBuf> {
    let programs = crate::postgres::programs()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !PROGRAMS.iter().all(is_there) {
        skip("Patroni or etcd is not installed: apt-get install patroni etcd-server");
        return None;
    }
    Some(programs)
}

fn config(folder: &Path, programs: &Path, name: &str, (port, rest, etcd): (u16, u16, u16)) -> String {
    let (folder, programs) = (folder.display(), programs.display());
    format!(
        "scope: wasmill
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{max_connections: 100, wal_keep_size: 256MB, wal_log_hints: 'on'}}
  initdb: [{{auth-host: trust}}, {{auth-local: trust}}, {{encoding: UTF8}}, no-sync]
  pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust', 'local all all trust']
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: {folder}/{name}
  bin_dir: {programs}
  pgpass: {folder}/{name}.pass
  authentication: {{superuser: {{username: wasmill}}, replication: {{username: wasmill}}, rewind: {{username: wasmill}}}}
  parameters: {{unix_socket_directories: '{folder}'}}
"
    )
}

/// Starts a program in the folder, with its output in a file, and its process in another one.
fn spawn(folder: &Path, name: &str, command: &str) -> Result<Child> {
    Command::new("sh")
        .args(["-c", &format!("echo $$ > {name}.pid; export HOME=$PWD; {RUN} {command} >> {name}.log 2>&1")])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {name}"))
}

fn shell(folder: &Path, script: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", script]).current_dir(folder).status()?;
    ensure!(status.success(), "failed: {script}");
    Ok(())
}

/// Finds ports that nobody uses right now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // Held until all are found, so that they differ.
    let listeners = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
