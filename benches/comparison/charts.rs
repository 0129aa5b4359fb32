//! Pictures of sections: bars, or lines on two logarithmic scales.

use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::{Kind, Picture, Row, Section, Unit};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const WIDTH: i32 = 860;

/// Room for the names of bars, and for what is written behind them.
const NAMES: i32 = 330;
const VALUES: i32 = 90;

/// A bar, and all of one row.
const BAR: i32 = 13;
const GAP: i32 = 9;

/// Above the first bar: the title. Below the last one: what machine it was.
const HEAD: i32 = 44;
const FOOT: i32 = 28;

/// A picture of lines, and room at its right for what they are.
const LINES_HEIGHT: u32 = 480;
const LEGEND: i32 = 250;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// More than this between the least and the most, and the scale is logarithmic.
const LOGARITHMIC: f64 = 30.0;

/// Lines of this crate, and lines of others.
const OURS: [RGBColor; 4] = [
    RGBColor(0x0b, 0x5f, 0xb3),
    RGBColor(0x3a, 0x9b, 0xdc),
    RGBColor(0x12, 0x3c, 0x69),
    RGBColor(0x6f, 0xb7, 0xe8),
];
const OTHERS: [RGBColor; 8] = [
    RGBColor(0xd9, 0x5f, 0x02),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xb2, 0x18, 0x2b),
    RGBColor(0xe0, 0xa0, 0x30),
    RGBColor(0x80, 0x60, 0xa8),
    RGBColor(0xc0, 0x50, 0x90),
    RGBColor(0x60, 0x60, 0x60),
    RGBColor(0xa0, 0x80, 0x60),
];
const EASIER: [RGBColor; 4] = [
    RGBColor(0x55, 0xa8, 0x68),
    RGBColor(0x8f, 0xc7, 0x9a),
    RGBColor(0x2e, 0x7d, 0x4f),
    RGBColor(0xb5, 0xd9, 0xa0),
];

/// Draws a section into a file. `below` says where the numbers are from.
pub(crate) fn draw(section: &Section, below: &str, path: &Path) -> Done {
    match section.picture {
        Picture::Bars(columns) => bars(section, columns, below, path),
        Picture::Lines(what) => lines(section, what, below, path),
        Picture::Nothing => Ok(()),
    }
}

fn bars(section: &Section, columns: usize, below: &str, path: &Path) -> Done {
    let row_height = BAR * columns as i32 + GAP;
    let height = HEAD + row_height * section.rows.len() as i32 + FOOT;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = match columns {
        1 => section.title.to_owned(),
        _ => format!("{}: {}", section.title, section.columns[..columns].join(", ")),
    };
    area.draw(&Text::new(title, (12, 10), font(17, INK)))?;
    let scale = Scale::of(section.rows.iter().flat_map(|row| &row.values[..columns]));
    for (place, row) in (0..).zip(&section.rows) {
        bars_of(&area, section, row, columns, HEAD + row_height * place, &scale)?;
    }
    let scale = if scale.is_logarithmic { "logarithmic scale; " } else { "" };
    let foot = format!("less is better; {scale}{below}");
    area.draw(&Text::new(foot, (12, height - 18), font(11, PALE)))?;
    area.present()?;
    Ok(())
}

/// One row: its name, and a bar for each of the columns.
fn bars_of(
    area: &Area<'_>,
    section: &Section,
    row: &Row,
    columns: usize,
    top: i32,
    scale: &Scale,
) -> Done {
    let middle = top + BAR * columns as i32 / 2;
    let right = font(13, INK).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new(row.name.clone(), (NAMES - 8, middle), right))?;
    let color = color(row.kind, 0);
    for (at, value) in (0..).zip(&row.values[..columns]) {
        let Some(value) = value else { continue };
        let (from, to) = (top + BAR * at, top + BAR * (at + 1) - 1);
        let length = (scale.place(*value) * f64::from(WIDTH - NAMES - VALUES)) as i32;
        let fill = color.mix(1.0 - 0.28 * f64::from(at)).filled();
        let ends = [(NAMES, from), (NAMES + length.max(1), to)];
        area.draw(&Rectangle::new(ends, fill))?;
        let left = font(11, INK).pos(Pos::new(HPos::Left, VPos::Center));
        let place = (NAMES + length + 5, i32::midpoint(from, to));
        area.draw(&Text::new(section.unit.show(*value), place, left))?;
    }
    Ok(())
}

