//! Importing codes.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::change::refuse_ended;
use crate::entry::{Entry, Found};
use crate::event::record;
use crate::mutants::{self, Mutant};
use crate::{
    CodeImport, EventKind, ImportedCode, LineRefusal, Outcome, Refusal, RefusedLine, SEQUENCE_MAX,
    Store,
};

/// Maximum number of codes that a campaign has.
pub const CODES_MAX: u64 = 100_000_000;
/// Maximum number of imports that a campaign has.
pub const IMPORTS_MAX: u32 = 1_000;

const _: () = assert!(CODES_MAX <= SEQUENCE_MAX);

/// Adds codes to a campaign whose codes are imported: some lines of an import. The same lines may be sent any number of
/// times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportCodes {
    /// The campaign.
    pub campaign: CampaignName,
    /// The import.
    pub import_id: RequestId,
    /// The line of the first code, from 1.
    pub first_line: u64,
    /// The codes, one a line; an empty one is a line without a code. None at all only asks how far the import has come.
    pub codes: Vec<String>,
}

impl<S: Store> Entry<'_, S> {
    /// Adds the codes that the campaign does not have.
    pub(crate) fn import_codes(
        &mut self,
        epoch: Epoch,
        command: &ImportCodes,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find(fence, *store, epoch, &command.campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let (now, campaign) = (fence.state.log_time, &mut touched.campaign);
        if !campaign.spec.has_imported_codes {
            return Ok(Refusal::CodesNotImported.into());
        }
        let (number, counters) = (campaign.spec.number, campaign.counters);
        let before = store.code_import(number, command.import_id)?;
        let next =
            CodeImport { number: counters.imports.saturating_add(1), next_line: 1, imported: 0 };
        let mut import = before.unwrap_or(next);
        if command.codes.is_empty() {
            return Ok(import.outcome(Vec::new()));
        }
        if command.first_line > import.next_line {
            return Ok(Refusal::ImportLinesMissing { next_line: import.next_line }.into());
        }
        if import.number > IMPORTS_MAX {
            return Ok(Refusal::TooManyImports.into());
        }
        // Lines that were sent before are answered as they were then, also after the end.
        let next_line = command.next_line();
        if next_line > import.next_line
            && let Err(over) = refuse_ended(campaign, now)
        {
            return Ok(over.into());
        }
        let mut refused = Vec::new();
        let (mut line, mut sequence) = (command.first_line, counters.imported);
        for code in &command.codes {
            match place_of(*store, number, code, &import, line)? {
                Place::None | Place::Here => {}
                Place::Elsewhere(reason) => refused.push(RefusedLine { line, reason }),
                Place::Nowhere if sequence >= CODES_MAX => {
                    refused.push(RefusedLine { line, reason: LineRefusal::TooManyCodes });
                }
                Place::Nowhere if line < import.next_line => {
                    refused.push(RefusedLine { line, reason: LineRefusal::Changed });
                }
                Place::Nowhere => {
                    sequence = sequence.saturating_add(1);
                    let imported = ImportedCode { sequence, import: import.number, line };
                    store.put_imported_code(number, code, &imported)?;
                }
            }
            line = line.saturating_add(1);
        }
        let added = sequence.saturating_sub(counters.imported);
        import.imported = import.imported.saturating_add(added);
        import.next_line = import.next_line.max(next_line);
        if before != Some(import) {
            store.put_code_import(number, command.import_id, &import)?;
            campaign.counters.imported = sequence;
            campaign.counters.imports = counters.imports.max(import.number);
            campaign.counters.revision = counters.revision.saturating_add(1);
            let event = EventKind::CodesImported { added };
            record(*store, campaign, now, command.import_id, event)?;
            touched.changed = true;
        }
        Ok(import.outcome(refused))
    }
}

impl ImportCodes {
    /// The line after the last one.
    fn next_line(&self) -> u64 {
        self.first_line.saturating_add(self.codes.len() as u64)
    }
}

impl CodeImport {
    fn outcome(&self, refused: Vec<RefusedLine>) -> Outcome {
        let Self { number: _, next_line, imported } = *self;
        Outcome::CodesImported { next_line, imported, refused }
    }
}

/// Where the code of a line is.
enum Place {
    /// There is none.
    None,
    /// Where this very line has added it.
    Here,
    /// Where another line has added it.
    Elsewhere(LineRefusal),
    Nowhere,
}

/// Where the campaign has the code of a line of an import.
fn place_of<S: Store>(
    store: &mut S,
    campaign_number: u32,
    code: &str,
    import: &CodeImport,
    line: u64,
) -> Result<Place, S::Error> {
    if code.is_empty() {
        return Ok(Place::None);
    }
    let known = store.imported_code(campaign_number, code)?;
    let Some(known) = known.filter(|_| !mutants::is(Mutant::ImportDuplicates)) else {
        return Ok(Place::Nowhere);
    };
    let is_own = known.import == import.number;
    if is_own && known.line == line {
        return Ok(Place::Here);
    }
    let line = is_own.then_some(known.line);
    Ok(Place::Elsewhere(LineRefusal::Duplicate { sequence: known.sequence, line }))
}
