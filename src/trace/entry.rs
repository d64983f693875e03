//! From the marks of all threads to the times of single entries.
//!
//! The way of an entry begins with the oldest batch in it: the others only join it while it waits. Left out are
//! entries of which a step was not seen, such as those under way when the recording began or ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coupon_trace::{Mark, Stage, Subject, Tag};

use super::step::{Follower, STEPS, Step};

/// The times of an entry's steps in nanoseconds, in the order of [`STEPS`].
pub(super) type Times = [u64; STEPS.len()];

/// The entries that were seen on all their way.
pub(super) struct Entries {
    /// In the order in which they began.
    pub(super) times: Vec<Times>,
    /// How many batches each entry had.
    pub(super) batches: Vec<u64>,
    /// How many commands each entry had.
    pub(super) commands: Vec<u64>,
}

/// A number of a shard: a batch's id or an entry's index.
type InShard = (Tag, u64);

/// A request, by its deadline.
type Request = Tag;

/// All marks, by what they are about.
#[derive(Default)]
struct Marks {
    requests: HashMap<(Stage, Request), u64>,
    /// The connection of each request.
    connections: HashMap<Request, Tag>,
    /// When each connection was read and written, in order.
    sockets: HashMap<(Stage, Tag), Vec<u64>>,
    /// The requests of each batch.
    requests_of: HashMap<InShard, Vec<Request>>,
    batches: HashMap<(Stage, InShard), u64>,
    /// The batches of each entry.
    batches_of: BTreeMap<InShard, Vec<u64>>,
    /// By replica, then by index; the first time alone.
    entries: HashMap<(Stage, Tag, u64), HashMap<u64, u64>>,
    /// When a sync began whose end is the time of [`Stage::Durable`].
    syncs: HashMap<(Tag, u64), HashMap<u64, u64>>,
    /// Indexes with their times, in order.
    up_to: HashMap<(Stage, Tag, u64), Vec<(u64, u64)>>,
    /// The replicas of each shard that append.
    replicas: BTreeMap<Tag, BTreeSet<u64>>,
    /// Those of them that a leader sends entries to.
    followers: BTreeMap<Tag, BTreeSet<u64>>,
}

impl Entries {
    /// Reads the marks of each thread.
    pub(super) fn read(marks: &[Vec<Mark>]) -> Self {
        let mut all = Marks::default();
        marks.iter().for_each(|thread| all.take(thread));
        let mut found: Vec<_> = all.batches_of.keys().filter_map(|key| all.entry(*key)).collect();
        found.sort_by_key(|(times, ..)| times[0]);
        let mut entries = Self { times: Vec::new(), batches: Vec::new(), commands: Vec::new() };
        for (times, batches, commands) in found {
            entries.times.push(times);
            entries.batches.push(batches);
            entries.commands.push(commands);
        }
        entries
    }

    /// Keeps at most `entries_max` entries, those in the middle.
    pub(super) fn keep_middle(&mut self, entries_max: usize) {
        let skipped = self.times.len().saturating_sub(entries_max) / 2;
        for numbers in [&mut self.batches, &mut self.commands] {
            *numbers = numbers.iter().copied().skip(skipped).take(entries_max).collect();
        }
        self.times = self.times.iter().copied().skip(skipped).take(entries_max).collect();
    }
}

impl Marks {
    fn take(&mut self, thread: &[Mark]) {
        let mut sync_began = None;
        for &Mark { at_nanos: at, stage, subject } in thread {
            match subject {
                Subject::Request { deadline } => {
                    self.requests.entry((stage, deadline)).or_insert(at);
                }
                Subject::RequestOnConnection { deadline, connection } => {
                    self.requests.entry((stage, deadline)).or_insert(at);
                    self.connections.insert(deadline, connection);
                }
                Subject::Socket { connection } => {
                    self.sockets.entry((stage, connection)).or_default().push(at);
                }
                Subject::RequestInBatch { deadline, shard, batch } => {
                    self.requests_of.entry((shard, batch.get())).or_default().push(deadline);
                }
                Subject::Batch { shard, batch } => {
                    self.batches.entry((stage, (shard, batch.get()))).or_insert(at);
                }
                Subject::BatchInEntry { shard, batch, index } => {
                    self.batches.entry((stage, (shard, batch.get()))).or_insert(at);
                    self.batches_of.entry((shard, index.get())).or_default().push(batch.get());
                }
                Subject::Entries { shard, replica, first, last } => {
                    let replica = replica.get();
                    let times = self.entries.entry((stage, shard, replica)).or_default();
                    let mut syncs = (stage == Stage::Durable)
                        .then(|| self.syncs.entry((shard, replica)).or_default());
                    for index in first.get()..=last.get() {
                        times.entry(index).or_insert(at);
                        if let (Some(syncs), Some(began)) = (&mut syncs, sync_began) {
                            syncs.entry(index).or_insert(began);
                        }
                    }
                    if stage == Stage::AppendCalled {
                        self.replicas.entry(shard).or_default().insert(replica);
                    }
                    if stage == Stage::ReplicationSent {
                        self.followers.entry(shard).or_default().insert(replica);
                    }
                }
                Subject::UpTo { shard, replica, index } => {
                    let key = (stage, shard, replica.get());
                    self.up_to.entry(key).or_default().push((index.get(), at));
                }
                Subject::Disk => sync_began = Some(at),
            }
        }
    }

