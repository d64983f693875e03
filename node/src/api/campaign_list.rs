//! Questions for the campaigns of a tenant, and for one that does not exist yet.

use coupon_cluster::Epoch;
use coupon_ledger::{Campaign, Ledger, LogTime, Outcome};
use coupon_proto::internal as pb;
use coupon_proto::internal::campaign_condition::Condition;
use coupon_wire::Malformed;
use coupon_wire::campaign::state_to_pb;

use super::reader::{Page, ReadError, Reader, SEARCHED_MAX, tenant_id};
use crate::codec::{create_campaign, outcome, row};

impl Reader<'_> {
    /// The campaigns of a tenant that meet all conditions, by id. Looks at some of them, and says which was the last.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn list_campaigns(
        &self,
        epoch: u64,
        query: &pb::ListCampaignsQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let tenant = tenant_id(&query.tenant)?;
        self.respond(epoch, |view, answer| {
            let now = LogTime(answer.log_time_micros);
            let mut page = Page::new(query.limit);
            let mut last_searched = String::new();
            for (searched, campaign) in view.campaigns_of(&tenant, &query.after).enumerate() {
                if searched == SEARCHED_MAX {
                    answer.searched_campaign_id = last_searched;
                    break;
                }
                let campaign = self.settled(&view, campaign?, now)?;
                let is_wanted =
                    !campaign.spec.is_deleted() && meets_all(&campaign, now, &query.conditions)?;
                if is_wanted && !page.push(row::campaign_to_pb(&campaign)) {
                    break;
                }
                campaign.spec.name.id().clone_into(&mut last_searched);
            }
            answer.more = page.more || !answer.searched_campaign_id.is_empty();
            answer.campaigns = page.items;
            Ok(())
        })
    }

    /// What creating a campaign would come to.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn check_creation(
        &self,
        epoch: u64,
        command: pb::CreateCampaignCommand,
    ) -> Result<pb::ReadResponse, ReadError> {
        let command = create_campaign::from_pb(command).map_err(ReadError::Malformed)?;
        let view = self.view()?;
        let state = view.shard_state()?;
        let now = self.time(&state);
        let mut answer = pb::ReadResponse { log_time_micros: now, ..Default::default() };
        let existing = view.campaign_or_tombstone(&command.name)?;
        let existing =
            existing.map(|found| self.settled(&view, found, LogTime(now))).transpose()?;
        let (shard, epoch) = (self.replica.raft.key.shard, Epoch(epoch));
        let outcome = Ledger::outcome_of_creation(
            shard,
            state,
            existing.as_ref(),
            LogTime(now),
            epoch,
            command,
        );
        match outcome {
            Outcome::CampaignCreated { campaign, replayed, .. } => {
                answer.campaigns.push(row::campaign_to_pb(&campaign));
                answer.replayed = replayed;
            }
            Outcome::Refused(refusal) => answer.refusal = Some(outcome::refusal_to_pb(refusal)),
            Outcome::CampaignChanged { .. }
            | Outcome::CampaignDeleted { .. }
            | Outcome::CouponIssued { .. }
            | Outcome::CouponChanged { .. }
            | Outcome::HoldChanged { .. }
            | Outcome::HoldConfirmed { .. }
            | Outcome::CodesImported { .. }
            | Outcome::RingAdopted { .. }
            | Outcome::CountersSkipped => {}
        }
        Ok(answer)
    }
}

/// Whether a campaign meets all conditions.
fn meets_all(
    campaign: &Campaign,
    now: LogTime,
    conditions: &[pb::CampaignCondition],
) -> Result<bool, ReadError> {
    for pb::CampaignCondition { negated, condition } in conditions {
        let condition = condition.as_ref().ok_or(ReadError::Malformed(Malformed("condition")))?;
        let is_met = match condition {
            Condition::State(state) => i32::from(state_to_pb(campaign.state_at(now))) == *state,
            Condition::Label(pb::LabelCondition { key, value }) => {
                let found = campaign.spec.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
        };
        if is_met == *negated {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use coupon_cluster::{CampaignName, CodeScheme, KeyId, RequestId, ShardId, TenantId};
    use coupon_ledger::{CreateCampaign, ShardState};

    use super::*;

    fn campaign() -> Campaign {
        let command = CreateCampaign {
            name: CampaignName::new(&TenantId::default(), "c").unwrap(),
            display_name: String::new(),
            quota: 1,
            start: Some(LogTime(100)),
            end: None,
            per_recipient_limit: 0,
            coupon_ttl_micros: None,
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            request_id: RequestId::from_bytes(&[1; 16]).unwrap(),
            code_key: KeyId(1),
            code_scheme: CodeScheme::default(),
            has_imported_codes: false,
        };
        let shard = ShardId::new(1).unwrap();
        let state = ShardState { epoch: Epoch(1), ring_shards: vec![shard], ..Default::default() };
        let outcome =
            Ledger::outcome_of_creation(shard, state, None, LogTime(1), Epoch(1), command);
        let Outcome::CampaignCreated { campaign, replayed: false, .. } = outcome else {
            panic!("{outcome:?}");
        };
        campaign
    }

    #[test]
    fn conditions_are_met_or_not() {
        let state = |state: pb::CampaignState| Condition::State(state.into());
        let label = |key: &str, value: Option<&str>| {
            let (key, value) = (key.to_owned(), value.map(str::to_owned));
            Condition::Label(pb::LabelCondition { key, value })
        };
        let table = [
            (state(pb::CampaignState::Active), true),
            (state(pb::CampaignState::Scheduled), false),
            (label("team", Some("a")), true),
            (label("team", Some("b")), false),
            (label("team", None), true),
            (label("city", None), false),
            (label("city", Some("")), false),
        ];
        for (condition, expected) in table {
            for negated in [false, true] {
                let condition = Some(condition.clone());
                let one = pb::CampaignCondition { negated, condition };
                let met = meets_all(&campaign(), LogTime(100), std::slice::from_ref(&one));
                assert!(met.is_ok_and(|met| met == (expected != negated)), "{one:?}");
                let none = pb::CampaignCondition { negated, condition: None };
                assert!(meets_all(&campaign(), LogTime(100), &[none]).is_err());
            }
        }
    }
}
