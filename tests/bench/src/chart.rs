//! A bar chart of one setting, as SVG that is legible on light and dark pages.

use std::fmt::Write as _;

use crate::report::{Measurement, Report, size_text};

const WIDTH: usize = 760;
const LABELS: usize = 250;
const FIGURES: usize = 190;
const BAR: usize = 20;
const STEP: usize = 32;
const TOP: usize = 48;

/// Uploads a second at 16 connections where that was measured, at the first number of connections otherwise: one group of bars for
/// each size.
pub fn svg(report: &Report) -> String {
    let settings = report.settings();
    let mut sizes: Vec<_> = settings.iter().map(|(size, _)| *size).collect();
    sizes.dedup();
    let mut body = String::new();
    let mut y = 0;
    for size in sizes {
        let connections = settings.iter().filter(|(other, _)| *other == size);
        let connections: Vec<_> = connections.map(|(_, connections)| *connections).collect();
        let chosen = if connections.contains(&16) {
            16
        } else {
            connections[0]
        };
        let bars: Vec<_> = report
            .uploads
            .iter()
            .filter(|found| (found.size, found.connections) == (size, chosen))
            .collect();
        let title = format!(
            "{} uploads, {chosen} connections: uploads a second (CPU each)",
            size_text(size)
        );
        let _ = writeln!(
            body,
            r#"<text x="0" y="{}" class="title">{title}</text>"#,
            y + 26
        );
        push_bars(&mut body, &bars, y + TOP);
        y += TOP + bars.len() * STEP + 16;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" aria-label="Uploads a second">
<style>
text {{ font: 14px system-ui, sans-serif; fill: #57606a }}
.title {{ font-weight: 600 }}
.own {{ fill: #2f81f7 }}
.other {{ fill: #8c959f }}
</style>
{body}<text x="0" y="{y}" font-size="11" dy="-4">{disk}; {cores} cores</text>
</svg>
"#,
        disk = report.disk,
        cores = report.cores,
    )
}

fn push_bars(out: &mut String, bars: &[&Measurement], top: usize) {
    let highest = bars
        .iter()
        .map(|bar| bar.median.rate)
        .fold(1.0_f64, f64::max);
    for (at, bar) in bars.iter().enumerate() {
        let y = top + at * STEP;
        let length = bar.median.rate / highest * (WIDTH - LABELS - FIGURES) as f64;
        let class = if bar.target.starts_with("cdn-") {
            "own"
        } else {
            "other"
        };
        let middle = y + BAR / 2 + 5;
        let _ = writeln!(
            out,
            r#"<text x="{}" y="{middle}" text-anchor="end">{}</text><rect x="{LABELS}" y="{y}" width="{length:.1}" height="{BAR}" rx="2" class="{class}"/><text x="{:.1}" y="{middle}">{:.0} ({:.2} ms)</text>"#,
            LABELS - 10,
            bar.label,
            LABELS as f64 + length + 8.0,
            bar.median.rate,
            bar.median.cpu,
        );
    }
}
