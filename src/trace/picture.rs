//! The picture: a lane for each member, with the steps of a typical entry.

use std::fmt::Write as _;

use super::step::{Kind, Lane, STEPS, Step};
use super::summary::{Summary, micros};

/// Width of the picture, in pixels like all that follows.
const WIDTH: f64 = 1_400.0;

/// Where time begins: room for the names of the lanes.
const LEFT: f64 = 110.0;

/// Room at the right of the last step.
const RIGHT: f64 = 30.0;

/// Where the first lane begins: room for the title.
const TOP: f64 = 76.0;

/// From lane to lane.
const LANE_HEIGHT: f64 = 84.0;

/// Height of a bar. A sync has a bar of its own below that of the member's other work.
const BAR_HEIGHT: f64 = 22.0;

/// Minimum distance of two numbers; closer ones are shifted.
const NUMBER_WIDTH: f64 = 17.0;

/// Height of a line of text.
const LINE_HEIGHT: f64 = 17.0;

/// How many columns the list of steps has.
const COLUMNS: usize = 3;

/// Draws it.
pub(super) fn svg(summary: &Summary, title: &str) -> String {
    let times = &summary.typical;
    let end = times.iter().copied().max().unwrap_or(1).max(1);
    let x = |step: Step| LEFT + times[step.place()] as f64 / end as f64 * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + LANE_HEIGHT * Lane::ALL.len() as f64;
    let lines = STEPS.len().div_ceil(COLUMNS);
    let height = bottom + 60.0 + LINE_HEIGHT * lines as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut out, 20.0, 24.0, &format!("<tspan font-size=\"16\">{title}</tspan>"));
    text(&mut out, 20.0, 44.0, &summary.subtitle());
    text(
        &mut out,
        20.0,
        61.0,
        "drawn: the mean of the tenth of them that took neither long nor short",
    );
    legend(&mut out);
    axis(&mut out, end, bottom);
    for (place, lane) in Lane::ALL.into_iter().enumerate() {
        let top = TOP + LANE_HEIGHT * place as f64;
        text(&mut out, 20.0, top + 34.0, lane.name());
        let mut free = LEFT;
        let steps = (1..).zip(&STEPS).filter(|(_, row)| row.lane == lane);
        for (number, row) in steps {
            let (from, until) = (x(row.after), x(row.step));
            let bar_top = top + if row.kind == Kind::Sync { 46.0 } else { 20.0 };
            // A way begins on the lane of another member.
            let colour = colour(row.kind);
            let width = (until - from).max(1.0);
            let _ = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{bar_top}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
                 fill=\"{colour}\" stroke=\"white\" stroke-width=\"0.5\"><title>{number} {}</title></rect>",
                row.name
            );
            let at = until.max(free);
            free = at + NUMBER_WIDTH;
            let (tick, label) = (top + 20.0, top + 8.0);
            let _ =
                writeln!(out, "<path d=\"M{until:.1} {tick} L{at:.1} {label}\" stroke=\"#999\"/>");
            text(&mut out, at - 4.0, label - 1.0, &number.to_string());
        }
    }
    steps(&mut out, times, bottom + 50.0, lines);
    out.push_str("</svg>\n");
    out
}

/// A scale of time below the lanes.
fn axis(out: &mut String, end: u64, bottom: f64) {
    let mut steps = (0..).map(|power| 10_u64.pow(power)).flat_map(|ten| [ten, 2 * ten, 5 * ten]);
    let step = steps.find(|step| step * 12 >= end).unwrap_or(end);
    for at in (0..=end / step).map(|number| number * step) {
        let x = LEFT + at as f64 / end as f64 * (WIDTH - LEFT - RIGHT);
        let _ = writeln!(out, "<path d=\"M{x:.1} {TOP} L{x:.1} {bottom}\" stroke=\"#e4e4e4\"/>");
        text(out, x - 10.0, bottom + 16.0, &format!("{} µs", micros(at)));
    }
}

/// What the colours mean.
fn legend(out: &mut String) {
    let kinds = [
        (Kind::Work, "processors, and their queues"),
        (Kind::Network, "network"),
        (Kind::Wait, "waits for a turn"),
        (Kind::Sync, "sync"),
    ];
    for (place, (kind, name)) in (0_u8..).zip(kinds) {
        let x = 540.0 + 215.0 * f64::from(place);
        let colour = colour(kind);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"12\" width=\"14\" height=\"14\" fill=\"{colour}\"/>"
        );
        text(out, x + 20.0, 24.0, name);
    }
}

/// The names of the numbers.
fn steps(out: &mut String, times: &[u64], top: f64, lines: usize) {
    for (place, (row, at)) in STEPS.iter().zip(times).enumerate() {
        let x = 20.0 + (WIDTH - 40.0) / COLUMNS as f64 * (place / lines) as f64;
        let y = top + LINE_HEIGHT * (place % lines) as f64;
        let (number, lane) = (place + 1, row.lane.name());
        text(out, x, y, &format!("{number}  {lane}: {}, {} µs", row.name, micros(*at)));
    }
}

fn text(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Work => "#4a78b5",
        Kind::Network => "#8fc08f",
        Kind::Wait => "#d0d0d0",
        Kind::Sync => "#d9822b",
    }
}
