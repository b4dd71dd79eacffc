//! The access policy, rule by rule.

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/task");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Returns the problem code that a policy answers with.
fn refusal(access_policy: &AccessPolicy, request: &Request<()>) -> Option<&'static str> {
    access_policy.check(request, LOOPBACK, true).err().map(|problem| problem.code())
}

fn named(access_policy: &AccessPolicy, host: &str) -> Option<&'static str> {
    refusal(access_policy, &request(Method::GET, &[("host", host)]))
}

#[test]
fn only_names_that_nobody_else_can_own_are_allowed() {
    let access_policy =
        AccessPolicy { public_hosts: vec!["Tasks.Example.org.".parse().unwrap()], ..AccessPolicy::default() };
    for host in [
        "127.0.0.1:8080",
        "192.168.1.7",
        "[::1]:8080",
        "[fe80::1]",
        "localhost",
        "LocalHost:9",
        "localhost.",
        "wasmill:8080",
        "my_host-1",
        "app.localhost:8080",
        "a.b.localhost",
        "host.docker.internal:8080",
        "HOST.containers.internal",
        "tasks.example.org",
        "TASKS.example.org:443",
        "tasks.example.org.",
    ] {
        assert_eq!(named(&access_policy, host), None, "{host}");
    }
    for host in [
        "rebound.example",
        "rebound.example:8080",
        "127.0.0.1.example",
        "localhost.example",
        ".localhost",
        "xlocalhost.org",
        "evil.docker.internal",
        "host.docker.internal.example",
        "sub.tasks.example.org",
        "com.",
        "127.1",
        "127.0.0.1.",
        "a..localhost.example",
    ] {
        assert_eq!(named(&access_policy, host), Some("unknown-host"), "{host}");
    }
}

#[test]
fn an_invalid_host_is_refused() {
    let access_policy = AccessPolicy::default();
    for host in [
        "",
        ":8080",
        "a b",
        "user@localhost",
        "localhost/",
        "localhost:80:80",
        "localhost:x",
        "[::1",
        "[x]",
        "ü",
    ] {
        assert_eq!(named(&access_policy, host), Some("invalid-host"), "{host}");
    }
    assert_eq!(refusal(&access_policy, &request(Method::GET, &[])), Some("invalid-host"));
    let twice = request(Method::GET, &[("host", "localhost"), ("host", "localhost")]);
    assert_eq!(refusal(&access_policy, &twice), Some("invalid-host"));
    let mut old = request(Method::GET, &[]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(refusal(&access_policy, &old), None);
    let mut absolute = request(Method::GET, &[("host", "localhost")]);
    *absolute.uri_mut() = "http://rebound.example/task".parse().unwrap();
    assert_eq!(refusal(&access_policy, &absolute), Some("unknown-host"));
}

#[test]
fn unsafe_methods_need_the_same_origin_or_no_browser() {
    let access_policy = AccessPolicy {
        allowed_origins: vec!["https://Dash.example".parse().unwrap()],
        ..AccessPolicy::default()
    };
    let host = ("host", "localhost:8080");
    let passes: [&[(&str, &str)]; 8] = [
        &[],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://behind-a-proxy.example")],
        &[("origin", "http://localhost:8080")],
        &[("origin", "http://LOCALHOST:8080")],
        &[("origin", "https://dash.example")],
        &[("origin", "https://dash.example"), ("sec-fetch-site", "cross-site")],
    ];
    let refused: [&[(&str, &str)]; 11] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "")],
        &[("sec-fetch-site", "Same-Origin")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")],
        &[("origin", "null")],
        &[("origin", "http://localhost:8081")],
        &[("origin", "https://localhost:8080")],
        &[("origin", "http://localhost")],
        &[("origin", "http://evil.example")],
        &[("origin", "http://dash.example")],
    ];
    let methods = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::CONNECT];
    for method in methods.into_iter().chain([Method::from_bytes(b"BREW").unwrap()]) {
        for headers in passes {
            let request = request(method.clone(), &[&[host], headers].concat());
            assert_eq!(refusal(&access_policy, &request), None, "{method} {headers:?}");
        }
        for headers in refused {
            let request = request(method.clone(), &[&[host], headers].concat());
            assert_eq!(refusal(&access_policy, &request), Some("cross-origin"), "{method} {headers:?}");
        }
    }
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let request = request(method, &[host, ("sec-fetch-site", "cross-site"), ("origin", "null")]);
        assert_eq!(refusal(&access_policy, &request), None);
    }
}

#[test]
fn forwarded_requests_pass_only_from_trusted_proxies() {
    let networks = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    let trusting = AccessPolicy { trusted_proxies: networks.to_vec(), ..AccessPolicy::default() };
    let check = |access_policy: &AccessPolicy, peer: &str, header: HeaderName| {
        let mut request = request(Method::GET, &[("host", "localhost")]);
        request.headers_mut().insert(header, HeaderValue::from_static("203.0.113.7"));
        access_policy.check(&request, peer.parse().unwrap(), true).err().map(|problem| problem.code())
    };
    for header in PROXY_HEADERS {
        let refused = Some("untrusted-proxy");
        assert_eq!(check(&AccessPolicy::default(), "127.0.0.1", header.clone()), refused, "{header}");
        assert_eq!(check(&trusting, "127.0.0.2", header.clone()), refused, "{header}");
        for peer in ["127.0.0.1", "::ffff:10.1.2.3", "fd00::7"] {
            assert_eq!(check(&trusting, peer, header.clone()), None, "{header} {peer}");
        }
    }
}

