//! Line and bar charts as SVG, side by side in one picture. The same data always give the same text.

use std::fmt::Write;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 340.0;
/// What lies between a panel's edge and its axes.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 54.0;
const TITLE: f64 = 46.0;

const INK: &str = "#1f2933";
const MUTED: &str = "#66727f";
const GRID: &str = "#e4e8ec";
const AXIS: &str = "#aab4be";
const COLOURS: [&str; 6] = [
    "#2f6db3", "#d9812b", "#3d9a68", "#b6486a", "#7a5fb0", "#6b7885",
];

/// One panel of a figure.
pub enum Panel {
    Lines(Lines),
    Bars(Bars),
}

/// Curves over a common horizontal axis.
#[derive(Default)]
pub struct Lines {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// A logarithmic vertical axis; values that are not positive are then left out.
    pub log_y: bool,
    pub series: Vec<Series>,
}

/// A curve. Points that are not finite leave a gap.
#[derive(Default)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Over how many points on each side the curve is averaged; the points themselves are then drawn faintly.
    /// With 0 they are the curve.
    pub smooth: usize,
}

/// Bars with their values written on top.
#[derive(Default)]
pub struct Bars {
    pub title: String,
    pub y_label: String,
    /// The label under a bar, its value, and the number of its colour. A `\n` in the label starts a second line.
    pub bars: Vec<(String, f64, usize)>,
    /// The end of the vertical axis, or 0 for the greatest value.
    pub top: f64,
    /// Writes 0.97 as 97 %.
    pub percent: bool,
}

/// The whole picture: a title, and the panels from left to right.
pub fn figure(title: &str, panels: &[Panel]) -> String {
    let (width, height) = (WIDTH * panels.len().max(1) as f64, HEIGHT + TITLE);
    let mut svg = Svg::default();
    svg.push(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" font-size=\"12\" \
         font-family=\"Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escape(title)
    ));
    svg.text(
        24.0,
        34.0,
        title,
        "start",
        INK,
        "font-size=\"19\" font-weight=\"600\"",
    );
    for (i, panel) in panels.iter().enumerate() {
        svg.push(format_args!(
            "<g transform=\"translate({},{TITLE})\">\n",
            WIDTH * i as f64
        ));
        match panel {
            Panel::Lines(lines) => draw_lines(&mut svg, lines),
            Panel::Bars(bars) => draw_bars(&mut svg, bars),
        }
        svg.push(format_args!("</g>\n"));
    }
    svg.push(format_args!("</svg>\n"));
    svg.0
}

fn draw_lines(svg: &mut Svg, chart: &Lines) {
    let kept = |y: f64| y.is_finite() && (!chart.log_y || y > 0.0);
    // Each curve as runs of neighbours, and the average of each run.
    let curves: Vec<Vec<(Run, Option<Run>)>> = chart
        .series
        .iter()
        .map(|series| {
            runs(&series.points, kept)
                .into_iter()
                .map(|run| {
                    let average =
                        (series.smooth > 0).then(|| smoothed(&run, series.smooth, chart.log_y));
                    (run, average)
                })
                .collect()
        })
        .collect();
    let all = || curves.iter().flatten().flat_map(|(run, _)| run);
    let x = Axis::linear(extent(all().map(|p| p.0)), (LEFT, WIDTH - RIGHT));
    let vertical = (HEIGHT - BOTTOM, TOP);
    let y = if chart.log_y {
        Axis::logarithmic(extent(all().map(|p| p.1)), vertical)
    } else {
        Axis::linear(extent(all().map(|p| p.1)), vertical)
    };

    frame(svg, &chart.title, &chart.y_label, &y, |v| plain(v, y.step));
    for (value, at) in x.marks() {
        svg.line(
            (at, HEIGHT - BOTTOM),
            (at, HEIGHT - BOTTOM + 4.0),
            AXIS,
            1.0,
        );
        svg.text(
            at,
            HEIGHT - BOTTOM + 18.0,
            &plain(value, x.step),
            "middle",
            MUTED,
            "",
        );
    }
    svg.text(
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 14.0,
        &chart.x_label,
        "middle",
        MUTED,
        "",
    );

    for (i, curve) in curves.iter().enumerate() {
        let colour = colour(i);
        for (run, average) in curve {
            match average {
                None => svg.polyline(run, &x, &y, colour, 2.0, 1.0),
                Some(average) => {
                    svg.polyline(run, &x, &y, colour, 1.0, 0.28);
                    svg.polyline(average, &x, &y, colour, 2.0, 1.0);
                }
            }
        }
    }

    // The legend is a row below the title; a single curve is told by the title and the axis.
    let mut at = LEFT;
    for (i, series) in chart
        .series
        .iter()
        .enumerate()
        .filter(|_| chart.series.len() > 1)
    {
        svg.line((at, TOP - 16.0), (at + 18.0, TOP - 16.0), colour(i), 3.0);
        svg.text(at + 24.0, TOP - 12.0, &series.name, "start", INK, "");
        at += 44.0 + 6.6 * series.name.chars().count() as f64;
    }
}

