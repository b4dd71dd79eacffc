//! People who sign in at an issuer of OpenID Connect, and what does not sign them in.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Issuer, Server, wasmill};

use super::sessions::{SAME_ORIGIN, until};

const PEOPLE: &str = "[[person]]
user = \"ada\"
scopes = [\"read\", \"submit\"]

[[person]]
member_of = \"ops\"
scopes = [\"admin\"]
";

/// Starts a server whose people sign in at this issuer.
fn serve(issuer: &Issuer, args: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("people.toml"), PEOPLE).expect("written");
    std::fs::write(folder.path().join("client.secret"), "s3cret of the client\n").expect("written");
    let settings = [
        "--keys-file",
        "people.toml",
        "--openid-issuer",
        &issuer.url(),
        "--openid-client-id",
        "wasmill",
        "--openid-client-secret-file",
        "client.secret",
        "--openid-public-url",
        "https://tasks.example.org/w/",
        "--openid-groups",
        "roles",
        "--openid-algorithms",
        "RS256,ES256",
        "--openid-name",
        "Example & Co",
    ];
    Server::start_in(folder, &[&settings, args].concat()).expect("it starts")
}

/// A browser that is away to sign in.
struct Away {
    client: Client,
    cookie: String,
    /// The parameters that the issuer got.
    asked: Vec<(String, String)>,
}

/// Returns the pairs of the cookies that a response sets, and all they say.
fn cookies(answer: &Answer) -> Vec<(String, String)> {
    let set = answer.headers.get_all("set-cookie").iter().map(|set| set.to_str().expect("text"));
    set.map(|set| (set.split(';').next().expect("a pair").to_owned(), set.to_owned())).collect()
}

impl Away {
    async fn begin(server: &Server, issuer: &Issuer, next: &str) -> Self {
        let client = server.client().undocumented();
        let away = client.get(&format!("/ui/login/openid{next}")).await;
        assert_eq!(away.status, StatusCode::SEE_OTHER, "{}", away.text);
        let location = away.headers["location"].to_str().expect("text");
        let query = location.strip_prefix(&format!("{}/authorize?", issuer.url())).expect("the issuer");
        let asked: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let [(cookie, set)] = &cookies(&away)[..] else { panic!("one cookie: {:?}", away.headers) };
        assert!(set.contains("; Max-Age=600; HttpOnly; SameSite=Lax"), "{set}");
        let away = Self { client, cookie: cookie.clone(), asked };
        let nonce = away.parameter("nonce").to_owned();
        issuer.change(|issuer| issuer.claims = json!({ "nonce": nonce }));
        away
    }

    fn parameter(&self, name: &str) -> &str {
        self.asked.iter().find(|(asked, _)| asked == name).map(|(_, value)| value).expect("a parameter")
    }

    /// Comes back with this query.
    async fn back(&self, query: &str) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), ("sec-fetch-site", "cross-site")];
        let path = format!("/ui/login/callback?{query}");
        self.client.send_with(Method::GET, &path, &headers, None).await.expect("an answer")
    }

    /// Comes back as the issuer sends it.
    async fn signed_in(&self) -> Answer {
        self.back(&format!("code=c0de&state={}&session_state=x&scope=openid", self.parameter("state"))).await
    }

    /// Comes back, and returns the session.
    async fn session(&self) -> String {
        let answer = self.signed_in().await;
        assert_eq!(answer.status, StatusCode::OK, "{:?} {}", answer.headers, answer.text);
        let cookies = cookies(&answer);
        let session = cookies.iter().find(|(pair, _)| pair.starts_with("wasmill=p1~"));
        let (session, set) = session.unwrap_or_else(|| panic!("{cookies:?}"));
        assert!(set.contains("; HttpOnly; SameSite=Strict"), "{set}");
        session.clone()
    }
}

/// Returns the code of the error with which a browser is sent to the form; no session is set, and the attempt is over.
fn refused(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let cookies = cookies(answer);
    assert!(
        cookies.iter().all(|(pair, set)| pair == "wasmill-sign-in=" && set.contains("Max-Age=0")),
        "{cookies:?}"
    );
    let location = answer.headers["location"].to_str().expect("text");
    location.strip_prefix("../login?error=").unwrap_or_else(|| panic!("{location}")).to_owned()
}