#[test]
fn only_an_allowed_origin_gets_cors_headers() {
    let access_policy = AccessPolicy {
        allowed_origins: vec!["https://dash.example".parse().unwrap()],
        ..AccessPolicy::default()
    };
    let ask = |origin| {
        let headers =
            [("host", "localhost"), ("origin", origin), ("access-control-request-method", "DELETE")];
        access_policy.check(&request(Method::OPTIONS, &headers), LOOPBACK, true)
    };
    let Ok(Decision::Preflight(origin)) = ask("https://dash.example") else {
        panic!("the preflight is allowed")
    };
    let answer = preflight(origin);
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://dash.example");
    assert_eq!(answer.headers()["vary"], "origin");
    assert!(matches!(ask("https://evil.example"), Ok(Decision::Allow(None))));
    let mut headers = HeaderMap::new();
    add_headers(&mut headers, None);
    assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{headers:?}");
    assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[test]
fn an_https_origin_is_the_same_origin_only_behind_a_possible_proxy() {
    let page = |host, origin| request(Method::POST, &[("host", host), ("origin", origin)]);
    let local = page("127.0.0.1:8080", "https://127.0.0.1:8080");
    let default = AccessPolicy::default();
    assert_eq!(refusal(&default, &local), Some("cross-origin"));
    assert_eq!(refusal(&default, &page("127.0.0.1:8080", "http://127.0.0.1:8080")), None);
    let trusting =
        AccessPolicy { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..AccessPolicy::default() };
    assert_eq!(refusal(&trusting, &local), None);
    let public =
        AccessPolicy { public_hosts: vec!["tasks.example.org".parse().unwrap()], ..AccessPolicy::default() };
    assert_eq!(refusal(&public, &page("tasks.example.org", "https://tasks.example.org")), None);
    assert_eq!(refusal(&public, &local), Some("cross-origin"));
}

#[test]
fn a_server_with_a_certificate_serves_no_page_over_plain_http() {
    let page = |origin| request(Method::POST, &[("host", "tasks.example.org"), ("origin", origin)]);
    let encrypted = AccessPolicy {
        serves_tls: true,
        public_hosts: vec!["tasks.example.org".parse().unwrap()],
        ..AccessPolicy::default()
    };
    assert_eq!(refusal(&encrypted, &page("https://tasks.example.org")), None);
    for foreign in ["http://tasks.example.org", "https://tasks.example.org:8443", "https://example.org"] {
        assert_eq!(refusal(&encrypted, &page(foreign)), Some("cross-origin"), "{foreign}");
    }
}

#[test]
fn only_a_trusted_proxy_says_who_sent_a_request() {
    let policy = |groups: Option<&str>| AccessPolicy {
        trusted_proxies: vec!["10.0.0.7".parse().unwrap(), "fd00::/64".parse().unwrap()],
        proxy_identity: Some(ProxyIdentity {
            user: "X-Forwarded-User".parse().unwrap(),
            groups: groups.map(|name| name.parse().unwrap()),
        }),
        ..AccessPolicy::default()
    };
    let said = |policy: &AccessPolicy, peer: &str, headers: &[(&'static str, &'static str)]| {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, HeaderValue::from_static(value));
        }
        policy.proxied(&all, peer.parse().unwrap())
    };
    let person = |user: &str, groups: &[&str]| {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Some(Proxied::Person(wasmill_access::NamedPerson { user: user.to_owned(), groups }))
    };
    let ada = ("x-forwarded-user", "ada@example.com");
    let plain = policy(None);
    for peer in ["10.0.0.7", "::ffff:10.0.0.7", "fd00::1"] {
        assert_eq!(said(&plain, peer, &[ada]), person("ada@example.com", &[]), "{peer}");
    }
    for peer in ["10.0.0.8", "127.0.0.1", "fd00:0:0:1::1"] {
        assert_eq!(said(&plain, peer, &[ada]), None, "{peer}");
    }
    assert_eq!(said(&plain, "10.0.0.7", &[]), None);
    assert_eq!(said(&AccessPolicy { proxy_identity: None, ..plain.clone() }, "10.0.0.7", &[ada]), None);
    // A second header may be that of a client.
    let eve = ("x-forwarded-user", "eve");
    for headers in [&[ada, eve][..], &[("x-forwarded-user", "")], &[("x-forwarded-user", "ada,eve")]] {
        assert_eq!(said(&plain, "10.0.0.7", headers), Some(Proxied::Invalid), "{headers:?}");
    }
    let grouped = policy(Some("x-groups"));
    let groups = ("x-groups", " ops, dev ,,a b");
    assert_eq!(said(&grouped, "10.0.0.7", &[ada, groups]), person("ada@example.com", &["ops", "dev"]));
    assert_eq!(said(&grouped, "10.0.0.7", &[ada, groups, groups]), Some(Proxied::Invalid));
    assert_eq!(said(&plain, "10.0.0.7", &[ada, groups]), person("ada@example.com", &[]));
    for bad in ["authorization", "Cookie", "X-Forwarded-For", "a b", ""] {
        assert!(bad.parse::<IdentityHeader>().is_err(), "{bad}");
    }
}

#[test]
fn a_request_of_a_person_needs_a_name_of_this_server() {
    let policy = AccessPolicy {
        trusted_proxies: vec!["10.0.0.7".parse().unwrap()],
        proxy_identity: Some(ProxyIdentity { user: "x-user".parse().unwrap(), groups: None }),
        public_hosts: vec!["tasks.example.org".parse().unwrap()],
        ..AccessPolicy::default()
    };
    let checked = |host: &str, user: bool| {
        let request = Request::builder().uri("/task").header(header::HOST, host);
        let request = if user { request.header("x-user", "ada") } else { request };
        policy.check(&request.body(()).unwrap(), "10.0.0.7".parse().unwrap(), false).is_ok()
    };
    assert!(checked("tasks.example.org", true) && checked("rebound.example", false));
    assert!(!checked("rebound.example", true), "its page would act as the user of the browser");
}
