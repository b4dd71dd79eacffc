//! Tests which requests are allowed.

use super::*;

pub(crate) fn rule(scheme: &str, host: &str, port: u16, path_prefix: &str) -> HttpRule {
    HttpRule { scheme: scheme.to_owned(), host: host.to_owned(), port, path_prefix: path_prefix.to_owned() }
}

fn rules() -> Vec<HttpRule> {
    vec![
        rule("https", "api.example.com", 443, "/"),
        rule("https", "*.cdn.example.com", 8443, "/img/"),
        rule("http", "10.0.0.1", 80, "/v1"),
        rule("http", "[fd00::1]", 80, "/"),
        rule("http", "localhost", 9000, "/"),
    ]
}

fn verdict(uri: &str) -> Result<AllowedRequest, Refusal> {
    authorize(&Request::get(uri).body(()).unwrap(), &rules())
}

#[test]
fn a_request_that_matches_a_rule_is_allowed() {
    for uri in [
        "https://api.example.com",
        "https://api.example.com/any?query",
        "https://API.Example.com.:443/",
        "https://a.cdn.example.com:8443/img/x.png",
        "https://a.b.cdn.example.com:8443/img/",
        "http://10.0.0.1/v1",
        "http://10.0.0.1/v1/tasks?a=b",
        "http://[FD00:0::1]/",
        "http://localhost:9000/",
    ] {
        assert!(verdict(uri).is_ok(), "{uri}: {:?}", verdict(uri));
    }
}

#[test]
fn a_request_that_differs_in_any_part_is_denied() {
    for uri in [
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://example.com/",
        "https://api.example.com.evil.com/",
        "https://xapi.example.com/",
        "https://cdn.example.com:8443/img/x.png",
        "https://.cdn.example.com:8443/img/x.png",
        "https://evilcdn.example.com:8443/img/x.png",
        "https://a.cdn.example.com/img/x.png",
        "https://a.cdn.example.com:8443/images/x.png",
        "https://a.cdn.example.com:8443/img",
        "https://a.cdn.example.com:8443/img/../secret",
        "https://a.cdn.example.com:8443/img/%2e%2e/secret",
        "https://a.cdn.example.com:8443/img/%252e%252E%252fsecret",
        "https://a.cdn.example.com:8443/img/..;a=b/secret",
        "https://a.cdn.example.com:8443/img/..%5csecret",
        "http://10.0.0.1/v10",
        "http://0x0a000001/v1",
        "http://127.0.0.1:9000/",
    ] {
        assert!(matches!(verdict(uri), Err(Refusal::Denied { .. })), "{uri}: {:?}", verdict(uri));
    }
}

#[test]
fn a_uri_that_hides_its_host_is_invalid() {
    for uri in ["https://api.example.com@evil.com/", "https://a:b@api.example.com/", "/path"] {
        assert_eq!(verdict(uri), Err(Refusal::Invalid), "{uri}");
    }
}

#[test]
fn methods_for_tunnels_and_echoes_are_refused() {
    for method in ["CONNECT", "connect", "TRACE", "Track"] {
        let request = Request::builder().method(method).uri("http://localhost:9000/").body(()).unwrap();
        assert_eq!(authorize(&request, &rules()), Err(Refusal::Method), "{method}");
    }
    let request = Request::builder().method("PROPFIND").uri("http://localhost:9000/").body(()).unwrap();
    assert!(authorize(&request, &rules()).is_ok());
}

#[test]
fn a_header_that_overrides_the_path_is_refused_if_the_rule_has_a_path() {
    for header in ["X-Original-URL", "x_rewrite_url", "X-HTTP-Method-Override", "X-Forwarded-Prefix"] {
        let request = |uri| Request::get(uri).header(header, "/secret").body(()).unwrap();
        let refusal = authorize(&request("http://10.0.0.1/v1/a"), &rules());
        assert!(
            matches!(&refusal, Err(Refusal::Denied { reason, .. }) if reason.contains("header")),
            "{header}"
        );
        assert!(authorize(&request("http://localhost:9000/a"), &rules()).is_ok(), "{header}");
        let mut both = rules();
        both.push(rule("http", "10.0.0.1", 80, "/"));
        assert!(authorize(&request("http://10.0.0.1/v1/a"), &both).is_ok(), "{header}");
    }
}

#[test]
fn a_port_has_one_spelling_and_a_trailing_dot_is_not_sent() {
    for authority in ["127.0.0.1:+9000", "127.0.0.1:09000", "localhost:+9000"] {
        assert_eq!(verdict(&format!("http://{authority}/")), Err(Refusal::Invalid), "{authority}");
    }
    assert_eq!(verdict("http://localhost.:9000/").unwrap().endpoint.authority(), "localhost:9000");
}

#[test]
fn a_denial_names_the_origin_as_a_manifest_writes_it() {
    for (uri, named) in [
        ("https://other.com:443/a", "https://other.com"),
        ("http://other.com:8080/a", "http://other.com:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ] {
        let Err(Refusal::Denied { origin, .. }) = verdict(uri) else { panic!("{uri} is denied") };
        assert_eq!(origin, named);
    }
}
