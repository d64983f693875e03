//! Commands, from the bytes that routers made of them.
//!
//! A router encodes a command once. The leader puts the bytes into an entry of the log as they are, every replica
//! keeps them so, and they are read where they are applied. What cannot be read is in the log by then, and is
//! refused by all replicas alike. An operation that this program does not know is another matter: a newer replica
//! may know it. A leader keeps it out of the log, and a replica that finds it there stops. It also stops at an entry
//! with a field that it does not know, or with nothing in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use coupon_cluster::{CampaignName, Epoch, KeyId};
use coupon_ledger::{Action, Command, Issue};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::{campaign_name, request_id};
use pb::command::Operation;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::shard_ids;
use super::{
    archive_campaign, confirm_hold, create_campaign, delete_campaign, end_campaign, hold_coupon,
    import_codes, issue, pause_campaign, redeem_coupon, release_hold, resume_campaign,
    reverse_redemption, update_campaign, void_coupon,
};

/// The field of a `Command` that creates a campaign.
const CREATE_CAMPAIGN: u32 = 2;
/// The field of a `Command` that issues a coupon.
const ISSUE: u32 = 3;
/// The field of a `Command` that holds a coupon.
const HOLD: u32 = 13;
/// The least field of a `Command` that is an operation.
const OPERATION_MIN: u32 = CREATE_CAMPAIGN;
/// The greatest field of a `Command` that is an operation.
const OPERATION_MAX: u32 = 16;
/// The fields of a `CommandEntry`: what it does, and those that it shares with `LogHeader`.
const ENTRY_FIELDS: [u32; 7] = [1, 2, 3, 4, 5, 14, 15];
/// The fields of an `IssueCommand`, and of a `HoldCouponCommand`, that name the campaign, the recipient and the request.
const CAMPAIGN: u32 = 1;
const RECIPIENT: u32 = 2;
const REQUEST_ID: u32 = 3;

/// The payload of a normal entry of the log.
///
/// # Errors
///
/// When it is malformed, or has a field of a newer version, which replicas of that version act on.
pub fn decode_entry(bytes: &Bytes) -> Result<pb::CommandEntry, Malformed> {
    if has_field(bytes, |number| !ENTRY_FIELDS.contains(&number)) {
        return Err(Malformed("an entry with nothing but fields that this version knows"));
    }
    pb::CommandEntry::decode(bytes.clone()).map_err(|_| Malformed("entry of commands"))
}

/// The commands of an entry of the log, at least one.
///
/// # Errors
///
/// When there is none, the shard's own command is malformed, or an operation is one of a newer version.
pub fn read_entry(entry: pb::CommandEntry) -> Result<Vec<Command>, Malformed> {
    let mut commands = Vec::with_capacity(entry.commands.len() + 1);
    if let Some(internal) = entry.internal_command {
        let action = match internal {
            pb::command_entry::InternalCommand::AdoptRing(adopt) => Action::AdoptRing {
                epoch: Epoch(adopt.epoch),
                ring_shards: shard_ids(&adopt.ring_shards)?,
            },
            pb::command_entry::InternalCommand::SkipCounters(pb::SkipCountersCommand {}) => {
                Action::SkipCounters
            }
        };
        // The ledger does not look at its epoch.
        commands.push(Command { epoch: Epoch(0), action });
    }
    let mut reader = CommandReader::default();
    for command in entry.commands {
        if has_unknown_operation(&command) {
            return Err(Malformed("an operation that this version knows"));
        }
        commands.push(reader.read(command));
    }
    if commands.is_empty() {
        return Err(Malformed("command of an entry"));
    }
    Ok(commands)
}

/// Whether a command has an operation of a newer version.
pub fn has_unknown_operation(command: &[u8]) -> bool {
    has_field(command, |number| number > OPERATION_MAX)
}

