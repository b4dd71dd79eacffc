//! Placeholders of one run: where they are replaced, and where they are not.

use super::*;

const VALUE: &str = "sk_live_123456";

fn endpoint(uri: &str) -> Endpoint {
    Endpoint::of(&uri.parse().unwrap()).unwrap()
}

/// The secrets of a run with one that is placed in this form, and its placeholder.
fn placed(form: SecretForm) -> (RunSecrets, String) {
    let rule = SecretRule::Placed { to: vec![endpoint("https://api.example.com")], form };
    let value = Arc::new(Zeroizing::new(VALUE.to_owned()));
    let secrets = RunSecrets::new(&[Current { name: "KEY", rule: &rule, value }], None);
    let placeholder = secrets.env().next().unwrap().1.to_owned();
    (secrets, placeholder)
}

/// Returns a header as it leaves to a URI.
fn sent(secrets: &RunSecrets, uri: &str, header: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", header.parse().unwrap());
    secrets.place(&endpoint(uri), &mut headers);
    headers["authorization"].to_str().unwrap().to_owned()
}

#[test]
fn a_placeholder_becomes_the_value_at_its_origin_only() {
    let (secrets, placeholder) = placed(SecretForm::Plain);
    assert!(placeholder.starts_with(PLACEHOLDER) && placeholder.len() == PLACEHOLDER.len() + 32);
    assert_ne!(placeholder, placed(SecretForm::Plain).1, "each run has its own");
    let header = format!("Bearer {placeholder}");
    for uri in
        ["https://api.example.com/a", "https://API.Example.com.:443/", "https://api.example.com:443/?q"]
    {
        assert_eq!(sent(&secrets, uri, &header), format!("Bearer {VALUE}"), "{uri}");
    }
    for uri in [
        "http://api.example.com/",
        "http://api.example.com:443/",
        "https://api.example.com:8443/",
        "https://sub.api.example.com/",
        "https://example.com/",
        "https://api.example.com.evil.com/",
        "https://1.2.3.4/",
    ] {
        assert_eq!(sent(&secrets, uri, &header), header, "{uri}");
    }
    for other in [placeholder.to_uppercase(), placeholder[1..].to_owned(), placeholder.replace(':', "%3A")] {
        assert_eq!(sent(&secrets, "https://api.example.com/", &other), other);
    }
}

#[test]
fn the_number_of_replaced_placeholders_is_bounded() {
    let (secrets, placeholder) = placed(SecretForm::Plain);
    let twice = sent(&secrets, "https://api.example.com/", &format!("{placeholder} {placeholder}"));
    assert_eq!(twice, format!("{VALUE} {placeholder}"));
    let mut headers = HeaderMap::new();
    for _ in 0..100 {
        headers.append("x", placeholder.parse().unwrap());
    }
    secrets.place(&endpoint("https://api.example.com/"), &mut headers);
    let replaced: Vec<_> = headers.get_all("x").iter().filter(|value| *value == VALUE).collect();
    assert_eq!(replaced.len(), PLACEMENTS_MAX);
    assert!(replaced.iter().all(|value| value.is_sensitive()));
}

#[test]
fn basic_is_the_base64_of_user_and_value() {
    let (secrets, placeholder) = placed(SecretForm::Basic("ada".to_owned()));
    let expected = format!("Basic {}", BASE64.encode(format!("ada:{VALUE}").as_bytes()));
    let by_a_library = BASE64.encode(format!("ada:{placeholder}").as_bytes());
    for header in [&placeholder, &by_a_library] {
        assert_eq!(sent(&secrets, "https://api.example.com/", &format!("Basic {header}")), expected);
    }
    let of_another = format!("Basic {}", BASE64.encode(format!("eve:{placeholder}").as_bytes()));
    assert_eq!(sent(&secrets, "https://api.example.com/", &of_another), of_another);
}

#[test]
fn secrets_that_are_placed_are_not_looked_for() {
    let (secrets, _) = placed(SecretForm::Plain);
    assert!(matches!(secrets.redact_log(LogStream::Stdout, b"abc"), Cow::Borrowed(b"abc")));
    assert!(matches!(secrets.redact_bytes(b"abc"), Cow::Borrowed(b"abc")));
    assert!(!format!("{secrets:?}").contains(VALUE) && secrets.has_placed());
}
