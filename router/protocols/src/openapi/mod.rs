//! The methods as an OpenAPI 3.1 document: those with one message each way, in the JSON of Connect.
//!
//! All of it comes from descriptors, texts included, so that a method that is added to them is in the document.

mod comments;
mod messages;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use serde_json::{Map, Value, json};
use tonic::Code;

use self::comments::Comments;
use self::messages::Messages;
use crate::connect::error::name;
use crate::protocol::Form;
use crate::schema::{Method, Schema, SchemaError};

/// What a document says about itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its title.
    pub title: &'a str,
    /// The version of the API.
    pub version: &'a str,
    /// What the API is for, in Markdown.
    pub description: &'a str,
}

/// The document for all services in an encoded `FileDescriptorSet`, as JSON. Always the same for the same set.
///
/// # Errors
/// [`SchemaError`] when the set is of no use.
pub fn openapi(set: &[u8], about: About<'_>) -> Result<String, SchemaError> {
    let schema = Schema::new(&[set])?;
    Ok(format!("{:#}", document(schema.pool(), about)))
}

fn document(pool: &DescriptorPool, about: About<'_>) -> Value {
    let comments = Comments::new(pool);
    let mut messages = Messages::new(&comments);
    let mut document = Document { paths: Map::new(), tags: Vec::new(), streams: Vec::new() };
    for service in pool.services() {
        document.add(&service, &comments, &mut messages);
    }
    let Document { paths, tags, streams } = document;
    let mut description = about.description.to_owned();
    if !streams.is_empty() {
        description +=
            &format!("\n\nThese methods stream, and are not shown here: {}.", streams.join(", "));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": about.title, "version": about.version, "description": description },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": messages.into_schemas(),
            "responses": { "Error": error() },
            "parameters": parameters(),
        },
    })
}

/// What comes from the services.
struct Document {
    paths: Map<String, Value>,
    tags: Vec<Value>,
    streams: Vec<String>,
}

impl Document {
    fn add(
        &mut self,
        service: &ServiceDescriptor,
        comments: &Comments,
        messages: &mut Messages<'_>,
    ) {
        let about = comments.of(&service.parent_file(), service.path());
        self.tags.push(json!({ "name": service.full_name(), "description": about }));
        for method in service.methods() {
            let shape = Method::new(&method);
            if !shape.takes(Form::ConnectUnary) {
                self.streams.push(format!("`{}`", method.full_name()));
                continue;
            }
            let text = comments.of(&method.parent_file(), method.path());
            let mut path = json!({ "post": post(&method, &text, messages) });
            if shape.takes_get() {
                path["get"] = get(&method, &text, messages);
            }
            self.paths.insert(format!("/{}/{}", service.full_name(), method.name()), path);
        }
    }
}

fn post(method: &MethodDescriptor, text: &str, messages: &mut Messages<'_>) -> Value {
    let request = messages.reference(&method.input());
    let mut operation = operation(method, text, messages);
    operation["requestBody"] = json!({ "required": true, "content": content(request) });
    operation
}

/// The same by GET, where the request is a part of the query.
fn get(method: &MethodDescriptor, text: &str, messages: &mut Messages<'_>) -> Value {
    let request = messages.reference(&method.input());
    let mut operation = operation(method, text, messages);
    operation["operationId"] = format!("{}.get", method.full_name()).into();
    operation["parameters"] = json!([
        parameter("Timeout"),
        parameter("Encoding"),
        { "name": "message", "in": "query", "required": true, "content": content(request) },
    ]);
    operation
}

fn operation(method: &MethodDescriptor, text: &str, messages: &mut Messages<'_>) -> Value {
    let summary = text.split(".\n").next().unwrap_or_default().split(". ").next();
    json!({
        "operationId": method.full_name(),
        "tags": [method.parent_service().full_name()],
        "summary": summary.unwrap_or_default().replace('\n', " ").trim_end_matches('.'),
        "description": text,
        "parameters": [parameter("Timeout")],
        "responses": {
            "200": {
                "description": "The answer.",
                "content": content(messages.reference(&method.output())),
            },
            "default": { "$ref": "#/components/responses/Error" },
        },
    })
}

fn content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn parameters() -> Value {
    json!({
        "Timeout": {
            "name": "Connect-Timeout-Ms",
            "in": "header",
            "description": "The deadline of the call, in milliseconds from now.",
            "schema": { "type": "integer", "minimum": 0, "maximum": 9_999_999_999_u64 },
        },
        "Encoding": {
            "name": "encoding",
            "in": "query",
            "required": true,
            "schema": { "const": "json" },
        },
    })
}

fn error() -> Value {
    let codes: Vec<_> = (1..=16).map(|code| name(Code::from_i32(code))).collect();
    let text = json!({ "type": "string" });
    json!({
        "description": "An error. The status of HTTP follows from its code.",
        "content": content(json!({
            "type": "object",
            "required": ["code"],
            "properties": {
                "code": { "type": "string", "enum": codes },
                "message": text,
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "value"],
                        "properties": {
                            "type": { "type": "string", "examples": ["google.rpc.ErrorInfo"] },
                            "value": {
                                "type": "string",
                                "description": "The message in protobuf, in base64 without padding.",
                            },
                            "debug": {
                                "description": "The same in JSON, for people.",
                                "type": "object",
                            },
                        },
                    },
                },
            },
        })),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    fn example() -> Value {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
        let set = protox::compile(["service.proto"], [directory]).unwrap().encode_to_vec();
        let about = About { title: "Conformance", version: "1.2.3", description: "A test." };
        serde_json::from_str(&openapi(&set, about).unwrap()).unwrap()
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_unary_method_is_a_path_and_every_reference_leads_somewhere() {
        let document = example();
        let service = "/conformance.v1.ConformanceService/";
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
        let unary = ["IdempotentUnary", "Missing", "Unary"].map(|name| format!("{service}{name}"));
        assert_eq!(paths, unary.iter().collect::<Vec<_>>());
        let shown = document["info"]["description"].as_str().unwrap();
        assert!(shown.contains("`conformance.v1.ConformanceService.BidiStream`"), "{shown}");
        assert!(document["paths"][&unary[0]]["get"].is_object());
        assert!(document["paths"][&unary[2]].get("get").is_none());
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn texts_come_from_the_definitions() {
        let document = example();
        let unary = &document["paths"]["/conformance.v1.ConformanceService/Unary"]["post"];
        assert_eq!(unary["summary"], "Unary answers with the first of the data");
        let ask = &document["components"]["schemas"]["conformance.v1.Ask"];
        assert_eq!(ask["description"], "A request.");
        let properties = &ask["properties"];
        assert_eq!(properties["delayMs"]["description"], "Delay before the answer.");
        assert_eq!(properties["bigNumber"]["type"], json!(["string", "integer"]));
        assert_eq!(properties["data"]["items"]["contentEncoding"], "base64");
        let kind = &document["components"]["schemas"]["conformance.v1.Kind"];
        assert_eq!(kind["enum"], json!(["KIND_UNSPECIFIED", "KIND_ONE"]));
    }
}