/// Whether a message has a field like that before the first one that cannot be read.
fn has_field(mut message: &[u8], is_wanted: impl Fn(u32) -> bool) -> bool {
    while !message.is_empty() {
        let Ok((number, kind)) = decode_key(&mut message) else { return false };
        if is_wanted(number) {
            return true;
        }
        if skip_field(kind, number, &mut message, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

/// Reads commands, most of which are for the same campaign.
#[derive(Default)]
pub struct CommandReader {
    last_campaign: Option<CampaignName>,
}

impl CommandReader {
    /// A router's command.
    pub fn read(&mut self, command: Bytes) -> Command {
        let unreadable = |_| Command { epoch: Epoch(0), action: Action::Unreadable };
        self.try_read(command).unwrap_or_else(unreadable)
    }

    fn try_read(&mut self, command: Bytes) -> Result<Command, Malformed> {
        if let Some(plain) = PlainIssue::read(&command) {
            let issue = Issue {
                campaign: self.campaign_name(plain.campaign)?,
                recipient: plain.recipient.to_owned(),
                request_id: request_id(plain.request_id)?,
                metadata: BTreeMap::new(),
            };
            return Ok(Command { epoch: Epoch(plain.epoch), action: Action::Issue(issue) });
        }
        self.try_read_any(command)
    }

    fn try_read_any(&mut self, command: Bytes) -> Result<Command, Malformed> {
        let command = pb::Command::decode(command).map_err(|_| Malformed("command"))?;
        let action = match command.operation.ok_or(Malformed("operation"))? {
            Operation::CreateCampaign(create) => create_campaign::action_from_pb(*create)?,
            Operation::Issue(issue) => {
                let campaign = self.campaign_name(&issue.campaign)?;
                issue::from_pb(issue, campaign)?
            }
            Operation::PauseCampaign(pause) => pause_campaign::from_pb(&pause)?,
            Operation::ResumeCampaign(resume) => resume_campaign::from_pb(&resume)?,
            Operation::UpdateCampaign(update) => update_campaign::from_pb(*update)?,
            Operation::EndCampaign(end) => end_campaign::from_pb(&end)?,
            Operation::ArchiveCampaign(archive) => archive_campaign::from_pb(&archive)?,
            Operation::DeleteCampaign(delete) => delete_campaign::from_pb(&delete)?,
            Operation::RedeemCoupon(redeem) => redeem_coupon::from_pb(redeem)?,
            Operation::ReverseRedemption(reverse) => reverse_redemption::from_pb(&reverse)?,
            Operation::VoidCoupon(void) => void_coupon::from_pb(void)?,
            Operation::HoldCoupon(hold) => {
                let campaign = self.campaign_name(&hold.campaign)?;
                hold_coupon::from_pb(hold, campaign)?
            }
            Operation::ConfirmHold(confirm) => confirm_hold::from_pb(confirm)?,
            Operation::ReleaseHold(release) => release_hold::from_pb(&release)?,
            Operation::ImportCodes(import) => import_codes::from_pb(import)?,
        };
        Ok(Command { epoch: Epoch(command.epoch), action })
    }

    fn campaign_name(&mut self, text: &str) -> Result<CampaignName, Malformed> {
        if let Some(last) = self.last_campaign.as_ref().filter(|last| last.as_str() == text) {
            return Ok(last.clone());
        }
        Ok(self.last_campaign.insert(campaign_name(text)?).clone())
    }
}

/// An [`IssueCommand`](pb::IssueCommand) without metadata, in the bytes that it has when it is encoded: what nearly all
/// commands of a rush are. Reading it so copies nothing.
#[derive(Debug)]
struct PlainIssue<'a> {
    epoch: u64,
    campaign: &'a str,
    recipient: &'a str,
    request_id: &'a [u8],
}

impl<'a> PlainIssue<'a> {
    /// Reads a `Command`. `None` for everything else, which may still be a valid command.
    fn read(mut command: &'a [u8]) -> Option<Self> {
        let epoch = match command.split_first()? {
            (0x08, rest) => {
                command = rest;
                decode_varint(&mut command).ok()?
            }
            _ => 0,
        };
        let mut issue = delimited(&mut command, ISSUE)?;
        let campaign = delimited(&mut issue, CAMPAIGN)?;
        let recipient = delimited(&mut issue, RECIPIENT).unwrap_or_default();
        let request_id = delimited(&mut issue, REQUEST_ID)?;
        if !command.is_empty() || !issue.is_empty() {
            return None;
        }
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(Self { epoch, campaign: text(campaign)?, recipient: text(recipient)?, request_id })
    }
}

/// Takes a text, bytes or a message off the front of a message, if they are the field with this number, which is less
/// than 16.
fn delimited<'a>(message: &mut &'a [u8], number: u32) -> Option<&'a [u8]> {
    let (key, mut rest) = message.split_first()?;
    if u32::from(*key) != number << 3 | WireType::LengthDelimited as u32 {
        return None;
    }
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let (found, rest) = rest.split_at_checked(length)?;
    *message = rest;
    Some(found)
}

