//! Commands, from the bytes that routers made of them.
//!
//! A router encodes a command once. The leader puts the bytes into an entry of the log as they are, every replica
//! keeps them so, and they are read where they are applied. What cannot be read is in the log by then, and is
//! refused by all replicas alike. An operation that this program does not know is another matter: a newer replica
//! may know it. A leader keeps it out of the log, and a replica that finds it there stops.

use bytes::Bytes;
use coupon_cluster::{CampaignName, Epoch};
use coupon_ledger::{Action, Command};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::campaign_name;
use pb::command::Operation;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::shard_ids;
use super::{create_campaign, issue, pause_campaign, resume_campaign};

/// The field of a `Command` that issues a coupon.
const ISSUE: u32 = 3;
/// The greatest field of a `Command` that is an operation.
const OPERATION_MAX: u32 = 5;
/// The field of an `IssueCommand` that names the campaign.
const CAMPAIGN: u32 = 1;

/// The commands of an entry of the log.
///
/// # Errors
///
/// When the shard's own command is malformed.
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
    Ok(commands)
}

/// Whether a command has an operation of a newer version.
pub fn has_unknown_operation(mut command: &[u8]) -> bool {
    while !command.is_empty() {
        let Ok((number, kind)) = decode_key(&mut command) else { return false };
        if number > OPERATION_MAX {
            return true;
        }
        if skip_field(kind, number, &mut command, DecodeContext::default()).is_err() {
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
        let command = pb::Command::decode(command).map_err(|_| Malformed("command"))?;
        let action = match command.operation.ok_or(Malformed("operation"))? {
            Operation::CreateCampaign(create) => create_campaign::from_pb(create)?,
            Operation::Issue(issue) => {
                let campaign = self.campaign_name(&issue.campaign)?;
                issue::from_pb(issue, campaign)?
            }
            Operation::PauseCampaign(pause) => pause_campaign::from_pb(&pause)?,
            Operation::ResumeCampaign(resume) => resume_campaign::from_pb(&resume)?,
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

/// The id of the campaign that a command issues a coupon of, without reading the rest. `None` for other commands.
pub fn campaign_of_issue(command: &[u8]) -> Option<&str> {
    std::str::from_utf8(field(field(command, ISSUE)?, CAMPAIGN)?).ok()
}

/// The first field with this number in a message, where it is a message, text or bytes.
fn field(mut message: &[u8], number: u32) -> Option<&[u8]> {
    while !message.is_empty() {
        let (found, kind) = decode_key(&mut message).ok()?;
        if found == number && kind == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            return message.get(..length);
        }
        skip_field(kind, found, &mut message, DecodeContext::default()).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_campaign_is_found_without_reading_the_rest() {
        assert_eq!(campaign_of_issue(&issue("default/spring")), Some("default/spring"));
        let create = pb::CreateCampaignCommand { name: "default/c".into(), ..Default::default() };
        assert_eq!(campaign_of_issue(&encoded(Operation::CreateCampaign(create))), None);
        let whole = issue("default/spring");
        for cut in 0..whole.len() {
            // Whatever is cut off, it finds the id, or nothing.
            let found = campaign_of_issue(&whole[..cut]);
            assert!(found.is_none_or(|found| found == "default/spring"));
        }
    }

    /// The fields of this file are those of the format.
    #[test]
    fn the_numbers_are_those_of_the_messages() {
        assert_eq!(u32::from(issue("default/c")[2]), ISSUE << 3 | 2);
        let newest = encoded(Operation::ResumeCampaign(pb::ResumeCampaignCommand::default()));
        assert_eq!(u32::from(newest[2]), OPERATION_MAX << 3 | 2);
    }

    #[test]
    fn an_operation_of_a_newer_version_is_not_taken_for_an_unreadable_one() {
        assert!(!has_unknown_operation(&issue("default/c")));
        assert!(!has_unknown_operation(b"\xff\xff"));
        let newer = Bytes::from_static(&[0x08, 0x01, ((OPERATION_MAX + 1) << 3 | 2) as u8, 0]);
        assert!(has_unknown_operation(&newer));
        let entry = pb::CommandEntry { commands: vec![newer], ..Default::default() };
        assert!(read_entry(entry).is_err());
    }
}
