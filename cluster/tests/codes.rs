//! Coupon codes as the rest of the system uses them: for ever the same, one to one, checked.

use std::collections::BTreeSet;

use coupon_cluster::{
    COUNTER_LIMIT, Code, CodeCipher, CodeFormat, CodeKey, CodeOrigin, CodePrefix, CodeProfile,
    CodeScheme, EncodeError, KeyId, ShardId,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Shard, counter and code under the secret 00 01 … 1f, computed by an independent implementation
/// of the format. If this test fails, the code is wrong, not the table: people hold such codes. The
/// last three are second variants, since the first ones have a word of the blocklist.
const KR_GOLDEN: [(u32, u64, &str); 16] = [
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

/// Length, prefix, shard, counter and code, likewise. The last three are second variants.
const LATIN_GOLDEN: [(usize, &str, u32, u64, &str); 15] = [
    (14, "", 0, 0, "AVTFYT034JBX68"),
    (14, "", 1, 0, "K37N9MCGHNGM5A"),
    (14, "", 1, 1, "CZ727A4R45HA7C"),
    (14, "", 1023, COUNTER_LIMIT - 1, "03YNKNX57FYJ4B"),
    (14, "SUMMER-", 1, 0, "SUMMER-K37N9MCGHNGM5M"),
    (14, "BLACK-FRIDAY-", 7, 42, "BLACK-FRIDAY-T0CN85D3NQKJ5X"),
    (16, "", 1, 0, "2X38VJDF75BHQM88"),
    (16, "OIL-RUSH-", 512, (1 << 43) + 5, "OIL-RUSH-462AF1EF10CKCBBT"),
    (18, "", 1, 0, "250A8BCX150KXKF8PJ"),
    (18, "U", 64, 1 << 20, "UA00MRYHD2JN1E7E4M1"),
    (20, "", 1, 0, "TEFVBP40FBE6FEP3XCR1"),
    (20, "BLACKFRIDAY", 1023, COUNTER_LIMIT - 1, "BLACKFRIDAY38VW7CCTNJ52M244E2TK"),
    (14, "", 1, 657, "T6R18M08GMWD5H"),
    (14, "", 1, 789, "0NSDQBCECMVD0F"),
    (14, "", 1, 1_296, "M2DVHAEE206S19"),
];

fn key(id: u32) -> CodeKey {
    CodeKey { id: KeyId(id), secret: std::array::from_fn(|place| place as u8 ^ (id as u8 - 1)) }
}

fn cipher() -> CodeCipher {
    CodeCipher::new(&[key(1)])
}

fn shard(id: u32) -> ShardId {
    ShardId::new(id).expect("tests name shards that can exist")
}

fn scheme(format: CodeFormat, prefix: &str) -> CodeScheme {
    CodeScheme { format, prefix: CodePrefix::new(prefix).expect("tests use good prefixes") }
}

fn encode(scheme: CodeScheme, id: u32, counter: u64) -> Code {
    let code = cipher().encode(KeyId(1), scheme, shard(id), counter);
    code.expect("the key is known and counters of tests are small")
}

fn origin(id: u32, counter: u64) -> CodeOrigin {
    CodeOrigin { key: KeyId(1), shard: shard(id), counter }
}

#[test]
fn codes_are_pinned_for_ever() {
    for (id, counter, text) in KR_GOLDEN {
        let code = encode(CodeScheme::default(), id, counter);
        assert_eq!(code.to_string(), text, "shard {id}, counter {counter}");
        assert_eq!(Code::parse(text), Ok(code));
        assert_eq!(cipher().decode(&code), Some(origin(id, counter)));
    }
    for (length, prefix, id, counter, text) in LATIN_GOLDEN {
        let format = CodeFormat::new(CodeProfile::Latin, length).unwrap();
        let scheme = scheme(format, prefix);
        let code = encode(scheme, id, counter);
        assert_eq!(scheme.text(&code), text, "shard {id}, counter {counter}");
        assert_eq!(Code::parse(text), Ok(code));
        assert_eq!(cipher().decode(&code), Some(origin(id, counter)));
    }
}

/// With several keys, each has the same shards and counters.
#[test]
fn no_two_shards_counters_keys_or_formats_share_a_code() {
    let cipher = CodeCipher::new(&[key(1), key(2), key(3), key(4)]);
    let mut texts = BTreeSet::new();
    for format in CodeFormat::ALL {
        let scheme = scheme(format, "");
        for (key, id) in (1..=4).flat_map(|key| [(key, 1), (key, 2), (key, 1023)]) {
            for counter in 0..1_000 {
                let code = cipher.encode(KeyId(key), scheme, shard(id), counter).unwrap();
                let origin = CodeOrigin { key: KeyId(key), shard: shard(id), counter };
                assert_eq!(cipher.decode(&code), Some(origin));
                assert!(texts.insert(code.to_string()));
            }
        }
    }
}

#[test]
fn counters_and_keys_end() {
    let last = COUNTER_LIMIT - 1;
    for format in CodeFormat::ALL {
        let scheme = scheme(format, "");
        assert_eq!(cipher().decode(&encode(scheme, 1023, last)), Some(origin(1023, last)));
        for counter in [COUNTER_LIMIT, u64::MAX] {
            let refused = cipher().encode(KeyId(1), scheme, shard(1), counter);
            assert_eq!(refused, Err(EncodeError::CounterTooLarge(counter)));
        }
        let refused = cipher().encode(KeyId(2), scheme, shard(1), 0);
        assert_eq!(refused, Err(EncodeError::UnknownKey(KeyId(2))));
    }
}

/// Of the payloads of `kr`, 2^54 in 89^9 are codes of a key: one in 19.4. Codes of a key that is not known are as good
/// as random.
#[test]
fn another_keys_codes_mean_nothing() {
    let other = CodeCipher::new(&[CodeKey { id: KeyId(2), secret: [9; 32] }]);
    let accepted = |format| {
        let codes = (0..2_000).map(|counter| encode(scheme(format, ""), 1, counter));
        codes.filter(|code| other.decode(code).is_some()).count()
    };
    let accepted = [CodeFormat::Kr, CodeFormat::Latin14, CodeFormat::Latin20].map(accepted);
    assert!((60..150).contains(&accepted[0]), "{accepted:?}");
    // One in 512, and one in 2^39.
    assert!((0..20).contains(&accepted[1]) && accepted[2] == 0, "{accepted:?}");
}

/// What a person may type for a symbol of a code.
fn alphabet(format: CodeFormat) -> Vec<char> {
    let codes = (0..400).map(|counter| encode(scheme(format, ""), 1, counter).to_string());
    let symbols: BTreeSet<char> = codes.flat_map(|text| text.chars().collect::<Vec<_>>()).collect();
    assert_eq!(symbols.len(), if format == CodeFormat::Kr { 89 } else { 32 });
    symbols.into_iter().collect()
}

/// Of some codes of every format, with and without prefix: each symbol replaced by each other one, the prefix's as well
/// where the check covers it; and any two symbols swapped.
#[test]
fn every_wrong_symbol_and_every_swap_is_caught() {
    for format in CodeFormat::ALL {
        let alphabet = alphabet(format);
        for (prefix, counter) in [("", 0), ("", 1), ("SUMMER-", 2), ("BLACKFRIDAY", 3), ("U", 4)] {
            let code = encode(scheme(format, prefix), 3, counter);
            let symbols: Vec<char> = code.to_string().chars().collect();
            let covered = if format == CodeFormat::Kr { symbols.len() - 10 } else { 0 };
            let is_caught =
                |wrong: &[char]| Code::parse(&wrong.iter().collect::<String>()).is_err();
            for place in covered..symbols.len() {
                for &symbol in &alphabet {
                    let mut wrong = symbols.clone();
                    wrong[place] = symbol;
                    // U counts as V in the check, and is told from it by the look-up.
                    let is_same = [symbols[place], symbol] == ['U', 'V'] || wrong == symbols;
                    assert!(is_same || is_caught(&wrong), "{symbols:?}, {wrong:?}");
                }
                for other in covered..place {
                    let mut wrong = symbols.clone();
                    wrong.swap(place, other);
                    let is_same =
                        [wrong[place], wrong[other]].iter().all(|s| ['U', 'V'].contains(s));
                    assert!(
                        is_same || wrong == symbols || is_caught(&wrong),
                        "{symbols:?}, {wrong:?}"
                    );
                }
            }
        }
    }
}

fn any_scheme() -> impl Strategy<Value = CodeScheme> {
    let format = prop::sample::select(&CodeFormat::ALL[..]);
    let prefix = prop_oneof![Just(String::new()), "[A-Z0-9]{1,11}", "[A-Z]{1,5}-[0-9OIL]{1,5}-?"];
    (format, prefix).prop_filter_map("a prefix needs a letter", |(format, prefix)| {
        let prefix = CodePrefix::new(&prefix).ok()?;
        Some(CodeScheme { format, prefix })
    })
}

/// A text as somebody may write it who means the same symbols.
fn written(text: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().copied().cycle();
    let mut choose = move || choices.next().expect("there are choices");
    let fillers = ["", "", "", " ", "-", "\u{200B}", "\u{2013}", "\u{3000}"];
    let mut written = String::new();
    for symbol in text.chars() {
        let alike: &[char] = match symbol {
            '0' => &['0', '\u{FF10}'],
            '1'..='9' | 'A'..='Z' => {
                let wide = char::from_u32(u32::from(symbol) + 0xFEE0);
                let wide = wide.expect("ASCII has full-width forms");
                &[symbol, wide, symbol.to_ascii_lowercase()]
            }
            _ => &[symbol],
        };
        written.push(alike[usize::from(choose()) % alike.len()]);
        written.push_str(fillers[usize::from(choose()) % fillers.len()]);
    }
    written
}

/// Letters for the digits that they look like, which only Latin codes and prefixes forgive.
fn with_look_alikes(text: &str, choices: &[u8]) -> String {
    let alike = |(symbol, choice): (char, &u8)| match symbol {
        '0' => ['0', 'O', 'o'][usize::from(*choice) % 3],
        '1' => ['1', 'I', 'i', 'L', 'l'][usize::from(*choice) % 5],
        _ => symbol,
    };
    text.chars().zip(choices.iter().cycle()).map(alike).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(0x0063_6f64_6573),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn codes_lead_back(
        secrets: [[u8; 32]; 2],
        key in 1u32..=2,
        scheme in any_scheme(),
        id in 0u32..=1023,
        counter in 0..COUNTER_LIMIT,
        choices in prop::collection::vec(any::<u8>(), 32),
    ) {
        let keys = [1, 2].map(|id| CodeKey { id: KeyId(id), secret: secrets[id as usize - 1] });
        let cipher = CodeCipher::new(&keys);
        let code = cipher.encode(KeyId(key), scheme, shard(id), counter).unwrap();
        let origin = CodeOrigin { key: KeyId(key), shard: shard(id), counter };
        prop_assert_eq!(cipher.decode(&code), Some(origin));
        // Whatever the prefix, it is the same code.
        let bare = CodeScheme { prefix: CodePrefix::NONE, ..scheme };
        let bare = cipher.encode(KeyId(key), bare, shard(id), counter).unwrap();
        prop_assert_eq!(cipher.decode(&bare), Some(origin));
        let text = scheme.text(&code);
        prop_assert_eq!(Code::parse(&text), Ok(code));
        prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
        prop_assert_eq!(Code::parse(&written(&text, &choices)), Ok(code));
        if scheme.format != CodeFormat::Kr {
            let text = with_look_alikes(&text, &choices);
            prop_assert_eq!(Code::parse(&text), Ok(code), "{}", text);
            prop_assert_eq!(Code::parse(&written(&text, &choices)), Ok(code));
        }
    }

    /// The other direction: what decodes is the code of what it decodes to. One well-formed code
    /// of `kr` in 19 decodes, and one of Latin in 512, so each case tries many.
    #[test]
    fn no_two_codes_mean_the_same(
        places in prop::collection::vec(prop::collection::vec(0usize..89, 13), 50),
    ) {
        for format in [CodeFormat::Kr, CodeFormat::Latin14] {
            let alphabet = alphabet(format);
            let others = format.symbol_count() - 1;
            for places in &places {
                let symbol = |&place: &usize| alphabet[place % alphabet.len()];
                let mut text: String = places[..others].iter().map(symbol).collect();
                if format == CodeFormat::Latin14 {
                    // Of this length.
                    text.replace_range(others - 1.., &(places[others - 1] % 8).to_string());
                }
                let checked = |last: &char| Code::parse(&format!("{text}{last}")).ok();
                let right: Vec<Code> = alphabet.iter().filter_map(checked).collect();
                let right: Vec<Code> = right.into_iter().filter(|code| code.format() == format).collect();
                prop_assert!(right.len() <= 1, "{}", text);
                if let Some(code) = right.first()
                    && let Some(CodeOrigin { key, shard, counter }) = cipher().decode(code)
                {
                    prop_assert_eq!(cipher().encode(key, scheme(format, ""), shard, counter), Ok(*code));
                }
            }
        }
    }

    #[test]
    fn mistakes_are_caught(
        scheme in any_scheme(),
        counter in 0..COUNTER_LIMIT,
        places in [0usize..10, 0usize..10],
        wrong in 0usize..89,
    ) {
        let text: Vec<char> = encode(scheme, 1, counter).to_string().chars().collect();
        let alphabet = alphabet(scheme.format);
        let is_refused = |symbols: &[char]| Code::parse(&symbols.iter().collect::<String>()).is_err();
        let places = places.map(|place| text.len() - 1 - place);
        let mut substituted = text.clone();
        substituted[places[0]] = alphabet[wrong % alphabet.len()];
        prop_assert!(substituted == text || is_refused(&substituted));
        let mut swapped = text.clone();
        swapped.swap(places[0], places[1]);
        prop_assert!(swapped == text || is_refused(&swapped));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Ok(code) = Code::parse(&text) {
            prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
        }
    }

    /// The same of texts that are nearly codes.
    #[test]
    fn any_symbols_are_read_or_refused(text in "[A-Z]{0,6}-?[0-9A-Z가나다라마바사아]{8,22}") {
        if let Ok(code) = Code::parse(&text) {
            prop_assert_eq!(Code::parse(&code.to_string()), Ok(code));
        }
    }
}
