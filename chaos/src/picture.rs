//! The picture of a run, as SVG: coupons a second over time, below it every shard with the times in
//! which it issued nothing and the elections that were seen, and all faults across both.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::elections::Election;
use crate::incident::Incident;
use crate::kind::Kind;
use crate::recovery::Successes;

/// The width of the picture.
const WIDTH: u32 = 1_600;

/// The height of the part with the throughput.
const THROUGHPUT_HEIGHT: u32 = 420;

/// The height of a shard.
const LANE_HEIGHT: u32 = 26;

/// The height of what is around the shards.
const LANES_FRAME: u32 = 70;

/// The room for the names of the axis.
const LABELS_WIDTH: u32 = 70;

/// The shortest slot of time that is counted for itself; a picture has no more than [`SLOTS_MAX`].
const SLOT_MIN: u64 = 200_000_000;

/// How many slots there are at most.
const SLOTS_MAX: u64 = 1_200;

/// A shorter time in which a shard issued nothing is not shown: a person does not notice it.
const GAP_MIN: u64 = 250_000_000;

/// With more faults than this, their names would hide each other.
const NAMED_MAX: usize = 80;

/// What is drawn. Times are nanoseconds of the clock of the recording.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// When the load began.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// The coupons.
    pub successes: &'a Successes,
    /// The faults.
    pub incidents: &'a [Incident],
    /// The changes of leaders.
    pub elections: &'a [Election],
}

/// It could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("draw the picture: {0}")]
pub struct NoPicture(String);

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws it.
///
/// # Errors
/// When the drawing library refuses.
pub fn svg(scene: &Scene<'_>) -> Result<String, NoPicture> {
    let mut text = String::new();
    draw(scene, &mut text).map_err(|error| NoPicture(error.to_string()))?;
    Ok(text)
}

fn draw(scene: &Scene<'_>, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let lanes = u32::try_from(scene.successes.by_shard().count()).unwrap_or(u32::MAX);
    let height = THROUGHPUT_HEIGHT + LANES_FRAME + LANE_HEIGHT * lanes;
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(THROUGHPUT_HEIGHT);
    throughput(scene, &above)?;
    shards(scene, &below)?;
    root.present()?;
    Ok(())
}

fn throughput(scene: &Scene<'_>, area: &Drawing<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let points = scene.rates();
    let top = points.iter().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.6;
    let mut chart = ChartBuilder::on(area)
        .caption(scene.title, ("sans-serif", 18))
        .margin_right(20)
        .x_label_area_size(24)
        .y_label_area_size(LABELS_WIDTH)
        .build_cartesian_2d(0.0..scene.seconds(scene.ended), 0.0..top)?;
    for incident in scene.incidents {
        let (from, until) = scene.band(incident);
        let colour = colour(incident.kind).mix(0.25).filled();
        chart.draw_series([Rectangle::new([(from, 0.0), (until, top)], colour)])?;
    }
    chart.configure_mesh().disable_x_mesh().y_desc("coupons a second").x_labels(20).draw()?;
    chart.draw_series(LineSeries::new(points, RGBColor(30, 60, 140).stroke_width(1)))?;
    let is_named = scene.incidents.len() <= NAMED_MAX;
    for incident in scene.incidents.iter().filter(|_| is_named) {
        let style = ("sans-serif", 11).into_font().transform(FontTransform::Rotate270);
        let style = style.color(&BLACK).pos(Pos::new(HPos::Right, VPos::Top));
        let place = (scene.band(incident).0, top * 0.995);
        chart.draw_series([Text::new(scene.name(incident), place, style)])?;
    }
    Ok(())
}

