//! Requests whose heads or paths mean one thing to one reader and something else to another.

/// The beginning of a request that is well-formed so far.
const START: &str = "GET /stats HTTP/1.1\r\nhost: localhost\r\n";

/// Returns all tricks by name. Those with a key are sent by somebody who may submit tasks.
pub(crate) fn all(key: &str) -> Vec<(String, Vec<u8>)> {
    let mut tricks = paths(key);
    tricks.extend(heads(key));
    tricks.extend(lengths(key));
    tricks.extend(protocols());
    tricks
}

/// Paths that lead up, hide what they name, or are too long.
fn paths(key: &str) -> Vec<(String, Vec<u8>)> {
    let long = format!("/task/{}", "a".repeat(60_000));
    let paths = [
        "/../../etc/passwd",
        "/ui/../drain",
        "/task/%2e%2e/%2e%2e/drain",
        "/task/..%2f..%2fdrain",
        "//drain",
        "/drain/",
        "/DRAIN",
        "/%64rain",
        "/task/%00",
        "/task/%ff%fe",
        "/task/%",
        "/task/%zz",
        "/task;/drain",
        "/task\\..\\drain",
        "/plugins/..%5c..%5cevil",
        "/plugins/%2e%2e",
        "/ui/assets/../../keys.toml",
        "/ui/raw/%2e%2e%2fkeys/result",
        "/docs/%2e%2e/keys",
        "/task?limit=-1",
        "/task?limit=99999999999999999999",
        "/task?limit=1&limit=2",
        "/task?cursor=%00",
        "/task?q=%27%20or%201=1--",
        "/task?state=%3Cscript%3E",
        "/events?sample=NaN",
        "/ui/tasks?tag=%3Cscript%3E",
        "/ui/login?next=//evil.example",
        "/ui/login?next=%5c%5cevil.example",
        "/ui/login?next=javascript:alert(1)",
        "http://evil.example/stats",
        "http://127.0.0.1@evil.example/stats",
        "*",
        "",
        "stats",
        "/stats#fragment",
        "/\u{202e}stats",
        &long,
    ];
    let request = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let all = paths.iter().flat_map(|path| ["GET", "POST", "DELETE"].map(|method| (method, *path)));
    all.map(|(method, path)| (format!("{method} {path:.40}"), request(method, path).into_bytes())).collect()
}

/// Heads that are too large, repeated, malformed, or claim to be somebody else's.
fn heads(key: &str) -> Vec<(String, Vec<u8>)> {
    let many = "x-many: 1\r\n".repeat(10_000);
    let cookies = format!("cookie: wasmill=v1~admin~00~1~1~{}\r\n", "A".repeat(8_000));
    let bearer = format!("authorization: Bearer {key}\r\n");
    let further = [
        ("a field of 100 KB", format!("x-long: {}\r\n", "a".repeat(100_000))),
        ("10,000 fields", many),
        ("a name of 60 KB", format!("{}: 1\r\n", "a".repeat(60_000))),
        ("a second host", "host: evil.example\r\n".to_owned()),
        ("two keys", format!("{bearer}authorization: Bearer wmk_other\r\n")),
        ("an empty key", "authorization: Bearer \r\n".to_owned()),
        ("a key of 60 KB", format!("authorization: Bearer {}\r\n", "k".repeat(60_000))),
        ("a basic key", "authorization: Basic YWRtaW46YWRtaW4=\r\n".to_owned()),
        ("a key with control characters", "authorization: Bearer a\x01\x7f\r\n".to_owned()),
        ("a forged session", cookies),
        (
            "two sessions",
            "cookie: wasmill=a; wasmill=b; __Host-wasmill=c\r\ncookie: wasmill=d\r\n".to_owned(),
        ),
        (
            "a claim of a proxy",
            "x-forwarded-for: 127.0.0.1\r\nx-forwarded-user: admin\r\nforwarded: for=127.0.0.1\r\n"
                .to_owned(),
        ),
        ("another site", format!("{bearer}sec-fetch-site: cross-site\r\norigin: http://evil.example\r\n")),
        ("the origin null", format!("{bearer}origin: null\r\n")),
        ("a space before the colon", "x-space : 1\r\n".to_owned()),
        ("a folded line", "x-folded: 1\r\n 2\r\n".to_owned()),
        ("a zero byte", "x-zero: a\0b\r\n".to_owned()),
        ("a bare line feed", "x-bare: 1\nx-more: 2\r\n".to_owned()),
        ("a bare carriage return", "x-bare: 1\rx-more: 2\r\n".to_owned()),
        ("no UTF-8", "x-text: \u{ff}\r\n".to_owned()),
        ("an upgrade", "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n".to_owned()),
        ("connection names host", "connection: host, authorization\r\n".to_owned()),
        ("a range", format!("{bearer}range: bytes=0-18446744073709551615\r\n")),
        ("a method in a header", format!("{bearer}x-http-method-override: DELETE\r\n")),
        ("an idempotency key of 60 KB", format!("{bearer}idempotency-key: {}\r\n", "i".repeat(60_000))),
        (
            "a trace of nonsense",
            format!("{bearer}traceparent: 00-zz-zz-zz\r\ntracestate: {}\r\n", "a=b,".repeat(5_000)),
        ),
        ("a last event id", format!("{bearer}last-event-id: 99999999999999999999\r\n")),
    ];
    further
        .into_iter()
        .map(|(name, fields)| (name.to_owned(), format!("{START}{fields}\r\n").into_bytes()))
        .collect()
}

