//! A server between host and database, which cuts connections around a commit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Pass,
    /// Cuts the next connection that commits; the server never gets the commit.
    CutBeforeCommit,
    /// Cuts the next connection that commits, once the server has answered; the host never gets the answer.
    CutAfterCommit,
    /// As before, and accepts no connection then.
    CutAfterCommitAndRefuse,
    /// Cuts every connection, and accepts none.
    Refuse,
    /// Carries nothing more of the next connection that commits, as if its host were stopped.
    StopBeforeCommit,
}

const MODES: [Mode; 6] = [
    Mode::Pass,
    Mode::CutBeforeCommit,
    Mode::CutAfterCommit,
    Mode::CutAfterCommitAndRefuse,
    Mode::Refuse,
    Mode::StopBeforeCommit,
];

/// The message of the writer, which sends it alone.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// A proxy on a thread of its own.
pub(crate) struct Proxy {
    port: u16,
    mode: Arc<AtomicU8>,
    cuts: Arc<AtomicU32>,
}

impl Proxy {
    /// Starts a proxy of the server whose socket is in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join(".s.PGSQL.5432");
        let (mode, cuts) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicU32::new(0)));
        let (sender, receiver) = std::sync::mpsc::channel();
        let line = Line { mode: mode.clone(), cuts: cuts.clone() };
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("it is bound").port()).expect("the test waits");
                loop {
                    let (host, _) = listener.accept().await.expect("a connection");
                    if line.mode() != Mode::Refuse {
                        let server = UnixStream::connect(&socket).await.expect("the server is up");
                        tokio::spawn(line.clone().carry(host, server));
                    }
                }
            });
        });
        Self { port: receiver.recv().expect("the proxy started"), mode, cuts }
    }

    /// Returns the URL of a database behind it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://wasmill@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Returns how many connections were cut around a commit.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Line {
    mode: Arc<AtomicU8>,
    cuts: Arc<AtomicU32>,
}

impl Line {
    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::SeqCst))]
    }

    fn cut(&self, next: Mode) {
        self.mode.store(next as u8, Ordering::SeqCst);
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Carries bytes both ways until one side closes or the connection is cut.
    async fn carry(self, mut host: TcpStream, mut server: UnixStream) {
        let (mut from_host, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                read = host.read(&mut from_host) => {
                    let Some(bytes) = read.ok().filter(|read| *read > 0) else { return };
                    let bytes = &from_host[..bytes];
                    let mode = self.mode();
                    let is_commit = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                    if is_commit && mode == Mode::CutBeforeCommit {
                        return self.cut(Mode::Pass);
                    }
                    if is_commit && mode == Mode::StopBeforeCommit {
                        self.cut(Mode::Pass);
                        // Until the server ends it.
                        let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
                        return;
                    }
                    if server.write_all(bytes).await.is_err() {
                        return;
                    }
                    if is_commit && matches!(mode, Mode::CutAfterCommit | Mode::CutAfterCommitAndRefuse) {
                        let _ = server.read(&mut from_server).await;
                        let next = if mode == Mode::CutAfterCommit { Mode::Pass } else { Mode::Refuse };
                        return self.cut(next);
                    }
                }
                read = server.read(&mut from_server) => {
                    let Some(bytes) = read.ok().filter(|read| *read > 0) else { return };
                    if host.write_all(&from_server[..bytes]).await.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if self.mode() == Mode::Refuse {
                return;
            }
        }
    }
}
