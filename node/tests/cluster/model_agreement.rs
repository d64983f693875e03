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
mod fit;
mod read;
mod stretch;
mod worlds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coupon_cluster::{CampaignName, CampaignState, Epoch};
use coupon_ledger::{Action, Command, CouponCode};
use coupon_node::{NodeHandle, RaftOptions};
use coupon_proto::internal as pb;
use pb::reply::Reply;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tokio::task::JoinHandle;

use self::fit::fit;
use self::read::Read;
use self::stretch::{BEGIN, Stretch};
use self::worlds::{Came, Worlds};
use crate::history::history_of_routers;
use crate::support::{PATIENCE, SHARD, Session, TestCluster};

/// The seed, unless another one is given.
const SEED: u64 = 0x00C0_FFEE;

/// The number of stretches, unless another one is given. A stretch has some forty commands.
const STRETCHES: u64 = 20;

/// Maximum number of commands that are sent together.
const BATCH_MAX: u64 = 4;

/// How long an attempt may go without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_random_commands_as_the_model_does() {
    let (seed, stretches) = (setting("MODEL_SEED", SEED), setting("MODEL_STRETCHES", STRETCHES));
    eprintln!("MODEL_SEED={seed} MODEL_STRETCHES={stretches}");
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let mut driver = Driver::start(seed).await;
    for number in 0..stretches {
        let entries = history_of_routers().new_tree(&mut runner).unwrap().current();
        driver.begin(number);
        // The first entry is the shard's own.
        for entry in &entries[1..] {
            driver.set_clock(driver.stretch.time(entry.stamped).0);
            let mut commands = entry.commands.as_slice();
            while !commands.is_empty() {
                let size = driver.size_of_batch().min(commands.len());
                let (batch, rest) = commands.split_at(size);
                driver.step(batch).await;
                commands = rest;
            }
        }
    }
    eprintln!("{} commands, {} reads: {:?}", driver.commands, driver.reads, driver.seen);
    assert!(driver.seen.len() > 5, "{:?}", driver.seen);
}