/// What a command may reopen: make it issue coupons that it would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopens {
    /// The campaign of this name.
    Campaign(String),
    /// Any campaign of the shard.
    Any,
}

/// What a command may reopen, if anything. A command that cannot be read may reopen any campaign.
pub fn reopens(command: &[u8]) -> Option<Reopens> {
    // Nearly all commands issue a coupon, and that is seen without reading the rest.
    if matches!(operation(command), Some((ISSUE | HOLD, _))) {
        return None;
    }
    let Ok(command) = pb::Command::decode(command) else { return Some(Reopens::Any) };
    match command.operation {
        Some(
            Operation::CreateCampaign(_)
            | Operation::Issue(_)
            | Operation::PauseCampaign(_)
            | Operation::ArchiveCampaign(_)
            | Operation::DeleteCampaign(_)
            | Operation::RedeemCoupon(_)
            | Operation::ReverseRedemption(_)
            | Operation::HoldCoupon(_)
            | Operation::ConfirmHold(_),
        ) => None,
        Some(Operation::ResumeCampaign(resume)) => Some(Reopens::Campaign(resume.campaign)),
        Some(Operation::UpdateCampaign(update)) => Some(Reopens::Campaign(update.campaign)),
        Some(Operation::ReleaseHold(release)) => Some(Reopens::Campaign(release.campaign)),
        Some(Operation::ImportCodes(import)) => Some(Reopens::Campaign(import.campaign)),
        // The end of one moves log time, and another may start then.
        Some(Operation::EndCampaign(_)) | None => Some(Reopens::Any),
        // Only an entry finds the campaign of a code.
        Some(Operation::VoidCoupon(void)) => void.return_quota.then_some(Reopens::Any),
    }
}

/// The name of the campaign that a command issues or holds a coupon of, without reading the rest. `None` for other
/// commands.
pub fn campaign_of_quota_request(command: &[u8]) -> Option<&str> {
    let (ISSUE | HOLD, mut request) = operation(command)? else { return None };
    let fields = std::iter::from_fn(|| next_field(&mut request));
    let (_, campaign) = fields.filter(|(number, _)| *number == CAMPAIGN).last()?;
    std::str::from_utf8(campaign).ok()
}

/// The key that the codes of the campaign that a command creates are to be made with. `None` for other commands.
pub fn code_key_of_creation(command: &[u8]) -> Option<KeyId> {
    let (CREATE_CAMPAIGN, create) = operation(command)? else { return None };
    let create = pb::CreateCampaignCommand::decode(create).ok()?;
    Some(KeyId(create.code_key_id))
}

/// The operation of a command: its field, and its bytes. Of several the last one counts, as protobuf has it.
fn operation(mut command: &[u8]) -> Option<(u32, &[u8])> {
    let mut last = None;
    while !command.is_empty() {
        let (number, bytes) = next_field(&mut command)?;
        if (OPERATION_MIN..=OPERATION_MAX).contains(&number) {
            last = Some((number, bytes));
        }
    }
    last
}

