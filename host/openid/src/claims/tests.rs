//! Tests which tokens count.

use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn attempt() -> Attempt {
    let text = |text: &str| text.to_owned();
    Attempt { state: text("s"), nonce: text("n0nce"), verifier: text("v") }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

const EXPECTED: Expected<'static> = Expected {
    issuer: "https://id.example.org",
    client_id: "wasmill",
    user: UserClaim::Sub,
    groups: Some("groups"),
};

/// Checks the usual claims with these in their place; `null` removes one.
#[expect(clippy::needless_pass_by_value, reason = "tests pass literals")]
fn check_with(expected: Expected<'_>, changes: Value) -> Result<Person, String> {
    let mut claims = json!({
        "iss": "https://id.example.org", "sub": "ada", "aud": "wasmill", "exp": NOW + 300, "iat": NOW, "nonce": "n0nce",
        "groups": ["ops", 7, "dev"], "email": "ada@example.org", "email_verified": true,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    let claims = serde_json::from_value::<Claims>(claims).map_err(|error| error.to_string())?;
    claims.check(expected, &attempt(), at(NOW)).map_err(|error| error.to_string())
}

fn check(changes: Value) -> Result<Person, String> {
    check_with(EXPECTED, changes)
}

#[test]
fn a_token_for_this_server_names_user_and_groups() {
    let ada = Person { user: "ada".to_owned(), groups: vec!["ops".to_owned(), "dev".to_owned()] };
    assert_eq!(check(json!({})), Ok(ada.clone()));
    for changes in [
        json!({"aud": ["wasmill"]}),
        json!({"aud": ["other", "wasmill"], "azp": "wasmill"}),
        json!({"azp": "wasmill"}),
        json!({"exp": NOW - 59}),
        json!({"iat": NOW + 59, "nbf": NOW + 59}),
        json!({"iat": NOW - 600, "exp": NOW as f64 + 0.5}),
        json!({"further": {"anything": 1}}),
    ] {
        assert_eq!(check(changes.clone()), Ok(ada.clone()), "{changes}");
    }
    for (groups, expected) in [(json!(null), &[][..]), (json!("ops"), &["ops"]), (json!({"ops": true}), &[])]
    {
        assert_eq!(check(json!({"groups": groups})).unwrap().groups, expected);
    }
    assert!(check_with(Expected { groups: None, ..EXPECTED }, json!({})).unwrap().groups.is_empty());
}

#[test]
fn a_token_for_anything_else_counts_for_nothing() {
    for (changes, why) in [
        (json!({"iss": "https://id.example.org/"}), "of the issuer"),
        (json!({"iss": "https://id.example.org.evil.example"}), "of the issuer"),
        (json!({"iss": null}), "iss"),
        (json!({"aud": "other"}), "for another client"),
        (json!({"aud": ["Wasmill"]}), "for another client"),
        (json!({"aud": []}), "for another client"),
        (json!({"aud": null}), "aud"),
        (json!({"aud": {"wasmill": 1}}), "Audience"),
        (json!({"aud": ["wasmill", "other"]}), "issued to another client"),
        (json!({"aud": ["wasmill", "other"], "azp": "other"}), "issued to another client"),
        (json!({"azp": "other"}), "issued to another client"),
        (json!({"exp": NOW - 60}), "expired"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "9999999999"}), "f64"),
        (json!({"iat": NOW + 61}), "future"),
        (json!({"nbf": NOW + 61}), "future"),
        (json!({"iat": NOW - 661}), "long ago"),
        (json!({"iat": null}), "iat"),
        (json!({"nonce": "other"}), "nonce"),
        (json!({"nonce": ""}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"sub": null}), "sub"),
    ] {
        let refused = check(changes.clone()).unwrap_err();
        assert!(refused.contains(why), "{changes}: {refused}");
    }
    let twice =
        r#"{"iss": "https://id.example.org", "iss": "x", "sub": "a", "aud": "wasmill", "exp": 1, "iat": 1}"#;
    assert!(serde_json::from_str::<Claims>(twice).unwrap_err().to_string().contains("duplicate"));
}

#[test]
fn an_address_counts_if_the_issuer_has_verified_it() {
    let expected = Expected { user: UserClaim::Email, ..EXPECTED };
    assert_eq!(check_with(expected, json!({})).unwrap().user, "ada@example.org");
    for changes in [
        json!({"email_verified": false}),
        json!({"email_verified": "true"}),
        json!({"email_verified": null}),
        json!({"email": null}),
    ] {
        assert!(check_with(expected, changes.clone()).unwrap_err().contains("no email"), "{changes}");
    }
}
