//! Plots for the documentation, as SVG without a library: bars, and a curve.

use std::fmt::Write;
use std::path::Path;

/// What is plotted, as far as it was measured.
#[derive(Debug, Default)]
pub(crate) struct Plots {
    pub(crate) latency: Vec<Bar>,
    /// Batch size and records a second.
    pub(crate) drain: Vec<(f64, f64)>,
}

/// A latency in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    name: &'static str,
    p50: f64,
    p99: f64,
}

impl Bar {
    pub(crate) fn new(name: &'static str, p50: f64, p99: f64) -> Self {
        Self { name, p50, p99 }
    }
}

impl Plots {
    /// Writes `latency.svg` and `drain.svg` to this folder.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        if !self.latency.is_empty() {
            std::fs::write(folder.join("latency.svg"), latency(&self.latency))?;
        }
        if !self.drain.is_empty() {
            std::fs::write(folder.join("drain.svg"), drain(&self.drain))?;
        }
        Ok(())
    }
}

/// Colours that can be read on a light and on a dark page.
const STYLE: &str = "<style>text{font:12px sans-serif;fill:#777}.p50{fill:#4878a8}\
                     .p99{fill:none;stroke:#c06000;stroke-width:2}.line{fill:none;stroke:#4878a8;\
                     stroke-width:2}.axis{stroke:#999}</style>";

fn latency(bars: &[Bar]) -> String {
    const LABELS: f64 = 270.0;
    const WIDTH: f64 = 420.0;
    let longest = bars.iter().map(|bar| bar.p99).fold(1.0, f64::max);
    let scale = WIDTH / longest;
    let height = bars.len() * 30 + 40;
    let mut svg = open(760, height, "Latency of an update of one row");
    for (place, bar) in bars.iter().enumerate() {
        let y = place as f64 * 30.0 + 8.0;
        let Bar { name, p50, p99 } = bar;
        let (end, tail) = (LABELS + p50 * scale, LABELS + p99 * scale);
        let middle = y + 10.0;
        let baseline = y + 14.0;
        let _ = write!(
            svg,
            "<text x='{}' y='{baseline}' text-anchor='end'>{name}</text>\
             <rect class='p50' x='{LABELS}' y='{y}' width='{:.1}' height='20'/>\
             <path class='p99' d='M{end:.1} {middle}H{tail:.1}M{tail:.1} {}V{}'/>\
             <text x='{:.1}' y='{baseline}'>{p50:.0} µs</text>",
            LABELS - 8.0,
            p50 * scale,
            middle - 5.0,
            middle + 5.0,
            tail + 6.0,
        );
    }
    let _ = writeln!(
        svg,
        "<text x='{LABELS}' y='{}'>bar and number: median; line: up to the 99th percentile</text></svg>",
        height - 12
    );
    svg
}

fn drain(points: &[(f64, f64)]) -> String {
    const LEFT: f64 = 80.0;
    const BOTTOM: f64 = 260.0;
    let highest = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let longest = points.iter().map(|point| point.0).fold(2.0, f64::max);
    let x = |batch: f64| LEFT + batch.ln() / longest.ln() * 600.0;
    let y = |rate: f64| BOTTOM - rate / highest * 230.0;
    let mut svg = open(
        760,
        310,
        "Records a second that the consumer stores, by batch size",
    );
    let _ = write!(
        svg,
        "<path class='axis' fill='none' d='M{LEFT} 20V{BOTTOM}H720'/>\
         <text x='400' y='300' text-anchor='middle'>records a batch</text>"
    );
    let mut line = String::new();
    for (place, (batch, rate)) in points.iter().enumerate() {
        let (x, y) = (x(*batch), y(*rate));
        let _ = write!(line, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        let _ = write!(
            svg,
            "<circle class='p50' cx='{x:.1}' cy='{y:.1}' r='4'/>\
             <text x='{x:.1}' y='{:.1}' text-anchor='middle'>{:.1}k</text>\
             <text x='{x:.1}' y='{}' text-anchor='middle'>{batch}</text>",
            y - 10.0,
            rate / 1e3,
            BOTTOM + 18.0
        );
    }
    let _ = writeln!(svg, "<path class='line' d='{line}'/></svg>");
    svg
}

fn open(width: usize, height: usize, title: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>\
         <title>{title}</title>{STYLE}"
    )
}
