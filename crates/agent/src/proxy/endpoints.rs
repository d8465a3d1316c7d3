//! `/agent/v1/...`: what is the agent's own.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::info;

use super::Shared;
use super::body::{self, Body, Read, empty, refusal, whole};
use super::counters::Gauges;
use super::limits::Listening;
use crate::cache::Clear;
use crate::config::{ListenerConfig, ListenerRole};
use crate::session::Session;

impl Shared {
    /// Answers any request.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        listening: &Listening,
    ) -> Response<Body> {
        let listener = &listening.config;
        let path = request.uri().path();
        if path == "/agent/v1/metrics" {
            return self.metrics(&request);
        }
        if listener.role == ListenerRole::MetricsOnly {
            return empty(StatusCode::NOT_FOUND);
        }
        // A page of another site can have a browser send a request here, but not this field.
        let asked = request.headers().get_all("x-vault-request").iter().collect::<Vec<_>>();
        if listener.require_request_header && asked != ["true"] {
            let text = "missing \"X-Vault-Request\" header";
            return refusal(StatusCode::PRECONDITION_FAILED, text);
        }
        match path {
            "/agent/v1/cache-clear" => self.clear(request, listening).await,
            "/agent/v1/quit" => self.quit(request.method(), listener),
            _ if path.starts_with("/v1/") => self.pass(request, listening).await,
            _ => refusal(StatusCode::NOT_FOUND, "no handler for this path"),
        }
    }

    fn metrics(&self, request: &Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let (cached, cached_bytes) = self.cache.as_ref().map_or((0, 0), |cache| cache.size());
        let login = self.session.as_ref().and_then(Session::current);
        let gauges = Gauges {
            authenticated: login.is_some(),
            generation: login.map_or(0, |login| login.generation),
            cached,
            cached_bytes,
        };
        let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let query = request.uri().query().unwrap_or_default();
        let wants_text = query.split('&').any(|pair| pair == "format=prometheus")
            || accepts.is_some_and(|kinds| {
                kinds.contains("text/plain") || kinds.contains("application/openmetrics-text")
            });
        let (kind, text) = match wants_text {
            true => ("text/plain; version=0.0.4", self.counters.text(&gauges)),
            false => ("application/json", self.counters.json(&gauges).to_string()),
        };
        let mut response = Response::new(whole(text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    async fn clear(&self, request: Request<Incoming>, listening: &Listening) -> Response<Body> {
        // As in the stock agent: nothing to clear, and nothing wrong.
        let Some(cache) = &self.cache else { return empty(StatusCode::OK) };
        if !matches!(*request.method(), Method::POST | Method::PUT) {
            return empty(StatusCode::OK);
        }
        let pieces = body::incoming(request.into_body(), body::HELD);
        let reading = async {
            let _room = listening.room_to_ask(None).await;
            body::read(pieces).await
        };
        let Ok(Ok(Read::Whole(bytes))) = timeout(listening.config.body_timeout, reading).await
        else {
            return refusal(StatusCode::BAD_REQUEST, "the body cannot be read");
        };
        match Clear::parse(&bytes) {
            Ok(clear) => {
                cache.clear(&clear);
                empty(StatusCode::OK)
            }
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn quit(&self, method: &Method, listener: &ListenerConfig) -> Response<Body> {
        if !listener.enable_quit {
            return empty(StatusCode::NOT_FOUND);
        }
        if *method != Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        info!("asked to end at /agent/v1/quit");
        self.shutdown.cancel();
        empty(StatusCode::OK)
    }
}