    /// The times of an entry, how many batches it has, and how many commands. `None` when a step is missing.
    fn entry(&self, (shard, index): InShard) -> Option<(Times, u64, u64)> {
        let batches = self.batches_of.get(&(shard, index))?;
        let batch = |stage, id| self.batches.get(&(stage, (shard, id))).copied();
        let received = |id: &u64| batch(Stage::BatchReceived, *id);
        let oldest = *batches.iter().min_by_key(|id| received(id))?;
        let requests = self.requests_of.get(&(shard, oldest))?;
        let passed = |stage| {
            requests.iter().filter_map(move |request| self.requests.get(&(stage, *request)))
        };
        let followers = self.followers.get(&shard)?;
        let is_leader = |replica: &&u64| !followers.contains(replica);
        let leader = *self.replicas.get(&shard)?.iter().find(is_leader)?;
        let of = |stage, replica| self.at(stage, shard, replica, index);
        let mut ways: Vec<_> = followers
            .iter()
            .filter_map(|follower| self.follower(shard, *follower, index))
            .collect();
        ways.sort_by_key(|way| way[Follower::Confirmed as usize]);
        let [first, second] = ways[..] else { return None };
        let durable = of(Stage::Durable, leader)?;
        // Of three replicas, two are a quorum.
        let confirmed = [first, second].map(|way| way[Follower::Confirmed as usize]);
        let mut has_it = [durable, confirmed[0], confirmed[1]];
        has_it.sort_unstable();

        let mut times: Times = [0; STEPS.len()];
        for (time, row) in times.iter_mut().zip(&STEPS) {
            *time = match row.step {
                Step::Read => requests.iter().filter_map(|request| self.read_at(*request)).min()?,
                Step::Admitted => *passed(Stage::Admitted).min()?,
                Step::FirstDecoded => *passed(Stage::Decoded).min()?,
                Step::LastDecoded => *passed(Stage::Decoded).max()?,
                Step::BatchSent => batch(Stage::BatchSent, oldest)?,
                Step::BatchReceived => batch(Stage::BatchReceived, oldest)?,
                Step::Proposed => batch(Stage::Proposed, oldest)?,
                Step::AppendCalled => of(Stage::AppendCalled, leader)?,
                Step::Appended => of(Stage::Appended, leader)?,
                Step::SyncBegan => *self.syncs.get(&(shard, leader))?.get(&index)?,
                Step::Durable => durable,
                Step::First(step) => first[step as usize],
                Step::Second(step) => second[step as usize],
                Step::Quorum => has_it[1],
                Step::ApplyBegan => of(Stage::ApplyBegan, leader)?,
                Step::Applied => self.up_to(Stage::Applied, shard, leader, index)?,
                Step::Decided => batch(Stage::Decided, oldest)?,
                Step::RepliesSent => batch(Stage::RepliesSent, oldest)?,
                Step::RepliesReceived => batch(Stage::RepliesReceived, oldest)?,
                Step::Answered => *passed(Stage::Answered).max()?,
                Step::Written => requests.iter().filter_map(|one| self.written_at(*one)).max()?,
            };
        }
        let commands = batches.iter().filter_map(|id| self.requests_of.get(&(shard, *id)));
        Some((times, batches.len() as u64, commands.map(Vec::len).sum::<usize>() as u64))
    }

    /// When the socket was read that brought a request.
    fn read_at(&self, request: Request) -> Option<u64> {
        let arrived = *self.requests.get(&(Stage::Admitted, request))?;
        let connection = *self.connections.get(&request)?;
        let reads = self.sockets.get(&(Stage::SocketRead, connection))?;
        let place = reads.partition_point(|at| *at <= arrived);
        reads.get(place.checked_sub(1)?).copied()
    }

    /// When the socket was next written after a request had its answer.
    fn written_at(&self, request: Request) -> Option<u64> {
        let answered = *self.requests.get(&(Stage::Answered, request))?;
        let connection = *self.connections.get(&request)?;
        let writes = self.sockets.get(&(Stage::SocketWritten, connection))?;
        let place = writes.partition_point(|at| *at < answered);
        writes.get(place).copied()
    }

    /// The times of an entry on a follower, in the order of [`Follower::ALL`].
    fn follower(&self, shard: Tag, replica: u64, index: u64) -> Option<[u64; 8]> {
        let of = |stage| self.at(stage, shard, replica, index);
        let mut times = [0; Follower::ALL.len()];
        for step in Follower::ALL {
            times[step as usize] = match step {
                Follower::Sent => of(Stage::ReplicationSent)?,
                Follower::Received => of(Stage::ReplicationReceived)?,
                Follower::AppendCalled => of(Stage::AppendCalled)?,
                Follower::Appended => of(Stage::Appended)?,
                Follower::SyncBegan => *self.syncs.get(&(shard, replica))?.get(&index)?,
                Follower::Durable => of(Stage::Durable)?,
                Follower::Answered => {
                    self.up_to(Stage::ReplicationAnswered, shard, replica, index)?
                }
                Follower::Confirmed => {
                    self.up_to(Stage::ReplicationConfirmed, shard, replica, index)?
                }
            };
        }
        Some(times)
    }

