//! A session: the systems run, and cells are measured one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coupon_client::Reason;
use parking_lot::Mutex;
use prost::Message as _;
use tonic::transport::Channel;

use crate::cell::{Cell, Load, Sample, System};
use crate::cold::ColdCampaigns;
use crate::load::audit::Audit;
use crate::load::batch::Batch;
use crate::load::call::Call;
use crate::load::closed_loop::closed_loop;
use crate::load::connect::{connect, connect_once};
use crate::load::open_loop::open_loop;
use crate::load::put::Put;
use crate::load::refusal::Refusal;
use crate::load::requests::{PEER_CAMPAIGN, Requests, usual_answer};
use crate::load::script::Script;
use crate::load::tally::{Tally, Window};
use crate::load::unary::Unary;
use crate::load::web::Web;
use crate::meter::{Meter, rest};
use crate::systems::Systems;
use crate::systems::campaigns::Campaigns;

/// Time before each measurement in which connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(300);

/// Part of the peak that an open loop offers.
const OPEN_SHARE: f64 = 0.5;

/// Largest difference in size between the answers of Coupon and of the echo, in bytes.
const ANSWER_DIFFERENCE_MAX: usize = 4;

/// Running systems, and what was found to be wrong with their answers so far.
#[derive(Debug)]
pub(crate) struct Session {
    systems: Systems,
    campaigns: Campaigns,
    length: Duration,
    /// Last throughput of unary calls by the number in flight.
    peaks: BTreeMap<usize, f64>,
    /// From the first measurement of cold campaigns to the second one, which closes the pair.
    cold: Option<ColdCampaigns>,
    faults: Vec<String>,
}

/// What was read before a load.
struct Before {
    applied_index: Option<u64>,
    meter: Meter,
}

impl Session {
    /// A session whose measurements take `length` each.
    pub(crate) async fn new(systems: Systems, length: Duration) -> anyhow::Result<Self> {
        let router = connect_once(systems.address(System::Coupon)?).await?;
        let campaigns = Campaigns::new(router);
        let (_, answer) = campaigns.create_sold_out().await?;
        let echoed = usual_answer().encoded_len();
        if answer.abs_diff(echoed) > ANSWER_DIFFERENCE_MAX {
            bail!("an answer has {answer} bytes, and one of the echo {echoed}: make them alike");
        }
        let peaks = BTreeMap::new();
        Ok(Self { systems, campaigns, length, peaks, cold: None, faults: Vec::new() })
    }

    /// What was wrong with answers, each with the cell.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Measures a cell once.
    ///
    /// # Errors
    /// When nothing could be measured. Wrong answers and failed calls are [faults](Self::faults) instead.
    pub(crate) async fn measure(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let sample = match (cell.system, cell.load) {
            (System::Echo | System::Proxy, _) => self.peer(cell).await?,
            (System::Redis, _) => self.script(cell).await?,
            (System::Etcd, _) => self.put(cell).await?,
            (
                System::Coupon,
                Load::Unary | Load::ConnectJson | Load::GrpcWeb | Load::Batch | Load::Open,
            ) => self.issue(cell).await?,
            (System::Coupon, Load::SoldOut | Load::NotStarted) => self.refuse(cell).await?,
            (System::Coupon, Load::ColdAlone | Load::Cold) => self.cold(cell).await?,
        };
        self.systems.check()?;
        Ok(sample)
    }

    async fn peer(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let channels = self.connect(cell).await?;
        let requests = Requests::new(PEER_CAMPAIGN);
        let callers = Unary::callers(&channels, cell.in_flight, &requests, None);
        self.closed(cell, callers).await
    }

    async fn put(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let channels = self.connect(cell).await?;
        let callers = Put::callers(&channels, cell.in_flight, &Requests::new(PEER_CAMPAIGN));
        self.closed(cell, callers).await
    }

    async fn script(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let redis = self.systems.redis()?;
        let audit = Arc::new(Mutex::new(Audit::default()));
        let callers = Script::callers(redis.address(), redis.script(), cell.in_flight, &audit);
        let callers = callers.await?;
        let sample = self.closed(cell, callers).await?;
        let faults = audit.lock().gaps();
        self.blame(cell, &faults);
        Ok(sample)
    }

