//! The collector to export to and its options: from the setting, and from the standard OpenTelemetry variables:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use wasmill_egress::{BaseUrl, Endpoint, is_reserved};
use wasmill_model::{Sampler, SpanId};

use crate::otlp::{Encoding, Resource};

/// The path below the base URL of a collector.
const PATH: &str = "/v1/traces";
/// Default time limit for a response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long spans wait to be batched by default; shorter than the standard's 5 s, so that traces show up soon.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// The default maximum of spans per request, about half a megabyte.
const BATCH_MAX: usize = 1_024;
/// The collector that `OTEL_TRACES_EXPORTER=otlp` means.
const LOCAL: &str = "http://localhost:4318";
/// The default service name.
const SERVICE: &str = "wasmill";

/// A collector and how to reach it.
pub(crate) struct Collector {
    pub(crate) endpoint: Endpoint,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Certificates trusted in addition to the public roots.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) encoding: Encoding,
    pub(crate) is_gzipped: bool,
    /// Maximum spans per request.
    pub(crate) batch_max: usize,
    /// How long spans wait to be batched.
    pub(crate) batch_delay: Duration,
    pub(crate) resource: Resource,
    pub(crate) sampler: Sampler,
}

/// Reads an environment variable.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Collector {
    /// Returns the URL of requests.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.endpoint.origin(), self.path)
    }
}

/// Returns the collector named by the setting, else by the environment, if any.
///
/// # Errors
///
/// Fails if the address is invalid.
pub(crate) fn find(setting: Option<&str>, read: Read<'_>) -> Result<Option<Collector>> {
    let read = |name: &str| read(name).filter(|value| !value.is_empty());
    // The variable for traces takes precedence over the one for all signals.
    let either = |name: &str| {
        read(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| read(&format!("OTEL_EXPORTER_OTLP_{name}")))
    };
    let named = match setting {
        Some(setting) => Some(("otlp_endpoint", setting.to_owned(), PATH)),
        None => from_environment(&read),
    };
    let Some((name, url, below)) = named else { return Ok(None) };
    let base: BaseUrl = url.parse().map_err(|why| anyhow!("invalid value for {name}: '{url}': {why}"))?;
    let path = match format!("{}{below}", base.prefix) {
        path if path.is_empty() => "/".to_owned(),
        path => path,
    };
    warn_of_unsupported(&either);
    let number = |name, value: Option<String>| {
        value.and_then(|value| {
            let number = value.parse::<u32>().ok().filter(|number| *number > 0);
            if number.is_none() {
                tracing::warn!(name, value, "not a positive integer; the default applies");
            }
            number
        })
    };
    let millis = |name, value| number(name, value).map(|millis| Duration::from_millis(millis.into()));
    let batch_max = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"));
    let batch_delay = millis("OTEL_BSP_SCHEDULE_DELAY", read("OTEL_BSP_SCHEDULE_DELAY"));
    Ok(Some(Collector {
        endpoint: base.endpoint,
        path,
        headers: headers(&either("HEADERS").unwrap_or_default())?,
        certificate: either("CERTIFICATE").map(PathBuf::from),
        timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", either("TIMEOUT")).unwrap_or(TIMEOUT),
        encoding: encoding(either("PROTOCOL").as_deref()),
        is_gzipped: either("COMPRESSION").is_some_and(|compression| compression == "gzip"),
        batch_max: batch_max.map_or(BATCH_MAX, |spans| spans as usize),
        batch_delay: batch_delay.unwrap_or(BATCH_DELAY),
        resource: resource(read("OTEL_RESOURCE_ATTRIBUTES").as_deref(), read("OTEL_SERVICE_NAME")),
        sampler: sampler(read("OTEL_TRACES_SAMPLER"), read("OTEL_TRACES_SAMPLER_ARG")),
    }))
}

