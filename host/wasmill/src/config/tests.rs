//! Tests which settings are accepted, and which of several takes precedence.

use super::*;

fn file(text: &str) -> Settings {
    toml::from_str(text).expect("a valid file")
}

#[test]
fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
    let flags = Settings { slots: Some(7), ..Settings::default() };
    let config = Config::merge(flags, file("slots = 5\ndrain = \"1m\"")).expect("valid");
    assert_eq!(config.slots, Some(7));
    assert_eq!(config.drain, Duration::from_secs(60));
    assert_eq!(config.timeout, Duration::from_secs(600));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of settings")]
fn every_setting_can_be_set_in_the_file() {
    let all = file(
        r#"
        listen = "0.0.0.0:9000"
        data = "/var/lib/wasmill"
        plugins = "/srv/plugins"
        watch_poll = "5s"
        slots = 10
        drain = "30s"
        waiting_max = 5
        keep_for = "forever"
        keep_max = 7
        timeout = "1h"
        timeout_max = "2h"
        cpu = "20s"
        cpu_max = "30s"
        memory = "128MiB"
        output = "2MiB"
        log_tail = "1KiB"
        log_total = "8MiB"
        memory_max = "512MiB"
        memory_total = "3GiB"
        output_max = "4MiB"
        log_tail_max = "2KiB"
        disk = "2GiB"
        disk_max = "3GiB"
        concurrency = 3
        allow_upload = true
        body_max = "3MiB"
        debug_listen = "0.0.0.0:6060"
        debug_remote = true
        public_host = ["tasks.example.org"]
        allow_origin = ["https://dashboard.example.org"]
        trust_proxy = ["127.0.0.1", "10.0.0.0/8"]
        otlp_endpoint = "http://localhost:4318"
        batch_body_max = "5MiB"
        webhook_secret_file = "/run/secrets/webhook"
        webhook_allow = ["receiver", "10.0.0.0/8"]
        webhook_attempts = 3
        webhook_backoff = "1s"
        webhook_timeout = "5s"
        group_tag = "tenant:"
        log = "debug"
        log_format = "json"
        "#,
    );
    let config = Config::merge(Settings::default(), all).expect("valid");
    assert_eq!(config.memory_bytes, 128 << 20);
    assert_eq!(
        (config.limits().cpu, config.max_limits.cpu.map(|max| max.as_secs())),
        (Some(Duration::from_secs(20)), Some(30))
    );
    assert_eq!(config.memory_total_bytes, Some(3 << 30));
    assert_eq!((config.log_format, config.log_total_bytes), (LogFormat::Json, 8 << 20));
    assert_eq!((config.max_limits.memory_bytes, config.max_limits.concurrency), (512 << 20, Some(3)));
    assert_eq!((config.limits().disk_bytes, config.max_limits.disk_bytes), (2 << 30, 3 << 30));
    assert!(config.allow_upload);
    assert_eq!(config.otlp_endpoint.as_deref(), Some("http://localhost:4318"));
    assert_eq!((config.access_policy.public_hosts.len(), config.access_policy.trusted_proxies.len()), (1, 2));
    assert_eq!(config.access_policy.allowed_origins.len(), 1);
    assert_eq!(config.batch_bytes, 5 << 20);
    assert_eq!((config.webhook_allowed.len(), config.webhook_attempts), (2, 3));
    assert_eq!(config.webhook_backoff.wait(2, 0.0), Duration::from_secs(5));
    assert_eq!((config.batch_bytes, config.group_tag.as_deref()), (5 << 20, Some("tenant:")));
    assert_eq!(config.timeout_max, Duration::from_secs(7200));
}

#[test]
fn retention_is_on_unless_disabled() {
    let retention = |text| Config::merge(Settings::default(), file(text)).expect("valid").retention;
    let week = Some(Duration::from_secs(604_800));
    assert_eq!(retention(""), Retention { keep_for: week, keep_max: Some(1_000_000) });
    let off = Retention { keep_for: None, keep_max: None };
    assert_eq!(retention("keep_for = \"forever\"\nkeep_max = 0"), off);
    assert_eq!(retention("keep_for = \"0s\"\nkeep_max = 0"), off);
    let some = Retention { keep_for: Some(Duration::from_secs(7200)), keep_max: Some(5) };
    assert_eq!(retention("keep_for = \"2h\"\nkeep_max = 5"), some);
}

#[test]
fn a_raised_default_raises_its_maximum() {
    let config = Config::merge(Settings::default(), file("memory = \"1GiB\"")).expect("valid");
    assert_eq!(config.max_limits.memory_bytes, 1 << 30);
    let config = Config::merge(Settings::default(), file("disk = \"1TiB\"")).expect("valid");
    assert_eq!(config.max_limits.disk_bytes, 1 << 40);
    let config = Config::merge(Settings::default(), Settings::default()).expect("valid");
    assert_eq!((config.max_limits.memory_bytes, config.allow_upload), (256 << 20, false));
}

#[test]
fn a_typo_in_the_file_is_an_error() {
    let error = toml::from_str::<Settings>("slotz = 5").expect_err("a typo");
    assert!(error.to_string().contains("slotz"), "{error}");
}

#[test]
fn invalid_settings_are_rejected_with_the_reason() {
    for (text, named) in [
        ("slots = 0", "invalid value for --slots: "),
        ("waiting_max = 0", "--waiting-max"),
        ("watch_poll = \"0s\"", "50ms"),
        ("timeout = \"3h\"\ntimeout_max = \"2h\"", "3h"),
        ("cpu = \"3s\"\ncpu_max = \"2s\"", "cpu_max (2s)"),
        ("cpu = \"0s\"", "1ms"),
        ("memory = \"8GiB\"", "4.0 GiB"),
        ("memory = \"2MiB\"\nmemory_max = \"1MiB\"", "memory_max (1.0 MiB)"),
        ("disk = \"2MiB\"\ndisk_max = \"1MiB\"", "disk_max (1.0 MiB)"),
        ("memory = \"64MiB\"\nmemory_total = \"32MiB\"", "memory_total (32.0 MiB)"),
        ("memory_total = \"1MiB\"", "16.0 MiB"),
        ("log_total = \"1KiB\"", "1.0 MiB"),
        ("concurrency = 0", "concurrency"),
        ("debug_listen = \"0.0.0.0:6060\"", "127.0.0.1:6060"),
        ("webhook_allow = [\"http://receiver\"]", "--webhook-allow"),
        ("public_host = [\"https://example.org\"]", "--public-host: 'https://example.org' is not"),
        ("allow_origin = [\"example.org\"]", "--allow-origin: 'example.org' is not"),
        ("trust_proxy = [\"proxy\"]", "--trust-proxy: 'proxy' is not"),
        ("webhook_attempts = 0", "--webhook-attempts"),
        ("webhook_backoff = \"7h\"", "6h"),
        ("webhook_timeout = \"1h\"", "120s"),
    ] {
        let error = Config::merge(Settings::default(), file(text)).expect_err(text);
        assert!(format!("{error:#}").contains(named), "{error:#}");
    }
}
