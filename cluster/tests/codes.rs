//! Coupon codes as the rest of the system uses them: for ever the same, one to one, checked.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use coupon_cluster::{
    COUNTER_LIMIT, Code, CodeCipher, CodeError, CodeKey, CounterTooLarge, KeyId, ShardId,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Shard, counter and code under the secret 00 01 … 1f, computed by an independent implementation
/// of the format. If this test fails, the code is wrong, not the table: people hold such codes. The
/// last three are second variants, since the first ones have a word of the blocklist.
const GOLDEN: [(u32, u64, &str); 16] = [
    (0, 0, "드로트81트9누도7"),
    (1, 0, "피초즈자나커두포어치"),
    (1, 1, "서부후보무다파3도5"),
    (1, 2, "차8거너커느리나6치"),
    (1, 999_999, "노저소처라67노카두"),
    (2, 0, "르보츠0티즈나후2쿠"),
    (2, 1, "리기쿠자나보4차수나"),
    (3, 123_456_789, "커다추조코나도그기므"),
    (7, 42, "버어느우비0러로어누"),
    (64, 1 << 20, "히느프라브주거미나주"),
    (512, (1 << 43) + 5, "호흐무아주3두커더커"),
    (1023, 0, "포츠토0마투어바누타"),
    (1023, COUNTER_LIMIT - 1, "8마시저티19지후즈"),
    (1, 202, "키치그우시포나티키티"),
    (1, 295, "커투즈호0크모스거흐"),
    (1, 303, "5도허크자코그5스후"),
];

fn cipher() -> CodeCipher {
    let secret = std::array::from_fn(|place| place as u8);
    CodeCipher::new(&CodeKey { id: KeyId(1), secret })
}

fn shard(id: u32) -> ShardId {
    ShardId::new(id).expect("tests name shards that can exist")
}

#[test]
fn codes_are_pinned_for_ever() {
    let cipher = cipher();
    for (id, counter, text) in GOLDEN {
        let code = cipher.encode(shard(id), counter).unwrap();
        assert_eq!(code.to_string(), text, "shard {id}, counter {counter}");
        assert_eq!(Code::parse(text), Ok(code));
        assert_eq!(cipher.decode(&code), Some((shard(id), counter)));
    }
}

#[test]
fn a_hundred_thousand_codes_are_distinct() {
    let cipher = cipher();
    let mut codes = BTreeSet::new();
    for id in [1, 2, 3, 1023] {
        for counter in 0..25_000 {
            assert!(codes.insert(cipher.encode(shard(id), counter).unwrap()));
        }
    }
}

#[test]
fn counters_end() {
    let last = COUNTER_LIMIT - 1;
    let code = cipher().encode(shard(1023), last).unwrap();
    assert_eq!(cipher().decode(&code), Some((shard(1023), last)));
    for counter in [COUNTER_LIMIT, u64::MAX] {
        assert_eq!(cipher().encode(shard(1), counter), Err(CounterTooLarge(counter)));
    }
}

/// Of the payloads, 2^54 in 89^9 are codes of a key: one in 19.4. Codes of another key are as good
/// as random.
#[test]
fn another_keys_codes_mean_nothing() {
    let other = CodeCipher::new(&CodeKey { id: KeyId(2), secret: [9; 32] });
    let accepted = (0..2_000)
        .filter(|&counter| other.decode(&cipher().encode(shard(1), counter).unwrap()).is_some())
        .count();
    assert!((60..150).contains(&accepted), "{accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(0x0063_6f64_6573),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn codes_lead_back(secret: [u8; 32], id in 0u32..=1023, counter in 0..COUNTER_LIMIT) {
        let cipher = CodeCipher::new(&CodeKey { id: KeyId(1), secret });
        let code = cipher.encode(shard(id), counter).unwrap();
        prop_assert_eq!(cipher.decode(&code), Some((shard(id), counter)));
        prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
    }

    /// The other direction: what decodes is the code of what it decodes to. One well-formed code
    /// in 19 decodes, so each case tries many.
    #[test]
    fn no_two_codes_mean_the_same(
        prefixes in prop::collection::vec(prop::collection::vec(0usize..89, 9), 50),
    ) {
        let cipher = cipher();
        for prefix in prefixes {
            let text: String = prefix.iter().map(|&place| SYMBOLS[place]).collect();
            let checked = SYMBOLS.iter().find_map(|last| Code::parse(&format!("{text}{last}")).ok());
            let code = checked.expect("one check symbol fits");
            if let Some((shard, counter)) = cipher.decode(&code) {
                prop_assert_eq!(cipher.encode(shard, counter), Ok(code));
            }
        }
    }

    #[test]
    fn mistakes_are_caught(
        counter in 0..COUNTER_LIMIT,
        place in 0usize..10,
        other in 0usize..10,
        wrong in 0usize..89,
    ) {
        let text: Vec<char> = cipher().encode(shard(1), counter).unwrap().to_string().chars().collect();
        let read = |symbols: &[char]| Code::parse(&symbols.iter().collect::<String>());
        let mut substituted = text.clone();
        substituted[place] = SYMBOLS[wrong];
        prop_assert!(substituted == text || read(&substituted) == Err(CodeError::CheckFailed));
        let mut swapped = text.clone();
        swapped.swap(place, other);
        prop_assert!(swapped == text || read(&swapped) == Err(CodeError::CheckFailed));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Ok(code) = Code::parse(&text) {
            prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
        }
    }
}

/// The alphabet, gathered from codes.
static SYMBOLS: LazyLock<Vec<char>> = LazyLock::new(|| {
    let cipher = cipher();
    let texts = (0..200).map(|counter| cipher.encode(shard(1), counter).expect("in range"));
    let symbols: BTreeSet<char> =
        texts.flat_map(|code| code.to_string().chars().collect::<Vec<_>>()).collect();
    symbols.into_iter().collect()
});
