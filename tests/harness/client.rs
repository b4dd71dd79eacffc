//! A client of one server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Stream;
use crate::document::{self, Document};

/// Sends requests over kept connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    server: SocketAddr,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    is_documented: bool,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null if it is none.
    pub json: Value,
}

impl Answer {
    /// Returns the string at this key of the body.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn str(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_else(|| panic!("no string '{key}' in {}", self.text))
    }
}

impl Client {
    /// Makes a client of the server at this address.
    pub fn new(server: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { server, http, is_documented: true }
    }

    /// Expects answers that the API document says nothing of, as those of the debug port.
    pub fn undocumented(self) -> Self {
        Self { is_documented: false, ..self }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, breaks off or takes longer than a minute.
    ///
    /// # Panics
    ///
    /// If the answer is not as the API document says.
    pub async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Answer> {
        self.send_with(method, path, &[], body).await
    }

    /// Does what [`Client::send`] does, with these headers.
    ///
    /// # Errors
    ///
    /// See [`Client::send`].
    ///
    /// # Panics
    ///
    /// See [`Client::send`].
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer> {
        let answer = self.exchange(method.clone(), path, headers, body).await?;
        if self.is_documented
            && document::is_held()
            && let Some(document) = self.document().await
            && let Err(why) = document.check(&method, path, &answer)
        {
            panic!("{method} {path} is answered otherwise than documented: {why}: {}", answer.text);
        }
        Ok(answer)
    }

    /// Returns the API document; none if the server is gone by now.
    pub async fn document(&self) -> Option<&'static Document> {
        if let Some(document) = document::known() {
            return Some(document);
        }
        let answer = self.exchange(Method::GET, "/openapi.json", &[], None).await.ok()?;
        (answer.status == StatusCode::OK).then(|| document::learn(answer.json))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut bytes = Bytes::new();
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type);
            bytes = body.into();
        }
        let answer = tokio::time::timeout(Duration::from_secs(60), async {
            let (head, body) = self.http.request(request.body(Full::new(bytes))?).await?.into_parts();
            anyhow::Ok((head, body.collect().await?.to_bytes()))
        });
        let (head, body) = answer.await.with_context(|| format!("no answer to {path} within a minute"))??;
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, text, json })
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.server
    }

    /// GETs a path and returns the status and the bytes of the body, which need be no text.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn send_for_bytes(&self, path: &str) -> (StatusCode, Bytes) {
        let request = Request::get(format!("http://{}{path}", self.server)).body(Full::default());
        let answer = self.http.request(request.expect("a request")).await.expect("an answer");
        let status = answer.status();
        (status, answer.into_body().collect().await.expect("a body").to_bytes())
    }

    /// GETs a path.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await.expect("an answer")
    }

    /// DELETEs a path.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await.expect("an answer")
    }

    /// POSTs a JSON body.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let body = ("application/json", body.to_string().into_bytes());
        self.send(Method::POST, path, Some(body)).await.expect("an answer")
    }

    /// Opens a stream of events, behind the last one that was seen of an earlier.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn follow(&self, path: &str, last: Option<&str>) -> Stream {
        Stream::open(self.server, path, last).await.expect("an answer")
    }

    /// Submits a task and returns its id. Tries again while its plugin is being compiled: on a busy machine
    /// that may last longer than the start of a server waits for it.
    ///
    /// # Panics
    ///
    /// If it is not accepted within a minute.
    pub async fn submit(&self, task: &Value) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        let mut answer = self.post("/task", task).await;
        while answer.json["code"] == "plugin-compiling" && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = self.post("/task", task).await;
        }
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.str("id").to_owned()
    }

    /// Waits until a task is in this state, and returns its record.
    ///
    /// # Panics
    ///
    /// If it is not within a minute, or has ended in another.
    pub async fn until(&self, id: &str, state: &str) -> Answer {
        self.until_record(id, state, |record| record["state"] == state).await
    }

    /// Waits until a task has ended, and returns its record.
    ///
    /// # Panics
    ///
    /// If it has not within a minute.
    pub async fn until_ended(&self, id: &str) -> Answer {
        self.until_record(id, "ended", has_ended).await
    }

    /// Waits until a task has told its progress, and returns its record.
    ///
    /// # Panics
    ///
    /// If it has not within a minute, or has ended.
    pub async fn until_progress(&self, id: &str) -> Answer {
        self.until_record(id, "telling its progress", |record| !record["progress"].is_null()).await
    }

    /// Waits until the record of a task is as asked, and returns it.
    ///
    /// # Panics
    ///
    /// If it is not within a minute, or has ended otherwise.
    pub async fn until_record(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Answer {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get(&format!("/task/{id}")).await;
            if is_so(&answer.json) {
                return answer;
            }
            let in_vain = has_ended(&answer.json) || Instant::now() > until;
            assert!(!in_vain, "the task is not {what}: {}", answer.text);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns how many slots are taken.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn slots_used(&self) -> u64 {
        self.get("/stats").await.json["slots"]["used"].as_u64().expect("a number")
    }
}

fn has_ended(record: &Value) -> bool {
    matches!(record["state"].as_str(), Some("completed" | "failed" | "cancelled"))
}