#[tokio::test]
async fn a_page_that_needs_somebody_says_where_to_sign_in() {
    let issuer = Issuer::new();
    let server = serve(&issuer, &[]);
    let form = server.client().undocumented().get("/ui/login").await;
    assert!(form.text.contains("Sign in with Example &amp; Co") && form.text.contains("ui/login/openid"));
    // A page that needs somebody says where to sign in.
    let page = server.client().undocumented();
    let page =
        page.send_with(Method::GET, "/ui/tasks", &[("accept", "text/html")], None).await.expect("an answer");
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("href=\"../ui/login/openid\""), "{}", page.text);
}

#[tokio::test]
async fn a_person_signs_in_at_an_issuer_and_acts_as_the_entry_says() {
    let issuer = Issuer::new();
    let mut server = serve(&issuer, &[]);
    let away = Away::begin(&server, &issuer, "?next=/ui/tasks").await;
    assert_eq!(away.parameter("redirect_uri"), "https://tasks.example.org/w/ui/login/callback");
    assert_eq!((away.parameter("scope"), away.parameter("code_challenge_method")), ("openid", "S256"));
    let answer = away.signed_in().await;
    // No redirect: browsers would leave out the cookie that is set here.
    assert_eq!(
        (answer.status, &answer.headers["refresh"]),
        (StatusCode::OK, &"0; url=/ui/tasks".parse().unwrap())
    );
    assert!(answer.text.contains("href=\"/ui/tasks\""), "{}", answer.text);
    let cookie =
        cookies(&answer).into_iter().find(|(pair, _)| pair.starts_with("wasmill=")).expect("a session").0;
    let [exchange] = &issuer.requests("/token")[..] else { panic!("one exchange") };
    assert!(exchange.header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    assert!(
        exchange.body.contains("code=c0de") && exchange.body.contains("code_verifier="),
        "{}",
        exchange.body
    );
    assert!(!exchange.body.contains("s3cret") && !away.cookie.contains(away.parameter("state")));
    // What the entry allows, in the name of the person, and no more.
    let client = server.client();
    let session = ("cookie", cookie.as_str());
    let own = client.send_with(Method::GET, "/key", &[session], None).await.expect("an answer");
    assert_eq!((own.str("id"), &own.json["scopes"]), ("ada", &json!(["read", "submit"])), "{}", own.text);
    let task = || Some(("application/json", json!({"plugin": "noop"}).to_string().into_bytes()));
    let created =
        client.send_with(Method::POST, "/task", &[session, SAME_ORIGIN], task()).await.expect("an answer");
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let created =
        client.send_with(Method::GET, &format!("/task/{}", created.str("id")), &[session], None).await;
    assert_eq!(created.expect("an answer").str("submitted_by"), "ada");
    let drain =
        client.send_with(Method::POST, "/drain", &[session, SAME_ORIGIN], None).await.expect("an answer");
    assert_eq!(drain.str("code"), "not-permitted");
    for headers in [&[session][..], &[session, ("sec-fetch-site", "cross-site")]] {
        let refused = client.send_with(Method::POST, "/task", headers, task()).await.expect("an answer");
        assert_eq!(refused.str("code"), "cross-origin");
    }
    let page =
        client.undocumented().send_with(Method::GET, "/ui/tasks", &[session], None).await.expect("an answer");
    assert!(page.status == StatusCode::OK && page.text.contains("ada"), "{}", page.text);
    // What the issuer and the server share is in no log, and the audit says who has signed in.
    assert!(server.terminate().success(), "{}", server.log());
    let log = server.log();
    assert!(
        log.contains("people sign in with OpenID Connect")
            && !log.contains("s3cret")
            && !log.contains("c0de"),
        "{log}"
    );
    let audit = wasmill(server.folder(), &["audit", "--json", "--who", "ada"]).out;
    let first: Value = serde_json::from_str(audit.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["did"], &first["path"]),
        (&json!("signInElsewhere"), &json!("/ui/login/callback")),
        "{audit}"
    );
}

