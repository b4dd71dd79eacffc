//! Forwards what a guest writes to its log. Never blocks, and keeps only the end of a program's stderr.

use std::sync::Arc;

use wasmill_model::{LogStream, RunHost};

use crate::guest::output::{Overflow, Sink};
use crate::guest::program::StderrTail;
use crate::secrets::RunSecrets;

/// Appends to the log of a run.
#[derive(Clone)]
pub(crate) struct GuestLog {
    host: Arc<dyn RunHost>,
    stream: LogStream,
    stderr_tail: Option<StderrTail>,
    secrets: Option<Arc<RunSecrets>>,
}

impl GuestLog {
    pub(crate) fn new(host: &Arc<dyn RunHost>, stream: LogStream, secrets: Option<&Arc<RunSecrets>>) -> Self {
        Self { host: Arc::clone(host), stream, stderr_tail: None, secrets: secrets.cloned() }
    }

    /// Creates a stderr stream that also keeps the end of its output.
    pub(crate) fn with_stderr_tail(
        host: &Arc<dyn RunHost>,
        stderr_tail: &StderrTail,
        secrets: Option<&Arc<RunSecrets>>,
    ) -> Self {
        Self { stderr_tail: Some(stderr_tail.clone()), ..Self::new(host, LogStream::Stderr, secrets) }
    }
}

impl Sink for GuestLog {
    fn append(&self, written: &[u8]) -> Result<(), Overflow> {
        let written = match &self.secrets {
            Some(secrets) => secrets.redact_log(self.stream, written),
            None => written.into(),
        };
        self.host.log(self.stream, &written);
        if let Some(stderr_tail) = &self.stderr_tail {
            stderr_tail.write(&written);
        }
        Ok(())
    }
}
