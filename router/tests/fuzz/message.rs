//! Random messages of any type, by the descriptors.

use std::collections::HashMap;

use coupon_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    MethodDescriptor, Value,
};
use rand::Rng;
use rand::seq::IndexedRandom as _;

use crate::support::REQUEST_ID;

/// Texts that are valid somewhere, and some that never are.
const TEXTS: [&str; 12] = [
    "",
    "spring",
    "summer",
    REQUEST_ID,
    "ann",
    "한사람",
    "e\u{301}\u{0}",
    " \u{200b}",
    "0000000000",
    "state = ACTIVE",
    "\u{10ffff}",
    "a-very-long-text-that-is-not-an-id-of-any-kind-since-it-is-longer-than-an-id-may-be-in-any-field",
];

/// The methods that clients call.
pub(crate) struct Methods(Vec<MethodDescriptor>);

impl Methods {
    pub(crate) fn new() -> Self {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptors are right");
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(methods.collect())
    }

    pub(crate) fn any(&self, random: &mut impl Rng) -> MethodDescriptor {
        self.0.choose(random).expect("there are methods").clone()
    }
}

/// A message with some of its fields, at random.
pub(crate) fn message(kind: &MessageDescriptor, random: &mut impl Rng) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    match kind.full_name() {
        // Within what JSON can show.
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
            let seconds = [0, 1, 60, 1_700_000_000, 4_000_000_000, -5];
            let seconds = *seconds.choose(random).expect("there are some");
            message.set_field_by_name("seconds", Value::I64(seconds));
        }
        "google.protobuf.FieldMask" => {
            let path =
                *["quota", "display_name", "nothing"].choose(random).expect("there are some");
            message.set_field_by_name("paths", Value::List(vec![Value::String(path.to_owned())]));
        }
        "google.protobuf.Any" => {}
        _ => {
            for field in kind.fields() {
                if random.random_bool(0.6) {
                    message.set_field(&field, value(&field, random));
                }
            }
        }
    }
    message
}

fn value(field: &FieldDescriptor, random: &mut impl Rng) -> Value {
    if field.is_map() {
        let text = |random: &mut _| (*choose(&TEXTS, random)).to_owned();
        let entries = (0..random.random_range(0..3))
            .map(|_| (MapKey::String(text(random)), Value::String(text(random))));
        return Value::Map(entries.collect::<HashMap<_, _>>());
    }
    if field.is_list() {
        let items = random.random_range(0..3);
        return Value::List((0..items).map(|_| scalar(&field.kind(), random)).collect());
    }
    scalar(&field.kind(), random)
}

fn scalar(kind: &Kind, random: &mut impl Rng) -> Value {
    const NUMBERS: [i64; 7] = [0, 1, 2, 10, 1_000, i32::MAX as i64, -1];
    let number = *choose(&NUMBERS, random);
    match kind {
        Kind::Double => Value::F64(0.5),
        Kind::Float => Value::F32(0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
        Kind::Bool => Value::Bool(random.random()),
        Kind::String => Value::String((*choose(&TEXTS, random)).to_owned()),
        Kind::Bytes => Value::Bytes(vec![0, 0xff].into()),
        Kind::Message(kind) => Value::Message(message(kind, random)),
        // Numbers that have no name come from newer clients.
        Kind::Enum(_) => Value::EnumNumber(*choose(&[0, 1, 2, 77], random)),
    }
}

fn choose<'a, T>(all: &'a [T], random: &mut impl Rng) -> &'a T {
    all.choose(random).expect("there are some")
}
