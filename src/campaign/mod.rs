//! `coupon campaign`: campaigns are created, changed and shown through a router. Each command has a file.

mod archive;
mod change;
mod create;
mod delete;
mod end;
pub(crate) mod events;
mod get;
mod import;
mod list;
mod moment;
mod pause;
mod resume;
mod update;
pub(crate) mod watch;

use std::collections::BTreeMap;

use anyhow::Context as _;
use coupon_client::v1;

use crate::failure::UsageError;
use crate::output::Format;
use crate::{output, runtime, show};

/// Creates, changes and shows campaigns.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CampaignCommand {
    Create(create::CreateArgs),
    Get(get::GetArgs),
    Import(import::ImportArgs),
    List(list::ListArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Update(update::UpdateArgs),
    End(end::EndArgs),
    Archive(archive::ArchiveArgs),
    Delete(delete::DeleteArgs),
}

/// Runs the command.
pub(crate) fn run(command: CampaignCommand) -> anyhow::Result<()> {
    runtime::block_on(async {
        match command {
            CampaignCommand::Create(args) => create::create(args).await,
            CampaignCommand::Get(args) => get::get(args).await,
            CampaignCommand::Import(args) => import::import(args).await,
            CampaignCommand::List(args) => list::list(args).await,
            CampaignCommand::Pause(args) => pause::pause(args).await,
            CampaignCommand::Resume(args) => resume::resume(args).await,
            CampaignCommand::Update(args) => update::update(args).await,
            CampaignCommand::End(args) => end::end(args).await,
            CampaignCommand::Archive(args) => archive::archive(args).await,
            CampaignCommand::Delete(args) => delete::delete(args).await,
        }
    })
}

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Pairs as a map; `flag` is what they were given with.
///
/// # Errors
/// [`UsageError`] when a key is there twice, since only one of its values would be kept.
pub(crate) fn map(
    flag: &str,
    pairs: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>, UsageError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(earlier) = map.insert(key.clone(), value) {
            let text = format!(
                "{flag} has the key {key:?} twice, first with the value {earlier:?}: give each key once"
            );
            return Err(UsageError(text));
        }
    }
    Ok(map)
}

/// The request id given, or a new one.
pub(crate) fn request_id_or_new(given: Option<String>) -> String {
    given.unwrap_or_else(coupon_client::new_request_id)
}

fn print(campaign: Option<v1::Campaign>, format: Format) -> anyhow::Result<()> {
    let campaign = show::Campaign::from(campaign.context("the router sent no campaign")?);
    match format {
        Format::Table => output::line(campaign.sheet()),
        Format::Json => output::json(&campaign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("a").is_err());
    }

    #[test]
    fn a_key_is_given_once() {
        let pairs = |texts: &[&str]| texts.iter().map(|text| pair(text).unwrap()).collect();
        assert_eq!(map("--label", pairs(&["a=1", "b=1"])).unwrap().len(), 2);
        let error = map("--label", pairs(&["a=1", "b=1", "a=2"])).unwrap_err().to_string();
        assert!(error.contains("--label has the key \"a\" twice"), "{error}");
    }
}