fn shards(scene: &Scene<'_>, area: &Drawing<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let lanes: Vec<u32> = scene.successes.by_shard().map(|(shard, _)| shard).collect();
    let bottom = f64::from(u32::try_from(lanes.len()).unwrap_or(u32::MAX));
    let name = |place: &f64| {
        let number = lanes.iter().enumerate().find(|(at, _)| middle(*at) == *place);
        number.map_or_else(String::new, |(_, shard)| format!("shard {shard}"))
    };
    let mut chart = ChartBuilder::on(area)
        .margin_right(20)
        .margin_top(6)
        .x_label_area_size(42)
        .y_label_area_size(LABELS_WIDTH)
        .build_cartesian_2d(0.0..scene.seconds(scene.ended), bottom..0.0)?;
    let legend = "seconds; red: the shard issued nothing for 250 ms or more; black: a new leader was \
                  seen; bands: a fault, until it was healed";
    chart.configure_mesh().disable_mesh().y_labels(0).x_labels(20).x_desc(legend).draw()?;
    for incident in scene.incidents {
        let (from, until) = scene.band(incident);
        let colour = colour(incident.kind).mix(0.25).filled();
        chart.draw_series([Rectangle::new([(from, 0.0), (until, bottom)], colour)])?;
    }
    for (at, (shard, _)) in scene.successes.by_shard().enumerate() {
        let (above, below) = (middle(at) - 0.3, middle(at) + 0.3);
        let whole = [(0.0, above), (scene.seconds(scene.ended), below)];
        chart.draw_series([Rectangle::new(whole, RGBColor(120, 190, 130).mix(0.6).filled())])?;
        let gaps = scene.gaps(shard).into_iter().map(|(from, until)| {
            let place = [(scene.seconds(from), above), (scene.seconds(until), below)];
            Rectangle::new(place, RGBColor(200, 30, 30).filled())
        });
        chart.draw_series(gaps)?;
        let elections = scene.elections.iter().filter(|election| election.shard == shard);
        chart.draw_series(elections.map(|election| {
            let at = scene.seconds(election.at);
            PathElement::new(vec![(at, above - 0.15), (at, below + 0.15)], BLACK.stroke_width(1))
        }))?;
        let style = ("sans-serif", 12).into_font().color(&BLACK);
        let style = style.pos(Pos::new(HPos::Right, VPos::Center));
        let pixel = chart.backend_coord(&(0.0, middle(at)));
        let (left, above) = area.get_base_pixel();
        let place = (pixel.0 - left - 6, pixel.1 - above);
        area.draw(&Text::new(name(&middle(at)), place, style))?;
    }
    Ok(())
}

/// The middle of a lane.
fn middle(at: usize) -> f64 {
    f64::from(u32::try_from(at).unwrap_or(u32::MAX)) + 0.5
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::KillLeader | Kind::KillFollower | Kind::KillAll | Kind::KillRouter => {
            RGBColor(230, 90, 70)
        }
        Kind::PauseLeader | Kind::PauseFollower => RGBColor(80, 130, 220),
        Kind::Stop | Kind::RestartEach => RGBColor(150, 150, 150),
        Kind::IsolateLeader
        | Kind::InLeader
        | Kind::OutLeader
        | Kind::SplitMinority
        | Kind::Bridge
        | Kind::Ring
        | Kind::RouterCut => RGBColor(240, 170, 40),
        Kind::Loss => RGBColor(160, 90, 200),
    }
}

