//! Messages and enums as schemas, by the JSON mapping of protobuf.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;

/// The schemas of all messages and enums that something refers to.
pub(super) struct Messages<'a> {
    comments: &'a Comments,
    schemas: BTreeMap<String, Value>,
}

impl<'a> Messages<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self { comments, schemas: BTreeMap::new() }
    }

    pub(super) fn into_schemas(self) -> BTreeMap<String, Value> {
        self.schemas
    }

    /// A reference to a message, whose schema is added.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.full_name();
        if !self.schemas.contains_key(name) {
            // A message may refer to itself.
            self.schemas.insert(name.to_owned(), Value::Null);
            let schema = self.message(message);
            self.schemas.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field));
        }
        let description = self.comments.of(&message.parent_file(), message.path());
        json!({ "type": "object", "description": description, "properties": properties })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if field.is_map() {
            let entry = field.kind();
            let value = entry.as_message().map(MessageDescriptor::map_entry_value_field);
            let value = value.map_or(Value::Bool(true), |value| self.kind(&value.kind()));
            json!({ "type": "object", "additionalProperties": value })
        } else if field.is_list() {
            json!({ "type": "array", "items": self.kind(&field.kind()) })
        } else {
            self.kind(&field.kind())
        };
        let comment = self.comments.of(&field.parent_message().parent_file(), field.path());
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({ "type": ["number", "string"] }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32" })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
            }
            // Answers have text, since many languages cannot hold such a number; requests may have either.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": ["string", "integer"], "format": "uint64", "pattern": "^[0-9]+$" })
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Message(message) => self.reference(message),
            Kind::Enum(values) => self.values(values),
        }
    }

    fn values(&mut self, kind: &EnumDescriptor) -> Value {
        let name = kind.full_name();
        let file = kind.parent_file();
        let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
        let mut description = self.comments.of(&file, kind.path());
        for value in kind.values() {
            let comment = self.comments.of(&file, value.path()).replace('\n', " ");
            description += &format!("\n\n- `{}`: {comment}", value.name());
        }
        let schema = json!({ "type": "string", "description": description, "enum": names });
        self.schemas.insert(name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

/// Messages that JSON writes in another way.
fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "google.protobuf.Timestamp" => json!({
            "type": "string",
            "format": "date-time",
            "examples": ["2030-01-01T12:00:00+09:00"],
        }),
        "google.protobuf.Duration" => json!({
            "type": "string",
            "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
            "description": "A number of seconds.",
            "examples": ["3600s"],
        }),
        "google.protobuf.FieldMask" => json!({
            "type": "string",
            "description": "Names of fields in lowerCamelCase, joined by commas.",
            "examples": ["displayName,quota"],
        }),
        "google.protobuf.Any" => json!({
            "type": "object",
            "required": ["@type"],
            "properties": { "@type": { "type": "string" } },
        }),
        _ => return None,
    })
}