#[tokio::test]
async fn a_session_of_a_person_ends_with_the_entry_and_with_the_issuer() {
    let issuer = Issuer::new();
    let server = serve(&issuer, &[]);
    let client = server.client();
    let ada = Away::begin(&server, &issuer, "").await.session().await;
    let away = Away::begin(&server, &issuer, "").await;
    issuer.change(|issuer| {
        (issuer.claims["sub"], issuer.claims["roles"]) = (json!("eve"), json!(["dev", "ops"]));
    });
    let eve = away.session().await;
    let hosts = |session: String| {
        let client = client.clone();
        async move {
            client.send_with(Method::GET, "/hosts", &[("cookie", &session)], None).await.expect("an answer")
        }
    };
    assert_eq!(hosts(eve.clone()).await.status, StatusCode::OK, "as a member of ops");
    for changed in [format!("{ada}x"), ada.replacen("p1~", "v1~", 1), ada.replacen("p1~", "a1~", 1)] {
        assert_eq!(hosts(changed).await.str("code"), "session-ended");
    }
    // An attempt is no session.
    let attempt = Away::begin(&server, &issuer, "").await.cookie.replace("wasmill-sign-in=", "wasmill=");
    assert_eq!(hosts(attempt).await.str("code"), "session-ended");
    std::fs::write(server.folder().join("people.toml"), PEOPLE.replace("\"ada\"", "\"other\""))
        .expect("written");
    until(&client, &[("cookie", &ada)], StatusCode::UNAUTHORIZED).await;
    until(&client, &[("cookie", &eve)], StatusCode::OK).await;
    // A restart signs nobody out, and another secret signs out all.
    let server = server.stop_and_restart();
    until(&server.client(), &[("cookie", &eve)], StatusCode::OK).await;
    std::fs::remove_file(server.folder().join("data/session.key")).expect("removed");
    until(&server.client(), &[("cookie", &eve)], StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn nobody_signs_in_by_what_the_issuer_has_not_said_to_this_browser() {
    let issuer = Issuer::new();
    let server = serve(&issuer, &[]);
    let away = Away::begin(&server, &issuer, "").await;
    let state = away.parameter("state").to_owned();
    // What is no answer to this attempt does not even reach the issuer.
    for query in ["", "code=c0de", "code=c0de&state=other", &format!("code=a&code=b&state={state}")] {
        assert_eq!(refused(&away.back(query).await), "sign-in-failed", "{query}");
    }
    let foreign = Away {
        cookie: "wasmill-sign-in=a1~x~1~~y".to_owned(),
        client: away.client.clone(),
        asked: away.asked.clone(),
    };
    assert_eq!(refused(&foreign.signed_in().await), "sign-in-failed");
    assert!(issuer.requests("/token").is_empty());
    assert_eq!(refused(&away.back(&format!("error=access_denied&state={state}")).await), "sign-in-failed");
    assert_eq!(refused(&away.back(&format!("code=made-up&state={state}")).await), "sign-in-failed");
    assert_eq!(issuer.requests("/token").len(), 1);
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    for claims in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "other"}),
        json!({"aud": ["wasmill", "other"]}),
        json!({"nonce": "other"}),
        json!({"nonce": null}),
        json!({"exp": now - 120}),
        json!({"iat": now + 600}),
        json!({"sub": null}),
    ] {
        // A wrong answer counts as a wrong key, of which an address has twenty.
        let away = Away::begin(&server, &issuer, "").await;
        issuer.change(|issuer| {
            for (name, value) in claims.as_object().expect("claims") {
                issuer.claims[name] = value.clone();
            }
        });
        assert_eq!(refused(&away.signed_in().await), "sign-in-failed", "{claims}");
    }
    // Nobody in the list, look-alikes included, and nobody without the group.
    for sub in ["eve", "ADA", "ada ", "ada@example.com.evil.com", "a,da", "ada\u{0}", "аda"] {
        let away = Away::begin(&server, &issuer, "").await;
        issuer.change(|issuer| {
            (issuer.claims["sub"], issuer.claims["roles"]) = (json!(sub), json!(["OPS", "op", "ops "]));
        });
        assert_eq!(refused(&away.signed_in().await), "unknown-person", "{sub}");
    }
    // What was refused has cost nobody else the way in.
    Away::begin(&server, &issuer, "").await.session().await;
}

