//! `coupon recover`: chooses by hand, offline, which history a cluster goes on with.

mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use coupon_cluster::{NodeId, ShardId};
use coupon_node::recovery::{self, Directory, History, Kept, Lost, ReplicaFound, differences};

use crate::failure::UsageError;
use crate::output;
use report::{Report, Sides};

/// Shows what the data directories of stopped nodes hold, and what is lost by going on with one of them. With
/// --keep, carries out the choice.
///
/// For a cluster that cannot go on by itself: a shard is stopped as SHARD_DIVERGED, or too many stores have
/// lost acknowledged writes or are gone for good. Stop all nodes first. Without --keep nothing is changed.
/// With --keep, the node of that directory goes on with what it holds, and alone where the others were given
/// up. Start it first, then the others: fresh stores replace theirs and are fed by it. Nothing is deleted:
/// stores that are given up stay beside the fresh ones in folders named lost-*.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coupon recover --data /data/1 --data /data/2 --data /data/3 --report lost.jsonl
  coupon recover --data /data/1 --data /data/2 --data /data/3 --report kept-2.jsonl --keep /data/2
  coupon recover --data /data/1 --gone 2,3 --report kept-1.jsonl --keep /data/1")]
pub(crate) struct RecoverArgs {
    /// The data directory of a stopped node; repeat it for each node that still has one
    #[arg(long, value_name = "DIR", required = true)]
    data: Vec<PathBuf>,
    /// Nodes whose data directories are gone for good
    #[arg(long, value_name = "NODE_ID", value_delimiter = ',')]
    gone: Vec<u64>,
    /// A file for the coupons, holds, imports and changes that each choice loses, one JSON object a line. It
    /// will hold codes and recipients
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The directory to go on with, one of --data; the others are given up
    #[arg(long, value_name = "DIR", requires = "report")]
    keep: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &RecoverArgs) -> anyhow::Result<()> {
    let kept = args.keep.as_deref().map(|keep| place_of(keep, &args.data)).transpose()?;
    let mut given_up = args.gone.iter().map(|id| NodeId::new(*id)).collect::<Result<Vec<_>, _>>();
    let given_up = given_up.as_mut().map_err(|error| UsageError(format!("--gone: {error}")))?;
    let directories = open_all(&args.data)?;
    output::line(table(&directories)?)?;
    let mut report = args.report.as_deref().map(Report::create).transpose()?;
    for kept in &directories {
        let losses = losses(kept, &directories, report.as_mut())?;
        output::line(format!("\nkeeping {} (node {}) {losses}", kept.name, kept.open.node))?;
    }
    if let Some(report) = report {
        report.finish()?;
    }
    let Some(kept) = kept else { return Ok(()) };
    let map_version = directories.iter().map(|directory| directory.open.map.version).max();
    given_up.extend(
        directories
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != kept)
            .map(|(_, directory)| directory.open.node),
    );
    let given_up: BTreeSet<NodeId> = given_up.iter().copied().collect();
    let chosen = &directories[kept];
    let stopped = chosen
        .replicas
        .iter()
        .filter(|found| found.diverged_index.is_some() || chosen.open.lost.is_some());
    let stopped: Vec<ShardId> = stopped.map(|found| found.shard).collect();
    recovery::check_choice(&chosen.open.map, chosen.open.node, &given_up, &stopped)?;
    for directory in directories {
        directory.open.close()?;
    }
    carry_out(&args.data[kept], &args.data, &given_up, map_version.unwrap_or_default())
}

/// Which of the directories is to be kept.
///
/// # Errors
/// [`UsageError`] when it is not one of them.
fn place_of(keep: &Path, all: &[PathBuf]) -> Result<usize, UsageError> {
    let same = |one: &Path, other: &Path| {
        one == other
            || one.canonicalize().ok().is_some_and(|one| other.canonicalize().ok() == Some(one))
    };
    let place = all.iter().position(|one| same(one, keep));
    place.ok_or_else(|| {
        UsageError(format!("--keep {} is not one of the --data directories", keep.display()))
    })
}

/// A directory and its name as given.
struct Named {
    name: String,
    open: Directory,
    replicas: Vec<ReplicaFound>,
}

fn open_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let open = Directory::open(path).with_context(|| {
            format!("open {name}, which must be the data directory of a stopped node")
        })?;
        let replicas = open.replicas().with_context(|| name.clone())?;
        if let Some(other) = all.first()
            && other.open.map.cluster_id != open.map.cluster_id
        {
            bail!("{} and {name} belong to different clusters", other.name);
        }
        if let Some(twin) = all.iter().find(|other| other.open.node == open.node) {
            bail!("{} and {name} are both of node {}", twin.name, open.node);
        }
        all.push(Named { name, open, replicas });
    }
    Ok(all)
}

