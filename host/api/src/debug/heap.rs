//! `GET /debug/pprof/heap`: says how to profile the heap.

use axum::http::StatusCode;

use crate::problem::Problem;

pub(super) async fn heap() -> Problem {
    let detail = "this build does not track allocations, since that would slow down every task; run the \
                  server under gperftools: LD_PRELOAD=libtcmalloc.so.4 HEAPPROFILE=/tmp/wasmill wasmill \
                  serve, then \
                  google-pprof --text $(which wasmill) /tmp/wasmill.0001.heap. Guest memory is not on that heap; see /debug/tasks, and /stats of the API";
    Problem::new(StatusCode::NOT_IMPLEMENTED, "no-heap-profile", "No heap profile in this build", detail)
}
