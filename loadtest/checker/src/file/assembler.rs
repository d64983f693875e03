//! Reading.

use std::collections::BTreeMap;

use thiserror::Error;

use super::VERSION;
use super::line::{
    CampaignLine, EndLine, FaultLine, HistoryLine, Line, OperationLine, ReplicaLine,
};
use crate::history::{Campaign, Fault, History, Operation, Outcome, Replica};

/// Puts a history together from its lines.
#[derive(Debug, Default)]
pub struct Assembler {
    began: Option<String>,
    history: History,
    /// Where each campaign is in the history.
    places: BTreeMap<String, usize>,
    /// Where the campaign of the line before is: most lines belong to the same one.
    last: usize,
    lines: u64,
    has_ended: bool,
}

/// A file that is not a history.
#[derive(Debug, Error)]
#[error("line {line}")]
pub struct ReadError {
    /// The number of the line, from 1; one more than there are if something is missing at the end.
    pub line: u64,
    /// What is wrong with it.
    #[source]
    pub error: LineError,
}

/// What is wrong with a line.
#[derive(Debug, Error)]
pub enum LineError {
    /// Not JSON, or not one of the records.
    #[error("it is not a record")]
    NotARecord(#[source] serde_json::Error),
    /// The file does not begin with the line `history`.
    #[error("the first line of a history is missing")]
    NoHeader,
    /// The line `history` is there twice.
    #[error("a history began before")]
    SecondHeader,
    /// The format is not the one that this program reads.
    #[error("version {0} of the format is not known")]
    UnknownVersion(u32),
    /// The campaign of a line was not described before.
    #[error("its campaign was not described before")]
    UnknownCampaign,
    /// A campaign was described twice.
    #[error("its campaign was described before")]
    CampaignTwice,
    /// A call has an answer and did not return.
    #[error("the call has an answer and no time of it")]
    NoReturn,
    /// A call has no answer and returned.
    #[error("the call has a time of its answer and no answer")]
    NoAnswer,
    /// The file does not end with the line `end`.
    #[error("the history ends early: its last line is missing")]
    NoEnd,
    /// The line `end` counts other lines than there are.
    #[error("lines are missing, or were added: the end counts others than there are")]
    OtherCounts,
    /// A campaign, a call or a row comes after the line `end`, or another end.
    #[error("the history ended before")]
    AfterEnd,
    /// The coupons were not read back.
    #[error("the coupons were never read back, so that there is nothing to judge the calls by")]
    NotReadBack,
    /// There is no campaign.
    #[error("there is no campaign, and so nothing to judge")]
    NoCampaign,
}

impl Assembler {
    /// Starts before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line, with or without the character that ends it.
    ///
    /// # Errors
    /// When the line is not a record, or not one that can come here. What was read before is kept, but
    /// a history without the line is another one.
    pub fn push(&mut self, line: &str) -> Result<(), ReadError> {
        self.lines += 1;
        self.take(line).map_err(|error| ReadError { line: self.lines, error })
    }

    /// When the recording began, by the wall clock, as it was written; `None` before the first line.
    #[must_use]
    pub fn began(&self) -> Option<&str> {
        self.began.as_deref()
    }

    /// The history, when there are no more lines.
    ///
    /// # Errors
    /// When the first or the last line is missing.
    pub fn finish(self) -> Result<History, ReadError> {
        let missing = |error| Err(ReadError { line: self.lines + 1, error });
        match self.began {
            None => missing(LineError::NoHeader),
            Some(_) if !self.has_ended => missing(LineError::NoEnd),
            Some(_) => Ok(self.history),
        }
    }

