//! Which calls are made: campaigns by their popularity, recipients from a pool or always new ones.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::client::IssueCall;
use crate::popularity::{Picker, Popularity};

/// Makes calls. The choice of campaigns and recipients follows from the seed; request ids never
/// repeat, in this run or in any other.
#[derive(Debug)]
pub(crate) struct Demand {
    choices: StdRng,
    ids: StdRng,
    picker: Picker,
    recipients: Option<u64>,
    /// What recipients begin with, different in every run.
    run: String,
    number: u64,
    /// The campaigns that are in demand, the most popular one first.
    pub(crate) campaigns: Vec<(usize, Arc<str>)>,
}

impl Demand {
    /// For these campaigns, at least one.
    pub(crate) fn new(
        campaigns: Vec<(usize, Arc<str>)>,
        popularity: Popularity,
        recipients: Option<u64>,
        seed: u64,
    ) -> Self {
        let mut ids = StdRng::from_os_rng();
        let run = format!("{:08x}", ids.random::<u32>());
        Self {
            choices: StdRng::seed_from_u64(seed),
            ids,
            picker: Picker::new(popularity, campaigns.len()),
            recipients,
            run,
            number: 0,
            campaigns,
        }
    }

    /// The next call.
    pub(crate) fn next(&mut self) -> IssueCall {
        let place = self.picker.pick(self.choices.random());
        let (campaign, campaign_id) = self.campaigns[place].clone();
        self.number += 1;
        let number = match self.recipients {
            Some(recipients) => self.choices.random_range(1..=recipients.max(1)),
            None => self.number,
        };
        IssueCall {
            campaign,
            campaign_id,
            request_id: uuid::Builder::from_random_bytes(self.ids.random()).into_uuid(),
            recipient: format!("{}-{number}", self.run).into(),
        }
    }

    /// The place of a campaign among those in demand; `None` if it is not any more.
    pub(crate) fn place(&self, campaign: usize) -> Option<usize> {
        self.campaigns.iter().position(|(number, _)| *number == campaign)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn demand(recipients: Option<u64>, seed: u64) -> Demand {
        let campaigns = vec![(0, "a".into()), (1, "b".into()), (2, "c".into())];
        Demand::new(campaigns, Popularity::Zipf(1.0), recipients, seed)
    }

    #[test]
    fn recipients_and_requests_are_unique() {
        let mut demand = demand(None, 1);
        let calls: Vec<IssueCall> = (0..1_000).map(|_| demand.next()).collect();
        let recipients: BTreeSet<_> = calls.iter().map(|call| &call.recipient).collect();
        let requests: BTreeSet<_> = calls.iter().map(|call| call.request_id).collect();
        assert_eq!((recipients.len(), requests.len()), (1_000, 1_000));
    }

    #[test]
    fn a_pool_is_used_up() {
        let mut demand = demand(Some(5), 1);
        let recipients: BTreeSet<_> = (0..1_000).map(|_| demand.next().recipient).collect();
        assert_eq!(recipients.len(), 5);
    }

    #[test]
    fn the_seed_decides_the_campaigns_and_nothing_repeats_ids() {
        let (mut one, mut same, mut other) = (demand(None, 7), demand(None, 7), demand(None, 8));
        let mut choose = |_| (one.next(), same.next(), other.next());
        let calls: Vec<_> = (0..100).map(&mut choose).collect();
        assert!(calls.iter().all(|(one, same, _)| one.campaign == same.campaign));
        assert!(calls.iter().any(|(one, _, other)| one.campaign != other.campaign));
        assert!(calls.iter().all(|(one, same, _)| one.request_id != same.request_id));
    }
}
