//! Random histories: few names and small numbers, so that everything meets everything, and now and
//! then the greatest number there is.

use std::collections::BTreeMap;

use coupon_cluster::{
    CampaignName, CodeFormat, CodePrefix, CodeScheme, Epoch, KeyId, RequestId, ShardId, TenantId,
};
use coupon_ledger::{
    Action, ArchiveCampaign, BLOCK_SIZE, CampaignCode, CodeNumber, Command, ConfirmHold,
    CouponCode, CreateCampaign, DeleteCampaign, EndCampaign, HoldCoupon, ImportCodes, Issue,
    LogTime, PauseCampaign, RedeemCoupon, ReleaseHold, ResumeCampaign, ReverseRedemption,
    UpdateCampaign, VoidCoupon,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

/// A log entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) stamped: LogTime,
    pub(crate) commands: Vec<Command>,
}

impl Entry {
    /// The same entry, `epochs` later.
    pub(crate) fn later(mut self, epochs: u64) -> Self {
        for command in &mut self.commands {
            command.epoch.0 += epochs;
            if let Action::AdoptRing { epoch, .. } = &mut command.action {
                epoch.0 += epochs;
            }
        }
        self
    }
}

/// The shard whose ledger is tried.
pub(crate) fn shard() -> ShardId {
    shard_id(1)
}

/// A log. It begins with a ring that gives the shard everything, as most of what there is to try
/// comes after the fence.
pub(crate) fn history() -> impl Strategy<Value = Vec<Entry>> {
    history_with(true)
}

/// A log whose commands all come from routers, but for the first one. Then come creations of all campaigns, so that most of
/// the others have something to do.
pub(crate) fn history_of_routers() -> impl Strategy<Value = Vec<Entry>> {
    (vec(create(), 4), history_with(false)).prop_map(|(drawn, mut log)| {
        let created = ["a", "b", "c", "d"].into_iter().zip(drawn).map(|(id, create)| {
            let name = CampaignName::new(&TenantId::default(), id).unwrap();
            let action = Action::CreateCampaign(CreateCampaign { name, ..create });
            Command { epoch: Epoch(1), action }
        });
        log.insert(1, Entry { stamped: LogTime(0), commands: created.collect() });
        log
    })
}

fn history_with(has_rings: bool) -> impl Strategy<Value = Vec<Entry>> {
    let entry = (0..60_u64, vec((sender(), draw()), 0..8));
    vec(entry, 1..24).prop_map(move |entries| {
        let mut in_force = Epoch(1);
        let adopt = Action::AdoptRing { epoch: in_force, ring_shards: vec![shard()] };
        let mut actions = vec![adopt.clone()];
        let first = Command { epoch: in_force, action: adopt };
        let mut log = vec![Entry { stamped: LogTime(0), commands: vec![first] }];
        for (stamped, drawn) in entries {
            let mut commands = Vec::new();
            for (sender, draw) in drawn {
                let epoch = sender.epoch(in_force);
                let mut action = draw.action(in_force, &actions);
                if let Action::AdoptRing { epoch, .. } = action {
                    if has_rings {
                        in_force = in_force.max(epoch);
                    } else {
                        action = Action::Unreadable;
                    }
                }
                actions.push(action.clone());
                commands.push(Command { epoch, action });
            }
            log.push(Entry { stamped: LogTime(stamped), commands });
        }
        log
    })
}

/// What to do next.
#[derive(Clone, Debug)]
enum Draw {
    New(Action),
    /// Adopts a ring so many epochs after the one before that in force.
    Adopt(u64, Vec<ShardId>),
    /// Does again what was done before: retries.
    Again(Index),
}

impl Draw {
    fn action(self, in_force: Epoch, before: &[Action]) -> Action {
        match self {
            Self::New(action) => action,
            Self::Adopt(step, ring_shards) => {
                Action::AdoptRing { epoch: Epoch(in_force.0 - 1 + step), ring_shards }
            }
            Self::Again(index) => index.get(before).clone(),
        }
    }
}