/// Returns the collector that the environment names: variable, URL and the path below it.
fn from_environment(read: Read<'_>) -> Option<(&'static str, String, &'static str)> {
    if read("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let exporter = read("OTEL_TRACES_EXPORTER");
    let is_otlp = |list: &str| list.split(',').any(|exporter| exporter.trim() == "otlp");
    if let Some(exporter) = exporter.as_deref().filter(|list| !is_otlp(list)) {
        if exporter != "none" {
            tracing::warn!(exporter, "exporting no traces: OTEL_TRACES_EXPORTER is neither otlp nor none");
        }
        return None;
    }
    let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "");
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", PATH);
    let named = [exact, base].into_iter().find_map(|(name, below)| Some((name, read(name)?, below)));
    named.or_else(|| exporter.map(|_| ("OTEL_TRACES_EXPORTER", LOCAL.to_owned(), PATH)))
}

fn encoding(protocol: Option<&str>) -> Encoding {
    match protocol {
        None | Some("http/json") => Encoding::Json,
        Some("http/protobuf") => Encoding::Protobuf,
        Some(protocol) => {
            tracing::warn!(
                protocol,
                "exporting traces as http/protobuf; the protocol is neither that nor http/json, so use the \
                 collector's HTTP port"
            );
            Encoding::Protobuf
        }
    }
}

/// Warns of variables whose values mean what this exporter cannot do.
fn warn_of_unsupported(either: Read<'_>) {
    if let Some(compression) = either("COMPRESSION").filter(|name| name != "gzip" && name != "none") {
        tracing::warn!(
            compression,
            "exporting traces uncompressed: the compression is neither gzip nor none"
        );
    }
    if either("CLIENT_KEY").is_some() || either("CLIENT_CERTIFICATE").is_some() {
        tracing::warn!("exporting traces without a client certificate, which is not supported");
    }
}

/// Parses an item of a list such as `a=b,c=d`, whose values are percent-encoded.
fn pair(item: &str) -> Option<(String, String)> {
    let (key, value) = item.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
    Some((key.trim().to_owned(), value))
}

/// Parses the headers of requests. Their values may be secret, so no message shows them.
fn headers(list: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (number, item) in (1..).zip(list.split(',')).filter(|(_, item)| !item.trim().is_empty()) {
        let header = pair(item).and_then(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::try_from(value).ok()?))
        });
        let Some((name, mut value)) = header else {
            tracing::warn!(
                "exporting traces without header {number} of OTEL_EXPORTER_OTLP_HEADERS, which is not valid; \
                 use the form name=value,name=value with percent-encoded values"
            );
            continue;
        };
        ensure!(
            !is_reserved(&name),
            "OTEL_EXPORTER_OTLP_HEADERS or …_TRACES_HEADERS has the header '{name}', which wasmill sets itself; remove it"
        );
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn resource(attributes: Option<&str>, service: Option<String>) -> Resource {
    let mut resource: Resource = attributes.unwrap_or_default().split(',').filter_map(pair).collect();
    if let Some(service) = service {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), service));
    }
    let known = [
        ("service.name", SERVICE.to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        // Distinguishes hosts with the same service name.
        ("service.instance.id", format!("{}{}", SpanId::random(), SpanId::random())),
    ];
    for (key, value) in known {
        if !resource.iter().any(|(given, _)| given == key) {
            resource.push((key.to_owned(), value));
        }
    }
    resource
}

