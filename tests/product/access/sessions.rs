//! Browsers sign in with a key, and get a session.

use std::fs;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Client, PostgresServer, Server, sleep, wasmill};

const FORM: &str = "application/x-www-form-urlencoded";
/// What a browser sends with a form of the same site.
pub(super) const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Waits until a request with these headers has this status.
pub(super) async fn until(client: &Client, headers: &[(&str, &str)], status: StatusCode) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = client.send_with(Method::GET, "/stats", headers, None).await.expect("an answer");
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "{status}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn sign_in(client: &Client, form: &str, headers: &[(&str, &str)]) -> Answer {
    let body = Some((FORM, form.as_bytes().to_vec()));
    client.send_with(Method::POST, "/ui/login", headers, body).await.expect("an answer")
}

/// Returns the session that a response sets, as a browser sends it.
fn cookie(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().expect("text");
    set.split(';').next().expect("a pair").to_owned()
}

/// Starts a server with a key of this scope, and signs in.
async fn signed_in(scope: &str) -> (Server, Client, String, String) {
    let server = Server::start(&[]);
    let (client, key) = (server.client(), server.create_key("ada", &["--scope", scope]));
    until(&client, &[], StatusCode::UNAUTHORIZED).await;
    let answer = sign_in(&client, &format!("key={key}&next=/ui/tasks"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.headers["location"], "/ui/tasks");
    let set = answer.headers["set-cookie"].to_str().expect("text");
    assert!(set.contains("; HttpOnly; SameSite=Strict") && !set.contains(&key[12..]), "{set}");
    let cookie = cookie(&answer);
    (server, client, key, cookie)
}

#[tokio::test]
async fn a_session_counts_where_its_key_does() {
    let (_server, client, key, cookie) = signed_in("submit").await;
    let session = ("cookie", cookie.as_str());
    let task = || Some(("application/json", sleep(1).to_string().into_bytes()));
    let created =
        client.send_with(Method::POST, "/task", &[session, SAME_ORIGIN], task()).await.expect("an answer");
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let path = format!("/task/{}", created.str("id"));
    let own = client.send_with(Method::GET, &path, &[session], None).await.expect("an answer");
    assert_eq!((own.status, own.str("submitted_by")), (StatusCode::OK, &key[4..12]), "{}", own.text);
    let stats = client.send_with(Method::GET, "/stats", &[session], None).await.expect("an answer");
    assert_eq!((stats.status, stats.str("code")), (StatusCode::FORBIDDEN, "not-permitted"));
    // Pages of others, and whatever does not say where it comes from, change nothing.
    for headers in [
        &[session][..],
        &[session, ("sec-fetch-site", "cross-site")],
        &[session, ("origin", "http://evil.example")],
    ] {
        let refused = client.send_with(Method::POST, "/task", headers, task()).await.expect("an answer");
        assert_eq!(
            (refused.status, refused.str("code")),
            (StatusCode::FORBIDDEN, "cross-origin"),
            "{headers:?}"
        );
    }
    for odd in ["wasmill=", "wasmill=v1~a~b~1~2~c", &format!("{cookie}x"), &cookie.replace("v1~", "v2~")] {
        let refused =
            client.send_with(Method::GET, &path, &[("cookie", odd)], None).await.expect("an answer");
        assert_eq!(
            (refused.status, refused.str("code")),
            (StatusCode::UNAUTHORIZED, "session-ended"),
            "{odd}"
        );
    }
    // A key in the header comes first, and a cookie of others is none.
    let bearer = ("authorization", &*format!("Bearer {key}"));
    let both = client.send_with(Method::POST, "/task", &[bearer, ("cookie", "wasmill=x")], task()).await;
    assert_eq!(both.expect("an answer").status, StatusCode::CREATED);
    let other =
        client.send_with(Method::GET, &path, &[("cookie", "theme=dark")], None).await.expect("an answer");
    assert_eq!(other.str("code"), "key-missing");
}

#[tokio::test]
async fn a_page_acts_for_who_has_signed_in() {
    let (mut server, client, key, cookie) = signed_in("admin").await;
    let client = client.undocumented();
    let press = async |more: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], more].concat();
        let form = Some((FORM, b"action=pause".to_vec()));
        client.send_with(Method::POST, "/ui/do", &headers, form).await.expect("an answer").status
    };
    assert_eq!(press(&[]).await, StatusCode::FORBIDDEN);
    assert_eq!(press(&[("sec-fetch-site", "cross-site")]).await, StatusCode::FORBIDDEN);
    let bearer = [("authorization", &*format!("Bearer {key}"))];
    let is_paused = async || {
        let stats = client.send_with(Method::GET, "/stats", &bearer, None).await.expect("an answer");
        stats.json["paused"] == true
    };
    assert!(!is_paused().await);
    assert_eq!(press(&[("sec-fetch-site", "same-origin")]).await, StatusCode::SEE_OTHER);
    assert!(is_paused().await);
    assert!(server.terminate().success(), "{}", server.log());
    let audit = wasmill(server.folder(), &["audit", "--who", "ada"]).out;
    assert!(audit.contains("signIn"), "{audit}");
    // The operation that the form calls, and not the form.
    assert_eq!((audit.matches("/pause").count(), audit.matches("/ui/do").count()), (1, 0), "{audit}");
}

