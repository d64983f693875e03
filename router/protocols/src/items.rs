//! How many items a message has in its repeated fields, counted before anything is made of it. A few kilobytes of gzip can
//! be hundreds of thousands of empty messages, and each takes a hundred bytes in memory.
//!
//! A field of packed numbers counts as one item, because its numbers take at most eight times the bytes that they had.
//! What is malformed ends the count: the decoder refuses it, at the same place or before.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::protocol::Codec;
use crate::refusal::Refusal;

/// Maximum depth of nested messages that are looked into; decoders refuse what is deeper.
const DEPTH_MAX: usize = 100;

/// Size of the smallest item: a key and a length on the wire, a digit and a comma in JSON.
const ITEM_BYTES_MIN: usize = 2;

/// Checks the number of items in a message of a given type.
///
/// # Errors
/// [`Refusal::TooManyItems`] when there are more than `items_max`, those of nested messages included.
pub(crate) fn check(
    kind: &MessageDescriptor,
    codec: Codec,
    message: &[u8],
    items_max: usize,
) -> Result<(), Refusal> {
    // No item has fewer bytes, so that most messages need not be looked at.
    if message.len() / ITEM_BYTES_MIN <= items_max {
        return Ok(());
    }
    let mut room = Room { left: items_max, is_exceeded: false };
    match codec {
        Codec::Proto => on_wire(kind, message, DEPTH_MAX, &mut room),
        Codec::Json => {
            let mut json = serde_json::Deserializer::from_slice(message);
            // Only what is malformed fails otherwise, which is for the decoder to explain.
            let _ = Value { place: Place::Message(kind.clone()), room: &mut room }
                .deserialize(&mut json);
        }
    }
    if room.is_exceeded { Err(Refusal::TooManyItems { items_max }) } else { Ok(()) }
}

/// Room for items.
struct Room {
    left: usize,
    is_exceeded: bool,
}

impl Room {
    /// Takes the place of an item; `None` when there is none left.
    fn take(&mut self) -> Option<()> {
        let left = self.left.checked_sub(1);
        self.is_exceeded |= left.is_none();
        self.left = left?;
        Some(())
    }
}

/// Counts the items of a message on the wire.
fn on_wire(kind: &MessageDescriptor, mut wire: &[u8], depth: usize, room: &mut Room) {
    while !wire.is_empty() && !room.is_exceeded {
        if on_wire_field(kind, &mut wire, depth, room).is_none() {
            return;
        }
    }
}

/// Counts a field, and takes it from the wire. `None` when it is malformed, or there is no room left.
fn on_wire_field(
    kind: &MessageDescriptor,
    wire: &mut &[u8],
    depth: usize,
    room: &mut Room,
) -> Option<()> {
    let key = varint(wire)?;
    let field = u32::try_from(key >> 3).ok().and_then(|number| kind.get_field(number));
    if field.as_ref().is_some_and(|field| field.is_list() || field.is_map()) {
        room.take()?;
    }
    match key & 7 {
        0 => varint(wire).map(drop),
        1 => skip(wire, 8).map(drop),
        2 => {
            let bytes = usize::try_from(varint(wire)?).ok()?;
            let nested = skip(wire, bytes)?;
            if let Some(Kind::Message(kind)) = field.map(|field| field.kind())
                && depth > 0
            {
                on_wire(&kind, nested, depth - 1, room);
            }
            Some(())
        }
        // The ends of a group, which no field of ours is. What is in it counts as if it stood outside.
        3 | 4 => Some(()),
        5 => skip(wire, 4).map(drop),
        _ => None,
    }
}

fn skip<'a>(wire: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (skipped, rest) = wire.split_at_checked(bytes)?;
    *wire = rest;
    Some(skipped)
}