    fn take(&mut self, line: &str) -> Result<(), LineError> {
        let line = serde_json::from_str(line).map_err(LineError::NotARecord)?;
        if self.began.is_none() && !matches!(line, Line::History(_)) {
            return Err(LineError::NoHeader);
        }
        if self.has_ended && !matches!(line, Line::Replica(_) | Line::Fault(_)) {
            return Err(LineError::AfterEnd);
        }
        match line {
            Line::History(history) => self.begin(history)?,
            Line::Campaign(campaign) => self.add_campaign(campaign)?,
            Line::Op(operation) => {
                let campaign = self.campaign(&operation.campaign)?;
                campaign.operations.push(read_operation(operation)?);
            }
            Line::Row(row) => {
                let campaign = self.campaign(&row.campaign)?;
                campaign.rows.push(row.into_coupon());
            }
            Line::Hold(hold) => {
                let campaign = self.campaign(&hold.campaign)?;
                campaign.holds.push(hold.into_hold());
            }
            Line::Claim(claim) => {
                let campaign = self.campaign(&claim.campaign)?;
                campaign.claims.push(claim.into_claim());
            }
            Line::Balance(balance) => {
                let campaign = self.campaign(&balance.campaign)?;
                campaign.balances.push(balance.into_balance());
            }
            Line::Replica(ReplicaLine { shard, replica, applied_index, digest }) => {
                let digest = digest.into();
                self.history.replicas.push(Replica { shard, replica, applied_index, digest });
            }
            Line::Fault(FaultLine { name, began, ended, in_force }) => {
                let name = name.into();
                self.history.faults.push(Fault { name, began, ended, in_force });
            }
            Line::End(end) => self.end(end)?,
        }
        Ok(())
    }

    fn begin(&mut self, history: HistoryLine<'_>) -> Result<(), LineError> {
        let HistoryLine { version, began } = history;
        if self.began.is_some() {
            return Err(LineError::SecondHeader);
        }
        if version != VERSION {
            return Err(LineError::UnknownVersion(version));
        }
        self.began = Some(began.into());
        Ok(())
    }

    fn add_campaign(&mut self, campaign: CampaignLine<'_>) -> Result<(), LineError> {
        let CampaignLine { id, quota, per_recipient_limit, complete } = campaign;
        let place = self.history.campaigns.len();
        if self.places.insert(id.clone().into(), place).is_some() {
            return Err(LineError::CampaignTwice);
        }
        self.last = place;
        self.history.campaigns.push(Campaign {
            id: id.into(),
            quota,
            per_recipient_limit,
            is_complete: complete,
            ..Campaign::default()
        });
        Ok(())
    }

    fn end(&mut self, end: EndLine) -> Result<(), LineError> {
        if end.rows.is_none() {
            return Err(LineError::NotReadBack);
        }
        if EndLine::of(&self.history) != end {
            return Err(LineError::OtherCounts);
        }
        if end.campaigns == 0 {
            return Err(LineError::NoCampaign);
        }
        self.has_ended = true;
        Ok(())
    }