impl Scene<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    fn seconds(&self, at: u64) -> f64 {
        at.saturating_sub(self.began) as f64 / 1e9
    }

    fn band(&self, incident: &Incident) -> (f64, f64) {
        (self.seconds(incident.times.began), self.seconds(incident.times.healed))
    }

    fn name(&self, incident: &Incident) -> String {
        let shard = incident.shard.map_or_else(String::new, |shard| format!(" {shard}"));
        format!("{} {}{shard}", incident.number, incident.kind)
    }

    /// Coupons a second, by the middle of each slot.
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    fn rates(&self) -> Vec<(f64, f64)> {
        let lasted = self.ended.saturating_sub(self.began);
        let slot = (lasted / SLOTS_MAX).next_multiple_of(SLOT_MIN).max(SLOT_MIN);
        let count = usize::try_from(lasted.div_ceil(slot)).unwrap_or_default();
        let mut counts = vec![0_u32; count];
        let all = self.successes.by_shard().flat_map(|(_, successes)| successes);
        for success in all {
            let place = success.returned.checked_sub(self.began).map(|after| after / slot);
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
        }
        // The last slot is not whole.
        counts.pop();
        let seconds = slot as f64 / 1e9;
        let points = counts.into_iter().enumerate();
        points.map(|(at, count)| (middle(at) * seconds, f64::from(count) / seconds)).collect()
    }

    /// When a shard issued nothing.
    fn gaps(&self, shard: u32) -> Vec<(u64, u64)> {
        let found = self.successes.by_shard().find(|(one, _)| *one == shard);
        let moments = found.into_iter().flat_map(|(_, successes)| successes);
        let moments = moments.map(|success| success.returned).filter(|at| *at < self.ended);
        let mut before = self.began;
        let mut gaps = Vec::new();
        for at in moments.chain([self.ended]) {
            if at.saturating_sub(before) >= GAP_MIN {
                gaps.push((before, at));
            }
            before = at;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::tests::incident;
    use crate::recovery::Success;

    const SECOND: u64 = 1_000_000_000;

    /// Two shards that issue every 100 ms for ten seconds, the first of them not from 3 to 5.
    fn successes() -> Successes {
        let moments = (0..100).map(|at| at * SECOND / 10);
        let issued = |at| Success { invoked: at, returned: at, router: 1 };
        let one = moments.clone().filter(|at| !(3 * SECOND..5 * SECOND).contains(at));
        Successes::of(
            [1, 2],
            one.map(|at| (1, issued(at))).chain(moments.map(|at| (2, issued(at)))),
        )
    }

    fn scene<'a>(successes: &'a Successes, incidents: &'a [Incident]) -> Scene<'a> {
        let elections = &[Election { at: 4 * SECOND, shard: 1, term: 2, node: 3 }];
        Scene { title: "a < b & c", began: 0, ended: 10 * SECOND, successes, incidents, elections }
    }

    /// Fails unless every element that is opened is closed, in order, and nothing is left unescaped.
    fn assert_well_formed(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let entities = ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;"];
            let is_entity = |at: usize| entities.iter().any(|one| text[at..].starts_with(one));
            assert!(text.match_indices('&').all(|(at, _)| is_entity(at)), "{text}");
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?} are open");
    }

    #[test]
    fn pictures_are_well_formed() {
        let successes = successes();
        let incidents: Vec<Incident> = Kind::ALL
            .into_iter()
            .enumerate()
            .map(|(at, kind)| incident(at, kind, u64::try_from(at).unwrap() * SECOND / 2))
            .collect();
        let text = svg(&scene(&successes, &incidents)).unwrap();
        assert_well_formed(&text);
        assert!(text.starts_with("<svg ") && text.contains("a &lt; b &amp; c"), "{text}");
        assert!(text.contains("10 split-minority 1") || text.contains("11 split-minority 1"));
        assert!(text.contains("shard 2"));
    }

    #[test]
    fn nothing_makes_a_picture_as_well() {
        let nothing = Successes::new([1]);
        let scene = Scene { ended: 0, elections: &[], ..scene(&nothing, &[]) };
        assert_well_formed(&svg(&scene).unwrap());
    }

    #[test]
    fn gaps_and_rates_are_those_of_the_successes() {
        let successes = successes();
        let scene = scene(&successes, &[]);
        assert_eq!(scene.gaps(1), [(29 * SECOND / 10, 5 * SECOND)]);
        assert!(scene.gaps(2).is_empty());
        let rates = scene.rates();
        assert_eq!(rates[0], (0.1, 20.0));
        assert_eq!(rates[20].1, 10.0);
    }
}
