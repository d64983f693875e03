//! Imported codes: a list of them.

use coupon_ledger::{ImportCodes, LineRefusal, RefusedLine};

use super::*;

/// What was imported into a campaign.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Imports {
    /// All codes, in the order in which they were added.
    pub(super) codes: Vec<ListedCode>,
    /// Each import with the line that comes next, in the order in which they began.
    pub(super) next_lines: Vec<(RequestId, u64)>,
}

/// An imported code, and where it came from.
#[derive(Clone, PartialEq)]
pub(super) struct ListedCode {
    pub(super) code: String,
    import_id: RequestId,
    line: u64,
}

impl Model {
    pub(super) fn import(&mut self, epoch: Epoch, asked: &ImportCodes) -> Result<Outcome, Refusal> {
        let now = self.now;
        let listed = self.listed(epoch, &asked.campaign)?;
        if !listed.asked.has_imported_codes {
            return Err(Refusal::CodesNotImported);
        }
        let import_id = asked.import_id;
        let next_line = listed.imports.next_line(import_id);
        if !asked.codes.is_empty() && asked.first_line > next_line {
            return Err(Refusal::ImportLinesMissing { next_line });
        }
        let over = match listed.terms.is_archived {
            true => Err(Refusal::Archived),
            false => listed.still_open(now),
        };
        if asked.first_line.saturating_add(asked.codes.len() as u64) > next_line
            && !asked.codes.is_empty()
        {
            over?;
        }
        let before = listed.imports.codes.len() as u64;
        let mut refused = Vec::new();
        let (mut is_changed, mut line) = (false, asked.first_line);
        for code in &asked.codes {
            let sequence = listed.imports.codes.len() as u64 + 1;
            let mut known = (1..).zip(&listed.imports.codes);
            match known.find(|(_, one)| one.code == *code) {
                _ if code.is_empty() => {}
                Some((_, one)) if (one.import_id, one.line) == (import_id, line) => {}
                Some((sequence, one)) => {
                    let first = (one.import_id == import_id).then_some(one.line);
                    let reason = LineRefusal::Duplicate { sequence, line: first };
                    refused.push(RefusedLine { line, reason });
                }
                None if line < next_line => {
                    refused.push(RefusedLine { line, reason: LineRefusal::Changed });
                }
                None => {
                    assert!(sequence < 1_000);
                    let code = code.clone();
                    listed.imports.codes.push(ListedCode { code, import_id, line });
                    is_changed = true;
                }
            }
            line += 1;
        }
        let imports = &mut listed.imports;
        if !asked.codes.is_empty() {
            let is_new = imports.next_lines.iter().all(|(id, _)| *id != import_id);
            if is_new {
                imports.next_lines.push((import_id, 1));
            }
            let mut all = imports.next_lines.iter_mut();
            let (_, next_line) = all.find(|(id, _)| *id == import_id).unwrap();
            is_changed |= is_new || *next_line < line;
            *next_line = line.max(*next_line);
        }
        let next_line = imports.next_line(import_id);
        let imported = imports.codes.iter().filter(|one| one.import_id == import_id).count() as u64;
        if is_changed {
            let added = listed.imports.codes.len() as u64 - before;
            listed.note(LogTime(now), import_id, EventKind::CodesImported { added });
        }
        Ok(Outcome::CodesImported { next_line, imported, refused })
    }
}

impl Imports {
    fn next_line(&self, import_id: RequestId) -> u64 {
        let found = self.next_lines.iter().find(|(id, _)| *id == import_id);
        found.map_or(1, |(_, next_line)| *next_line)
    }
}

impl Listed {
    /// How many coupons may count against the quota by now: no more than there are codes for.
    pub(super) fn quota_in_force(&self) -> u64 {
        let returned = self.coupons.iter().filter(|issued| is_returned(&issued.state)).count();
        match self.asked.has_imported_codes {
            true => self.terms.quota.min((self.imports.codes.len() - returned) as u64),
            false => self.terms.quota,
        }
    }
}
