//! Commands that change campaigns.

use coupon_proto::internal as pb;
use pb::command::Operation;
use prost::Message as _;

use crate::{LAYOUT, golden};

const COMMANDS: [&str; 6] = [
    "
    08 01                            | epoch 1
    22 15  0a 01 63                  | pause_campaign: campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    ",
    "
    08 01                            | epoch 1
    2a 15  0a 01 63                  | resume_campaign: campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    ",
    "
    08 01                            | epoch 1
    32 30                            | update_campaign
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
       1a 01 65                      |    etag e
       22 00                         |    display_name, empty
       28 ac 02                      |    quota 300
       30 00                         |    start_micros 0
       38 b8 17                      |    end_micros 3,000
       42 08  0a 06  0a 01 61  12 01 31 | labels: a to 1
       48 02                         |    per_recipient_limit 2
       50 00                         |    coupon_ttl_micros 0
    ",
    "
    08 01                            | epoch 1
    3a 15                            | end_campaign
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    ",
    "
    08 01                            | epoch 1
    42 15                            | archive_campaign
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    ",
    "
    08 01                            | epoch 1
    4a 15                            | delete_campaign
       0a 01 63                      |    campaign c
       12 10 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 | request_id
    ",
];

#[test]
fn commands_that_change_campaigns_are_as_ever() {
    let (campaign, request_id) = (|| "c".to_owned(), || vec![0x11; 16]);
    let labels = [("a".to_owned(), "1".to_owned())].into();
    let update = pb::UpdateCampaignCommand {
        campaign: campaign(),
        request_id: request_id(),
        etag: "e".into(),
        display_name: Some(String::new()),
        quota: Some(300),
        start_micros: Some(0),
        end_micros: Some(3_000),
        labels: Some(pb::CampaignLabels { labels }),
        per_recipient_limit: Some(2),
        coupon_ttl_micros: Some(0),
    };
    let operations = [
        Operation::PauseCampaign(pb::PauseCampaignCommand {
            campaign: campaign(),
            request_id: request_id(),
        }),
        Operation::ResumeCampaign(pb::ResumeCampaignCommand {
            campaign: campaign(),
            request_id: request_id(),
        }),
        Operation::UpdateCampaign(update.into()),
        Operation::EndCampaign(pb::EndCampaignCommand {
            campaign: campaign(),
            request_id: request_id(),
        }),
        Operation::ArchiveCampaign(pb::ArchiveCampaignCommand {
            campaign: campaign(),
            request_id: request_id(),
        }),
        Operation::DeleteCampaign(pb::DeleteCampaignCommand {
            campaign: campaign(),
            request_id: request_id(),
        }),
    ];
    for (operation, expected) in operations.into_iter().zip(COMMANDS) {
        let found = pb::Command { epoch: 1, operation: Some(operation) }.encode_to_vec();
        golden::check("commands", LAYOUT, &found, expected);
    }
}