fn draw_bars(svg: &mut Svg, chart: &Bars) {
    let known = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
    let top = if chart.top > 0.0 {
        chart.top
    } else {
        chart.bars.iter().map(|b| known(b.1)).fold(0.0, f64::max)
    };
    let y = Axis::linear(
        (0.0, if top > 0.0 { top } else { 1.0 }),
        (HEIGHT - BOTTOM, TOP),
    );
    frame(svg, &chart.title, &chart.y_label, &y, |v| {
        if chart.percent {
            format!("{} %", plain(100.0 * v, 100.0 * y.step))
        } else {
            plain(v, y.step)
        }
    });
    let slot = (WIDTH - LEFT - RIGHT) / chart.bars.len().max(1) as f64;
    let width = (0.58 * slot).min(84.0);
    for (i, (label, value, number)) in chart.bars.iter().enumerate() {
        let middle = LEFT + slot * (i as f64 + 0.5);
        let end = y.at(known(*value).min(top));
        let (from, to, foot) = (middle - width / 2.0, middle + width / 2.0, HEIGHT - BOTTOM);
        // Rounded at the upper corners only.
        let round = 4.0_f64.min(foot - end);
        svg.push(format_args!(
            "<path d=\"M{} {}V{}Q{} {} {} {}H{}Q{} {} {} {}V{}Z\" fill=\"{}\"/>\n",
            Fixed(from),
            Fixed(foot),
            Fixed(end + round),
            Fixed(from),
            Fixed(end),
            Fixed(from + round),
            Fixed(end),
            Fixed(to - round),
            Fixed(to),
            Fixed(end),
            Fixed(to),
            Fixed(end + round),
            Fixed(foot),
            colour(*number),
        ));
        let shown = match (value.is_finite(), chart.percent) {
            (false, _) => "none".to_string(),
            (true, true) => format!("{:.1} %", 100.0 * value),
            (true, false) => plain(*value, y.step / 100.0),
        };
        svg.text(
            middle,
            end - 7.0,
            &shown,
            "middle",
            INK,
            // The white edge keeps a line of the grid from crossing the number.
            "font-size=\"13\" font-weight=\"600\" stroke=\"#ffffff\" stroke-width=\"5\" paint-order=\"stroke\"",
        );
        for (row, words) in label.split('\n').enumerate() {
            svg.text(
                middle,
                foot + 18.0 + 15.0 * row as f64,
                words,
                "middle",
                INK,
                "",
            );
        }
    }
}

/// The title, the grid with the marks of the vertical axis, and the line that the plot stands on.
fn frame(svg: &mut Svg, title: &str, y_label: &str, y: &Axis, text: impl Fn(f64) -> String) {
    svg.text(
        LEFT,
        24.0,
        title,
        "start",
        INK,
        "font-size=\"14\" font-weight=\"600\"",
    );
    for (value, at) in y.marks() {
        svg.line((LEFT, at), (WIDTH - RIGHT, at), GRID, 1.0);
        svg.text(LEFT - 9.0, at + 4.0, &text(value), "end", MUTED, "");
    }
    let foot = HEIGHT - BOTTOM;
    svg.line((LEFT, foot), (WIDTH - RIGHT, foot), AXIS, 1.0);
    let middle = Fixed((TOP + foot) / 2.0).to_string();
    svg.text(
        18.0,
        (TOP + foot) / 2.0,
        y_label,
        "middle",
        MUTED,
        &format!("transform=\"rotate(-90 18 {middle})\""),
    );
}

type Run = Vec<(f64, f64)>;

