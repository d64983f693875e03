//! What a coupon code costs, in nanoseconds: to make, to write, to lead back.
//!
//! ```sh
//! cargo run --release -p coupon-cluster --example code_cost
//! ```

#![expect(clippy::disallowed_types, reason = "what is measured here is time")]

use std::hint::black_box;
use std::time::Instant;

use coupon_cluster::{Code, CodeCipher, CodeFormat, CodeKey, CodeScheme, KeyId, ShardId};

/// How many codes one number is the mean of: long enough for the clock, short enough to fit
/// between two other processes.
const CODES: u64 = 1_000;

/// Number of means of which the best counts: what disturbs a measurement makes it longer, never shorter.
const REPETITIONS: u32 = 1_000;

fn main() {
    let key = |id| CodeKey { id: KeyId(id), secret: [id as u8; 32] };
    let latin = CodeScheme { format: CodeFormat::Latin14, ..CodeScheme::default() };
    for (name, scheme) in [("kr", CodeScheme::default()), ("latin", latin)] {
        for keys in 1..=4 {
            println!("{name}, key {keys} of {keys}");
            measure_all(&CodeCipher::new(&(1..=keys).map(key).collect::<Vec<_>>()), scheme);
        }
    }
}

fn measure_all(cipher: &CodeCipher, scheme: CodeScheme) {
    let key = cipher.newest_key().expect("there is a key");
    let shard = ShardId::new(1).expect("shard 1 can exist");
    let encode = |counter| cipher.encode(key, scheme, shard, counter).expect("small counters fit");
    let codes: Vec<Code> = (0..CODES).map(encode).collect();
    let texts: Vec<String> = codes.iter().map(|code| scheme.text(code)).collect();
    let at = |counter: u64| counter as usize;

    measure("encode", encode);
    measure("encode, text", |counter| scheme.text(&encode(counter)));
    measure("decode", |counter| cipher.decode(&codes[at(counter)]));
    measure("parse", |counter| Code::parse(&texts[at(counter)]));
}

fn measure<T>(what: &str, mut step: impl FnMut(u64) -> T) {
    let mut mean = || {
        let start = Instant::now();
        for counter in 0..CODES {
            black_box(step(black_box(counter)));
        }
        start.elapsed().as_secs_f64() * 1e9 / CODES as f64
    };
    let best = (0..REPETITIONS).map(|_| mean()).fold(f64::INFINITY, f64::min);
    println!("{what:<18}{best:>6.0} ns");
}
