//! The plot of a run: accuracy and bytes against virtual time.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

/// A value at a virtual time.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub at: Duration,
    pub value: f64,
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 480;

/// Writes both curves to a file: accuracy as a share on the left axis, megabytes on the right one.
///
/// # Errors
///
/// The file can not be written.
pub fn write(path: &Path, accuracy: &[Point], megabytes: &[Point]) -> Result<(), Box<dyn Error>> {
    let minutes = |points: &[Point]| -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.at.as_secs_f64() / 60.0, point.value)).collect()
    };
    let (accuracy, megabytes) = (minutes(accuracy), minutes(megabytes));
    let most = |points: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(1e-3, f64::max);
    let end = most(&accuracy, |point| point.0).max(most(&megabytes, |point| point.0));
    let top = most(&megabytes, |point| point.1) * 1.05;

    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("1,000 unreliable boards learn to read digits", ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .right_y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..1.0)?
        .set_secondary_coord(0.0..end, 0.0..top);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("virtual time, minutes")
        .y_desc("accuracy on 500 test images")
        .x_label_formatter(&|minutes| format!("{minutes:.0}"))
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .draw()?;
    chart
        .configure_secondary_axes()
        .y_desc("moved by all boards, MB")
        .y_label_formatter(&|megabytes| format!("{megabytes:.0}"))
        .draw()?;
    chart
        .draw_series(LineSeries::new(accuracy, BLUE.stroke_width(2)))?
        .label("accuracy")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
    chart
        .draw_secondary_series(LineSeries::new(megabytes, RED.stroke_width(2)))?
        .label("bytes up and down")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