#[tokio::test]
async fn a_session_ends_with_its_key_and_with_the_secret_that_signed_it() {
    let (server, client, _key, cookie) = signed_in("read").await;
    let session = [("cookie", cookie.as_str())];
    until(&client, &session, StatusCode::OK).await;
    // The secret of the data folder is in force, and a restart signs nobody out.
    let secret = server.folder().join("data/session.key");
    assert!(secret.is_file(), "{secret:?}");
    let key = server.create_key("eve", &["--scope", "read"]);
    until(&client.clone().with_key(&key), &[], StatusCode::OK).await;
    let again = self::cookie(&sign_in(&client, &format!("key={key}"), &[]).await);
    let server = server.stop_and_restart();
    let client = server.client();
    until(&client, &[("cookie", &again)], StatusCode::OK).await;
    assert_eq!(wasmill(server.folder(), &["key", "revoke", "eve"]).code, 0);
    until(&client, &[("cookie", &again)], StatusCode::UNAUTHORIZED).await;

    let key = server.create_key("mallory", &["--scope", "read"]);
    until(&client.clone().with_key(&key), &[], StatusCode::OK).await;
    let last = self::cookie(&sign_in(&client, &format!("key={key}"), &[]).await);
    until(&client, &[("cookie", &last)], StatusCode::OK).await;
    fs::remove_file(server.folder().join("data/session.key")).expect("removed");
    until(&client, &[("cookie", &last)], StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_wrong_key_signs_nobody_in_and_is_throttled() {
    let (_server, client, _key, _cookie) = signed_in("read").await;
    let html = [("accept", "text/html,*/*"), SAME_ORIGIN];
    let refused = sign_in(&client, "key=wmk_nothing", &html).await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER, "{}", refused.text);
    assert_eq!(refused.headers["location"], "login?error=key-unknown");
    assert!(refused.headers.get("set-cookie").is_none());
    let missing = sign_in(&client, "key=", &[]).await;
    assert_eq!((missing.status, missing.str("code")), (StatusCode::UNAUTHORIZED, "key-missing"));
    assert_eq!(sign_in(&client, "key=a&password=b", &[]).await.str("code"), "invalid-request");
    assert_eq!(sign_in(&client, "key=a&key=b", &[]).await.str("code"), "invalid-request");
    let json = ("application/json", json!({"key": "a"}).to_string().into_bytes());
    let typed = client.send(Method::POST, "/ui/login", Some(json)).await.expect("an answer");
    assert_eq!(typed.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let foreign = sign_in(&client, "key=a", &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(foreign.str("code"), "cross-origin");
    for _ in 0..20 {
        sign_in(&client, "key=wmk_nothing", &[]).await;
    }
    let throttled = sign_in(&client, "key=wmk_nothing", &[]).await;
    assert_eq!(
        (throttled.status, throttled.str("code")),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-wrong-keys")
    );
}

#[tokio::test]
async fn signing_out_removes_the_cookie_and_nobody_is_sent_elsewhere() {
    let (_server, client, key, _cookie) = signed_in("read").await;
    let out = client.send_with(Method::POST, "/ui/logout", &[SAME_ORIGIN], None).await.expect("an answer");
    assert_eq!(out.status, StatusCode::SEE_OTHER, "{}", out.text);
    assert_eq!(out.headers["location"], "login");
    assert!(
        out.headers["set-cookie"].to_str().is_ok_and(|set| set.contains("Max-Age=0")),
        "{:?}",
        out.headers
    );
    for next in ["https://evil.example", "//evil.example", "/%5Cevil.example"] {
        let answer = sign_in(&client, &format!("key={key}&next={next}"), &[]).await;
        assert_eq!(answer.headers["location"], "./", "{next}");
    }
}

#[tokio::test]
async fn an_open_server_asks_nobody_to_sign_in() {
    let server = Server::start(&[]);
    let answer = sign_in(&server.client(), "key=", &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.headers["location"], "./");
    assert!(answer.headers.get("set-cookie").is_none() && !server.folder().join("data/session.key").exists());
}

/// Waits until a session has this status at a server.
async fn until_session(client: &Client, cookie: &str, status: StatusCode) {
    until(client, &[("cookie", cookie)], status).await;
}

#[tokio::test]
async fn a_session_of_one_host_counts_at_all_and_ends_at_all() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("sessions");
    let servers: [Server; 2] =
        std::array::from_fn(|_| Server::start(&["--database", &url, "--database-migrate"]));
    let [a, b] = &servers;
    let key = a.create_key("ada", &["--scope", "admin"]);
    fs::copy(a.folder().join("data/keys.toml"), b.folder().join("data/keys.toml")).expect("copied");
    for server in &servers {
        until(&server.client(), &[], StatusCode::UNAUTHORIZED).await;
    }
    // Both have a secret, of which one counts at both.
    let signed_in_at = async |server: &Server| {
        let answer = sign_in(&server.client(), &format!("key={key}&next=/ui/tasks"), &[]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        cookie(&answer)
    };
    let secret = |server: &Server| fs::read(server.folder().join("data/session.key")).ok();
    let deadline = Instant::now() + Duration::from_secs(30);
    while secret(a).is_none() || secret(a) != secret(b) {
        assert!(Instant::now() < deadline, "they do not agree");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let session = signed_in_at(a).await;
    until_session(&b.client(), &session, StatusCode::OK).await;
    until_session(&a.client(), &signed_in_at(b).await, StatusCode::OK).await;
    // A restart takes what the others have, also without a file of its own.
    let before = secret(a);
    let [a, mut b] = servers;
    b.kill();
    fs::remove_file(b.folder().join("data/session.key")).expect("removed");
    let b = b.start_beside().expect("a server");
    until_session(&b.client(), &session, StatusCode::OK).await;
    assert_eq!(secret(&b), before);
    // Deleting the file of a host that is up ends all sessions everywhere.
    fs::remove_file(a.folder().join("data/session.key")).expect("removed");
    for server in [&a, &b] {
        until_session(&server.client(), &session, StatusCode::UNAUTHORIZED).await;
    }
    let session = signed_in_at(&a).await;
    until_session(&b.client(), &session, StatusCode::OK).await;
}
