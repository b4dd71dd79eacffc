//! Tests which settings are accepted, which of several sources takes precedence, and that each setting has all forms.

use std::time::Duration;

use clap::CommandFactory;

use super::layer::Layer;
use super::*;
use crate::cli::Cli;

fn merge(flags: &[(&str, &str)], file: &str) -> anyhow::Result<Settings> {
    let mut given = Layer::default();
    for (setting, text) in flags {
        given.insert(setting, vec![text.into()]);
    }
    Settings::merge(given, file::parse(file)?)
}

#[test]
fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
    let settings = merge(&[("slots", "7")], "slots = 5\ndrain = \"1m\"").expect("valid");
    assert_eq!(settings.slots, Some(7));
    assert_eq!(settings.drain, Duration::from_secs(60));
    assert_eq!(settings.timeout, Limits::default().timeout);
    let lists = merge(&[("public_host", "a.example")], "public_host = [\"b.example\", \"c.example\"]");
    assert_eq!(lists.expect("valid").public_host, ["a.example".parse().expect("a name")]);
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_key_of_one_name() {
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("a command");
    assert!(serve.get_arguments().count() > 40);
    for arg in serve.get_arguments() {
        let key = arg.get_id().as_str();
        assert_eq!(arg.get_long(), Some(key.replace('_', "-").as_str()));
        let variable = arg.get_env().and_then(|name| name.to_str());
        assert_eq!(variable, Some(format!("WASMILL_{}", key.to_uppercase()).as_str()));
        let help = arg.get_help().expect("a help text").to_string();
        let has_default = !arg.get_default_values().is_empty() || help.contains("[default: ");
        assert!(has_default, "{key} shows no default");
        // A table is a value of no setting, so the error tells whether the key is known.
        let error = file::parse(&format!("{key} = {{}}")).expect_err("no setting is a table");
        assert_eq!(error.to_string().contains("unknown setting"), key == "config", "{error}");
    }
}

#[test]
fn values_of_every_kind_can_be_set_in_the_file() {
    let settings = merge(
        &[],
        r#"
        listen = 9000
        data = "/var/lib/wasmill"
        slots = 10
        keep_for = "forever"
        cpu_max = "30s"
        memory = "128MiB"
        log_tail = 0
        allow_upload = true
        debug_remote = "yes"
        debug_listen = "0.0.0.0:6060"
        public_host = ["tasks.example.org"]
        trust_proxy = ["127.0.0.1", "10.0.0.0/8"]
        webhook_allow = ["receiver", "10.0.0.0/8"]
        webhook_backoff = "1s"
        log = ""
        log_format = "json"
        "#,
    );
    let settings = settings.expect("valid");
    assert_eq!(settings.listen, "127.0.0.1:9000".parse().expect("an address"));
    assert_eq!((settings.data.to_str(), settings.slots), (Some("/var/lib/wasmill"), Some(10)));
    assert_eq!(settings.limits().cpu, Some(Duration::from_secs(30)), "the maximum is the default");
    assert_eq!((settings.limits().memory_bytes, settings.limits().log_bytes), (128 << 20, 0));
    assert_eq!((settings.allow_upload, settings.debug_remote), (true, true));
    assert_eq!((settings.access_policy().trusted_proxies.len(), settings.webhook_allow.len()), (2, 2));
    assert_eq!(settings.webhook_backoff().wait(2, 0.0), Duration::from_secs(5));
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Json));
}

#[test]
fn retention_is_on_unless_disabled() {
    let retention = |text| {
        let retention = merge(&[], text).expect("valid").retention();
        (retention.keep_for.map(|period| period.as_secs()), retention.keep_max)
    };
    assert_eq!(retention(""), (Some(604_800), Some(1_000_000)));
    assert_eq!(retention("keep_for = \"forever\"\nkeep_max = 0"), (None, None));
    assert_eq!(retention("keep_for = \"0s\"\nkeep_max = 0"), (None, None));
    assert_eq!(retention("keep_for = \"2h\"\nkeep_max = 5"), (Some(7_200), Some(5)));
}

