//! Requests over real connections to a server with small routes.

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::body::Body;
use axum::routing::{get, post};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use wasmill_access::Keys;
use wasmill_model::SystemClock;

use super::*;

/// Deadline for anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Timeouts that are short, and differ enough to tell them apart.
fn config() -> ServerConfig {
    ServerConfig {
        head_timeout: Duration::from_millis(300),
        idle_timeout: DEADLINE,
        write_timeout: Duration::from_secs(2),
        ..ServerConfig::default()
    }
}

/// Starts a server with one route per case. The receiver reports when the `/never` handler is dropped.
async fn serve(config: ServerConfig) -> (Server, SocketAddr, Arc<Mutex<Option<oneshot::Receiver<()>>>>) {
    let (held, dropped) = oneshot::channel::<()>();
    let (held, dropped) = (Arc::new(Mutex::new(Some(held))), Arc::new(Mutex::new(Some(dropped))));
    let never = move || {
        let held = held.lock().unwrap().take();
        async move {
            let _held = held;
            std::future::pending::<()>().await;
        }
    };
    let router = Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/large", get(|| async { vec![b'x'; 32 << 20] }))
        .route("/frames", post(async |body: Body| body.into_data_stream().count().await.to_string()))
        .route("/never", get(never));
    let listener = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let open = Access::new(Keys::default(), false, Arc::new(SystemClock));
    let (server, run) =
        Server::new(listener, router, AccessPolicy::default(), open, BodyBudget::new(Arc::default()), config);
    let Listen::Tcp(address) = *server.listen() else { panic!("it listens on an address") };
    tokio::spawn(run);
    (server, address, dropped)
}

async fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

/// Reads until the server closes its side.
async fn read(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset counts as closed.
    let _ = tokio::time::timeout(DEADLINE, client.read_to_end(&mut bytes))
        .await
        .expect("the server closes the connection");
    String::from_utf8(bytes).unwrap()
}

const WHOLE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn an_incomplete_request_head_times_out() {
    let (_server, address, _) = serve(config()).await;
    for part in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        assert_eq!(read(&mut connect(address, part).await).await, "", "{part:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout() {
    let (_server, address, _) = serve(config()).await;
    let mut client = connect(address, WHOLE).await;
    for _ in 0..3 {
        let mut answer = [0; 1_024];
        let count = client.read(&mut answer).await.unwrap();
        assert!(answer[..count].ends_with(b"ok"));
        tokio::time::sleep(config().head_timeout * 3 / 2).await;
        client.write_all(WHOLE.as_bytes()).await.unwrap();
    }
    let config = ServerConfig { idle_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    let (_server, address, _) = serve(config).await;
    assert!(read(&mut connect(address, WHOLE).await).await.ends_with("ok"), "the idle connection is closed");
}

#[tokio::test]
async fn a_large_body_arrives_in_large_pieces() {
    let (_server, address, _) = serve(ServerConfig::default()).await;
    let head =
        "POST /frames HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4194304\r\n\r\n";
    let mut client = connect(address, head).await;
    client.write_all(&vec![b' '; 4 << 20]).await.unwrap();
    let answer = read(&mut client).await;
    let frames: u32 = answer.rsplit("\r\n").next().unwrap().parse().unwrap();
    assert!(frames < 2_048, "{frames} pieces of 4 MiB");
}

#[tokio::test]
async fn the_write_timeout_closes_only_clients_that_do_not_read() {
    let (_server, address, _) = serve(config()).await;
    let request = "GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (mut stalled, mut slow) = (connect(address, request).await, connect(address, request).await);
    let mut seen = 0;
    let mut piece = vec![0; 1 << 20];
    // Takes longer than the limit in total, but never between two reads.
    for _ in 0..8 {
        seen += slow.read(&mut piece).await.unwrap();
        tokio::time::sleep(config().write_timeout / 6).await;
    }
    let rest = read(&mut slow).await.len();
    assert!(seen + rest > 32 << 20, "{seen} and {rest} bytes");
    tokio::time::sleep(config().write_timeout).await;
    assert!(read(&mut stalled).await.len() < 32 << 20);
}

#[tokio::test]
async fn a_half_closed_client_gets_its_response_and_its_handler_is_dropped_soon() {
    let (_server, address, dropped) = serve(config()).await;
    let mut client = connect(address, WHOLE).await;
    client.shutdown().await.unwrap();
    assert!(read(&mut client).await.ends_with("ok"));
    let dropped = dropped.lock().unwrap().take().unwrap();
    drop(connect(address, "GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
    assert!(tokio::time::timeout(DEADLINE, dropped).await.expect("the handler is dropped").is_err());
}

#[tokio::test]
async fn a_stopped_server_closes_its_connections() {
    let (server, address, _) = serve(ServerConfig::default()).await;
    let mut idle = connect(address, WHOLE).await;
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}
