//! The ids of a cluster, each a type of its own so that none is taken for another.
//!
//! An id that exists is valid: constructors check, and no other code has to.

use std::fmt;
use std::sync::Arc;

/// Why a value is no valid id. The text describes the violation without naming the field, so that
/// it serves as description in a `BadRequest` field violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Node id 0 stands for "none" on the wire and names no node.
    #[error("must not be 0")]
    NodeIdZero,
    /// The shard id does not fit the 10 bits that a coupon code has for it.
    #[error("must be at most {max}, is {0}", max = ShardId::MAX)]
    ShardIdTooLarge(u32),
    /// A campaign or tenant id is empty or too long.
    #[error("must have 1 to {LABEL_MAX} characters, has {length}")]
    LabelLength {
        /// How many characters it has.
        length: usize,
    },
    /// A campaign or tenant id has a character that it must not have.
    #[error(
        "must consist of a to z, 0 to 9 and hyphens, has {character:?} as character {position}"
    )]
    LabelCharacter {
        /// Which character, counted from 1.
        position: usize,
        /// The character.
        character: char,
    },
    /// A campaign or tenant id begins or ends with a hyphen.
    #[error("must begin and end with a letter or digit")]
    LabelEdge,
    /// A campaign name has no slash.
    #[error("must be written as tenant/campaign")]
    CampaignNameSlash,
    /// The request id is not a UUID written as 32 hexadecimal digits in groups of 8-4-4-4-12.
    #[error("must be a UUID such as 3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413")]
    RequestIdText,
    /// The bytes of the request id are not 16.
    #[error("must have 16 bytes, has {length}")]
    RequestIdLength {
        /// How many bytes there are.
        length: usize,
    },
    /// The request id is the nil UUID, which clients send when they forget to make one.
    #[error("must not be the nil UUID")]
    RequestIdNil,
}

/// The id of a node, given by its operator; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The node `id`; refuses 0.
    pub const fn new(id: u64) -> Result<Self, IdError> {
        if id == 0 { Err(IdError::NodeIdZero) } else { Ok(Self(id)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The id of a shard: 0 for the meta shard, 1 to [`ShardId::MAX`] for those that own campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u32);

impl ShardId {
    /// The shard whose state is the shard map.
    pub const META: Self = Self(0);

    /// The largest shard id: a coupon code has 10 bits for it.
    pub const MAX: u32 = 1023;

    /// The shard `id`; refuses what is larger than [`ShardId::MAX`].
    pub const fn new(id: u32) -> Result<Self, IdError> {
        if id > Self::MAX { Err(IdError::ShardIdTooLarge(id)) } else { Ok(Self(id)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The id of a replica: unique in its cluster and never used again.
///
/// It is not the id of the node. A node that lost its disk comes back with new replicas, because
/// a voter that forgot what it promised must not vote under its old name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The version of the ring: grows with every change of its shards; 0 before there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The id of a key of coupon codes, from 1; new campaigns use the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Maximum number of characters of a DNS label (RFC 1123), which are bytes as well.
const LABEL_MAX: usize = 63;

/// Checks that `text` is 1 to 63 characters of a–z, 0–9 and hyphens, with a letter or digit at both ends: a DNS
/// label (RFC 1123), so that it fits host names, paths and file names.
fn check_label(text: &str) -> Result<(), IdError> {
    let length = text.chars().count();
    if length == 0 || length > LABEL_MAX {
        return Err(IdError::LabelLength { length });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        return Err(IdError::LabelCharacter { position: index + 1, character });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(IdError::LabelEdge);
    }
    Ok(())
}

/// The id of a tenant: a namespace of campaigns. A DNS label.
///
/// Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant id written as `text`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_label(text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tenant `default`, which all campaigns belong to as long as callers have no credentials.
impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

/// The name of a campaign in the cluster: `tenant/campaign`. It is what the ring hashes, and what commands and keys
/// hold.
///
/// Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignName(Arc<str>);

impl CampaignName {
    /// The name of the campaign with this id, a DNS label, among those of a tenant. Nothing is trimmed or folded: two
    /// texts are two ids.
    pub fn new(tenant: &TenantId, id: &str) -> Result<Self, IdError> {
        check_label(id)?;
        Ok(Self([tenant.as_str(), "/", id].concat().into()))
    }

    /// The name written as `text`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (tenant, campaign) = text.split_once('/').ok_or(IdError::CampaignNameSlash)?;
        check_label(tenant)?;
        check_label(campaign)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the name of a campaign of `tenant`.
    pub fn belongs_to(&self, tenant: &TenantId) -> bool {
        self.0.split_once('/').is_some_and(|(of, _)| of == tenant.as_str())
    }

    /// The text of the campaign's id.
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, campaign)| campaign)
    }
}

/// How many characters a UUID is written with.
const TEXT_LEN: usize = 36;

/// Which of them are hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The id of a request: a UUID of any version but nil, made by the first sender of the request.
/// Requests with the same id are one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The request id written as `text` in canonical form: 32 hexadecimal digits of any case in
    /// groups of 8-4-4-4-12, nothing around them (RFC 9562, section 4).
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let text = text.as_bytes();
        if text.len() != TEXT_LEN || HYPHENS.iter().any(|&at| text[at] != b'-') {
            return Err(IdError::RequestIdText);
        }
        let mut digits = text.iter().filter(|&&byte| byte != b'-').map(|&byte| hex_value(byte));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            // A hyphen in a wrong place leaves too few digits.
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
                return Err(IdError::RequestIdText);
            };
            *byte = high << 4 | low;
        }
        Self::from_array(bytes)
    }

    /// The request id whose 16 bytes, in the order of the text, are given.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let array =
            bytes.try_into().map_err(|_| IdError::RequestIdLength { length: bytes.len() })?;
        Self::from_array(array)
    }

    /// Its 16 bytes, in the order of the text.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn from_array(bytes: [u8; 16]) -> Result<Self, IdError> {
        if bytes == [0; 16] { Err(IdError::RequestIdNil) } else { Ok(Self(bytes)) }
    }
}

