//! Where a script is played: a ledger, its store, and what the script said before.

use std::collections::BTreeMap;

use coupon_cluster::{Epoch, ShardId};
use coupon_ledger::{Action, Command, Ledger, LogTime, MemoryStore, StateReader};

use crate::{parse, show};

pub(crate) struct Stage {
    store: MemoryStore,
    ledger: Ledger,
    /// Stamped on the next entry.
    time: LogTime,
    /// The epoch that senders route by.
    epoch: Epoch,
    /// The requests of `fill` have numbers of their own.
    next_fill_request: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let mut store = MemoryStore::default();
        let ledger = Ledger::open(shard(), &mut store).unwrap();
        let next_fill_request = 1_000_000;
        Self { store, ledger, time: LogTime(0), epoch: Epoch(0), next_fill_request }
    }

    /// Plays one line and tells what came of it.
    pub(crate) fn play(&mut self, line: &str) -> Vec<String> {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if let ["at", time, ..] = words[..] {
            self.time = LogTime(parse::number(time));
            words.drain(..2);
        }
        match words[..] {
            ["fill", campaign, count] => vec![self.fill(campaign, parse::number(count))],
            ["show", campaign] => {
                let campaign =
                    self.store.campaign(&parse::campaign_name(campaign)).unwrap().unwrap();
                vec![show::campaign(&campaign, self.ledger.state().log_time)]
            }
            ["number", number] => {
                let number = u32::try_from(parse::number(number)).unwrap();
                let campaign = self.store.campaign_of_number(number).unwrap();
                let now = self.ledger.state().log_time;
                vec![campaign.map_or("nobody".to_owned(), |found| show::campaign(&found, now))]
            }
            ["terms", campaign] => {
                let campaign =
                    self.store.campaign(&parse::campaign_name(campaign)).unwrap().unwrap();
                vec![show::terms(&campaign)]
            }
            ["check", ref words @ ..] => vec![self.check(words)],
            ["shard"] => vec![show::shard(self.ledger.state())],
            ["block", block] => vec![match self.store.block(parse::number(block)).unwrap() {
                Some((number, first)) => format!("campaign number {number} from #{first}"),
                None => "nobody".to_owned(),
            }],
            ["reopen"] => {
                self.ledger = Ledger::open(shard(), &mut self.store).unwrap();
                vec!["reopened".to_owned()]
            }
            ref words => self.entry(words),
        }
    }

    fn entry(&mut self, words: &[&str]) -> Vec<String> {
        let commands = words.split(|word| *word == ";").map(|words| self.command(words)).collect();
        self.apply(commands)
    }

    fn command(&mut self, words: &[&str]) -> Command {
        let command = match words {
            ["epoch", epoch, words @ ..] => parse::command(words, Epoch(parse::number(epoch))),
            words => parse::command(words, self.epoch),
        };
        if let Action::AdoptRing { epoch, .. } = command.action {
            self.epoch = self.epoch.max(epoch);
        }
        command
    }

    fn check(&mut self, words: &[&str]) -> String {
        let Command { epoch, action: Action::CreateCampaign(create) } = self.command(words) else {
            panic!("only creations are checked: {words:?}");
        };
        let existing = self.store.campaign(&create.name).unwrap();
        let (state, now) = (self.ledger.state().clone(), self.time);
        let checked =
            Ledger::outcome_of_creation(shard(), state, existing.as_ref(), now, epoch, create);
        show::outcome(&checked, self.ledger.state().log_time.max(self.time))
    }

    fn fill(&mut self, campaign: &str, count: u64) -> String {
        let requests = self.next_fill_request..self.next_fill_request + count;
        self.next_fill_request = requests.end;
        let issue = |request| Command {
            epoch: self.epoch,
            action: parse::issue(campaign, "crowd", parse::request(request), BTreeMap::new()),
        };
        let outcomes = self.apply(requests.map(issue).collect());
        format!("{count} times, last: {}", outcomes.last().unwrap())
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<String> {
        let outcomes = self.ledger.apply(&mut self.store, self.time, commands).unwrap();
        let now = self.ledger.state().log_time;
        outcomes.iter().map(|outcome| show::outcome(outcome, now)).collect()
    }
}

fn shard() -> ShardId {
    parse::shard_id(1)
}