    fn at(&self, stage: Stage, shard: Tag, replica: u64, index: u64) -> Option<u64> {
        self.entries.get(&(stage, shard, replica))?.get(&index).copied()
    }

    /// The first time at which everything until `index` had passed.
    fn up_to(&self, stage: Stage, shard: Tag, replica: u64, index: u64) -> Option<u64> {
        let passed = self.up_to.get(&(stage, shard, replica))?;
        let place = passed.partition_point(|(last, _)| *last < index);
        passed.get(place).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks of one thread, a nanosecond apart.
    fn thread(begin: u64, marks: &[(Stage, Subject)]) -> Vec<Mark> {
        let timed = (begin..).zip(marks);
        timed.map(|(at_nanos, &(stage, subject))| Mark { at_nanos, stage, subject }).collect()
    }

    fn entries(replica: u64) -> Subject {
        let (shard, index) = (1_u32.into(), 7_u64.into());
        Subject::Entries { shard, replica: replica.into(), first: index, last: index }
    }

    /// All from the beginning: also what was before the entry.
    fn up_to(replica: u64) -> Subject {
        Subject::UpTo { shard: 1_u32.into(), replica: replica.into(), index: 8_u64.into() }
    }

    /// The marks of a replica's disk.
    fn disk(begin: u64, replica: u64) -> Vec<Mark> {
        thread(begin, &[(Stage::SyncBegan, Subject::Disk), (Stage::Durable, entries(replica))])
    }

    fn follower(begin: u64, replica: u64) -> Vec<Mark> {
        let stages = [Stage::ReplicationReceived, Stage::AppendCalled, Stage::Appended];
        let mut marks = thread(begin, &stages.map(|stage| (stage, entries(replica))));
        marks.extend(thread(begin + 60, &[(Stage::ReplicationAnswered, up_to(replica))]));
        marks
    }

    #[test]
    fn an_entry_is_put_together_from_the_marks_of_all_threads() {
        let (shard, batch): (Tag, Tag) = (1_u32.into(), 3_u64.into());
        let (connection, deadline): (Tag, Tag) = (9_u64.into(), 1_000_u64.into());
        let of_batch = Subject::Batch { shard, batch };
        let request = Subject::Request { deadline };
        let socket = Subject::Socket { connection };
        let mut router = thread(
            10,
            &[
                (Stage::SocketRead, socket),
                (Stage::Admitted, Subject::RequestOnConnection { deadline, connection }),
                (Stage::Decoded, request),
                (Stage::Batched, Subject::RequestInBatch { deadline, shard, batch }),
                (Stage::BatchSent, of_batch),
                (Stage::SocketWritten, socket),
            ],
        );
        router.extend(thread(
            300,
            &[
                (Stage::RepliesReceived, of_batch),
                (Stage::Answered, request),
                (Stage::SocketWritten, socket),
            ],
        ));
        let mut leader = thread(
            20,
            &[
                (Stage::BatchReceived, of_batch),
                (Stage::Proposed, of_batch),
                (Stage::AppendCalled, entries(1)),
                (Stage::Appended, entries(1)),
                (Stage::ReplicationSent, entries(2)),
                (Stage::ReplicationSent, entries(3)),
            ],
        );
        leader.extend(thread(
            200,
            &[
                (Stage::ReplicationConfirmed, up_to(3)),
                (Stage::ReplicationConfirmed, up_to(2)),
                (Stage::ApplyBegan, entries(1)),
                (Stage::Applied, up_to(1)),
                (Stage::Decided, Subject::BatchInEntry { shard, batch, index: 7_u64.into() }),
                (Stage::RepliesSent, of_batch),
            ],
        ));
        let disks = [disk(50, 1), disk(150, 2), disk(130, 3)];
        let followers = [follower(40, 2), follower(45, 3)];
        let threads: Vec<_> = [router, leader].into_iter().chain(disks).chain(followers).collect();

        let found = Entries::read(&threads);
        assert_eq!((&found.batches[..], &found.commands[..]), (&[1][..], &[1][..]));
        let [times] = found.times[..] else { panic!("one entry") };
        let at = |step: Step| times[step.place()];
        assert_eq!((at(Step::Read), at(Step::Written)), (10, 302));
        assert_eq!((at(Step::SyncBegan), at(Step::Durable)), (50, 51));
        assert_eq!(at(Step::First(Follower::SyncBegan)), 130, "the third replica confirmed first");
        assert_eq!(at(Step::Second(Follower::Confirmed)), 201);
        assert_eq!(at(Step::Quorum), 200, "the leader's disk was faster");

        let without_a_disk: Vec<_> =
            threads.into_iter().filter(|one| one[0].at_nanos != 130).collect();
        assert!(Entries::read(&without_a_disk).times.is_empty());
    }
}