/// Bodies whose length two readers see differently, so that one of them takes the rest for a second request.
fn lengths(key: &str) -> Vec<(String, Vec<u8>)> {
    let second = "POST /drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let fields = [
        ("two lengths", "content-length: 0\r\ncontent-length: 60\r\n"),
        ("a list of lengths", "content-length: 0, 60\r\n"),
        ("a signed length", "content-length: +0\r\n"),
        ("a negative length", "content-length: -1\r\n"),
        ("a hexadecimal length", "content-length: 0x10\r\n"),
        ("a length beyond all", "content-length: 99999999999999999999999\r\n"),
        ("a length and chunks", "content-length: 4\r\ntransfer-encoding: chunked\r\n"),
        ("chunks and a length", "transfer-encoding: chunked\r\ncontent-length: 4\r\n"),
        ("chunks twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("chunks of another spelling", "transfer-encoding: xchunked\r\n"),
        ("chunks behind a tab", "transfer-encoding:\tchunked\r\n"),
        ("chunks of identity", "transfer-encoding: identity, chunked\r\n"),
        ("an expectation", "content-length: 4\r\nexpect: 200-ok\r\n"),
    ];
    let start = format!(
        "POST /task HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    );
    let mut tricks: Vec<_> = fields
        .into_iter()
        .map(|(name, fields)| (name.to_owned(), format!("{start}{fields}\r\n0\r\n\r\n{second}").into_bytes()))
        .collect();
    let chunks = [
        ("a chunk beyond all", "ffffffffffffffffff\r\na".to_owned()),
        ("a chunk of no size", "z\r\n".to_owned()),
        ("an extension of 100 KB", format!("1;{}\r\n{{\r\n0\r\n\r\n", "e".repeat(100_000))),
        ("a thousand trailers", format!("0\r\n{}\r\n", "x-trailer: 1\r\n".repeat(1_000))),
        ("chunks of one byte", format!("{}0\r\n\r\n", "1\r\n \r\n".repeat(20_000))),
    ];
    tricks.extend(chunks.into_iter().map(|(name, body)| {
        (name.to_owned(), format!("{start}transfer-encoding: chunked\r\n\r\n{body}").into_bytes())
    }));
    tricks
}

/// Other protocols, and HTTP of other times.
fn protocols() -> Vec<(String, Vec<u8>)> {
    let hello = [&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat();
    let tries: [(&str, &[u8]); 14] = [
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("TLS", &hello),
        ("HTTP/0.9", b"GET /stats\r\n\r\n"),
        ("HTTP/9.9", b"GET /stats HTTP/9.9\r\nhost: localhost\r\n\r\n"),
        ("HTTP/1.0 without host", b"GET /healthz HTTP/1.0\r\n\r\n"),
        ("no host", b"GET /healthz HTTP/1.1\r\n\r\n"),
        ("a tunnel", b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n"),
        ("TRACE", b"TRACE / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("OPTIONS of all", b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("a method of no name", b"\0\0 / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("a method in lower case", b"get / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("empty lines", b"\r\n\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("SSH", b"SSH-2.0-attack\r\n\r\n\r\n"),
        ("zeros", &[0; 1_000]),
    ];
    tries.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}
