//! An HTTP client of one server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Stream;
use crate::document::{self, Document};

/// Sends requests over kept-alive connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    server: SocketAddr,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    is_documented: bool,
    key: Option<String>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; `null` if it is not JSON.
    pub json: Value,
}

impl Answer {
    /// Returns the string at this key of the body.
    ///
    /// # Panics
    ///
    /// If there is no string.
    pub fn str(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_else(|| panic!("no string '{key}' in {}", self.text))
    }

    /// Returns the pointers of the errors of a problem.
    ///
    /// # Panics
    ///
    /// If there are no errors.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().unwrap_or_else(|| panic!("no errors in {}", self.text));
        errors.iter().filter_map(|error| error["pointer"].as_str()).collect()
    }
}

impl Client {
    /// Creates a client of the server at this address.
    pub fn new(server: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { server, http, is_documented: true, key: None }
    }

    /// Skips the validation against the OpenAPI document, as for the debug port.
    pub fn undocumented(self) -> Self {
        Self { is_documented: false, ..self }
    }

    /// Sends this key with each request.
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    ///
    /// Fails if the server is unreachable, disconnects or takes longer than a minute.
    ///
    /// # Panics
    ///
    /// If the response does not match the OpenAPI document.
    pub async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Answer> {
        self.send_with(method, path, &[], body).await
    }

    /// Like [`Client::send`], with these headers.
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

    /// Returns the OpenAPI document; `None` if the server is gone.
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
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
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

    /// GETs a path and returns the status and the raw body.
    ///
    /// # Panics
    ///
    /// If there is no response.
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
    /// If there is no response.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await.expect("an answer")
    }

    /// DELETEs a path.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await.expect("an answer")
    }

    /// POSTs a JSON body.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let body = ("application/json", body.to_string().into_bytes());
        self.send(Method::POST, path, Some(body)).await.expect("an answer")
    }

    /// PUTs a schedule.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn put_schedule(&self, name: &str, schedule: &Value) -> Answer {
        let body = ("application/json", schedule.to_string().into_bytes());
        self.send(Method::PUT, &format!("/schedules/{name}"), Some(body)).await.expect("an answer")
    }

    /// PUTs a plugin.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn put_plugin(&self, name: &str, wasm: &[u8]) -> Answer {
        let body = ("application/wasm", wasm.to_vec());
        self.send(Method::PUT, &format!("/plugins/{name}"), Some(body)).await.expect("an answer")
    }

    /// Submits tasks at once, and returns their ids.
    ///
    /// # Panics
    ///
    /// If they are not accepted.
    pub async fn submit_batch(&self, tasks: &Value) -> Vec<String> {
        let answer = self.post("/task/batch", tasks).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let records = answer.json.as_array().expect("an array");
        records.iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Opens an event stream, after the last event of an earlier one.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn follow(&self, path: &str, last: Option<&str>) -> Stream {
        Stream::open(self.server, path, last, self.key.as_deref()).await.expect("an answer")
    }

    /// Submits a task and returns its id. Retries while its plugin compiles, which on a busy machine can take
    /// longer than the server's start waits.
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

    /// Waits until a task is in this state, and returns it.
    ///
    /// # Panics
    ///
    /// If it is not within a minute, or finishes in another state.
    pub async fn until(&self, id: &str, state: &str) -> Answer {
        self.until_task(id, state, |record| record["state"] == state).await
    }

    /// Waits until a task has finished, and returns it.
    ///
    /// # Panics
    ///
    /// If it has not within a minute.
    pub async fn until_finished(&self, id: &str) -> Answer {
        self.until_task(id, "ended", has_ended).await
    }

    /// Waits until a task has reported progress, and returns it.
    ///
    /// # Panics
    ///
    /// If it has not within a minute, or finishes.
    pub async fn until_progress(&self, id: &str) -> Answer {
        self.until_task(id, "telling its progress", |record| !record["progress"].is_null()).await
    }

    /// Waits until a task fulfils this condition, and returns it.
    ///
    /// # Panics
    ///
    /// If it does not within a minute, or finishes without.
    pub async fn until_task(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Answer {
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

    /// Returns the number of used slots.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn slots_used(&self) -> u64 {
        self.get("/stats").await.json["slots"]["used"].as_u64().expect("a number")
    }
}

fn has_ended(record: &Value) -> bool {
    matches!(record["state"].as_str(), Some("completed" | "failed" | "cancelled"))
}