/// Takes the next field off a message: its number, and its bytes if it is a message, text or bytes. `None` at the end,
/// and where it cannot be read.
fn next_field<'a>(message: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (number, kind) = decode_key(message).ok()?;
    if kind != WireType::LengthDelimited {
        skip_field(kind, number, message, DecodeContext::default()).ok()?;
        return Some((number, &[]));
    }
    let length = usize::try_from(decode_varint(message).ok()?).ok()?;
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some((number, bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(operation: Operation) -> Bytes {
        pb::Command { epoch: 7, operation: Some(operation) }.encode_to_vec().into()
    }

    fn issue(campaign: &str) -> Bytes {
        encoded(Operation::Issue(pb::IssueCommand {
            campaign: campaign.into(),
            recipient: "alice".into(),
            request_id: vec![1; 16],
            ..Default::default()
        }))
    }

    #[test]
    fn what_cannot_be_read_is_a_command_that_says_so() {
        let mut reader = CommandReader::default();
        assert!(matches!(reader.read(issue("default/c")).action, Action::Issue(_)));
        assert_eq!(reader.read(issue("default/c")).epoch, Epoch(7));
        for bytes in [&b""[..], b"\xff\xff", b"\x08\x01", &issue("default/Not An Id")] {
            let command = reader.read(Bytes::copy_from_slice(bytes));
            assert_eq!(command.action, Action::Unreadable, "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever a command is read by, and however it is damaged, it says the same.
        #[test]
        fn a_plain_command_is_read_as_any_other(
            epoch in prop_oneof![Just(0), any::<u64>()],
            recipient in ".{0,200}",
            request_id in proptest::collection::vec(any::<u8>(), 14..18),
            metadata in proptest::collection::btree_map("a", "b", 0..2),
            damage in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
            cut in proptest::option::of(any::<proptest::sample::Index>()),
        ) {
            let campaign = "default/spring".into();
            let issue = pb::IssueCommand { campaign, recipient, request_id, metadata };
            let operation = Some(Operation::Issue(issue));
            let mut bytes = pb::Command { epoch, operation }.encode_to_vec();
            if let Some((place, byte)) = damage {
                *place.get_mut(&mut bytes) = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let bytes = Bytes::from(bytes);
            let read = CommandReader::default().try_read(bytes.clone());
            let expected = CommandReader::default().try_read_any(bytes);
            prop_assert_eq!(read.ok(), expected.ok());
        }
    }

    #[test]
    fn a_command_without_metadata_is_plain() {
        assert!(PlainIssue::read(&issue("default/spring")).is_some());
        assert!(PlainIssue::read(b"").is_none());
    }

    #[test]
    fn a_campaign_is_found_without_reading_the_rest() {
        assert_eq!(campaign_of_quota_request(&issue("default/spring")), Some("default/spring"));
        let hold = pb::HoldCouponCommand { campaign: "default/c".into(), ..Default::default() };
        let hold = encoded(Operation::HoldCoupon(hold));
        assert_eq!(campaign_of_quota_request(&hold), Some("default/c"));
        let create = pb::CreateCampaignCommand { name: "default/c".into(), ..Default::default() };
        assert_eq!(
            campaign_of_quota_request(&encoded(Operation::CreateCampaign(create.into()))),
            None
        );
        let whole = issue("default/spring");
        for cut in 0..whole.len() {
            // Whatever is cut off, it finds the id, or nothing.
            let found = campaign_of_quota_request(&whole[..cut]);
            assert!(found.is_none_or(|found| found == "default/spring"));
        }
    }

    /// The fields of this file are those of the format.
    #[test]
    fn the_numbers_are_those_of_the_messages() {
        assert_eq!(u32::from(issue("default/c")[2]), ISSUE << 3 | 2);
        let hold = encoded(Operation::HoldCoupon(pb::HoldCouponCommand::default()));
        assert_eq!(u32::from(hold[2]), HOLD << 3 | 2);
        let newest = encoded(Operation::ImportCodes(pb::ImportCodesCommand::default()));
        assert_eq!(operation(&newest), Some((OPERATION_MAX, &b""[..])));
    }

    #[test]
    fn only_what_can_undo_a_refusal_reopens_a_campaign() {
        assert_eq!(reopens(&issue("default/c")), None);
        let end = encoded(Operation::EndCampaign(pb::EndCampaignCommand::default()));
        assert_eq!([reopens(&end), reopens(b"")], [const { Some(Reopens::Any) }; 2]);
        let redeem = Operation::RedeemCoupon(pb::RedeemCouponCommand::default());
        let reverse = Operation::ReverseRedemption(pb::ReverseRedemptionCommand::default());
        let hold = Operation::HoldCoupon(pb::HoldCouponCommand::default());
        let confirm = Operation::ConfirmHold(pb::ConfirmHoldCommand::default());
        let none = [redeem, reverse, hold, confirm].map(|one| reopens(&encoded(one)));
        assert!(none.iter().all(Option::is_none), "{none:?}");
        let campaign = "default/c".to_owned();
        let release = pb::ReleaseHoldCommand { campaign: campaign.clone(), ..Default::default() };
        let release = encoded(Operation::ReleaseHold(release));
        assert_eq!(reopens(&release), Some(Reopens::Campaign(campaign.clone())));
        let import = pb::ImportCodesCommand { campaign: campaign.clone(), ..Default::default() };
        let import = encoded(Operation::ImportCodes(import));
        assert_eq!(reopens(&import), Some(Reopens::Campaign(campaign)));
        let void = |return_quota| {
            let void = pb::VoidCouponCommand { return_quota, ..Default::default() };
            encoded(Operation::VoidCoupon(void))
        };
        assert_eq!((reopens(&void(true)), reopens(&void(false))), (Some(Reopens::Any), None));
    }

    #[test]
    fn the_last_of_several_operations_counts() {
        let campaign = "default/one".to_owned();
        let resume = pb::ResumeCampaignCommand { campaign: campaign.clone(), ..Default::default() };
        let resume = encoded(Operation::ResumeCampaign(resume));
        let (one, other) = (issue("default/one"), issue("default/other"));
        let joined = |[one, other]: [&Bytes; 2]| Bytes::from([&one[..], &other[..]].concat());
        let resumes = joined([&one, &resume]);
        assert_eq!(reopens(&resumes), Some(Reopens::Campaign(campaign)));
        assert_eq!(campaign_of_quota_request(&resumes), None);
        let issues = joined([&resume, &one]);
        assert_eq!(reopens(&issues), None);
        assert_eq!(campaign_of_quota_request(&issues), Some("default/one"));
        let both = joined([&one, &other]);
        assert_eq!(campaign_of_quota_request(&both), Some("default/other"));
        let Action::Issue(read) = CommandReader::default().read(both).action else {
            panic!("it issues a coupon");
        };
        assert_eq!(read.campaign.as_str(), "default/other");
    }

    #[test]
    fn an_operation_of_a_newer_version_is_not_taken_for_an_unreadable_one() {
        assert!(!has_unknown_operation(&issue("default/c")));
        assert!(!has_unknown_operation(b"\xff\xff"));
        let mut newer = vec![0x08, 0x01];
        prost::encoding::encode_key(OPERATION_MAX + 1, WireType::LengthDelimited, &mut newer);
        newer.push(0);
        let newer = Bytes::from(newer);
        assert!(has_unknown_operation(&newer));
        let entry = pb::CommandEntry { commands: vec![newer], ..Default::default() };
        assert!(read_entry(entry).is_err());
    }

    #[test]
    fn an_internal_command_of_a_newer_version_is_not_skipped() {
        let commands = vec![issue("default/c")];
        let header = pb::LogHeader {
            committed_index: 3,
            acknowledged: vec![pb::AcknowledgedIndex { replica_id: 1, index: 2 }],
        };
        let entry = pb::CommandEntry {
            log_time_micros: 1,
            commands,
            applied_digest: Some(pb::AppliedDigest { index: 1, digest: vec![7; 32] }),
            internal_command: Some(pb::command_entry::InternalCommand::SkipCounters(
                pb::SkipCountersCommand {},
            )),
            committed_index: header.committed_index,
            acknowledged: header.acknowledged,
        };
        let mut bytes = entry.encode_to_vec();
        assert_eq!(decode_entry(&bytes.clone().into()).unwrap(), entry);
        // Field 6, a message without a field.
        bytes.extend([0x32, 0]);
        assert!(decode_entry(&bytes.into()).is_err());
        assert!(decode_entry(&Bytes::from_static(b"\xff\xff")).is_err());
    }

    #[test]
    fn an_entry_that_does_nothing_is_malformed() {
        let nothing = pb::CommandEntry { log_time_micros: 1, ..Default::default() };
        assert!(read_entry(nothing).is_err());
    }
}
