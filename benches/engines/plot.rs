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
const TOP: f64 = 84.0;
const ROW: f64 = 26.0;
const BOTTOM: f64 = 64.0;

/// The engines that are drawn, each in a colour that stays apart from the others for most
/// colour-blind readers (Okabe and Ito's palette, and greys). More would hide each other.
const DRAWN: [(&str, &str); 9] = [
    ("skep", "#56B4E9"),
    ("skep-jit1-proved", "#009E73"),
    ("skep-jit", "#CC79A7"),
    ("skep-jit-proved", "#0072B2"),
    ("rbpf", "#E69F00"),
    ("rbpf-jit", "#D55E00"),
    ("sbpf-v4", "#999999"),
    ("sbpf-v4-jit", "#555555"),
    ("linux", "#8C6D31"),
];

/// The engines that are drawn, of those that were measured.
type Engines = Vec<(&'static str, &'static str)>;

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
    let engines: Engines = DRAWN.into_iter().filter(|(name, _)| engines.contains(name)).collect();
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

fn dots(row: &Row, engines: &Engines) -> Vec<Dot> {
    let Some(base) = row.engine(BASE) else { return Vec::new() };
    let dot = |(engine, (name, _)): (usize, &(&str, &str))| {
        let samples = &row.engine(name)?.samples;
        let times: Vec<f64> = samples.iter().zip(&base.samples).map(|(a, b)| a / b).collect();
        let Spread { p10, p90, .. } = Spread::of(&times)?;
        Some(Dot { engine, times: ratio(samples, &base.samples), low: p10, high: p90 })
    };
    engines.iter().enumerate().filter_map(dot).collect()
}

fn means(rows: &[Row], engines: &Engines) -> Vec<Dot> {
    let dot = |(engine, (name, _)): (usize, &(&str, &str))| {
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
    engines: &Engines,
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
            let (name, colour) = engines[*engine];
            let (x, from, to) = (scale.x(*times), scale.x(*low), scale.x(*high));
            writeln!(
                out,
                "<line x1=\"{from:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\" stroke=\"{colour}\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\">\
                 <title>{label}, {name}: {times:.2}</title></circle>"
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

fn legend(out: &mut String, engines: &Engines) -> std::fmt::Result {
    let (mut x, mut y) = (LEFT, 42.0);
    for (name, colour) in engines {
        let width = 30.0 + 7.0 * name.len() as f64;
        if x + width > WIDTH - RIGHT {
            (x, y) = (LEFT, y + 20.0);
        }
        writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{name}</text>",
            x + 5.0,
            x + 14.0,
            y + 4.0
        )?;
        x += width;
    }
    Ok(())
}