#[tokio::test]
async fn a_token_of_no_key_counts_for_nothing_and_wrong_answers_are_throttled() {
    let issuer = Issuer::new();
    let server = serve(&issuer, &[]);
    Away::begin(&server, &issuer, "").await.session().await;
    for header in [
        json!({"alg": "none", "kid": "one"}),
        json!({"alg": "HS256", "kid": "one"}),
        json!({"alg": "RS256", "kid": "one"}),
        json!({"alg": "ES256", "kid": "two"}),
    ] {
        let away = Away::begin(&server, &issuer, "").await;
        issuer.change(|issuer| issuer.header = header.clone());
        assert_eq!(refused(&away.signed_in().await), "sign-in-failed", "{header}");
    }
    // Another key under the name of the first one.
    issuer.change(|issuer| issuer.rotate("one"));
    let away = Away::begin(&server, &issuer, "").await;
    assert_eq!(refused(&away.signed_in().await), "sign-in-failed");
    assert_eq!(issuer.requests("/keys").len(), 1, "not for each token");
    let mut last = String::new();
    for _ in 0..20 {
        last = refused(&away.back(&format!("code=made-up&state={}", away.parameter("state"))).await);
    }
    assert_eq!(last, "too-many-wrong-keys");
    assert!(issuer.requests("/token").len() < 25, "the issuer is not asked any more");
}

#[tokio::test]
async fn an_issuer_that_is_down_keeps_nobody_from_signing_in_with_a_key() {
    let issuer = Issuer::new();
    issuer.change(|issuer| issuer.is_down = true);
    let server = serve(&issuer, &[]);
    let client = server.client().undocumented();
    let key = server.create_key("ops", &["--scope", "admin"]);
    let away = client.get("/ui/login/openid").await;
    assert_eq!(
        (away.status, &away.headers["location"]),
        (StatusCode::SEE_OTHER, &"../login?error=issuer-unavailable".parse().unwrap())
    );
    let shown = client.get("/ui/login?error=issuer-unavailable").await;
    assert!(shown.text.contains("does not answer"), "{}", shown.text);
    let form = Some(("application/x-www-form-urlencoded", format!("key={key}").into_bytes()));
    let signed_in =
        client.send_with(Method::POST, "/ui/login", &[SAME_ORIGIN], form).await.expect("an answer");
    assert!(signed_in.headers.contains_key("set-cookie"), "{}", signed_in.text);
    issuer.change(|issuer| issuer.is_down = false);
    // It was left alone for a moment.
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.get("/ui/login/openid").await.headers["location"].as_bytes().starts_with(b"../") {
        assert!(Instant::now() < deadline, "it is up again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Down between the two steps.
    let away = Away::begin(&server, &issuer, "").await;
    issuer.change(|issuer| issuer.is_down = true);
    assert_eq!(refused(&away.signed_in().await), "issuer-unavailable");
}

#[tokio::test]
async fn settings_of_openid_that_do_not_fit_refuse_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("people.toml"), PEOPLE).expect("written");
    let all = [
        "--openid-issuer",
        "https://id.example.org",
        "--openid-client-id",
        "a",
        "--openid-public-url",
        "https://b.example.org",
    ];
    let without = |flag: &str| {
        let at = all.iter().position(|given| *given == flag).expect("a flag");
        [&all[..at], &all[at + 2..]].concat()
    };
    for (args, why) in [
        (without("--openid-issuer"), "needs --openid-issuer"),
        (without("--openid-client-id"), "needs --openid-client-id"),
        (without("--openid-public-url"), "needs --openid-public-url"),
        ([&all[..], &["--auth", "none"]].concat(), "exclude each other"),
        (
            [&all[..], &["--openid-client-secret-file", "missing", "--keys-file", "people.toml"]].concat(),
            "missing",
        ),
        (vec!["--openid-issuer", "http://id.example.org"], "https://"),
        ([&all[..], &["--openid-algorithms", "none"]].concat(), "none"),
        ([&all[..], &["--openid-algorithms", "HS256"]].concat(), "HS256"),
        (all.to_vec(), "no key and no [[person]]"),
    ] {
        let refused = wasmill(folder.path(), &[&["serve", "--listen", "127.0.0.1:0"], &args[..]].concat());
        assert!(
            refused.code == 2 || (why == "missing" && refused.code == 5),
            "{args:?}: {} {}",
            refused.code,
            refused.err
        );
        assert!(refused.err.contains(why), "{args:?}: {}", refused.err);
    }
    let server = Server::start(&[]);
    let client = server.client().undocumented();
    for path in ["/ui/login/openid", "/ui/login/callback?code=a&state=b"] {
        let answer = client.get(path).await;
        assert!(
            answer.status == StatusCode::NOT_FOUND || answer.status == StatusCode::SEE_OTHER,
            "{path}: {}",
            answer.text
        );
        assert!(!answer.headers.contains_key("set-cookie") || path.contains("callback"));
    }
}