/// The points in runs without gaps.
fn runs(points: &[(f64, f64)], kept: impl Fn(f64) -> bool) -> Vec<Run> {
    points
        .split(|&(x, y)| !x.is_finite() || !kept(y))
        .filter(|run| !run.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

/// The mean over `window` points on each side, fewer near the ends; of the logarithms on a logarithmic axis.
fn smoothed(run: &Run, window: usize, log: bool) -> Run {
    let inward = |v: f64| if log { v.ln() } else { v };
    let outward = |v: f64| if log { v.exp() } else { v };
    let around = |i: usize| {
        // As many on the left as on the right, so that the ends do not bend.
        let reach = window.min(i).min(run.len() - 1 - i);
        &run[i - reach..=i + reach]
    };
    (0..run.len())
        .map(|i| {
            let near = around(i);
            let mean = near.iter().map(|p| inward(p.1)).sum::<f64>() / near.len() as f64;
            (run[i].0, outward(mean))
        })
        .collect()
}

/// The least and the greatest of the values.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    })
}

/// From values to places on the picture.
struct Axis {
    low: f64,
    high: f64,
    pixels: (f64, f64),
    log: bool,
    /// Between two marks, on a linear axis.
    step: f64,
}

impl Axis {
    /// From a round number below the values to one above, with about six marks.
    fn linear((low, high): (f64, f64), pixels: (f64, f64)) -> Axis {
        let (low, high) = match low <= high {
            false => (0.0, 1.0),
            true if low == high => (
                low - 0.5 * low.abs().max(1.0),
                high + 0.5 * high.abs().max(1.0),
            ),
            true => (low, high),
        };
        let raw = (high - low) / 5.0;
        let decade = 10f64.powf(raw.log10().floor());
        let step = decade
            * [1.0, 2.0, 5.0, 10.0]
                .into_iter()
                .find(|m| raw <= m * decade * 1.0001)
                .unwrap_or(10.0);
        Axis {
            low: (low / step + 1e-9).floor() * step,
            high: (high / step - 1e-9).ceil() * step,
            pixels,
            log: false,
            step,
        }
    }

    /// From a tenth part of a decade below the values to one above, a whole decade at least.
    fn logarithmic((low, high): (f64, f64), pixels: (f64, f64)) -> Axis {
        let (low, high) = if low <= high {
            (low.log10(), high.log10())
        } else {
            (-1.0, 0.0)
        };
        let missing = (1.0 - (high - low)).max(0.1) / 2.0;
        Axis {
            low: low - missing,
            high: high + missing,
            pixels,
            log: true,
            step: 0.0,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        let (from, to) = self.pixels;
        from + (to - from) * (value - self.low) / (self.high - self.low)
    }

    /// Values that are marked, with their places.
    fn marks(&self) -> Vec<(f64, f64)> {
        let mut values = Vec::new();
        if self.log {
            // Powers of ten; twice and five times them too, where few decades leave room.
            let decades = self.high - self.low;
            let within: &[f64] = if decades <= 3.0 {
                &[1.0, 2.0, 5.0]
            } else {
                &[1.0]
            };
            let every = (decades / 6.0).ceil().max(1.0) as i32;
            for power in self.low.floor() as i32..=self.high.ceil() as i32 {
                if power.rem_euclid(every) == 0 {
                    values.extend(within.iter().map(|m| m * 10f64.powi(power)));
                }
            }
            values.retain(|v| (self.low..=self.high).contains(&v.log10()));
        } else {
            let first = (self.low / self.step).round() as i64;
            let last = (self.high / self.step).round() as i64;
            values.extend((first..=last).map(|i| i as f64 * self.step));
        }
        values.into_iter().map(|v| (v, self.at(v))).collect()
    }
}

/// A value beside marks that lie `step` apart (0 on a logarithmic axis), with the digits that tell them apart.
fn plain(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    if !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.0e}").replace('-', "−");
    }
    let least = if step > 0.0 { step } else { value.abs() };
    let digits = (-(least * 1.0001).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    // A step that rounds to nothing leaves "-0".
    if text == "-0" {
        "0".to_string()
    } else {
        text.replace('-', "−")
    }
}

fn colour(i: usize) -> &'static str {
    COLOURS[i % COLOURS.len()]
}

/// A coordinate with two digits after the point, none of them idle.
struct Fixed(f64);

impl std::fmt::Display for Fixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

/// The text so far.
#[derive(Default)]
struct Svg(String);

impl Svg {
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.0.write_fmt(text);
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        self.push(format_args!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n",
            Fixed(from.0), Fixed(from.1), Fixed(to.0), Fixed(to.1),
        ));
    }

    fn text(&mut self, x: f64, y: f64, text: &str, anchor: &str, colour: &str, more: &str) {
        self.push(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"{colour}\" {more}>{}</text>\n",
            Fixed(x),
            Fixed(y),
            escape(text),
        ));
    }

    fn polyline(&mut self, run: &Run, x: &Axis, y: &Axis, colour: &str, width: f64, opacity: f64) {
        if let [(px, py)] = run[..] {
            self.push(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"2.5\" fill=\"{colour}\"/>\n",
                Fixed(x.at(px)),
                Fixed(y.at(py)),
            ));
            return;
        }
        self.push(format_args!("<polyline points=\""));
        for &(px, py) in run {
            self.push(format_args!("{},{} ", Fixed(x.at(px)), Fixed(y.at(py))));
        }
        self.push(format_args!(
            "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n"
        ));
    }
}

/// The text with what XML gives a meaning written as references, and without what XML forbids.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
