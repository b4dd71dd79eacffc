//! Handles each HTTP request of a guest: authorizes it, lists it as in flight, sends it, and logs its denial.
//!
//! Called by wasmtime-wasi-http. `policy` decides, and `client` sends.

use std::sync::Arc;

use hyper::{Request, Response};
use wasmill_egress::Endpoint;
use wasmill_model::RunHost;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::http::client::{self, BODY_CHUNK_BYTES, Call};
use crate::http::policy::{Refusal, authorize};
use crate::http::request_span::RequestSpan;
use crate::observe::http_calls::HttpCalls;
use crate::plugin::context::PluginContext;
use crate::secrets::RunSecrets;

/// A boxed future, as wasmtime-wasi-http expects it.
type Boxed<T> = Box<dyn Future<Output = T> + Send>;
/// The future that drives a connection while its response is read.
type Driver = Boxed<Result<(), Error>>;

/// Handles the HTTP requests of one guest.
pub(crate) struct HttpHooks {
    plugin: Arc<PluginContext>,
    calls: Arc<HttpCalls>,
    /// Its meter counts the requests.
    host: Arc<dyn RunHost>,
    secrets: Option<Arc<RunSecrets>>,
}

impl HttpHooks {
    pub(crate) fn new(
        plugin: &Arc<PluginContext>,
        calls: &Arc<HttpCalls>,
        host: &Arc<dyn RunHost>,
        secrets: Option<&Arc<RunSecrets>>,
    ) -> Self {
        let (plugin, calls, host) = (Arc::clone(plugin), Arc::clone(calls), Arc::clone(host));
        Self { plugin, calls, host, secrets: secrets.cloned() }
    }

    /// Removes revealed secrets from a text for operators: a guest chooses methods, and names under a wildcard.
    fn redact(&self, text: String) -> String {
        match &self.secrets {
            Some(secrets) => secrets.redact(text),
            None => text,
        }
    }
}

impl WasiHttpHooks for HttpHooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Boxed<Result<(Response<WasiBody>, Driver), Error>> {
        let plugin = Arc::clone(&self.plugin);
        let allowed = match authorize(&request, &plugin.config.permissions.http) {
            Ok(allowed) => allowed,
            Err(refusal) => {
                if let Refusal::Denied { origin, reason } = &refusal {
                    plugin.denial_log.log_http(&self.redact(origin.clone()), reason);
                }
                return Box::new(async { Err(refusal.into()) });
            }
        };
        let origin = self.redact(allowed.endpoint.origin());
        let guard = self.calls.start(&self.redact(request.method().to_string()), origin.clone());
        let host = Arc::clone(&self.host);
        if let Some(meter) = host.meter() {
            meter.add_http_request();
        }
        let address = self.redact(allowed.endpoint.host.clone());
        let span =
            RequestSpan::start(&host, &mut request, Endpoint { host: address, ..allowed.endpoint.clone() });
        let secrets = self.secrets.clone();
        Box::new(async move {
            let options = options.unwrap_or_default();
            let prohibited = || plugin.denial_log.log_private_address(&origin);
            let call =
                Call { allowed: &allowed, host: &host, secrets: secrets.as_deref(), prohibited: &prohibited };
            let sent = client::send(&plugin.connector, call, request, options).await;
            span.finish(sent.as_ref().map(|(response, _)| response.status()));
            let (response, mut driver) = sent?;
            guard.set_has_head();
            let connection = async move {
                // The guest learns of a broken connection when it reads the body.
                driver.join_next().await;
                drop(guard);
                Ok(())
            };
            Ok((response, Box::new(connection) as Driver))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    // Connection errors are reported to the guest, and logged at debug level only: a guest could fill the host's
    // log.

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP failed");
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP failed to connect");
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP failed in TLS");
        ErrorCode::TlsProtocolError
    }
}