    fn campaign(&mut self, id: &str) -> Result<&mut Campaign, LineError> {
        let campaigns = &mut self.history.campaigns;
        if campaigns.get(self.last).is_none_or(|last| last.id != id) {
            self.last = *self.places.get(id).ok_or(LineError::UnknownCampaign)?;
        }
        Ok(&mut campaigns[self.last])
    }
}

fn read_operation(line: OperationLine<'_>) -> Result<Operation, LineError> {
    let (invoked, returned) = line.t;
    let (call, outcome) = line.into_parts();
    let returned = match (returned, outcome == Outcome::Unknown) {
        (Some(returned), false) => returned,
        (None, true) => u64::MAX,
        (None, false) => return Err(LineError::NoReturn),
        (Some(_), true) => return Err(LineError::NoAnswer),
    };
    Ok(Operation { invoked, returned, call, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: &str = r#"{"history":{"version":4,"began":"2026-11-22T18:00:00Z"}}"#;
    const CAMPAIGN: &str =
        r#"{"campaign":{"id":"a","quota":9,"per_recipient_limit":1,"complete":true}}"#;
    const GET: &str = r#"{"op":{"campaign":"a","t":[5,7],"call":"get","outcome":{"counted":3}}}"#;

    const END: &str = r#"{"end":{"campaigns":1,"calls":1,"rows":0,"holds":0,"claims":0,"balances":0,"replicas":0,"faults":0}}"#;

    fn read(lines: &[&str]) -> Result<History, ReadError> {
        let mut assembler = Assembler::new();
        for line in lines {
            assembler.push(line)?;
        }
        assembler.finish()
    }

    /// The line and the text of the error.
    fn error(lines: &[&str]) -> (u64, String) {
        let error = read(lines).unwrap_err();
        (error.line, error.error.to_string())
    }

    #[test]
    fn lines_end_or_do_not() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.began(), None);
        for line in [HISTORY, CAMPAIGN, GET, END] {
            assembler.push(&format!("{line}\r\n")).unwrap();
        }
        assert_eq!(assembler.began(), Some("2026-11-22T18:00:00Z"));
        let history = assembler.finish().unwrap();
        assert_eq!(history, read(&[HISTORY, CAMPAIGN, GET, END]).unwrap());
        let operation = &history.campaigns[0].operations[0];
        assert_eq!((operation.invoked, operation.returned), (5, 7));
        assert_eq!(operation.outcome, Outcome::Counted { issued: 3 });
    }

    #[test]
    fn a_history_begins_once() {
        let missing = "the first line of a history is missing".to_owned();
        assert_eq!(error(&[]), (1, missing.clone()));
        assert_eq!(error(&[CAMPAIGN]), (1, missing));
        assert_eq!(error(&[HISTORY, CAMPAIGN, HISTORY]), (3, "a history began before".to_owned()));
        let newer = HISTORY.replace(":4,", ":5,");
        assert_eq!(error(&[&newer]), (1, "version 5 of the format is not known".to_owned()));
    }

    #[test]
    fn a_campaign_comes_once_and_first() {
        let (line, text) = error(&[HISTORY, GET, CAMPAIGN]);
        assert_eq!((line, &*text), (2, "its campaign was not described before"));
        let (line, text) = error(&[HISTORY, CAMPAIGN, GET, CAMPAIGN]);
        assert_eq!((line, &*text), (4, "its campaign was described before"));
    }

    #[test]
    fn a_history_ends_once_and_is_complete() {
        let early = "the history ends early: its last line is missing";
        for cut in 1..=3 {
            let (line, text) = error(&[HISTORY, CAMPAIGN, GET][..cut]);
            assert_eq!((line, &*text), (u64::try_from(cut).unwrap() + 1, early));
        }
        let (line, text) = error(&[HISTORY, CAMPAIGN, END]);
        assert!((line, text.starts_with("lines are missing")) == (3, true), "{text}");
        let (_, text) = error(&[HISTORY, CAMPAIGN, GET, END, GET]);
        assert_eq!(text, "the history ended before");
        let nothing = END.replace(":1,", ":0,");
        assert!(error(&[HISTORY, &nothing]).1.starts_with("there is no campaign"));
        let unread = END.replace(r#""rows":0"#, r#""rows":null"#);
        let (_, text) = error(&[HISTORY, CAMPAIGN, GET, &unread]);
        assert!(text.starts_with("the coupons were never read back"), "{text}");
    }

    #[test]
    fn others_add_faults_after_the_end() {
        let fault = r#"{"fault":{"name":"f","began":1,"ended":2,"in_force":true}}"#;
        let history = read(&[HISTORY, CAMPAIGN, GET, END, fault]).unwrap();
        assert_eq!(history.faults.len(), 1);
        assert!(read(&[HISTORY, CAMPAIGN, GET, fault, END]).is_err(), "it was there before");
    }

    #[test]
    fn an_answer_has_a_time_and_silence_has_none() {
        let unanswered = GET.replace("[5,7]", "[5,null]");
        let (line, text) = error(&[HISTORY, CAMPAIGN, &unanswered]);
        assert_eq!((line, &*text), (3, "the call has an answer and no time of it"));
        let unknown = GET.replace(r#"{"counted":3}"#, r#""unknown""#);
        let (_, text) = error(&[HISTORY, CAMPAIGN, &unknown]);
        assert_eq!(text, "the call has a time of its answer and no answer");
        let unknown = unknown.replace("[5,7]", "[5,null]");
        assert!(read(&[HISTORY, CAMPAIGN, &unknown, END]).is_ok());
    }

    #[test]
    fn what_is_not_known_is_not_skipped() {
        for broken in [
            "",
            "{}",
            "null",
            r#"{"note":{}}"#,
            r#"{"fault":{"name":"f","began":1,"ended":2,"in_force":true},"fault":{}}"#,
            r#"{"fault":{"name":"f","began":1,"ended":2}}"#,
            r#"{"fault":{"name":"f","began":1,"ended":2,"in_force":true,"why":"x"}}"#,
            &GET[..GET.len() - 1],
            &GET.replace("5,7", "5"),
            &GET.replace("5,7", "-5,7"),
            &GET.replace(r#""get""#, r#""put""#),
            &GET.replace(r#""get""#, r#"{"redeem":"c","void":"c"}"#),
            &GET.replace(r#""get""#, r#"{"issue":{"request":"7","recipient":"r"}}"#),
        ] {
            let (line, text) = error(&[HISTORY, CAMPAIGN, broken]);
            assert_eq!((line, &*text), (3, "it is not a record"), "{broken}");
        }
    }
}
