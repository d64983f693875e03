//! Compiles the protobuf definitions without `protoc`.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

/// The services that clients call; reflection shows these and what they refer to.
const PUBLIC: [&str; 4] = [
    "coupon/v1/campaign_service.proto",
    "coupon/v1/coupon_service.proto",
    "coupon/v1/event_service.proto",
    "couponpb/coupon_service.proto",
];

/// What is rare where issuing coupons is common: inline, it would make every message that moves as large as the
/// largest.
const RARE: [&str; 13] = [
    ".coupon.internal.v1.Command.operation.create_campaign",
    ".coupon.internal.v1.Command.operation.update_campaign",
    ".coupon.internal.v1.CouponIssued.code_scheme",
    ".coupon.internal.v1.CouponIssued.last_change",
    ".coupon.internal.v1.RedeemCouponCommand.campaign_code",
    ".coupon.internal.v1.ReverseRedemptionCommand.campaign_code",
    ".coupon.internal.v1.VoidCouponCommand.campaign_code",
    ".coupon.internal.v1.Outcome.outcome.campaign_created",
    ".coupon.internal.v1.Outcome.outcome.campaign_changed",
    ".coupon.internal.v1.Outcome.outcome.coupon_changed",
    ".coupon.internal.v1.Outcome.outcome.hold_changed",
    ".coupon.internal.v1.Outcome.outcome.hold_confirmed",
    ".coupon.internal.v1.Outcome.outcome.codes_imported",
];

/// What nodes and routers say to each other, and what is kept on disk.
const INTERNAL: [&str; 5] = [
    "coupon/internal/v1/backup.proto",
    "coupon/internal/v1/cluster.proto",
    "coupon/internal/v1/raft.proto",
    "coupon/internal/v1/shard.proto",
    "coupon/internal/v1/storage.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let includes = ["proto", "third_party"];
    for include in includes {
        println!("cargo:rerun-if-changed={include}");
    }
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);

    let public = protox::compile(PUBLIC, includes)?;
    std::fs::write(out_dir.join("public.bin"), public.encode_to_vec())?;

    let all = protox::compile(PUBLIC.iter().chain(&INTERNAL), includes)?;
    let builder =
        RARE.into_iter().fold(tonic_prost_build::configure(), tonic_prost_build::Builder::boxed);
    builder
        // Maps are ordered, since every replica must write the same bytes.
        .btree_map(".")
        // Log payloads and snapshot parts are passed on without copying.
        .bytes(".coupon.internal.v1.CommandBatch.commands")
        .bytes(".coupon.internal.v1.CommandEntry.commands")
        .bytes(".coupon.internal.v1.LogEntry.normal")
        .bytes(".coupon.internal.v1.InstallSnapshotRequest.data")
        .bytes(".coupon.internal.v1.ExportStateResponse.data")
        .bytes(".coupon.internal.v1.StageStateRequest.data")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(all)?;
    Ok(())
}
