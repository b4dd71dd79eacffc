//! Input validation of the built-in plugin at submit time, by the plugin's own rules.

#[path = "../../../../plugins/io-stub/src/settings.rs"]
#[expect(unreachable_pub, reason = "it is a module of the plugin")]
mod settings;

/// Returns what is wrong with an input of `io-stub`.
pub(crate) fn check(input: &str) -> Result<(), String> {
    settings::Settings::parse(input).map(|_| ())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::settings::Settings;

    /// The settings as serde reads them.
    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Reference {
        min_ms: u64,
        max_ms: u64,
        fail_rate: f64,
    }

    impl Default for Reference {
        fn default() -> Self {
            let Settings { min_ms, max_ms, fail_rate } = Settings::default();
            Self { min_ms, max_ms, fail_rate }
        }
    }

    /// Compares the reader of the plugin, which is small, with serde, which is right.
    #[track_caller]
    fn assert_as_serde(input: &str) {
        let ours = Settings::parse(input).map_err(|error| error.contains("the input is an object"));
        let (is_object, read) = (input.trim().starts_with('{'), serde_json::from_str::<Reference>(input));
        match (read, ours) {
            (Ok(read), Ok(ours)) if is_object => {
                assert_eq!((read.min_ms, read.max_ms), (ours.min_ms, ours.max_ms), "{input}");
                assert!((read.fail_rate - ours.fail_rate).abs() < 1e-15, "{input}: {ours:?}");
            }
            // Out of range, or no object: neither is an error of the syntax.
            (Ok(_), Err(is_syntax)) => assert!(!is_syntax, "{input}"),
            // serde takes no number beyond the range of f64, for which the plugin names its range.
            (Err(error), Err(is_syntax)) => {
                assert!(
                    !is_object || is_syntax || error.to_string().contains("out of range"),
                    "{input}: {error}"
                );
            }
            (read, ours) => panic!("{input}: serde {read:?}, plugin {ours:?}"),
        }
    }

    #[test]
    fn it_reads_what_serde_reads() {
        for input in [
            "{}",
            " { } ",
            r#"{"min_ms":0,"max_ms":0,"fail_rate":0}"#,
            r#"{"min_ms": 1 , "fail_rate" : 1.0e-1, "max_ms":86400000}"#,
            "{\n\t\"fail_rate\": 0.999999999999999999999999999\r\n}",
            r#"{"fail_rate":0.1234567890123456789}"#,
            r#"{"fail_rate":1E-400}"#,
            r#"{"fail_rate":1e400}"#,
            r#"{"fail_rate":100000000000000000000000e-24}"#,
            r#"{"fail_rate":-0.0}"#,
            r#"{"fail_rate":123e-5,"min_ms":7}"#,
            r#"{"m\u0069n_ms":5}"#,
            r#"{"m\u00ecn_ms":5}"#,
            r#"{"min_ms":18446744073709551615}"#,
            r#"{"min_ms":18446744073709551616}"#,
            r#"{"min_ms":1,"min_ms":2}"#,
            r#"{"min_ms":01}"#,
            r#"{"min_ms":1.0}"#,
            r#"{"min_ms":null}"#,
            r#"{"max_ms":{"a":[1]}}"#,
            r#"{"ä":1}"#,
            "{\"min_ms\":1,}",
            "{\"min\u{1}ms\":1}",
            "{'min_ms':1}",
            "{\"min_ms\":1}}",
            "{\"min_ms\"",
            "{",
            "[1,2,0.5]",
        ] {
            assert_as_serde(input);
        }
    }

    #[test]
    fn it_reads_inputs_with_mistakes_as_serde_does() {
        let input = r#"{"min_ms": 120, "max_ms":9000,"fail_rate" : -1.5e+3}"#;
        for at in 0..input.len() {
            let (before, after) = input.split_at(at);
            assert_as_serde(before);
            assert_as_serde(&[before, &after[1..]].concat());
            for byte in " {}[]\",:\\u0019-+.eEtfn\n/é".chars() {
                assert_as_serde(&format!("{before}{byte}{after}"));
                assert_as_serde(&format!("{before}{byte}{}", &after[1..]));
            }
        }
    }
}
