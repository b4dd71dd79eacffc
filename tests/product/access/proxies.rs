//! People whom a proxy signs in, and those who only claim so.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, wasmill};

const PEOPLE: &str = "[[person]]
user = \"ada@example.com\"
scopes = [\"admin\"]

[[person]]
member_of = \"ops\"
scopes = [\"read\", \"submit\"]
groups = [\"t1\"]
";

const SETTINGS: [&str; 6] = [
    "--proxy-user-header",
    "X-Forwarded-User",
    "--proxy-groups-header",
    "X-Groups",
    "--keys-file",
    "people.toml",
];

/// Starts a server that trusts a proxy at this address.
fn server(proxy: &str) -> Server {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("people.toml"), PEOPLE).expect("written");
    Server::start_in(folder, &[&["--trust-proxy", proxy][..], &SETTINGS].concat()).expect("it starts")
}

/// Sends a request as a proxy does that has signed somebody in, and returns status and code.
async fn ask(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let body = (method == Method::POST).then(|| ("application/json", b"{\"plugin\": \"noop\"}".to_vec()));
    let answer = client.send_with(method, path, headers, body).await.expect("an answer");
    (answer.status.as_u16(), answer.json["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn headers_of_a_proxy_count_only_from_it() {
    let ada = ("x-forwarded-user", "ada@example.com");
    let (eve, ops) = (("x-forwarded-user", "eve"), ("x-groups", "dev,ops"));
    let from_page = ("sec-fetch-site", "same-origin");
    let trusting = server("127.0.0.1");
    let client = trusting.client();
    let ok = (200, String::new());
    assert_eq!(ask(&client, Method::GET, "/hosts", &[ada]).await, ok);
    assert_eq!(ask(&client, Method::GET, "/task", &[eve, ops]).await, ok);
    assert_eq!(ask(&client, Method::GET, "/hosts", &[eve, ops]).await, (403, "out-of-reach".to_owned()));
    for headers in
        [&[eve][..], &[("x-forwarded-user", "ADA@example.com")], &[ada, ada], &[("x-forwarded-user", "")]]
    {
        assert_eq!(
            ask(&client, Method::GET, "/task", headers).await,
            (403, "unknown-person".to_owned()),
            "{headers:?}"
        );
    }
    // Without them it is a stranger; groups alone name nobody, and a key comes before them.
    for headers in [&[][..], &[ops]] {
        assert_eq!(ask(&client, Method::GET, "/task", headers).await, (401, "key-missing".to_owned()));
    }
    let wrong = [ada, ("authorization", "Bearer wmk_wrong")];
    assert_eq!(ask(&client, Method::GET, "/task", &wrong).await, (401, "key-unknown".to_owned()));
    // A change needs a page of this server, as one with a session does.
    assert_eq!(ask(&client, Method::POST, "/task", &[eve, ops]).await, (403, "cross-origin".to_owned()));
    assert_eq!(
        ask(&client, Method::POST, "/task", &[eve, ops, ("sec-fetch-site", "cross-site")]).await.1,
        "cross-origin"
    );
    let (from_own_page, task) = ([eve, ops, from_page], json!({"plugin": "noop"}).to_string().into_bytes());
    let body = Some(("application/json", task));
    let sent = client.send_with(Method::POST, "/task", &from_own_page, body).await.expect("an answer");
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.text);
    let task = client
        .send_with(Method::GET, &format!("/task/{}", sent.str("id")), &[ada], None)
        .await
        .expect("an answer");
    assert_eq!((task.str("submitted_by"), task.str("group")), ("eve", "t1"), "{}", task.text);
    // A page with a foreign name that leads to the proxy acts as nobody.
    assert_eq!(
        ask(&client, Method::GET, "/task", &[ada, ("host", "rebound.example.org")]).await,
        (421, "unknown-host".to_owned())
    );
}

#[tokio::test]
async fn headers_of_other_addresses_count_for_nothing_and_doctor_says_who_may_claim_so() {
    let ada = ("x-forwarded-user", "ada@example.com");
    let (eve, ops) = (("x-forwarded-user", "eve"), ("x-groups", "dev,ops"));
    let from_page = ("sec-fetch-site", "same-origin");
    let other = server("192.0.2.1");
    let client = other.client();
    for headers in [&[ada][..], &[eve, ops], &[ada, from_page]] {
        assert_eq!(
            ask(&client, Method::GET, "/task", headers).await,
            (401, "key-missing".to_owned()),
            "{headers:?}"
        );
        assert_eq!(
            ask(&client, Method::POST, "/task", headers).await,
            (401, "key-missing".to_owned()),
            "{headers:?}"
        );
    }
    let checks = wasmill(
        other.folder(),
        &[&["doctor", "--trust-proxy", "127.0.0.1,10.0.0.0/8,192.0.2.1"][..], &SETTINGS].concat(),
    );
    for said in [
        "every program on this machine that connects from 127.0.0.1",
        "every machine of the network that connects from 10.0.0.0/8",
    ] {
        assert!(checks.out.contains(said), "{}", checks.out);
    }
    assert!(!checks.out.contains("192.0.2.1"), "{}", checks.out);
    let listed = wasmill(other.folder(), &["key", "list", "--keys-file", "people.toml"]).out;
    let of_ada = listed.lines().find(|line| line.starts_with("ada@example.com")).unwrap_or_default();
    let of_ops = listed.lines().find(|line| line.starts_with("ops ")).unwrap_or_default();
    assert!(of_ada.contains("user") && of_ada.ends_with("admin"), "{listed}");
    assert!(of_ops.contains("members of it") && of_ops.contains("within groups t1"), "{listed}");
    let listed = wasmill(other.folder(), &["key", "list", "--keys-file", "people.toml", "--json"]).out;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        (listed[0]["kind"].as_str(), listed[0]["name"].as_str()),
        (Some("user"), Some("ada@example.com"))
    );
    assert_eq!((&listed[1]["kind"], &listed[1]["groups"]), (&json!("member_of"), &json!(["t1"])), "{listed}");
    let refused = wasmill(other.folder(), &["serve", "--proxy-user-header", "X-User"]);
    assert!(refused.code == 2 && refused.err.contains("needs --trust-proxy"), "{}", refused.err);
}
