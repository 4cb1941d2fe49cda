//! The figures as a picture: a row for each kernel and one for the mean, a dot for each engine, on
//! a logarithmic scale of times native code's time; a bar through a dot is the spread of its
//! samples. Written as SVG, without scripts or fonts of its own.

use std::fmt::Write;

use skep_cli::measure::{Spread, geometric_mean, ratio};

use crate::report::{APART, Row};

/// The engine that the scale counts in.
const BASE: &str = "native";

const WIDTH: f64 = 860.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const ROW: f64 = 26.0;
const BOTTOM: f64 = 64.0;

/// Colours that stay apart for most colour-blind readers (Okabe and Ito's palette, and greys).
const COLOURS: [&str; 10] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#999999",
    "#8C6D31", "#AD494A",
];

/// A dot: an engine's times and how far its samples lie apart.
struct Dot {
    engine: usize,
    times: f64,
    low: f64,
    high: f64,
}

/// Where a value lies on the scale.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn of(lines: &[(String, Vec<Dot>)]) -> Scale {
        let dots = || lines.iter().flat_map(|(_, dots)| dots);
        let least = dots().map(|dot| dot.low).fold(1.0, f64::min) / 1.1;
        let most = dots().map(|dot| dot.high).fold(2.0, f64::max) * 1.1;
        Scale { least, most }
    }

    fn x(&self, times: f64) -> f64 {
        let share = (times / self.least).ln() / (self.most / self.least).ln();
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    /// The marks: 1, 2 and 5 times the powers of ten.
    fn marks(&self) -> impl Iterator<Item = f64> {
        let powers = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
        let marks = powers.into_iter().flat_map(|power| [power, 2.0 * power, 5.0 * power]);
        marks.filter(|mark| (self.least..=self.most).contains(mark))
    }
}

/// The picture; none if native code was not measured. `caption` says where and with what.
pub(crate) fn svg(rows: &[Row], engines: &[&str], caption: &[String]) -> Option<String> {
    rows.iter().find(|row| row.engine(BASE).is_some())?;
    let engines: Vec<&str> = engines.iter().copied().filter(|name| *name != BASE).collect();
    let mut lines: Vec<(String, Vec<Dot>)> =
        rows.iter().map(|row| (row.kernel.to_owned(), dots(row, &engines))).collect();
    lines.push(("mean *".to_owned(), means(rows, &engines)));
    let scale = Scale::of(&lines);
    let height = TOP + ROW * lines.len() as f64 + BOTTOM + 14.0 * caption.len() as f64;
    let mut out = String::new();
    let ignored = draw(&mut out, &lines, &engines, &scale, caption, height);
    // Writing to a string does not fail.
    ignored.ok().map(|()| out)
}

fn dots(row: &Row, engines: &[&str]) -> Vec<Dot> {
    let Some(base) = row.engine(BASE) else { return Vec::new() };
    let dot = |(engine, name): (usize, &&str)| {
        let samples = &row.engine(name)?.samples;
        let times: Vec<f64> = samples.iter().zip(&base.samples).map(|(a, b)| a / b).collect();
        let Spread { p10, p90, .. } = Spread::of(&times)?;
        Some(Dot { engine, times: ratio(samples, &base.samples), low: p10, high: p90 })
    };
    engines.iter().enumerate().filter_map(dot).collect()
}

fn means(rows: &[Row], engines: &[&str]) -> Vec<Dot> {
    let dot = |(engine, name): (usize, &&str)| {
        let counted = rows.iter().filter(|row| !APART.contains(&row.kernel));
        let times = |row: &Row| Some(ratio(&row.engine(name)?.samples, &row.engine(BASE)?.samples));
        let values: Vec<f64> = counted.filter_map(times).collect();
        let times = geometric_mean(&values);
        (!values.is_empty()).then_some(Dot { engine, times, low: times, high: times })
    };
    engines.iter().enumerate().filter_map(dot).collect()
}

fn draw(
    out: &mut String,
    lines: &[(String, Vec<Dot>)],
    engines: &[&str],
    scale: &Scale,
    caption: &[String],
    height: f64,
) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">Time of a run, times native code \
         (logarithmic; to the left is faster)</text>"
    )?;
    legend(out, engines)?;
    let bottom = TOP + ROW * lines.len() as f64;
    for mark in scale.marks() {
        let (x, bold) = (scale.x(mark), if mark == 1.0 { "#000000" } else { "#dddddd" });
        writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{bold}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            bottom + 16.0
        )?;
    }
    for (index, (label, dots)) in lines.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 10.0,
            y + 4.0
        )?;
        for Dot { engine, times, low, high } in dots {
            let colour = COLOURS[engine % COLOURS.len()];
            let (x, from, to) = (scale.x(*times), scale.x(*low), scale.x(*high));
            writeln!(
                out,
                "<line x1=\"{from:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\" stroke=\"{colour}\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\">\
                 <title>{label}, {}: {times:.2}</title></circle>",
                engines[*engine]
            )?;
        }
    }
    let note = format!("* geometric mean without {}", APART.join(" and "));
    for (index, text) in std::iter::once(&note).chain(caption).enumerate() {
        let y = bottom + 38.0 + 14.0 * index as f64;
        writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{y}\" font-size=\"11\" fill=\"#444444\">{text}</text>"
        )?;
    }
    writeln!(out, "</svg>")
}

fn legend(out: &mut String, engines: &[&str]) -> std::fmt::Result {
    let mut x = LEFT;
    for (index, name) in engines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"42\" r=\"4.5\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"46\">{name}</text>",
            x + 5.0,
            x + 14.0
        )?;
        x += 30.0 + 7.0 * name.len() as f64;
    }
    Ok(())
}
