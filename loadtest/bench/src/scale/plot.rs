//! The plot: throughput by shard groups, next to linear growth.

use plotters::prelude::*;

use super::report::spread;
use super::step::Steps;
use crate::report::plot::{Drawing, Drawn, NoPlot, chart, colour, legend, svg};

/// Draws coupons per second by shard groups, with the extremes as bars.
pub(super) fn throughput(steps: &Steps) -> Result<String, NoPlot> {
    svg(|area| draw(steps, area))
}

fn draw(steps: &Steps, area: &Drawing<'_>) -> Drawn {
    let found = steps.iter().filter_map(|(groups, rounds)| {
        Some((f64::from(*groups), spread(rounds, |step| step.per_second)?))
    });
    let spreads: Vec<_> = found.collect();
    let one = spreads.iter().find(|(groups, _)| *groups < 1.5).map_or(0.0, |(_, one)| one.median);
    let right = spreads.iter().map(|(groups, _)| *groups).fold(1.0, f64::max);
    let top = spreads.iter().map(|(_, spread)| spread.max).fold(one * right, f64::max) * 1.3;
    let mut chart = chart(area, "coupons per second", 0.0..right + 0.5, top.max(1.0))?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_label_formatter(&|groups| format!("{groups:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .x_desc("shard groups, and nodes")
        .draw()?;
    let linear = [0.0, right].map(|groups| (groups, groups * one));
    let lines = [
        ("linear", colour(0), linear.to_vec()),
        ("measured", colour(2), spreads.iter().map(|(x, spread)| (*x, spread.median)).collect()),
    ];
    for (name, colour, points) in lines {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.draw_series(spreads.iter().map(|(x, spread)| {
        PathElement::new([(*x, spread.min), (*x, spread.max)], colour(2).stroke_width(1))
    }))?;
    legend(&mut chart)
}
