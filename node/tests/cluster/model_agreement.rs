//! Random commands to a real cluster are answered as a single thread with lists would answer them, one after another:
//! while leaders change and crash, and clocks jump back and forth.
//!
//! All nodes have the same clock, which stands still between jumps, so that log time is known. What is not known is what
//! became of an attempt without an answer, and whether a refusal went through the log. So there are several models, one
//! for each thing that may have happened, and an answer rules those out that would have answered otherwise. None left is
//! a failure.
//!
//! `MODEL_SEED` and `MODEL_STRETCHES` choose the commands and how many there are.

mod encode;
mod read;
mod stretch;
mod worlds;

use std::collections::BTreeMap;
use std::time::Duration;

use coupon_ledger::{Action, Command};
use coupon_node::{NodeHandle, RaftOptions};
use coupon_proto::internal as pb;
use pb::reply::Reply;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tokio::task::JoinHandle;

use self::read::Read;
use self::stretch::{BEGIN, Stretch};
use self::worlds::Worlds;
use crate::history::history_of_routers;
use crate::support::{PATIENCE, SHARD, Session, TestCluster, until};

/// The seed, unless another one is given.
const SEED: u64 = 0x00C0_FFEE;

/// The number of stretches, unless another one is given: half a minute.
const STRETCHES: u64 = 16;

/// How long an attempt may go without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_random_commands_as_the_model_does() {
    let seed = setting("MODEL_SEED", SEED);
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let mut driver = Driver::start(seed).await;
    for number in 0..setting("MODEL_STRETCHES", STRETCHES) {
        let entries = history_of_routers().new_tree(&mut runner).unwrap().current();
        let stretch = Stretch { number, first_block: driver.worlds.blocks_taken() };
        driver.stretch = number;
        // The first entry is the shard's own.
        for entry in &entries[1..] {
            driver.set_clock(stretch.time(entry.stamped).0);
            for command in &entry.commands {
                driver.step(stretch.command(command.clone())).await;
            }
        }
    }
    eprintln!("{} commands, {} reads: {:?}", driver.commands, driver.reads, driver.seen);
    assert!(driver.seen.keys().filter(|seen| !seen.is_empty()).count() > 5, "{:?}", driver.seen);
}

/// Asks a cluster, and compares its answers.
struct Driver {
    cluster: TestCluster,
    session: Option<(u64, Session)>,
    streams_opened: u64,
    clock: u64,
    /// The greatest times that the proposer of a node may have read: surely, and perhaps. It never stamps less.
    floors: BTreeMap<u64, (u64, u64)>,
    worlds: Worlds,
    seed: u64,
    chance: Chance,
    stretch: u64,
    commands: u64,
    reads: u64,
    /// How many answers of each kind there were.
    seen: BTreeMap<String, u64>,
}

impl Driver {
    async fn start(seed: u64) -> Self {
        let options = RaftOptions { log_entries_kept: 200, ..RaftOptions::default() };
        let cluster = TestCluster::start_at(options, BEGIN).await;
        let mut driver = Self {
            cluster,
            session: None,
            streams_opened: 0,
            clock: BEGIN,
            floors: BTreeMap::new(),
            worlds: Worlds::new(BEGIN),
            seed,
            chance: Chance(seed),
            stretch: 0,
            commands: 0,
            reads: 0,
            seen: BTreeMap::new(),
        };
        driver.wait_for_ring().await;
        driver
    }

    /// Waits until the shard has a ring.
    async fn wait_for_ring(&mut self) {
        let read = Read::Campaigns;
        until("the shard to have a ring", async || {
            let answer = self.read(&read).await?;
            answer.refusal.is_none().then_some(())
        })
        .await;
    }

    fn set_clock(&mut self, micros: u64) {
        self.clock = micros;
        self.cluster.nodes.values().for_each(|node| node.clock.stop_at(micros));
    }

    /// One command, perhaps while something happens to the cluster, and perhaps a read.
    async fn step(&mut self, command: Command) {
        let trouble = match self.chance.of(100) {
            0 => self.crash().await,
            1..=4 => self.transfer().await,
            _ => Trouble::None,
        };
        let answer = self.propose(&command).await;
        self.commands += 1;
        *self.seen.entry(kind(&answer)).or_default() += 1;
        match trouble {
            Trouble::None => {}
            Trouble::Transfer(done) => done.await.unwrap(),
            Trouble::Crash { node, halted } => {
                halted.await.unwrap();
                self.floors.remove(&node);
                let data = self.cluster.dir.path().join(node.to_string());
                let listen = self.cluster.nodes[&node].address.clone();
                self.cluster.boot(node, &data, &listen).await;
            }
        }
        if self.chance.of(3) == 0 {
            let read = self.a_read(&command);
            let answer = until("an answer to a read", async || self.read(&read).await).await;
            self.reads += 1;
            let context = self.context(&command);
            self.worlds.saw(self.clock, &read, &answer, &context);
        }
    }

    fn context(&self, command: &Command) -> String {
        format!("MODEL_SEED={}, stretch {}, {command:?}", self.seed, self.stretch)
    }