fn hex_value(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes the canonical form, in lower case. Routers do so for every coupon, so it is written at once
/// and not digit by digit.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; TEXT_LEN];
        let places = (0..TEXT_LEN).filter(|place| !HYPHENS.contains(place));
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        for (place, digit) in places.zip(digits) {
            text[place] = DIGITS[usize::from(digit)];
        }
        f.write_str(str::from_utf8(&text).expect("digits and hyphens are UTF-8"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(NodeId::new(0), Err(IdError::NodeIdZero));
        assert_eq!(NodeId::new(7).unwrap().get(), 7);
        assert_eq!(ShardId::new(0), Ok(ShardId::META));
        assert_eq!(ShardId::new(1023).unwrap().to_string(), "1023");
        let error = ShardId::new(1024).unwrap_err();
        assert_eq!(error.to_string(), "must be at most 1023, is 1024");
    }

    #[test]
    fn campaign_and_tenant_ids_are_dns_labels() {
        let longest = "a".repeat(63);
        for good in ["a", "7", "a-b", "spring-2026", "a--b", longest.as_str()] {
            assert_eq!(TenantId::parse(good).unwrap().as_str(), good);
            let name = CampaignName::new(&TenantId::default(), good).unwrap();
            assert_eq!(name.id(), good);
        }
        let character = |position, character| IdError::LabelCharacter { position, character };
        for (bad, error) in [
            ("", IdError::LabelLength { length: 0 }),
            (&"a".repeat(64), IdError::LabelLength { length: 64 }),
            (&"a".repeat(100_000), IdError::LabelLength { length: 100_000 }),
            (&"가".repeat(64), IdError::LabelLength { length: 64 }),
            ("Spring", character(1, 'S')),
            ("봄", character(1, '봄')),
            ("a b", character(2, ' ')),
            ("a_b", character(2, '_')),
            ("a\0", character(2, '\0')),
            ("-a", IdError::LabelEdge),
            ("a-", IdError::LabelEdge),
            ("-", IdError::LabelEdge),
        ] {
            assert_eq!(TenantId::parse(bad), Err(error.clone()), "{bad:?}");
            assert_eq!(CampaignName::new(&TenantId::default(), bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn campaign_names_have_a_tenant() {
        let name = CampaignName::new(&TenantId::default(), "spring").unwrap();
        assert_eq!(name.as_str(), "default/spring");
        assert_eq!(name.id(), "spring");
        assert_eq!(CampaignName::parse("default/spring"), Ok(name));
        assert_eq!(CampaignName::parse("spring"), Err(IdError::CampaignNameSlash));
        for bad in ["/spring", "default/", "a/b/c", "A/b", "a/B", "a /b"] {
            assert!(CampaignName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn request_ids_are_read_in_any_case_and_written_in_lower_case() {
        let text = "3F2a9c1e-7b54-4d0a-9e21-5c86d7f0B413";
        let id = RequestId::parse(text).unwrap();
        assert_eq!(id.to_string(), text.to_lowercase());
        assert_eq!(RequestId::from_bytes(id.as_bytes()), Ok(id));
        assert_eq!(id.as_bytes()[..4], [0x3f, 0x2a, 0x9c, 0x1e]);
    }

    #[test]
    fn other_texts_are_no_request_ids() {
        for bad in [
            "",
            "3f2a9c1e7b544d0a9e215c86d7f0b413",
            "{3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413}",
            " 3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b41",
            "3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b41g",
            "3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b4-3",
            "3f2a9c1e-7b54-4d0a-9e21-5c86d7f0b41가",
            "+f2a9c1e-7b54-4d0a-9e21-5c86d7f0b413",
        ] {
            assert_eq!(RequestId::parse(bad), Err(IdError::RequestIdText), "{bad:?}");
        }
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(RequestId::parse(nil), Err(IdError::RequestIdNil));
        assert_eq!(RequestId::from_bytes(&[0; 16]), Err(IdError::RequestIdNil));
        assert_eq!(RequestId::from_bytes(&[1; 15]), Err(IdError::RequestIdLength { length: 15 }));
    }
}
