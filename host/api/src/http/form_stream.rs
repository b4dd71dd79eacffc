//! Reads a form from a body that may be larger than memory, within limits of size and time.
//!
//! `body` reads all other bodies at once.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::http::body::{self, BodyConfig, BodyMax};
use crate::http::body_budget::Reservation;
use crate::http::multipart::{Event, Malformed, Multipart};
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;

/// The memory that a form takes up: a part of a file that is not written yet, and what has arrived of the next.
const MEMORY_BYTES: u64 = 2 << 20;

/// How much has to arrive within the time limit of a body.
const PACE_BYTES: u64 = 1 << 20;

/// A form that is being read.
pub(crate) struct FormStream {
    form: Multipart,
    body: Body,
    max: BodyMax,
    received: u64,
    /// How long it was waited for the client.
    waited: Duration,
    timeout: Duration,
    memory: Reservation,
}

impl FormStream {
    /// Starts to read a form with this boundary. A client may take the time of a body for each MiB. Until
    /// [`allow`](FormStream::allow) is called, the caller bounds what it reads.
    ///
    /// # Errors
    ///
    /// Fails if the body is compressed, and if there is no memory for another form.
    pub(crate) async fn open(
        config: &BodyConfig,
        headers: &HeaderMap,
        body: Body,
        boundary: &str,
    ) -> Result<Self, Problem> {
        body::check_encoding(headers)?;
        let memory = body::reserve(config, MEMORY_BYTES).await?;
        Ok(Self {
            form: Multipart::new(boundary),
            body,
            max: BodyMax { bytes: usize::MAX, setting: None },
            received: 0,
            waited: Duration::ZERO,
            timeout: config.timeout,
            memory,
        })
    }

    /// Counts bytes of the form that the caller holds.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for them.
    pub(crate) async fn hold(&mut self, bytes: u64) -> Result<(), Problem> {
        body::grow(&mut self.memory, bytes).await
    }

    /// Limits the whole body.
    ///
    /// # Errors
    ///
    /// Fails if the client has announced more.
    pub(crate) fn allow(&mut self, max: BodyMax) -> Result<(), Problem> {
        self.max = max;
        self.check_size(self.body.size_hint().lower())
    }

    /// Returns what comes next.
    ///
    /// # Errors
    ///
    /// Fails if the body is no form, is cut, too large or too slow.
    pub(crate) async fn next(&mut self) -> Result<Event, Problem> {
        loop {
            if let Some(event) = self.form.next().map_err(|Malformed| malformed())? {
                return Ok(event);
            }
            let bytes = self.receive().await?.ok_or_else(malformed)?;
            self.form.feed(bytes);
        }
    }

    /// Reads what follows the form.
    ///
    /// # Errors
    ///
    /// Fails if the body is cut, too large or too slow.
    pub(crate) async fn finish(mut self) -> Result<(), Problem> {
        while self.receive().await?.is_some() {}
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, Problem> {
        let paces = u32::try_from(1 + self.received / PACE_BYTES).unwrap_or(u32::MAX);
        let left = self.timeout.saturating_mul(paces).saturating_sub(self.waited);
        let start = Instant::now();
        let frame = tokio::time::timeout(left, self.body.frame()).await.map_err(|_| body::too_slow())?;
        self.waited += start.elapsed();
        let Some(frame) = frame.transpose().map_err(|_| body::unreadable())? else { return Ok(None) };
        let bytes = frame.into_data().unwrap_or_default();
        self.check_size(bytes.len() as u64)?;
        self.received += bytes.len() as u64;
        Ok(Some(bytes))
    }

    fn check_size(&self, more: u64) -> Result<(), Problem> {
        let is_allowed = self.received.saturating_add(more) <= self.max.bytes as u64;
        is_allowed.then_some(()).ok_or_else(|| body::too_large(self.max))
    }
}

fn malformed() -> Problem {
    let detail = "the body is no form of the type multipart/form-data (RFC 7578), or ends too early";
    Problem::invalid_request(FieldError::body(detail))
}
