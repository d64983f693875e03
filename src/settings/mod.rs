//! Where settings come from: defaults < TOML file < environment < command line.
//!
//! A setting has one name: `log_entries_kept` in the file, `COUPON_NODE_LOG_ENTRIES_KEPT` in the
//! environment, `--snapshot-entries` on the command line. A name that is no setting is a mistake
//! wherever it stands, since a setting that is silently not applied is worse than no start.

pub(crate) mod node;
pub(crate) mod router;
mod text;

use std::net::SocketAddr;
use std::path::Path;

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::text::Span;
use crate::address::endpoint;
use crate::failure::UsageError;

/// Puts the layers together.
///
/// # Errors
/// [`UsageError`] when the file cannot be read, or a layer has an unknown setting or a wrong value.
fn layer<S: Default + Serialize + DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    flags: &impl Serialize,
) -> Result<S, UsageError> {
    let mut layers = Figment::from(Serialized::defaults(S::default()));
    if let Some(path) = file {
        // figment takes a file that is not there for an empty one.
        std::fs::metadata(path)
            .map_err(|error| UsageError(format!("configuration {}: {error}", path.display())))?;
        layers = layers.merge(Toml::file_exact(path));
    }
    let environment = Env::prefixed(prefix).filter(|name| !is_foreign(name.as_str()));
    layers
        .merge(Texts(environment))
        .merge(Serialized::defaults(flags))
        // Reads the numbers and booleans that are wanted out of texts, `1` as true among them.
        .extract_lossy()
        .map_err(|error| UsageError(format!("configuration: {}", told(&error))))
}

/// What is wrong, without what only the library and the compiler have names for.
fn told(error: &figment::Error) -> String {
    let text = error.to_string().replace("for key \"default.", "for key \"");
    ["u64", "u32", "usize"].iter().fold(text, |text, kind| {
        text.replace(&format!("expected {kind}"), "expected a whole number")
    })
}

/// Variables as the texts that they are. figment would guess a number from `1`, and then there would
/// be no directory of that name, and no boolean.
struct Texts(Env);

impl Provider for Texts {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let texts = self.0.iter().map(|(name, text)| (name.into_string(), Value::from(text)));
        Ok(self.0.profile.collect(texts.collect()))
    }
}

/// Whether a variable of our prefix is not ours. `..._CONFIG` is read by the command line, and
/// Kubernetes gives every container variables about a service that is named like us.
fn is_foreign(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "config" || name == "port" || name.starts_with("port_") || name.starts_with("service_")
}

/// Refuses to talk in clear text where others can listen.
///
/// # Errors
/// [`UsageError`] when `listen` is reachable from other machines and `insecure` is not set.
fn check_listen(listen: SocketAddr, insecure: bool) -> Result<(), UsageError> {
    if listen.ip().to_canonical().is_loopback() || insecure {
        return Ok(());
    }
    Err(UsageError(format!(
        "refusing to listen on {listen}: there is no TLS, so everyone who reaches this address can read \
         and issue coupons; listen on a loopback address, or say --insecure if the network is trusted"
    )))
}

/// Refuses what is not the address of a machine.
///
/// # Errors
/// [`UsageError`] when `address` is not `host:port`.
fn check_address(name: &str, address: &str) -> Result<(), UsageError> {
    endpoint(address).map(drop).map_err(|error| UsageError(format!("{name}: {error}")))
}

/// The error about a setting that has no default and was not given.
fn missing(prefix: &str, name: &str) -> UsageError {
    let flag = name.replace('_', "-");
    let variable = format!("{prefix}{name}").to_ascii_uppercase();
    UsageError(format!("{name} is not set: give --{flag}, {variable} or a configuration file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on_by_default() {
        for safe in ["127.0.0.1:7000", "127.9.9.9:0", "[::1]:7000", "[::ffff:127.0.0.1]:1"] {
            assert!(check_listen(safe.parse().unwrap(), false).is_ok(), "{safe}");
        }
        for open in ["0.0.0.0:7000", "[::]:7000", "192.0.2.7:7000"] {
            let error = check_listen(open.parse().unwrap(), false).unwrap_err().to_string();
            assert!(error.contains("--insecure"), "{error}");
            assert!(check_listen(open.parse().unwrap(), true).is_ok(), "{open}");
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for foreign in ["SERVICE_HOST", "PORT", "PORT_7000_TCP", "service_port_grpc", "CONFIG"] {
            assert!(is_foreign(foreign), "{foreign}");
        }
        for ours in ["NODE_ID", "LISTEN", "JOIN"] {
            assert!(!is_foreign(ours), "{ours}");
        }
    }
}
