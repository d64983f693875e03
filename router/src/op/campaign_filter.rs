//! Which campaigns a list shows: a small part of the filter language of AIP-160. Pure.
//!
//! ```text
//! filter     conditions joined by AND; empty: all campaigns
//! condition  state = STATE      labels.KEY = VALUE      labels:KEY
//!            state != STATE     labels.KEY != VALUE
//! ```
//!
//! `labels:KEY` means that there is a label with this key. A campaign without the label meets `!=`. Keys and values may
//! be quoted with `"`, and must be if they have other characters than letters, digits, `_` and `-`; `\` comes before a
//! quote or a backslash in quotes.

use coupon_proto::internal::campaign_condition::Condition;
use coupon_proto::internal::{CampaignCondition, CampaignState, LabelCondition};

/// Maximum length of a filter.
const FILTER_BYTES_MAX: usize = 2_048;
/// Maximum number of conditions.
const CONDITIONS_MAX: usize = 16;

/// Reads a filter.
///
/// # Errors
///
/// What is wrong with it, and at which character.
pub(super) fn conditions(filter: &str) -> Result<Vec<CampaignCondition>, String> {
    if filter.len() > FILTER_BYTES_MAX {
        return Err(format!("must have at most {FILTER_BYTES_MAX} bytes, has {}", filter.len()));
    }
    let mut reader = Reader::new(filter)?;
    let mut conditions = Vec::new();
    if reader.rest().is_empty() {
        return Ok(conditions);
    }
    loop {
        if conditions.len() == CONDITIONS_MAX {
            return Err(reader.wrong(&format!("more than {CONDITIONS_MAX} conditions")));
        }
        conditions.push(reader.condition()?);
        match reader.rest() {
            [] => return Ok(conditions),
            [(_, Token::Word(word)), ..] if word == "AND" => reader.at += 1,
            _ => return Err(reader.wrong("expected AND or the end")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

/// The tokens of a filter, each with its place: characters from 1.
struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    /// The place after the last character.
    end: usize,
}

impl Reader {
    fn new(filter: &str) -> Result<Self, String> {
        let characters: Vec<char> = filter.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(character) = characters.get(at) {
            let start = at;
            let is_of_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
            let token = match character {
                c if c.is_ascii_whitespace() => {
                    at += 1;
                    continue;
                }
                '=' => Token::Sign("="),
                '.' => Token::Sign("."),
                ':' => Token::Sign(":"),
                '!' if characters.get(at + 1) == Some(&'=') => {
                    at += 1;
                    Token::Sign("!=")
                }
                '"' => Token::Quoted(quoted(&characters, &mut at)?),
                c if is_of_word(c) => {
                    let word = characters[at..].iter().take_while(|c| is_of_word(c));
                    let word: String = word.collect();
                    at += word.chars().count() - 1;
                    Token::Word(word)
                }
                _ => return Err(wrong(start + 1, "this character must be in quotes")),
            };
            at += 1;
            tokens.push((start + 1, token));
        }
        Ok(Self { tokens, at: 0, end: characters.len() + 1 })
    }

    fn rest(&self) -> &[(usize, Token)] {
        &self.tokens[self.at..]
    }

    fn wrong(&self, why: &str) -> String {
        wrong(self.rest().first().map_or(self.end, |(place, _)| *place), why)
    }

    fn condition(&mut self) -> Result<CampaignCondition, String> {
        let field = match self.rest() {
            [(_, Token::Word(word)), ..] => word.clone(),
            _ => String::new(),
        };
        match field.as_str() {
            "state" => {
                self.at += 1;
                let negated = self.comparison()?;
                let state = self.state()?;
                Ok(CampaignCondition { negated, condition: Some(Condition::State(state.into())) })
            }
            "labels" => {
                self.at += 1;
                self.label()
            }
            "NOT" | "OR" => Err(self.wrong("only AND is supported: use != instead of NOT")),
            _ => Err(self.wrong("expected state or labels")),
        }
    }

    fn label(&mut self) -> Result<CampaignCondition, String> {
        let sign = self.sign(&[".", ":"], "expected a dot or a colon and the key of a label")?;
        let key = self.text("expected the key of a label")?;
        if sign == ":" {
            let condition = Some(Condition::Label(LabelCondition { key, value: None }));
            return Ok(CampaignCondition { negated: false, condition });
        }
        let negated = self.comparison()?;
        let value = Some(self.text("expected the value of a label")?);
        let condition = Some(Condition::Label(LabelCondition { key, value }));
        Ok(CampaignCondition { negated, condition })
    }

    /// Whether it is an inequality.
    fn comparison(&mut self) -> Result<bool, String> {
        Ok(self.sign(&["=", "!="], "expected = or !=")? == "!=")
    }

    fn sign(&mut self, signs: &[&str], why: &str) -> Result<&'static str, String> {
        match self.rest() {
            [(_, Token::Sign(sign)), ..] if signs.contains(sign) => {
                let sign = *sign;
                self.at += 1;
                Ok(sign)
            }
            _ => Err(self.wrong(why)),
        }
    }

    fn text(&mut self, why: &str) -> Result<String, String> {
        match self.rest() {
            [(_, Token::Word(text) | Token::Quoted(text)), ..] => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wrong(why)),
        }
    }

    fn state(&mut self) -> Result<CampaignState, String> {
        const WHY: &str = "must be SCHEDULED, ACTIVE, PAUSED, EXHAUSTED, ENDED or ARCHIVED";
        let why = self.wrong(WHY);
        let text = self.text(WHY)?;
        let name = text.strip_prefix("CAMPAIGN_STATE_").unwrap_or(&text);
        let state = CampaignState::from_str_name(&format!("CAMPAIGN_STATE_{name}"));
        state.filter(|state| *state != CampaignState::Unspecified).ok_or(why)
    }
}

/// Reads a quoted text. `at` is the place of its first quote, and then that of its last one.
fn quoted(characters: &[char], at: &mut usize) -> Result<String, String> {
    let start = *at;
    let mut text = String::new();
    loop {
        *at += 1;
        match characters.get(*at) {
            Some('"') => return Ok(text),
            Some('\\') => {
                *at += 1;
                match characters.get(*at) {
                    Some(escaped @ ('"' | '\\')) => text.push(*escaped),
                    _ => {
                        return Err(wrong(
                            *at,
                            "a backslash must come before a quote or a backslash",
                        ));
                    }
                }
            }
            Some(character) => text.push(*character),
            None => return Err(wrong(start + 1, "this quote has no end")),
        }
    }
}

fn wrong(place: usize, why: &str) -> String {
    format!("at character {place}: {why}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(state: CampaignState, negated: bool) -> CampaignCondition {
        CampaignCondition { negated, condition: Some(Condition::State(state.into())) }
    }

    fn label(key: &str, value: Option<&str>, negated: bool) -> CampaignCondition {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        CampaignCondition {
            negated,
            condition: Some(Condition::Label(LabelCondition { key, value })),
        }
    }

    #[test]
    fn conditions_are_joined_by_and() {
        let filter =
            r#"state = ACTIVE AND labels.team = "a b" AND labels."my key" != 팀_1 AND labels:x"#;
        let expected = [
            state(CampaignState::Active, false),
            label("team", Some("a b"), false),
            label("my key", Some("팀_1"), true),
            label("x", None, false),
        ];
        assert_eq!(conditions(filter).unwrap(), expected);
        assert_eq!(conditions(" \n").unwrap(), []);
        let long = conditions("state!=CAMPAIGN_STATE_ENDED").unwrap();
        assert_eq!(long, [state(CampaignState::Ended, true)]);
        let escaped = conditions(r#"labels.a = "\"\\""#).unwrap();
        assert_eq!(escaped, [label("a", Some("\"\\"), false)]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = [
            ("quota = 1", 1, "state or labels"),
            ("state", 6, "= or !="),
            ("state = ", 9, "SCHEDULED"),
            ("state = SOON", 9, "SCHEDULED"),
            ("state = UNSPECIFIED", 9, "SCHEDULED"),
            ("state = ACTIVE OR state = PAUSED", 16, "AND"),
            ("state = ACTIVE AND", 19, "state or labels"),
            ("NOT state = ACTIVE", 1, "only AND"),
            ("labels = a", 8, "a dot or a colon"),
            ("labels.a : b", 10, "= or !="),
            ("labels.a = (b)", 12, "quotes"),
            ("labels.a = \"b", 12, "no end"),
            (r#"labels.a = "\n""#, 13, "backslash"),
        ];
        for (filter, place, why) in wrong {
            let said = conditions(filter).unwrap_err();
            assert!(said.starts_with(&format!("at character {place}: ")), "{filter}: {said}");
            assert!(said.contains(why), "{filter}: {said}");
        }
        let many = ["state = ACTIVE"; 17].join(" AND ");
        assert!(conditions(&many).unwrap_err().contains("more than 16"));
        assert!(conditions(&" ".repeat(3_000)).unwrap_err().contains("2048 bytes"));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(filter in r#"(state|labels|=|!=|AND|"|\\|\.|:| |[a-zA-Z가]){0,20}"#) {
            let _ = conditions(&filter);
        }
    }
}
