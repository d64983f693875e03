//! `coupon campaign`: campaigns are created, changed and shown through a router. Each command has a file.

mod archive;
mod change;
mod create;
mod delete;
mod end;
mod get;
mod list;
mod moment;
mod pause;
mod resume;
mod update;

use anyhow::Context as _;
use coupon_client::v1;

use crate::output::Format;
use crate::{output, runtime, show};

/// Creates, changes and shows campaigns.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CampaignCommand {
    Create(create::CreateArgs),
    Get(get::GetArgs),
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
}
