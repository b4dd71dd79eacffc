//! Answers an HTTP request in `wasmtime serve`: at once, or after a sleep, or never.

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Guest;

impl wasip2::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        if let Some(ms) = path.strip_prefix("/sleep/").and_then(|ms| ms.parse::<u64>().ok()) {
            monotonic_clock::subscribe_duration(ms * 1_000_000).block();
        } else if path == "/spin" {
            let mut rounds = 0_u64;
            loop {
                rounds = std::hint::black_box(rounds.wrapping_add(1));
            }
        }
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(answer, Ok(response));
        OutgoingBody::finish(body, None).expect("the body is empty");
    }
}

wasip2::http::proxy::export!(Guest);