/// Where on a bar a value is.
struct Scale {
    least: f64,
    most: f64,
    is_logarithmic: bool,
}

impl Scale {
    fn of<'a>(values: impl Iterator<Item = &'a Option<f64>>) -> Self {
        let values: Vec<f64> = values.flatten().copied().filter(|value| *value > 0.0).collect();
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Self { least: least / 2.0, most, is_logarithmic: most > least * LOGARITHMIC }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        if !self.is_logarithmic {
            return value / self.most;
        }
        ((value / self.least).ln() / (self.most / self.least).ln()).max(0.0)
    }
}

fn lines(section: &Section, what: &str, below: &str, path: &Path) -> Done {
    let size = (WIDTH as u32, LINES_HEIGHT);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let x = |column: &String| column.parse::<f64>().map(|x| x.max(1.0));
    let places = section.columns.iter().map(x).collect::<Result<Vec<f64>, _>>()?;
    let values = || section.rows.iter().flat_map(|row| row.values.iter().flatten().copied());
    let least = values().fold(f64::MAX, f64::min);
    let most = values().fold(f64::MIN_POSITIVE, f64::max);
    let (first, last) = (places[0], places[places.len() - 1]);
    let unit = section.unit;
    let (left, right) = root.split_horizontally(WIDTH - LEGEND);
    root.draw(&Text::new(section.title, (12, 10), font(17, INK)))?;
    let mut chart = ChartBuilder::on(&left)
        .margin(12)
        .margin_top(40)
        .margin_bottom(30)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first..last).log_scale().with_key_points(places.clone()),
            (least * 0.8..most * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
        .x_desc(what)
        .x_label_formatter(&|x| short(*x, what))
        .y_label_formatter(&|y| unit.show(*y))
        .label_style(font(12, INK))
        .draw()?;
    let mut counts = [0_usize; 4];
    let mut legend = Vec::new();
    for row in &section.rows {
        let style = color(row.kind, counts[row.kind as usize])
            .stroke_width(if row.kind == Kind::Ours { 4 } else { 2 });
        counts[row.kind as usize] += 1;
        let points = places.iter().zip(&row.values);
        let points = points.filter_map(|(x, value)| value.map(|y| (*x, y)));
        chart.draw_series(LineSeries::new(points, style).point_size(2))?;
        legend.push((row, style));
    }
    explain(&right, legend)?;
    let foot = format!("less is better; logarithmic scales; {below}");
    root.draw(&Text::new(foot, (12, LINES_HEIGHT as i32 - 18), font(11, PALE)))?;
    root.present()?;
    Ok(())
}

/// Which line is whose, in the order in which they end.
fn explain(area: &Area<'_>, mut legend: Vec<(&Row, ShapeStyle)>) -> Done {
    let end = |row: &Row| row.values.iter().flatten().next_back().copied().unwrap_or_default();
    legend.sort_by(|(one, _), (other, _)| end(other).total_cmp(&end(one)));
    for (place, (row, style)) in (0..).zip(legend) {
        let y = 52 + 22 * place;
        area.draw(&PathElement::new([(4, y), (26, y)], style))?;
        let left = font(12, INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(row.name.clone(), (32, y), left))?;
    }
    Ok(())
}

/// A number of something, in few letters.
fn short(x: f64, what: &str) -> String {
    if what.contains("bytes") {
        return Unit::Bytes.show(x.round());
    }
    match x.round() {
        x if x < 1e4 => format!("{x}"),
        x if x < 1e6 => format!("{} k", x / 1e3),
        x => format!("{} M", x / 1e6),
    }
}

fn color(kind: Kind, number: usize) -> RGBColor {
    match kind {
        Kind::Ours => OURS[number % OURS.len()],
        Kind::Rival => OTHERS[number % OTHERS.len()],
        Kind::Threads => EASIER[number % EASIER.len()],
        Kind::Limit => PALE,
    }
}

fn font(size: i32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color)
}
