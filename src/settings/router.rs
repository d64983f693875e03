//! The settings of a router.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coupon_router::{DEADLINE_MAX, RouterConfig};
use serde::{Deserialize, Serialize};

use super::{Span, check_address, check_listen, layer, missing, text};
use crate::failure::UsageError;

/// What variables in the environment begin with.
const PREFIX: &str = "COUPON_ROUTER_";

/// Runs a router: what clients call.
///
/// Routers keep nothing; any number of them serve the same cluster. SIGTERM stops a router after it has
/// answered the requests under way. It exits with 3 when no node of its cluster answers and other clusters
/// have most of its nodes' addresses: restarting it changes nothing. Every flag can also be set in a TOML file
/// (`requests_max = 1000`) or in the environment (COUPON_ROUTER_REQUESTS_MAX); flags override the environment,
/// which overrides the file.
#[derive(Debug, Default, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  coupon router --nodes 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
  coupon router --listen 0.0.0.0:7000 --nodes node1:7001,node2:7001,node3:7001 --insecure")]
pub(crate) struct RouterArgs {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "COUPON_ROUTER_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one [default: 127.0.0.1:7000]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Nodes of the cluster, at least one; it learns about the others
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<String>,
    /// The id of the cluster to serve, as coupon status shows it; nodes of other clusters are not
    /// used [default: the one that all nodes name, or else most of them]
    #[arg(long, value_name = "UUID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    /// How many requests are worked on at a time, each of a batch counted; more are refused as
    /// OVERLOADED [default: 16384]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_max: Option<usize>,
    /// When a request that names no deadline must have been answered, at most 60s [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    default_deadline: Option<Span>,
    /// How many connections clients may have at a time [default: three quarters of the open files that the process may
    /// have]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_max: Option<usize>,
    /// Age at which a client is asked to open a new connection [default: 10m]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_age_max: Option<Span>,
    /// How long a stop goes on taking requests while health says NOT_SERVING, so that load balancers notice
    /// [default: 0s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lame_duck: Option<Span>,
    /// How long a stop waits for requests under way [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    shutdown_grace: Option<Span>,
    /// Origins whose web pages may call the API, for instance `https://example.com`; '*' allows all
    /// [default: none]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cors_origins: Vec<String>,
    /// Listen beyond this machine although there is no TLS
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
}

/// The settings of a router from all layers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouterSettings {
    listen: SocketAddr,
    #[serde(deserialize_with = "text::addresses")]
    nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    requests_max: usize,
    default_deadline: Span,
    connections_max: usize,
    connection_age_max: Span,
    lame_duck: Span,
    shutdown_grace: Span,
    #[serde(deserialize_with = "text::addresses")]
    cors_origins: Vec<String>,
    insecure: bool,
}

/// The shortest age of connections: a new one costs more than a request.
const CONNECTION_AGE_MIN: Duration = Duration::from_secs(1);

impl Default for RouterSettings {
    fn default() -> Self {
        let config = RouterConfig::default();
        Self {
            listen: config.listen,
            nodes: Vec::new(),
            cluster_id: None,
            requests_max: config.requests_max,
            default_deadline: Span(config.default_deadline),
            connections_max: config.connections_max,
            connection_age_max: Span(config.connection_age_max),
            lame_duck: Span(config.lame_duck),
            shutdown_grace: Span(config.shutdown_grace),
            cors_origins: config.cors_origins,
            insecure: false,
        }
    }
}

impl RouterArgs {
    /// The settings from all layers.
    ///
    /// # Errors
    /// [`UsageError`] when a layer is wrong.
    pub(crate) fn load(&self) -> Result<RouterSettings, UsageError> {
        layer(self.config.as_deref(), PREFIX, self)
    }
}