/// Asks a cluster, and compares its answers.
struct Driver {
    cluster: TestCluster,
    session: Option<(u64, Session)>,
    streams_opened: u64,
    clock: u64,
    /// The greatest times that a node may have stamped something with: surely, and perhaps. It never stamps less.
    floors: BTreeMap<u64, (u64, u64)>,
    worlds: Worlds,
    /// Where nodes that were restarted have their data.
    directories: BTreeMap<u64, PathBuf>,
    restarts: u64,
    seed: u64,
    chance: Chance,
    stretch: Stretch,
    commands: u64,
    reads: u64,
    /// How many answers of each kind there were, and how much trouble.
    seen: BTreeMap<&'static str, u64>,
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
            directories: BTreeMap::new(),
            restarts: 0,
            seed,
            chance: Chance(seed),
            stretch: Stretch { number: 0, first_block: 0, first_campaign: 0 },
            commands: 0,
            reads: 0,
            seen: BTreeMap::new(),
        };
        let begun = Instant::now();
        let all = Read::Campaigns { after: String::new(), state: None, limit: read::ALL };
        while driver.read(&all).await.0.refusal.is_some() {
            assert!(begun.elapsed() < PATIENCE, "the shard has no ring");
        }
        driver
    }

    fn begin(&mut self, number: u64) {
        let (first_block, first_campaign) =
            (self.worlds.blocks_taken(), self.worlds.campaigns_created());
        self.stretch = Stretch { number, first_block, first_campaign };
    }

    fn set_clock(&mut self, micros: u64) {
        self.clock = micros;
        self.cluster.nodes.values().for_each(|node| node.clock.stop_at(micros));
    }

    /// How many commands to send together: mostly one.
    fn size_of_batch(&mut self) -> usize {
        let size = if self.chance.of(3) == 0 { 1 + self.chance.of(BATCH_MAX) } else { 1 };
        usize::try_from(size).unwrap()
    }

    /// Some commands, perhaps while something happens to the cluster, and perhaps a read.
    async fn step(&mut self, drawn: &[Command]) {
        let batch: Vec<_> = drawn.iter().map(|command| self.command(command)).collect();
        let trouble = match self.chance.of(100) {
            0 => self.crash().await,
            1..=4 => self.transfer().await,
            _ => Trouble::None,
        };
        self.propose(&batch).await;
        match trouble {
            Trouble::None => {}
            Trouble::Transfer(done) => {
                self.note("transfer");
                done.await.unwrap();
            }
            Trouble::Crash { node, halted } => {
                self.note("crash");
                halted.await.unwrap();
                // A process that ended would have closed it.
                self.session.take_if(|(leader, _)| *leader == node);
                self.restart(node).await;
            }
        }
        if self.chance.of(3) == 0 {
            let read = self.a_read(&batch[0]);
            let (answer, times) = self.read(&read).await;
            self.reads += 1;
            let context = || context(self.seed, &self.stretch, &batch);
            self.worlds.saw(&times, &read, &answer, context);
        }
    }

    /// A command that was drawn, in this stretch. Most entity tags, holds and codes are made to fit.
    fn command(&mut self, drawn: &Command) -> Command {
        let mut command = self.stretch.command(drawn.clone());
        if self.chance.of(4) > 0 {
            let place = usize::try_from(self.chance.of(1_000)).unwrap();
            fit(&mut command, self.worlds.first(), self.stretch.first_campaign, place);
        }
        command
    }

    /// Has commands answered, and rules out what cannot have happened.
    async fn propose(&mut self, batch: &[Command]) {
        let mut left = batch.to_vec();
        let begun = Instant::now();
        while !left.is_empty() {
            let said = || context(self.seed, &self.stretch, batch);
            assert!(begun.elapsed() < PATIENCE, "no answer: {}", said());
            let Some((node, mut session)) = self.session.take() else {
                self.open().await;
                continue;
            };
            let (sure, perhaps) = *self.floors.entry(node).or_default();
            let stamps = [self.clock.max(sure), self.clock.max(perhaps)];
            self.floors.insert(node, (sure, stamps[1]));
            let sent = left.iter().map(encode::command).collect();
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, session.propose(sent)).await;
            let replies = asked.ok().flatten();
            let is_over = replies.as_ref().is_none_or(|all| all.iter().any(ends_the_stream));
            let came: Vec<_> = match replies {
                Some(replies) => replies.into_iter().map(came).collect(),
                // They may be in the log.
                None => vec![Came::Unknown; left.len()],
            };
            if !is_over {
                self.floors.insert(node, (stamps[0], stamps[1]));
                self.session = Some((node, session));
            }
            let sent: Vec<_> = left.drain(..).zip(came).collect();
            let said = || context(self.seed, &self.stretch, batch);
            self.worlds.came_of(&stamps, &sent, said);
            for (command, came) in sent {
                match came {
                    Came::Answer(outcome) => {
                        self.commands += 1;
                        self.note(kind(&outcome));
                    }
                    Came::Nothing | Came::Unknown => left.push(command),
                }
            }
        }
    }

    fn note(&mut self, kind: &'static str) {
        *self.seen.entry(kind).or_default() += 1;
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
        let name = match &command.action {
            Action::RedeemCoupon(redeem) => return self.a_read_of_code(&redeem.code),
            Action::ReverseRedemption(reverse) => return self.a_read_of_code(&reverse.code),
            Action::VoidCoupon(void) => return self.a_read_of_code(&void.code),
            Action::CreateCampaign(create) if self.chance.of(2) == 0 => {
                // By the ring in force, as all questions.
                let asked = Command { epoch: Epoch(1), ..command.clone() };
                return Read::Creation(asked.into(), create.clone().into());
            }
            Action::Issue(issue) if self.chance.of(4) == 0 => {
                return self.a_read_of_recipient(&issue.campaign, &issue.recipient);
            }
            Action::HoldCoupon(hold) if self.chance.of(4) == 0 => {
                return self.a_read_of_recipient(&hold.campaign, &hold.recipient);
            }
            Action::CreateCampaign(create) => &create.name,
            Action::Issue(issue) => &issue.campaign,
            Action::HoldCoupon(hold) => &hold.campaign,
            Action::ConfirmHold(confirm) => &confirm.campaign,
            Action::ReleaseHold(release) => &release.campaign,
            Action::ImportCodes(import) => &import.campaign,
            Action::UpdateCampaign(update) => &update.campaign,
            Action::PauseCampaign(pause) => &pause.campaign,
            Action::ResumeCampaign(resume) => &resume.campaign,
            Action::EndCampaign(end) => &end.campaign,
            Action::ArchiveCampaign(archive) => &archive.campaign,
            Action::DeleteCampaign(delete) => &delete.campaign,
            Action::AdoptRing { .. } | Action::SkipCounters | Action::Unreadable => {
                return self.a_list_of_campaigns();
            }
        };
        self.a_read_of_campaign(&name.clone())
    }

    fn a_read_of_campaign(&mut self, campaign: &CampaignName) -> Read {
        let campaign = campaign.clone();
        match self.chance.of(8) {
            0 | 1 => Read::Campaign(campaign),
            2 => {
                let first = self.stretch.first_campaign;
                Read::Number(first + u32::try_from(self.chance.of(5)).unwrap())
            }
            3 => self.a_list_of_campaigns(),
            4 => {
                let (after, limit) = (self.chance.of(3), self.limit());
                Read::Coupons { campaign, recipient: String::new(), after, limit }
            }
            5 => {
                let revision = 1 + self.chance.of(9);
                let issued = self.worlds.issued_by(&campaign, revision);
                Read::CouponsAt { campaign, revision, issued }
            }
            6 => Read::Coupon(campaign, 1 + self.chance.of(3)),
            _ => Read::Events(campaign, self.chance.of(2) * self.chance.of(6)),
        }
    }

    fn a_read_of_recipient(&mut self, campaign: &CampaignName, recipient: &str) -> Read {
        let (campaign, recipient) = (campaign.clone(), recipient.to_owned());
        if recipient.is_empty() || self.chance.of(2) == 0 {
            return Read::Coupons { campaign, recipient, after: 0, limit: self.limit() };
        }
        Read::Holder { recipient, from: self.stretch.first_campaign }
    }

    fn a_read_of_code(&mut self, code: &CouponCode) -> Read {
        match code {
            CouponCode::OfCampaign(code) if self.chance.of(2) == 0 => {
                self.a_read_of_campaign(&code.campaign)
            }
            code @ (CouponCode::OfCampaign(_) | CouponCode::Generated(_)) => {
                Read::Code(code.clone())
            }
        }
    }

    fn a_list_of_campaigns(&mut self) -> Read {
        let state = match self.chance.of(12) {
            0 => Some(CampaignState::Scheduled),
            1 => Some(CampaignState::Active),
            2 => Some(CampaignState::Paused),
            3 => Some(CampaignState::Exhausted),
            4 => Some(CampaignState::Ended),
            5 => Some(CampaignState::Archived),
            _ => None,
        };
        Read::Campaigns { after: self.stretch.prefix(), state, limit: self.limit() }
    }

    /// How many items to ask for: all, mostly.
    fn limit(&mut self) -> u32 {
        if self.chance.of(3) == 0 { 2 } else { read::ALL }
    }

    /// The answer of the leader to a question, and the times that it may be of besides log time, if that is later.
    async fn read(&mut self, read: &Read) -> (pb::ReadResponse, [u64; 4]) {
        let begun = Instant::now();
        loop {
            for node in self.cluster.running() {
                let request = pb::ReadRequest {
                    shard_id: SHARD,
                    epoch: 1,
                    query: Some(read.query()),
                    ..Default::default()
                };
                // A question has a time as well, whether it is answered or not.
                let (sure, perhaps) = self.floors.entry(node).or_default();
                *perhaps = self.clock.max(*perhaps);
                // While a node does not trust its clock, time stands still.
                let times = [self.clock.max(*sure), *perhaps, *sure, 0];
                let mut client = self.cluster.shard_client(node).await;
                let asked = tokio::time::timeout(ANSWER_TIMEOUT, client.read(request)).await;
                if let Ok(Ok(answer)) = asked {
                    return (answer.into_inner(), times);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "no answer to {read:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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

    /// Starts a node again that has ended. This process may still have its directory open, so it goes on with a copy.
    async fn restart(&mut self, node: u64) {
        self.floors.remove(&node);
        self.restarts += 1;
        let first = self.cluster.dir.path().join(node.to_string());
        let before = self.directories.remove(&node).unwrap_or(first);
        let copy = self.cluster.dir.path().join(format!("{node}-{}", self.restarts));
        copy_directory(&before, &copy);
        let listen = self.cluster.nodes[&node].address.clone();
        self.cluster.boot(node, &copy, &listen).await;
        self.directories.insert(node, copy);
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

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_directory(&entry.path(), &to),
            false => {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

/// What a failure says.
fn context(seed: u64, stretch: &Stretch, batch: &[Command]) -> String {
    format!("MODEL_SEED={seed}, {stretch:?}: {batch:?}")
}

/// What happens while commands are on their way.
enum Trouble {
    None,
    Transfer(JoinHandle<()>),
    Crash { node: u64, halted: JoinHandle<()> },
}

fn came(reply: pb::Reply) -> Came {
    match reply.reply {
        Some(Reply::Outcome(outcome)) => Came::Answer(outcome),
        Some(Reply::NotProposed(_)) => Came::Nothing,
        Some(Reply::Unknown(_)) | None => Came::Unknown,
    }
}

/// Whether nothing more comes over a stream with this reply: its node leads no more.
fn ends_the_stream(reply: &pb::Reply) -> bool {
    match &reply.reply {
        Some(Reply::Outcome(_)) => false,
        Some(Reply::NotProposed(not)) => not.reason() != pb::NotProposedReason::NeedsLog,
        Some(Reply::Unknown(_)) | None => true,
    }
}

/// What kind of answer it is.
fn kind(outcome: &pb::Outcome) -> &'static str {
    match &outcome.outcome {
        Some(pb::outcome::Outcome::Refusal(refusal)) => refusal.reason().as_str_name(),
        Some(pb::outcome::Outcome::CampaignCreated(_)) => "created",
        Some(pb::outcome::Outcome::CampaignChanged(_)) => "changed",
        Some(pb::outcome::Outcome::CampaignDeleted(_)) => "deleted",
        Some(pb::outcome::Outcome::CouponIssued(_)) => "issued",
        Some(pb::outcome::Outcome::CouponChanged(_)) => "coupon changed",
        Some(pb::outcome::Outcome::HoldChanged(_)) => "hold",
        Some(pb::outcome::Outcome::HoldConfirmed(_)) => "hold confirmed",
        Some(pb::outcome::Outcome::CodesImported(_)) => "codes imported",
        None => "none",
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