fn varint(wire: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = wire.split_first()?;
        *wire = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What a value in JSON is, by the schema.
enum Place {
    Message(MessageDescriptor),
    /// A list, of messages if there is a type.
    List(Option<MessageDescriptor>),
    /// A map, to messages if there is a type.
    Map(Option<MessageDescriptor>),
    /// A scalar, or what the schema does not know.
    Other,
}

impl Place {
    fn of_field(field: &FieldDescriptor) -> Self {
        let kind = field.kind();
        if field.is_map() {
            let entry = kind.as_message().map(MessageDescriptor::map_entry_value_field);
            Self::Map(entry.and_then(|value| value.kind().as_message().cloned()))
        } else if field.is_list() {
            Self::List(kind.as_message().cloned())
        } else {
            kind.as_message().cloned().map_or(Self::Other, Self::Message)
        }
    }

    fn of_item(kind: Option<&MessageDescriptor>) -> Self {
        kind.cloned().map_or(Self::Other, Self::Message)
    }

    /// The member of a message with that name, in either spelling.
    fn of_member(kind: &MessageDescriptor, name: &str) -> Self {
        let field = kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name));
        field.as_ref().map_or(Self::Other, Self::of_field)
    }
}

/// Counts the items of a value in JSON.
struct Value<'a> {
    place: Place,
    room: &'a mut Room,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.place {
            // As the decoder passes over it: it takes more than what is valid for a type.
            Place::Other => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            Place::Message(_) | Place::List(_) | Place::Map(_) => {
                deserializer.deserialize_any(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let place = match &self.place {
                Place::Message(kind) => Place::of_member(kind, &name),
                Place::Map(kind) => {
                    self.room.take().ok_or_else(|| A::Error::custom("too many"))?;
                    Place::of_item(kind.as_ref())
                }
                Place::List(_) | Place::Other => Place::Other,
            };
            map.next_value_seed(Value { place, room: &mut *self.room })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let kind = match &self.place {
            Place::List(kind) => kind.as_ref(),
            Place::Message(_) | Place::Map(_) | Place::Other => None,
        };
        let item = || Place::of_item(kind);
        while items.next_element_seed(Value { place: item(), room: &mut *self.room })?.is_some() {
            if matches!(self.place, Place::List(_)) {
                self.room.take().ok_or_else(|| A::Error::custom("too many"))?;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};

    use super::*;

    /// Two headers, which have three values, and two pieces of data. The decoder passes over what it does not know.
    const SEVEN: &str = r#"{"unknown":[1,2,{"headers":[{}]},1e999],"headers":[{"name":"a","values":["1","2"]},
        {"values":["3"]}],"data":["AQ==","Ag=="],"big_number":"5","failure":{"code":5},"trailers":null}"#;

    fn ask() -> MessageDescriptor {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
        let set = protox::compile(["service.proto"], [directory]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(set).unwrap();
        pool.get_message_by_name("conformance.v1.Ask").unwrap()
    }

    fn on_wire_of(json: &str) -> Vec<u8> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut json = serde_json::Deserializer::from_str(json);
        let read = DynamicMessage::deserialize_with_options(ask(), &mut json, &options);
        read.unwrap().encode_to_vec()
    }

    #[test]
    fn items_are_counted_in_both_forms_and_at_all_depths() {
        let wire = on_wire_of(SEVEN);
        for (codec, message) in [(Codec::Json, SEVEN.as_bytes()), (Codec::Proto, &wire)] {
            assert_eq!(check(&ask(), codec, message, 7), Ok(()), "{codec:?}");
            let refused = check(&ask(), codec, message, 6);
            assert_eq!(refused, Err(Refusal::TooManyItems { items_max: 6 }), "{codec:?}");
        }
        assert_eq!(check(&ask(), Codec::Json, b"{}", 0), Ok(()));
    }

    #[test]
    fn groups_hide_nothing() {
        // A group that no field is, with pieces of data inside and behind it.
        let wire = [&[0x7b, 0x12, 0, 0x7c][..], &[0x12, 0].repeat(9)].concat();
        assert_eq!(
            check(&ask(), Codec::Proto, &wire, 9),
            Err(Refusal::TooManyItems { items_max: 9 })
        );
    }

    #[test]
    fn what_is_malformed_is_left_to_the_decoder() {
        let wire = on_wire_of(SEVEN);
        for end in 0..wire.len() {
            assert_eq!(check(&ask(), Codec::Proto, &wire[..end], 7), Ok(()), "{end}");
        }
        for end in 0..SEVEN.len() {
            assert_eq!(check(&ask(), Codec::Json, &SEVEN.as_bytes()[..end], 7), Ok(()), "{end}");
        }
        for wire in [&[0x0f, 0][..], &[0xff; 20], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            assert_eq!(check(&ask(), Codec::Proto, wire, 1), Ok(()), "{wire:?}");
        }
    }
}