#[test]
fn a_raised_limit_raises_the_default_of_its_maximum() {
    let max = |text| {
        let max = merge(&[], text).expect("valid").max_limits();
        (max.memory_bytes, max.disk_bytes)
    };
    assert_eq!(max(""), (256 << 20, 16 << 30));
    assert_eq!(max("memory = \"1GiB\"\ndisk = \"1TiB\""), (1 << 30, 1 << 40));
    assert_eq!(max("memory_max = \"64MiB\""), (64 << 20, 16 << 30));
}

#[test]
fn invalid_settings_are_rejected_with_the_reason() {
    for (text, named) in [
        ("slots = 0", "invalid value '0' for '--slots <N>': must be at least 1, or no task would run"),
        ("slots = \"four\"", "must be a whole number, 0 or more, such as 1000"),
        ("slots = [4]", "expected a text, a whole number or a boolean, not array"),
        ("slotz = 4", "unknown setting slotz; did you mean slots?"),
        ("config = \"x\"", "unknown setting config"),
        ("waiting_max = 0", "or no task would be accepted"),
        ("watch_poll = \"0s\"", "must be at least 50ms"),
        ("timeout = \"3h\"\ntimeout_max = \"2h\"", "--timeout: 3h is more than timeout_max (2h)"),
        ("cpu = \"3s\"\ncpu_max = \"2s\"", "cpu_max (2s)"),
        ("cpu = \"0s\"", "must be at least 1ms"),
        ("memory = \"8GiB\"", "8.0 GiB is out of range; use 64.0 KiB to 4.0 GiB"),
        ("memory = \"2MiB\"\nmemory_max = \"1MiB\"", "memory_max (1.0 MiB)"),
        ("disk = \"2MiB\"\ndisk_max = \"1MiB\"", "disk_max (1.0 MiB)"),
        ("memory = \"64MiB\"\nmemory_total = \"32MiB\"", "memory_total (32.0 MiB)"),
        ("concurrency = 0", "'--concurrency <N>'"),
        ("allow_upload = \"maybe\"", "must be true, yes, on or 1"),
        ("debug_listen = \"0.0.0.0:6060\"", "127.0.0.1:6060"),
        ("webhook_allow = [\"http://receiver\"]", "'--webhook-allow <HOST|NETWORK>'"),
        ("public_host = [\"https://example.org\"]", "'https://example.org' is not"),
        ("trust_proxy = [\"proxy\"]", "'proxy' is not"),
        ("webhook_attempts = 0", "must be from 1 to 100"),
        ("webhook_backoff = \"7h\"", "must be from 1ms to 6h"),
        ("log_format = \"xml\"", "[possible values: human, json]"),
    ] {
        let error = merge(&[], text).expect_err(text);
        assert!(format!("{error:#}").contains(named), "{error:#}");
    }
}

#[test]
fn an_error_in_the_file_shows_no_password() {
    let url = "postgres://wasmill:s3cret@localhost";
    for text in [
        format!("database = \"{url}"),
        format!("database = {url}"),
        format!("database = [\"{url}\"]"),
        format!("database = {{ url = \"{url}\" }}"),
        format!("database = \"{url}\" slots = 5"),
        format!("database = \"{url}\"\ndatabase = \"{url}\""),
        format!("databse = \"{url}\""),
        format!("[database]\nurl = \"{url}\""),
    ] {
        let error = format!("{:#}", merge(&[], &text).expect_err(&text));
        assert!(error.starts_with("line ") && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn an_error_in_the_file_shows_the_line() {
    let error = merge(&[], "slots = 5\ndrain = \"soon\"").expect_err("no duration").to_string();
    assert!(error.starts_with("line 2, column 9: ") && error.contains("soon"), "{error}");
    let error = merge(&[], "slots = 5\nslotz = 5").expect_err("no setting").to_string();
    assert!(error.starts_with("line 2, column 1: "), "{error}");
}