fn sampler(name: Option<String>, argument: Option<String>) -> Sampler {
    let Some(name) = name else { return Sampler::default() };
    let (parent_based, of_others) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    let share = match of_others {
        "always_on" => Some(1.0),
        "always_off" => Some(0.0),
        "traceidratio" => match argument {
            None => Some(1.0),
            Some(share) => share.parse().ok().filter(|share| (0.0..=1.0).contains(share)),
        },
        _ => None,
    };
    share.map_or_else(
        || {
            tracing::warn!(
                name,
                "OTEL_TRACES_SAMPLER or its argument is not supported; sampling every trace"
            );
            Sampler::default()
        },
        |share| Sampler { parent_based, share },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(setting: Option<&str>, environment: &[(&str, &str)]) -> Result<Option<Collector>> {
        let read = |name: &str| {
            environment.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        };
        find(setting, &read)
    }

    fn url(setting: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        found(setting, environment).expect("valid").map(|collector| collector.url())
    }

    #[test]
    fn the_setting_overrides_the_environment() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://b/t");
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(url(None, &[base]).as_deref(), Some("http://a:4318/v1/traces"));
        assert_eq!(url(None, &[base, exact]).as_deref(), Some("https://b/t"));
        let bare = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:1");
        assert_eq!(url(None, &[bare]).as_deref(), Some("http://b:1/"));
        let own = url(Some("https://c/otlp/"), &[base, exact, ("OTEL_TRACES_EXPORTER", "none")]);
        assert_eq!(own.as_deref(), Some("https://c/otlp/v1/traces"));
        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ] {
            assert_eq!(url(None, &[base, off]), None, "{off:?}");
        }
        let otlp = ("OTEL_TRACES_EXPORTER", "console, otlp");
        assert_eq!(url(None, &[otlp]).as_deref(), Some("http://localhost:4318/v1/traces"));
        assert_eq!(url(None, &[otlp, base]).as_deref(), Some("http://a:4318/v1/traces"));
    }

    #[test]
    fn an_invalid_collector_is_rejected_by_name() {
        let error = found(Some("ftp://a"), &[]).err().expect("refused");
        assert!(format!("{error:#}").contains("otlp_endpoint"), "{error:#}");
        let error = found(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://")]).err().expect("refused");
        assert!(format!("{error:#}").contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error:#}");
    }

    #[test]
    fn a_header_that_frames_a_message_is_rejected_by_name() {
        for name in [
            "content-length",
            "Transfer-Encoding",
            "host",
            "connection",
            "content-type",
            "content-encoding",
            "keep-alive",
            "expect",
            "te",
            "trailer",
            "upgrade",
        ] {
            for variable in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
                let list = format!("api-key=secret, {name} = 7");
                let error = found(Some("http://a"), &[(variable, &list)]).err().expect("refused").to_string();
                assert!(error.contains(&format!("'{}'", name.to_lowercase())), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }

    #[test]
    fn the_standard_variables_apply() {
        let collector = found(
            Some("http://a"),
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=s%20t, x = 1,nonsense,b\u{e4}d=1"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
                ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "750"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_BSP_SCHEDULE_DELAY", "5000"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
                ("OTEL_SERVICE_NAME", "mill"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ],
        );
        let collector = collector.expect("valid").expect("one");
        let headers: Vec<_> =
            collector.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("api-key", b"s t".as_slice()), ("x", b"1")]);
        assert_eq!(collector.timeout, Duration::from_millis(750));
        assert_eq!((collector.batch_delay, collector.batch_max), (Duration::from_secs(5), BATCH_MAX));
        assert_eq!((collector.is_gzipped, collector.encoding), (true, Encoding::Protobuf));
        assert_eq!(collector.sampler, Sampler { parent_based: true, share: 0.25 });
        let of = |key: &str| {
            let values = collector.resource.iter().filter(|(given, _)| given == key);
            values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((of("service.name"), of("deployment.environment.name")), (vec!["mill"], vec!["test"]));
        assert_eq!(of("service.instance.id")[0].len(), 32);
    }

    #[test]
    fn samplers_are_selected_by_name() {
        let picked = |name: &str, argument: Option<&str>| {
            let Sampler { parent_based, share } = sampler(Some(name.to_owned()), argument.map(str::to_owned));
            (parent_based, share)
        };
        assert_eq!(picked("always_on", None), (false, 1.0));
        assert_eq!(picked("always_off", None), (false, 0.0));
        assert_eq!(picked("parentbased_always_off", None), (true, 0.0));
        assert_eq!(picked("traceidratio", Some("0.5")), (false, 0.5));
        for nonsense in [("xray", None), ("traceidratio", Some("2")), ("traceidratio", Some("many"))] {
            assert_eq!(picked(nonsense.0, nonsense.1), (true, 1.0), "{nonsense:?}");
        }
    }
}