impl RouterSettings {
    /// What the router is started with.
    ///
    /// # Errors
    /// [`UsageError`] when a setting is missing or makes no sense.
    pub(crate) fn config(self) -> Result<RouterConfig, UsageError> {
        if self.nodes.is_empty() {
            return Err(missing(PREFIX, "nodes"));
        }
        self.nodes.iter().try_for_each(|address| check_address("nodes", address))?;
        check_listen(self.listen, self.insecure)?;
        if self.requests_max == 0 || self.connections_max == 0 {
            return Err(UsageError("requests_max and connections_max must not be 0".into()));
        }
        if self.default_deadline.get().is_zero() {
            return Err(UsageError("default_deadline must not be 0".into()));
        }
        if self.connection_age_max.get() < CONNECTION_AGE_MIN {
            let least = Span(CONNECTION_AGE_MIN);
            return Err(UsageError(format!("connection_age_max must be {least} or more")));
        }
        if self.default_deadline.get() > DEADLINE_MAX {
            let most = Span(DEADLINE_MAX);
            return Err(UsageError(format!("default_deadline must not be more than {most}")));
        }
        self.cors_origins.iter().try_for_each(|origin| check_origin(origin))?;
        let cluster_id = self.cluster_id.map(|id| check_cluster_id(&id)).transpose()?;
        Ok(RouterConfig {
            listen: self.listen,
            nodes: self.nodes,
            cluster_id,
            requests_max: self.requests_max,
            default_deadline: self.default_deadline.get(),
            connections_max: self.connections_max,
            connection_age_max: self.connection_age_max.get(),
            lame_duck: self.lame_duck.get(),
            shutdown_grace: self.shutdown_grace.get(),
            cors_origins: self.cors_origins,
            ..RouterConfig::default()
        })
    }
}

/// A cluster id in the form that the cluster uses.
///
/// # Errors
/// [`UsageError`] when it is not a UUID.
fn check_cluster_id(id: &str) -> Result<String, UsageError> {
    let wrong =
        |error| UsageError(format!("cluster_id: {id:?} is not the id of a cluster: {error}"));
    uuid::Uuid::parse_str(id).map(|id| id.to_string()).map_err(wrong)
}

/// Checks that an origin is one as browsers send it (RFC 6454), so that it can be found equal.
///
/// # Errors
/// [`UsageError`] when it is not.
fn check_origin(origin: &str) -> Result<(), UsageError> {
    let host = ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    let is_host = |host: &str| {
        let is_fit =
            |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b'/';
        !host.is_empty() && host.bytes().all(is_fit)
    };
    if origin == "*" || host.is_some_and(is_host) {
        return Ok(());
    }
    Err(UsageError(format!(
        "cors_origins: {origin:?} is not an origin: write it as https://example.com, in lower case \
         and without a path, or * for all"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let complete = || RouterSettings { nodes: vec!["a:1".into()], ..Default::default() };
        let refused = |change: fn(&mut RouterSettings), said: &str| {
            let mut settings = complete();
            change(&mut settings);
            let error = settings.config().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        };
        assert!(complete().config().is_ok());
        refused(|settings| settings.nodes.clear(), "COUPON_ROUTER_NODES");
        refused(|settings| settings.listen = "[::]:1".parse().unwrap(), "--insecure");
        refused(|settings| settings.requests_max = 0, "must not be 0");
        refused(|settings| settings.connections_max = 0, "must not be 0");
        refused(|settings| settings.connection_age_max = Span(Duration::ZERO), "1s or more");
        let too_long = |settings: &mut RouterSettings| {
            settings.default_deadline = Span(DEADLINE_MAX + Duration::from_millis(1));
        };
        refused(too_long, "default_deadline must not be more than 1m");
        refused(|settings| settings.nodes.push("a b".into()), "host:port");
        refused(|settings| settings.cluster_id = Some("mine".into()), "not the id of a cluster");
        for origin in ["example.com", "https://", "https://example.com/", "https://Example.com"] {
            let settings = RouterSettings { cors_origins: vec![origin.into()], ..complete() };
            assert!(settings.config().unwrap_err().to_string().contains("not an origin"));
        }
        let cors_origins = vec!["*".into(), "https://a.example:8443".into()];
        assert!(RouterSettings { cors_origins, ..complete() }.config().is_ok());
    }

    #[test]
    fn the_cluster_is_named_as_the_cluster_writes_it() {
        let cluster_id = Some("A2F1C7F2-2B0E-4C41-A6F5-6D1C7D9F1E10".into());
        let settings =
            RouterSettings { nodes: vec!["a:1".into()], cluster_id, ..Default::default() };
        let config = settings.config().unwrap();
        assert_eq!(config.cluster_id.as_deref(), Some("a2f1c7f2-2b0e-4c41-a6f5-6d1c7d9f1e10"));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml::to_string(&RouterSettings::default()).unwrap()).unwrap();
        let args = RouterArgs { config: Some(file.path().to_owned()), ..RouterArgs::default() };
        assert_eq!(args.load().unwrap(), RouterSettings::default());
    }
}
