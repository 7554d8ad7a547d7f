//! Time and throughput against size, as a picture.

use std::error::Error;
use std::fs::OpenOptions;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Report, ReportError};
use super::workload::NAMES;

/// One line of a panel.
struct Curve<'r> {
    name: &'r str,
    /// Bytes and microseconds.
    points: Vec<(f64, f64)>,
    is_ours: bool,
}

/// Whether a picture can be written there: better known before the measurement than after it.
pub fn check(path: &Path) -> Result<(), ReportError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| ReportError::Picture { path: path.display().to_string(), error })
}

/// Draws the report's figures; those of the other library for the same calls are circles.
pub fn draw(path: &Path, report: &Report) -> Result<(), ReportError> {
    try_draw(path, report)
        .map_err(|error| ReportError::Draw { path: path.display().to_string(), reason: error.to_string() })
}

fn try_draw(path: &Path, report: &Report) -> Result<(), Box<dyn Error>> {
    let curves: Vec<Curve<'_>> = NAMES
        .iter()
        .filter(|name| report.figures.iter().any(|figure| figure.name == **name))
        .flat_map(|name| {
            let ours = report.figures.iter().filter(move |figure| figure.name == *name && figure.bytes > 0);
            let other = report.beside_all(name).filter(|other| other.bytes > 0);
            [
                Curve { name, points: ours.map(|one| (one.bytes as f64, one.median_us)).collect(), is_ours: true },
                Curve { name, points: other.map(|one| (one.bytes as f64, one.median_us)).collect(), is_ours: false },
            ]
        })
        .filter(|curve| !curve.points.is_empty())
        .collect();
    let area = SVGBackend::new(path, (1200, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(600);
    // The legend lies where the curves, which rise, leave room.
    panel(&left, "time of one call, µs", SeriesLabelPosition::UpperLeft, &curves, |_, microseconds| microseconds)?;
    panel(&right, "throughput, MB/s", SeriesLabelPosition::LowerRight, &curves, |bytes, microseconds| {
        bytes / microseconds
    })?;
    area.present()?;
    Ok(())
}

/// A number beside an axis, without what binary fractions add to it.
fn plain(value: &f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    caption: &str,
    legend: SeriesLabelPosition,
    curves: &[Curve<'_>],
    value: impl Fn(f64, f64) -> f64,
) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points).map(|(bytes, time)| (*bytes, value(*bytes, *time)));
    let range = |pick: fn((f64, f64)) -> f64| {
        let (low, high) =
            points().map(pick).fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), x| (low.min(x), high.max(x)));
        (low.min(high) * 0.8, high * 1.25)
    };
    let ((left, right), (bottom, top)) = (range(|point| point.0), range(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
    chart.configure_mesh().x_desc("bytes").x_label_formatter(&plain).y_label_formatter(&plain).draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let of_name = NAMES.iter().position(|name| *name == curve.name).unwrap_or(index);
        let colour = Palette99::pick(of_name).to_rgba();
        let points = curve.points.iter().map(|(bytes, time)| (*bytes, value(*bytes, *time)));
        if curve.is_ours {
            chart
                .draw_series(LineSeries::new(points, colour.filled().stroke_width(2)).point_size(2))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        } else {
            chart
                .draw_series(points.map(|point| Circle::new(point, 3, colour)))?
                .label(format!("{}, other", curve.name))
                .legend(move |(x, y)| Circle::new((x + 8, y), 3, colour));
        }
    }
    chart.configure_series_labels().position(legend).background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}