fn draw() -> impl Strategy<Value = Draw> {
    prop_oneof![
        20 => issue().prop_map(|issue| Draw::New(Action::Issue(issue))),
        8 => create().prop_map(|create| Draw::New(Action::CreateCampaign(create))),
        1 => (campaign_name(), request_id()).prop_map(|(campaign, request_id)| {
            Draw::New(Action::PauseCampaign(PauseCampaign { campaign, request_id }))
        }),
        2 => (campaign_name(), request_id()).prop_map(|(campaign, request_id)| {
            Draw::New(Action::ResumeCampaign(ResumeCampaign { campaign, request_id }))
        }),
        6 => update().prop_map(|update| Draw::New(Action::UpdateCampaign(update))),
        1 => (campaign_name(), request_id()).prop_map(|(campaign, request_id)| {
            Draw::New(Action::EndCampaign(EndCampaign { campaign, request_id }))
        }),
        20 => change_of_coupon().prop_map(Draw::New),
        12 => hold().prop_map(|hold| Draw::New(Action::HoldCoupon(hold))),
        16 => end_of_hold().prop_map(Draw::New),
        5 => import().prop_map(|import| Draw::New(Action::ImportCodes(import))),
        3 => (campaign_name(), request_id()).prop_map(|(campaign, request_id)| {
            Draw::New(Action::ArchiveCampaign(ArchiveCampaign { campaign, request_id }))
        }),
        5 => (campaign_name(), deletion_id()).prop_map(|(campaign, request_id)| {
            Draw::New(Action::DeleteCampaign(DeleteCampaign { campaign, request_id }))
        }),
        1 => Just(Draw::New(Action::Unreadable)),
        1 => (0..4_u64, vec((1..4_u32).prop_map(shard_id), 0..4))
            .prop_map(|(step, ring_shards)| Draw::Adopt(step, ring_shards)),
        4 => any::<Index>().prop_map(Draw::Again),
    ]
}

/// Whose ring a command was routed by, seen from the epoch in force.
#[derive(Clone, Copy, Debug)]
enum Sender {
    UpToDate,
    Behind,
    Ahead,
}

impl Sender {
    fn epoch(self, in_force: Epoch) -> Epoch {
        match self {
            Self::UpToDate => in_force,
            Self::Behind => Epoch(in_force.0 - 1),
            Self::Ahead => Epoch(in_force.0 + 1),
        }
    }
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![20 => Just(Sender::UpToDate), 1 => Just(Sender::Behind), 1 => Just(Sender::Ahead)]
}

fn issue() -> impl Strategy<Value = Issue> {
    let metadata = prop_oneof![4 => Just(BTreeMap::new()), 1 => words()];
    (campaign_name(), "[abc]?", request_id(), metadata).prop_map(
        |(campaign, recipient, request_id, metadata)| Issue {
            campaign,
            recipient,
            request_id,
            metadata,
        },
    )
}

fn hold() -> impl Strategy<Value = HoldCoupon> {
    let ttl_micros = prop_oneof![20 => 0..40_u64, 1 => Just(u64::MAX)];
    (campaign_name(), "[abc]?", request_id(), ttl_micros).prop_map(
        |(campaign, recipient, request_id, ttl_micros)| HoldCoupon {
            campaign,
            recipient,
            request_id,
            ttl_micros,
        },
    )
}

/// Few lines of few imports, so that most are sent again, with the same codes or others.
fn import() -> impl Strategy<Value = ImportCodes> {
    let import_id = (1..4_u8).prop_map(|byte| RequestId::from_bytes(&[byte; 16]).unwrap());
    let first_line = prop_oneof![20 => 0..5_u64, 1 => Just(u64::MAX)];
    (campaign_name(), import_id, first_line, vec("[A-H]?", 0..4)).prop_map(
        |(campaign, import_id, first_line, codes)| ImportCodes {
            campaign,
            import_id,
            first_line,
            codes,
        },
    )
}

/// What is done with a hold.
fn end_of_hold() -> impl Strategy<Value = Action> {
    let metadata = prop_oneof![6 => Just(BTreeMap::new()), 1 => words()];
    (campaign_name(), request_id(), request_id(), metadata, 0..3_u8).prop_map(
        |(campaign, hold_id, request_id, metadata, what)| match what {
            0 => Action::ReleaseHold(ReleaseHold { campaign, hold_id, request_id }),
            _ => Action::ConfirmHold(ConfirmHold { campaign, hold_id, request_id, metadata }),
        },
    )
}

/// What is done with a coupon: mostly with one of the first in the first blocks, since those were issued.
fn change_of_coupon() -> impl Strategy<Value = Action> {
    let shard = prop_oneof![20 => Just(1), 1 => Just(2)];
    let key = prop_oneof![6 => Just(1), 6 => Just(2), 1 => Just(3)];
    let offset = prop_oneof![30 => 0..2_u64, 1 => Just(u64::from(u32::MAX))];
    let tenant = prop_oneof![20 => Just("default"), 1 => Just("other")];
    let scheme = prop_oneof![6 => Just(CodeScheme::default()), 1 => code_scheme()];
    let code = (tenant, shard, key, 0..3_u64, offset, scheme);
    let code = code.prop_map(|(tenant, shard, key, block, offset, scheme)| CodeNumber {
        tenant: TenantId::parse(tenant).unwrap(),
        shard: shard_id(shard),
        key: KeyId(key),
        counter: block * u64::from(BLOCK_SIZE) + offset,
        scheme: scheme.folded(),
    });
    let code =
        (code, option::weighted(0.25, (campaign_name(), "[A-H]"))).prop_map(|(code, named)| {
            named.map_or(CouponCode::Generated(code.clone()), |(campaign, text)| {
                CouponCode::OfCampaign(CampaignCode { campaign, text, number: Some(code) })
            })
        });
    let text = prop_oneof![3 => Just(""), 1 => Just("x")].prop_map(str::to_owned);
    (code, request_id(), text, 0..4_u8).prop_map(|(code, request_id, text, what)| match what {
        0 => Action::RedeemCoupon(RedeemCoupon { code, request_id, order_ref: text }),
        1 => Action::ReverseRedemption(ReverseRedemption { code, request_id }),
        2 => Action::VoidCoupon(VoidCoupon { code, request_id, reason: text, return_quota: true }),
        _ => Action::VoidCoupon(VoidCoupon { code, request_id, reason: text, return_quota: false }),
    })
}