    async fn issue(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let channels = self.connect(cell).await?;
        let campaign_id = self.campaigns.create_large().await?;
        let audit = Arc::new(Mutex::new(Audit::default()));
        let requests = Requests::new(&campaign_id);
        let sample = if cell.load == Load::Batch {
            let callers = Batch::callers(&channels, cell.in_flight, &requests, &audit);
            self.closed(cell, callers).await?
        } else if matches!(cell.load, Load::ConnectJson | Load::GrpcWeb) {
            let callers = Web::callers(&channels, cell.load, cell.in_flight, &requests, &audit);
            self.closed(cell, callers).await?
        } else {
            let callers = Unary::callers(&channels, cell.in_flight, &requests, Some(&audit));
            if cell.load == Load::Open {
                self.open(cell, &callers).await?
            } else {
                let sample = self.closed(cell, callers).await?;
                self.peaks.insert(cell.in_flight, sample.per_second);
                sample
            }
        };
        let issued = self.campaigns.issued(&campaign_id).await?;
        let faults = audit.lock().faults(issued);
        self.blame(cell, &faults);
        Ok(sample)
    }

    async fn refuse(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let channels = self.connect(cell).await?;
        let (campaign_id, reason, held) = if cell.load == Load::SoldOut {
            (self.campaigns.create_sold_out().await?.0, Reason::SoldOut, 1)
        } else {
            (self.campaigns.create_for_later().await?, Reason::NotStarted, 0)
        };
        let requests = Requests::new(&campaign_id);
        let callers = Refusal::callers(&channels, cell.in_flight, &requests, reason);
        let sample = self.closed(cell, callers).await?;
        let issued = self.campaigns.issued(&campaign_id).await?;
        if issued != held {
            self.blame(cell, &[format!("{issued} coupons were issued instead of {held}")]);
        }
        Ok(sample)
    }

    async fn cold(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        if let Some(mut campaigns) = self.cold.take() {
            return self.measure_cold(cell, &mut campaigns).await;
        }
        let (cluster, dir) = self.systems.start_default_cluster().await?;
        let mut campaigns = ColdCampaigns::create(cluster, dir).await?;
        let sample = self.measure_cold(cell, &mut campaigns).await?;
        self.cold = Some(campaigns);
        Ok(sample)
    }

    async fn measure_cold(
        &mut self,
        cell: Cell,
        campaigns: &mut ColdCampaigns,
    ) -> anyhow::Result<Sample> {
        let (sample, faults) = campaigns.measure(cell.in_flight, self.length).await?;
        self.blame(cell, &faults);
        Ok(sample)
    }

    async fn connect(&self, cell: Cell) -> anyhow::Result<Vec<Channel>> {
        connect(self.systems.address(cell.system)?).await
    }

    async fn closed<C: Call>(&mut self, cell: Cell, callers: Vec<C>) -> anyhow::Result<Sample> {
        let before = self.begin(cell).await?;
        let tally = closed_loop(callers, Window::after(WARM_UP, self.length)).await?;
        self.sample(cell, before, &tally)
    }

    async fn open<C>(&mut self, cell: Cell, callers: &[C]) -> anyhow::Result<Sample>
    where
        C: Call + Clone,
    {
        let peak = self.peaks.get(&cell.in_flight).context("the peak was not measured before")?;
        let per_second = peak * OPEN_SHARE;
        let before = self.begin(cell).await?;
        let window = Window::after(WARM_UP, self.length);
        let tally = open_loop(callers, window, per_second).await?;
        self.sample(cell, before, &tally)
    }

    /// Waits until all systems are at rest, and reads what is read before a load.
    async fn begin(&self, cell: Cell) -> anyhow::Result<Before> {
        rest(&self.systems.all()).await?;
        // First what takes CPU time itself.
        let applied_index = self.systems.applied_index(cell.system)?;
        Ok(Before { applied_index, meter: Meter::start(self.systems.processes(cell.system)?)? })
    }

    fn sample(&mut self, cell: Cell, before: Before, tally: &Tally) -> anyhow::Result<Sample> {
        let mut sample = before.meter.stop(tally, 0)?;
        let applied_index = self.systems.applied_index(cell.system)?;
        sample.log_entries =
            applied_index.zip(before.applied_index).map(|(after, before)| after - before);
        let faults: Vec<String> = tally.faults().collect();
        self.blame(cell, &faults);
        Ok(sample)
    }

    /// Notes what is wrong with the answers of a cell.
    pub(crate) fn blame(&mut self, cell: Cell, faults: &[String]) {
        self.faults.extend(faults.iter().map(|fault| format!("{cell}: {fault}")));
    }
}