    /// Has a command answered, and rules out what cannot have happened.
    async fn propose(&mut self, command: &Command) -> pb::Outcome {
        let sent = encode::command(command);
        let begun = std::time::Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "no answer: {}", self.context(command));
            let Some((node, mut session)) = self.session.take() else {
                self.open().await;
                continue;
            };
            let (sure, perhaps) = *self.floors.entry(node).or_default();
            let stamps = [self.clock.max(sure), self.clock.max(perhaps)];
            self.floors.insert(node, (sure, stamps[1]));
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, session.one(sent.clone())).await;
            match asked.ok().flatten().and_then(|reply| reply.reply) {
                Some(Reply::Outcome(outcome)) => {
                    self.floors.insert(node, (stamps[0], stamps[1]));
                    self.session = Some((node, session));
                    let context = self.context(command);
                    self.worlds.answered(&stamps, command, &outcome, &context);
                    return outcome;
                }
                Some(Reply::NotProposed(not_proposed)) => {
                    self.floors.insert(node, (stamps[0], stamps[1]));
                    if not_proposed.reason() == pb::NotProposedReason::NeedsLog {
                        self.session = Some((node, session));
                    }
                }
                // It may be in the log.
                Some(Reply::Unknown(_)) | None => self.worlds.may_have_applied(&stamps, command),
            }
        }
    }

    /// Opens a stream to a node that leads, if there is one. Its number lets the node forget what came over earlier ones.
    async fn open(&mut self) {
        for node in self.cluster.running() {
            self.streams_opened += 1;
            let hello = pb::RouterHello {
                shard_id: SHARD,
                router_id: 7,
                stream_number: self.streams_opened,
                forward: false,
            };
            let opening = Session::open_with(&self.cluster, node, hello);
            if let Ok(Some(session)) = tokio::time::timeout(ANSWER_TIMEOUT, opening).await {
                self.session = Some((node, session));
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Something to read, mostly about what a command was for.
    fn a_read(&mut self, command: &Command) -> Read {
        match &command.action {
            Action::RedeemCoupon(redeem) => Read::Code(redeem.code.clone()),
            Action::ReverseRedemption(reverse) => Read::Code(reverse.code.clone()),
            Action::VoidCoupon(void) => Read::Code(void.code.clone()),
            Action::Issue(issue) => match self.chance.of(4) {
                0 => Read::Campaign(issue.campaign.clone()),
                1 => Read::Coupons(issue.campaign.clone(), String::new()),
                2 => Read::Coupons(issue.campaign.clone(), issue.recipient.clone()),
                _ => Read::Coupon(issue.campaign.clone(), 1 + self.chance.of(3)),
            },
            Action::HoldCoupon(hold) => Read::Campaign(hold.campaign.clone()),
            Action::ReleaseHold(release) => Read::Campaign(release.campaign.clone()),
            Action::ConfirmHold(confirm) => match self.chance.of(2) {
                0 => Read::Campaign(confirm.campaign.clone()),
                _ => Read::Coupons(confirm.campaign.clone(), String::new()),
            },
            Action::UpdateCampaign(update) => Read::Campaign(update.campaign.clone()),
            Action::CreateCampaign(create) => Read::Campaign(create.name.clone()),
            Action::PauseCampaign(_)
            | Action::ResumeCampaign(_)
            | Action::EndCampaign(_)
            | Action::ArchiveCampaign(_)
            | Action::DeleteCampaign(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters
            | Action::Unreadable => Read::Campaigns,
        }
    }

    /// The answer of the leader; `None` when no node says that it is that.
    async fn read(&self, read: &Read) -> Option<pb::ReadResponse> {
        for node in self.cluster.running() {
            let request = pb::ReadRequest {
                shard_id: SHARD,
                epoch: 1,
                query: Some(read.query()),
                forward: false,
            };
            let mut client = self.cluster.shard_client(node).await;
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, client.read(request)).await;
            if let Ok(Ok(answer)) = asked {
                return Some(answer.into_inner());
            }
        }
        None
    }

    /// Asks the leader to hand its leadership over, without waiting for that.
    async fn transfer(&mut self) -> Trouble {
        let leader = self.session.as_ref().map(|(leader, _)| *leader);
        let running = self.cluster.running();
        let Some(leader) = leader.filter(|leader| running.contains(leader)) else {
            return Trouble::None;
        };
        let mut client = self.cluster.cluster_client(leader).await;
        let request = pb::TransferLeadershipRequest { shard_id: SHARD, to_node_id: 0 };
        // It may fail, for instance right after another one.
        Trouble::Transfer(tokio::spawn(
            async move { drop(client.transfer_leadership(request).await) },
        ))
    }

    /// Ends a node, mostly the leader, without waiting for that.
    async fn crash(&mut self) -> Trouble {
        let leader = self.session.as_ref().map(|(leader, _)| *leader);
        let node = leader.filter(|_| self.chance.of(3) > 0).unwrap_or(1 + self.chance.of(3));
        let handle: Option<NodeHandle> =
            self.cluster.nodes.get_mut(&node).and_then(|node| node.handle.take());
        match handle {
            Some(handle) => Trouble::Crash { node, halted: tokio::spawn(handle.halt()) },
            None => Trouble::None,
        }
    }
}

/// What happens while a command is on its way.
enum Trouble {
    None,
    Transfer(JoinHandle<()>),
    Crash { node: u64, halted: JoinHandle<()> },
}

/// What kind of answer it is.
fn kind(outcome: &pb::Outcome) -> String {
    match &outcome.outcome {
        Some(pb::outcome::Outcome::Refusal(refusal)) => refusal.reason().as_str_name().to_owned(),
        Some(pb::outcome::Outcome::CampaignCreated(_)) => "created".to_owned(),
        Some(pb::outcome::Outcome::CampaignChanged(_)) => "changed".to_owned(),
        Some(pb::outcome::Outcome::CampaignDeleted(_)) => "deleted".to_owned(),
        Some(pb::outcome::Outcome::CouponIssued(_)) => "issued".to_owned(),
        Some(pb::outcome::Outcome::CouponChanged(_)) => "coupon changed".to_owned(),
        Some(pb::outcome::Outcome::HoldChanged(_)) => "hold".to_owned(),
        Some(pb::outcome::Outcome::HoldConfirmed(_)) => "hold confirmed".to_owned(),
        None => String::new(),
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    /// A number below `limit`.
    fn of(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
