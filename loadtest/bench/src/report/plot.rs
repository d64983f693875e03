//! The plots, as SVG.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::cell::{Cell, Load, Role, Sample, System};
use crate::plan::{IN_FLIGHT, unary};
use crate::report::fit::CostModel;
use crate::report::results::Results;

/// Width of a plot.
const WIDTH: u32 = 900;

/// Height of a plot.
const HEIGHT: u32 = 360;

/// What the axis of the plots by calls in flight says.
const X: &str = "calls in flight";

/// The colours of systems and roles, in their order.
const COLOURS: [RGBColor; 7] = [
    RGBColor(120, 120, 120),
    RGBColor(230, 150, 40),
    RGBColor(30, 80, 170),
    RGBColor(190, 50, 50),
    RGBColor(60, 140, 80),
    RGBColor(150, 90, 190),
    RGBColor(60, 160, 190),
];

/// It could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("draw a plot: {0}")]
pub(crate) struct NoPlot(String);

/// What is drawn on.
pub(crate) type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A chart with numbers on both axes.
pub(crate) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
/// Whether something could be drawn.
pub(crate) type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// All plots for which there are samples.
pub(crate) fn all(results: &Results) -> Result<Vec<String>, NoPlot> {
    let mut plots = Vec::new();
    if results.cells().any(|(cell, _)| cell.load == Load::Unary) {
        plots.push(svg(|area| throughput(results, area))?);
        plots.push(svg(|area| cpu(results, area))?);
    }
    if let Some(model) = results.cost_model() {
        plots.push(svg(|area| fit(results, model, area))?);
    }
    Ok(plots)
}

/// A plot as SVG.
pub(crate) fn svg(draw: impl FnOnce(&Drawing<'_>) -> Drawn) -> Result<String, NoPlot> {
    let mut text = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        draw(&root).and_then(|()| Ok(root.present()?))
    };
    drawn.map_err(|error| NoPlot(error.to_string()))?;
    Ok(text)
}

/// Calls per second by calls in flight, a line per system, with the extremes as bars.
fn throughput(results: &Results, area: &Drawing<'_>) -> Drawn {
    let rate = |sample: &Sample| sample.per_second;
    let is_unary = |cell: &Cell| cell.load == Load::Unary;
    let cells = results.cells().map(|(cell, _)| cell).filter(is_unary);
    let tops = cells.filter_map(|cell| Some(results.spread(cell, rate)?.max));
    let top = tops.fold(1.0, f64::max) * 1.3;
    let mut chart = by_in_flight(area, "unary calls per second", top)?;
    for system in System::ALL {
        let colour = colour(system as usize);
        let spreads = (0_u8..).zip(IN_FLIGHT).filter_map(|(place, in_flight)| {
            Some((f64::from(place), results.spread(unary(system, in_flight), rate)?))
        });
        let spreads: Vec<_> = spreads.collect();
        if spreads.is_empty() {
            continue;
        }
        let medians = spreads.iter().map(|(x, spread)| (*x, spread.median));
        chart
            .draw_series(LineSeries::new(medians, colour.stroke_width(2)))?
            .label(system.to_string())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(spreads.iter().map(|(x, spread)| {
            PathElement::new([(*x, spread.min), (*x, spread.max)], colour.stroke_width(1))
        }))?;
    }
    legend(&mut chart)
}

/// CPU per call of Coupon, by role.
fn cpu(results: &Results, area: &Drawing<'_>) -> Drawn {
    let cells = IN_FLIGHT.map(|in_flight| unary(System::Coupon, in_flight));
    let totals = cells.iter().filter_map(|cell| results.spread(*cell, Sample::cpu_us_total));
    let top = totals.map(|total| total.max).fold(1.0, f64::max) * 1.3;
    let mut chart = by_in_flight(area, "CPU per coupon, µs, unary", top)?;
    let mut bottoms = [0.0; IN_FLIGHT.len()];
    for role in [Role::Client, Role::Router, Role::Nodes] {
        let colour = colour(role as usize);
        let mut parts = Vec::new();
        for ((place, cell), bottom) in (0_u8..).zip(cells).zip(&mut bottoms) {
            let of_role = |sample: &Sample| sample.cpu_us.get(&role).copied().unwrap_or_default();
            let part = results.spread(cell, of_role).map_or(0.0, |spread| spread.median);
            let (left, right) = (f64::from(place) - 0.25, f64::from(place) + 0.25);
            parts.push(Rectangle::new([(left, *bottom), (right, *bottom + part)], colour.filled()));
            *bottom += part;
        }
        chart
            .draw_series(parts)?
            .label(role.to_string())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], colour.filled()));
    }
    legend(&mut chart)
}

/// CPU per coupon over log entries per coupon, with the cost model as a line.
fn fit(results: &Results, model: CostModel, area: &Drawing<'_>) -> Drawn {
    let points = results.cost_points();
    let right = points.iter().map(|point| point.0).fold(0.0, f64::max) * 1.1;
    let top = points.iter().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let mut chart = chart(area, "CPU per coupon, µs, and the cost model", 0.0..right, top)?;
    chart.configure_mesh().max_light_lines(0).x_desc("log entries per coupon").draw()?;
    let line = [0.0, right].map(|x| (x, model.cost_us(x)));
    chart.draw_series(LineSeries::new(line, RED.stroke_width(1)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, BLUE.filled())))?;
    Ok(())
}

/// An empty chart.
pub(crate) fn chart<'a, 'b>(
    area: &'a Drawing<'b>,
    caption: &str,
    x: Range<f64>,
    top: f64,
) -> Drawn<Chart<'a, 'b>> {
    area.fill(&WHITE)?;
    Ok(ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x, 0.0..top)?)
}

/// A chart with a place on its axis for each number of calls in flight.
fn by_in_flight<'a, 'b>(area: &'a Drawing<'b>, caption: &str, top: f64) -> Drawn<Chart<'a, 'b>> {
    let mut chart = chart(area, caption, -0.5..2.5, top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .x_labels(7)
        .x_label_formatter(&in_flight_name)
        .x_desc(X)
        .draw()?;
    Ok(chart)
}

/// Draws the names of a chart's series.
pub(crate) fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// The number of calls in flight at a place of the axis; between the places nothing.
fn in_flight_name(place: &f64) -> String {
    let named = (0_u8..).zip(IN_FLIGHT).find(|(at, _)| (f64::from(*at) - place).abs() < 0.01);
    named.map_or_else(String::new, |(_, in_flight)| in_flight.to_string())
}

/// A colour of its own for each of a few numbers.
pub(crate) fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}