fn create() -> impl Strategy<Value = CreateCampaign> {
    let display_name = prop_oneof![4 => Just("x"), 1 => Just("y")];
    let quota = prop_oneof![8 => 0..7_u64, 1 => Just(u64::MAX)];
    let start = option::weighted(0.3, moment(30));
    let end = option::weighted(0.3, moment(60));
    let limit = prop_oneof![3 => Just(0), 3 => 1..3_u32, 1 => Just(u32::MAX)];
    let ttl = option::of(prop_oneof![0..9_u64, Just(u64::MAX)]);
    let labels = prop_oneof![4 => Just(BTreeMap::new()), 1 => words()];
    let shape = (quota, start, end, limit, ttl);
    let code = (1..3_u32, code_scheme(), proptest::bool::weighted(0.15));
    (campaign_name(), display_name, shape, labels, request_id(), code).prop_map(
        |(name, display_name, shape, labels, request_id, code)| {
            let (code_key, code_scheme, has_imported_codes) = code;
            let (quota, start, end, per_recipient_limit, coupon_ttl_micros) = shape;
            CreateCampaign {
                name,
                display_name: display_name.to_owned(),
                quota,
                start,
                end,
                per_recipient_limit,
                coupon_ttl_micros,
                labels,
                code_scheme,
                has_imported_codes,
                request_id,
                code_key: KeyId(code_key),
            }
        },
    )
}

fn code_scheme() -> impl Strategy<Value = CodeScheme> {
    let format = prop_oneof![4 => Just(CodeFormat::Kr), 1 => Just(CodeFormat::Latin18)];
    let prefix = prop_oneof![4 => Just(""), 1 => Just("SUMMER-")];
    (format, prefix).prop_map(|(format, prefix)| {
        let prefix = CodePrefix::new(prefix).unwrap();
        CodeScheme { format, prefix }
    })
}

fn update() -> impl Strategy<Value = UpdateCampaign> {
    // The revision of the change and its time; some fit.
    let etag = (1..3_u64, 0..20_u64).prop_map(|(revision, time)| format!("{revision:x}-{time:x}"));
    let etag = prop_oneof![6 => Just(String::new()), 1 => etag];
    let display_name = option::weighted(0.2, prop_oneof![Just("x"), Just("y")]);
    let quota = option::weighted(0.6, prop_oneof![8 => 0..9_u64, 1 => Just(u64::MAX)]);
    let start = option::weighted(0.2, option::weighted(0.8, moment(60)));
    let end = option::weighted(0.3, option::weighted(0.8, moment(90)));
    let labels = option::weighted(0.2, words());
    let fixed = (option::weighted(0.1, 0..3_u32), option::weighted(0.1, option::of(0..9_u64)));
    (campaign_name(), request_id(), etag, display_name, quota, (start, end), labels, fixed)
        .prop_map(
            |(campaign, request_id, etag, display_name, quota, (start, end), labels, fixed)| {
                let (per_recipient_limit, coupon_ttl_micros) = fixed;
                UpdateCampaign {
                    campaign,
                    request_id,
                    etag,
                    display_name: display_name.map(str::to_owned),
                    quota,
                    start,
                    end,
                    labels,
                    per_recipient_limit,
                    coupon_ttl_micros,
                }
            },
        )
}

fn moment(before: u64) -> impl Strategy<Value = LogTime> {
    prop_oneof![20 => 0..before, 1 => Just(u64::MAX)].prop_map(LogTime)
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[kl]", "[vw]", 0..2)
}

fn campaign_name() -> impl Strategy<Value = CampaignName> {
    "[a-d]".prop_map(|text| CampaignName::new(&TenantId::default(), &text).unwrap())
}

fn request_id() -> impl Strategy<Value = RequestId> {
    (1..13_u8).prop_map(|byte| RequestId::from_bytes(&[byte; 16]).unwrap())
}

/// Mostly the same one, since few campaigns live long enough to be deleted, and fewer to be so again.
fn deletion_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![3 => Just(RequestId::from_bytes(&[99; 16]).unwrap()), 1 => request_id()]
}

fn shard_id(number: u32) -> ShardId {
    ShardId::new(number).unwrap()
}
