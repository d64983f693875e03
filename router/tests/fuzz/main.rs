//! Random requests to every method in every protocol, most of them damaged in one way. Each is answered in the protocol's
//! own form, with the error that its damage must have; nothing panics, hangs or is an empty 500.
//!
//! Runs for `COUPON_FUZZ_SECONDS`, 5 if it is not set. Everything follows from a seed, which a failure names:
//! `COUPON_FUZZ_SEED` runs that case alone.

#[path = "../support/mod.rs"]
mod support;

mod answer;
mod client;
mod message;
mod request;

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use support::Fixture;
use tokio::time::timeout;

use crate::client::Clients;
use crate::message::Methods;
use crate::request::Case;

/// Timeout for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[tokio::test]
async fn every_request_is_answered_as_its_protocol_does() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    let methods = Methods::new();
    let mut clients = Clients::new(t.router.local_addr());
    let only = variable("COUPON_FUZZ_SEED");
    let first = only.unwrap_or_else(|| rand::random::<u32>().into());
    let length = Duration::from_secs(variable("COUPON_FUZZ_SECONDS").unwrap_or(5));
    let (began, mut seed) = (Instant::now(), first);
    let mut damages = std::collections::BTreeMap::new();
    while seed == first || only.is_none() && began.elapsed() < length {
        let case = Case::new(&mut StdRng::seed_from_u64(seed), &methods);
        let ended = timeout(PATIENCE, clients.exchange(&case)).await;
        let problem = match ended {
            Ok(Ok(answered)) => {
                case.judge(&answered).err().map(|why| format!("{why}: {answered:?}"))
            }
            Ok(Err(error)) => Some(format!("the connection broke: {error}")),
            Err(_) => Some("no answer".to_owned()),
        };
        if let Some(problem) = problem {
            panic!("COUPON_FUZZ_SEED={seed}: {problem}\n{case:?}");
        }
        *damages.entry(format!("{:?}", case.damage)).or_insert(0) += 1;
        seed += 1;
    }
    println!("{} requests from seed {first}: {damages:?}", seed - first);
    assert!(only.is_some() || seed - first > 100, "only {} requests", seed - first);
}