fn table(directories: &[Named]) -> anyhow::Result<String> {
    let header = ["DIRECTORY", "NODE", "SHARD", "STATE", "TERM", "LAST", "APPLIED"];
    let mut table = output::table(&header);
    for Named { name, open, replicas } in directories {
        for found in replicas {
            let state = match (found.diverged_index, &open.lost) {
                (Some(index), _) => format!("diverged at {index}"),
                (None, Some(_)) => "lost".to_owned(),
                (None, None) => "-".to_owned(),
            };
            let shard = match found.shard {
                ShardId::META => "meta".to_owned(),
                shard => shard.to_string(),
            };
            table.add_row([
                name.clone(),
                open.node.to_string(),
                shard,
                state,
                found.term.to_string(),
                found.last_log_index.to_string(),
                found.applied_index.to_string(),
            ]);
        }
    }
    let mut text = table.to_string();
    for Named { name, open, .. } in directories {
        if let Some(why) = &open.lost {
            text.push_str(&format!("\n\n{name} has lost acknowledged writes: {why}"));
        }
    }
    Ok(text)
}

/// The losses of keeping one directory: what only the others hold, as a sentence.
fn losses(kept: &Named, all: &[Named], mut report: Option<&mut Report>) -> anyhow::Result<String> {
    // Several of the others may hold the same.
    let (mut coupons, mut campaigns) = (BTreeSet::new(), BTreeSet::new());
    let (mut coupon_changes, mut campaign_changes) = (BTreeSet::new(), BTreeSet::new());
    let (mut holds, mut releases) = (BTreeSet::new(), BTreeSet::new());
    let mut imports = BTreeSet::new();
    let mut not_kept = BTreeSet::new();
    for found in kept.replicas.iter().filter(|found| found.shard != ShardId::META) {
        let ours = History::read(&kept.open, found).with_context(|| kept.name.clone())?;
        for other in all.iter().filter(|other| other.open.node != kept.open.node) {
            let Some(theirs) = other.replicas.iter().find(|theirs| theirs.shard == found.shard)
            else {
                continue;
            };
            let theirs = History::read(&other.open, theirs).with_context(|| other.name.clone())?;
            let sides = Sides { kept: &kept.name, given_up: &other.name, map: &other.open.map };
            differences(&ours, &theirs, |lost| {
                let is_new = match lost {
                    Lost::Campaign(campaign) => campaigns.insert(campaign.spec.name.clone()),
                    Lost::CampaignChange(campaign) => {
                        campaign_changes.insert(campaign.spec.name.clone())
                    }
                    Lost::Coupon(id, issued) => {
                        coupons.insert((id.clone(), issued.coupon.request_id))
                    }
                    Lost::CouponChange(id, issued, change) => {
                        coupon_changes.insert((id.clone(), issued.sequence, change.request_id))
                    }
                    Lost::Hold(id, hold_id, _) => holds.insert((id.clone(), hold_id)),
                    Lost::HoldRelease(id, hold_id, _) => releases.insert((id.clone(), hold_id)),
                    Lost::Import(id, import_id, _) => imports.insert((id.clone(), import_id)),
                };
                match report.as_deref_mut().filter(|_| is_new) {
                    Some(report) => report.add(&sides, found.shard, &lost),
                    None => Ok(()),
                }
            })?;
        }
    }
    for other in all {
        let shards = other.replicas.iter().map(|found| found.shard);
        not_kept.extend(shards.filter(|shard| kept.replicas.iter().all(|own| own.shard != *shard)));
    }
    let mut text = format!(
        "loses {} coupons, {} campaigns and {} open holds that another directory has, {} changes of other coupons, \
         {} releases of other holds, lines of {} imports of codes, and what was changed about {} other campaigns",
        coupons.len(),
        campaigns.len(),
        holds.len(),
        coupon_changes.len(),
        releases.len(),
        imports.len(),
        campaign_changes.len(),
    );
    if kept.open.lost.is_some() {
        text.push_str(", and an unknown number that this lost store has forgotten");
    }
    if !not_kept.is_empty() {
        let shards: Vec<String> = not_kept.iter().map(ToString::to_string).collect();
        text.push_str(&format!("; it has no replica of shard {}", shards.join(", ")));
    }
    Ok(text)
}

fn carry_out(
    keep: &Path,
    all: &[PathBuf],
    given_up: &BTreeSet<NodeId>,
    map_version: u64,
) -> anyhow::Result<()> {
    let done =
        recovery::keep(keep, given_up, map_version).with_context(|| keep.display().to_string())?;
    for path in all.iter().filter(|path| path.as_path() != keep) {
        recovery::give_up(path).with_context(|| path.display().to_string())?;
    }
    let alone: Vec<String> = done
        .iter()
        .filter(|(_, kept)| matches!(kept, Kept::WithVoters(_)))
        .map(|(shard, _)| shard.to_string())
        .collect();
    output::line(format!(
        "\n{} is kept. The voters that were given up are removed from these shards: {}. Start its node first, \
         then the others.",
        keep.display(),
        if alone.is_empty() { "none".to_owned() } else { alone.join(", ") },
    ))
}
