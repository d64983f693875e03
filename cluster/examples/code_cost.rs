//! What a coupon code costs, in nanoseconds: to make, to write, to lead back.
//!
//! ```sh
//! cargo run --release -p coupon-cluster --example code_cost
//! ```

#![expect(clippy::disallowed_types, reason = "what is measured here is time")]

use std::hint::black_box;
use std::time::Instant;

use coupon_cluster::{Code, CodeCipher, CodeKey, KeyId, ShardId};

/// How many codes one number is the mean of: long enough for the clock, short enough to fit
/// between two other processes.
const CODES: u64 = 1_000;

/// Number of means of which the best counts: what disturbs a measurement makes it longer, never shorter.
const REPETITIONS: u32 = 1_000;

fn main() {
    let cipher = CodeCipher::new(&CodeKey { id: KeyId(1), secret: [42; 32] });
    let shard = ShardId::new(1).expect("shard 1 can exist");
    let encode = |counter| cipher.encode(shard, counter).expect("small counters fit");
    let codes: Vec<Code> = (0..CODES).map(encode).collect();
    let texts: Vec<String> = codes.iter().map(Code::to_string).collect();
    let at = |counter: u64| counter as usize;

    measure("encode", encode);
    measure("encode, to_string", |counter| encode(counter).to_string());
    measure("to_string", |counter| codes[at(counter)].to_string());
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
