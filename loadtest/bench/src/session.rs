//! A session: the systems run, and cells are measured one after the other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::audit::Audit;
use crate::call::Call;
use crate::campaigns::{Campaigns, QUOTA_LARGE};
use crate::cell::{Cell, Load, Sample, System};
use crate::closed_loop::closed_loop;
use crate::connect::{connect, connect_once};
use crate::meter::{Meter, rest};
use crate::requests::Requests;
use crate::systems::Systems;
use crate::tally::{Tally, Window};
use crate::unary::Unary;

/// Time before each measurement in which connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(300);

/// Running systems, and what was found to be wrong with their answers so far.
#[derive(Debug)]
pub(crate) struct Session {
    systems: Systems,
    campaigns: Campaigns,
    length: Duration,
    faults: Vec<String>,
}

impl Session {
    /// A session whose measurements take `length` each.
    pub(crate) async fn new(systems: Systems, length: Duration) -> anyhow::Result<Self> {
        let router = connect_once(systems.address(System::Coupon)).await?;
        Ok(Self { systems, campaigns: Campaigns::new(router), length, faults: Vec::new() })
    }

    /// The systems.
    pub(crate) fn systems(&self) -> &Systems {
        &self.systems
    }

    /// What was wrong with answers, each with the cell.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Measures a cell once.
    ///
    /// # Errors
    /// When nothing could be measured. Wrong answers are [faults](Self::faults) instead.
    pub(crate) async fn measure(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let channels = connect(self.systems.address(cell.system)).await?;
        let sample = match cell.load {
            Load::Unary => self.unary(cell, &channels).await?,
        };
        self.systems.check()?;
        Ok(sample)
    }

    async fn unary(&mut self, cell: Cell, channels: &[Channel]) -> anyhow::Result<Sample> {
        if cell.system != System::Coupon {
            let requests = Requests::new("bench-00-0000000000000000");
            let callers = Unary::callers(channels, cell.in_flight, &requests, None);
            return self.closed(cell, callers).await;
        }
        let campaign_id = self.campaigns.create(QUOTA_LARGE).await?;
        let audit = Arc::new(Mutex::new(Audit::default()));
        let requests = Requests::new(&campaign_id);
        let callers = Unary::callers(channels, cell.in_flight, &requests, Some(&audit));
        let sample = self.closed(cell, callers).await?;
        self.judge(cell, &campaign_id, &audit.lock()).await?;
        Ok(sample)
    }

    async fn closed<C: Call>(&mut self, cell: Cell, callers: Vec<C>) -> anyhow::Result<Sample> {
        rest(&self.systems).await?;
        let meter = Meter::start(&self.systems, cell.system)?;
        let tally = closed_loop(callers, Window::after(WARM_UP, self.length)).await?;
        self.sample(cell, meter, &tally)
    }

    fn sample(&mut self, cell: Cell, meter: Meter, tally: &Tally) -> anyhow::Result<Sample> {
        let sample = meter.stop(&self.systems, cell.system, tally)?;
        self.faults.extend(tally.faults().map(|fault| format!("{cell}: {fault}")));
        Ok(sample)
    }

    /// Compares what was acknowledged with what the campaign has issued.
    async fn judge(&mut self, cell: Cell, campaign_id: &str, audit: &Audit) -> anyhow::Result<()> {
        let issued = self.campaigns.issued(campaign_id).await?;
        let faults = audit.faults(issued);
        self.faults.extend(faults.into_iter().map(|fault| format!("{cell}: {fault}")));
        Ok(())
    }
}
