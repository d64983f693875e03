//! What `coupon status -o json` says.

use coupon_admin::ClusterStatus;

use super::process::coupon;

/// Maximum number of entries that a replica of a whole cluster lags behind under load.
const LAG_MAX: u64 = 200;

/// Asks the nodes; `None` when none of them answers.
pub(crate) async fn ask(addresses: &[String], digests: bool) -> Option<ClusterStatus> {
    let list = addresses.join(",");
    let mut args = vec!["status", "--node", &list, "-o", "json"];
    args.extend(digests.then_some("--digests"));
    let mut command = coupon(&args);
    // Not on the thread of the test, whose clients would stand still.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it does not panic").expect("the program was just built");
    serde_json::from_slice(&output.stdout).ok()
}

/// Whether the cluster is whole, and no replica lags behind by more than load explains.
pub(crate) fn is_whole(status: &ClusterStatus) -> bool {
    status.is_whole(LAG_MAX)
}
