//! Calls in all protocols, answered by gRPC services.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method as Verb, Request, Response};
use tonic::Status;
use tonic::body::Body;

use crate::call::begin;
use crate::call_body::CallBody;
use crate::connect::unary;
use crate::cors::Cors;
use crate::framed;
use crate::protocol::Form;
use crate::refusal::Refusal;
use crate::schema::Schema;

/// What a server decides by itself.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Bound of one message to the method at a path, in bytes, as it is sent and after decompression.
    pub request_bytes_max: fn(&str) -> usize,
    /// Bound of the items in the repeated fields of one message to the method at a path, nested ones included. They are
    /// counted before the message is decoded: two bytes can be an empty message, which takes a hundred in memory.
    pub request_items_max: fn(&str) -> usize,
    /// Makes a status of a refusal, with the details that the server's errors have;
    /// [`Refusal::status`] is the one of the specifications.
    pub explain: fn(Refusal) -> Status,
}

/// Translates calls. A cheap clone.
#[derive(Debug, Clone)]
pub struct Translator {
    schema: Schema,
    rules: Rules,
    cors: Cors,
}

impl Translator {
    /// Translates calls of the methods in a schema.
    #[must_use]
    pub fn new(schema: Schema, rules: Rules, cors: Cors) -> Self {
        Self { schema, rules, cors }
    }

    /// Whether a client of the method at a path sends any number of messages, not one.
    #[must_use]
    pub fn takes_stream(&self, path: &str) -> bool {
        self.schema.method(path).is_some_and(|method| method.is_client_streaming)
    }

    /// Translates a request for `service`, which speaks gRPC, and its answer; refuses what cannot be translated. The
    /// service reads the body, and so bounds how long that takes.
    pub async fn answer<S, F>(&self, request: Request<Body>, service: S) -> Response<Body>
    where
        S: FnOnce(Request<CallBody>) -> F,
        F: Future<Output = Response<Body>>,
    {
        if let Some(answer) = self.cors.preflight(&request) {
            return answer;
        }
        let origin = self.cors.allowed(request.headers());
        let is_get = request.method() == Verb::GET;
        let mut answer = match begin(request, &self.schema, self.rules) {
            Ok((call, request)) => {
                let answer = service(request).await;
                if call.protocol.form == Form::ConnectUnary {
                    unary::answer(answer, &call, &self.schema).await
                } else {
                    framed::answer(answer, call, self.schema.clone())
                }
            }
            Err(refused) => *refused,
        };
        if is_get {
            // An answer reflects what happened before the request was sent; a kept one would not.
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(origin) = origin {
            Cors::expose(origin, answer.headers_mut());
        }
        answer
    }
}
