//! What a run has found: as JSON for programs, as Markdown for people, with a picture of each.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::charts;
use crate::support::Measured;
use crate::support::machine::Machine;

/// All that one run has found.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    command: String,
    sections: Vec<Section>,
}

/// Contenders that were measured together.
#[derive(Serialize)]
pub(crate) struct Section {
    /// Of its picture's file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How it was measured.
    pub(crate) text: &'static str,
    pub(crate) unit: Unit,
    pub(crate) picture: Picture,
    pub(crate) columns: Vec<String>,
    /// Of the last column, where it is a number of something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_unit: Option<Unit>,
    pub(crate) rows: Vec<Row>,
}

/// One contender.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// One a column, where there is one.
    pub(crate) values: Vec<Option<f64>>,
    /// Medians have quartiles: one pair a column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) quartiles: Vec<Option<[f64; 2]>>,
    /// How many times the core-to-core floor of the same moment the first column is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floors: Option<f64>,
}

/// Whose a row is. A row's name says it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// This crate.
    Ours,
    /// Others that do it between processes.
    Rival,
    /// Between threads of one process, which is easier: a yardstick.
    Threads,
    /// What the machine itself takes.
    Limit,
}

/// What values are numbers of.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    Count,
}

/// How a section is drawn.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Picture {
    /// So many of the first columns, a bar for each row.
    Bars(usize),
    /// Columns are numbers of this, and each row is a line.
    Lines(&'static str),
    Nothing,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            name if name.starts_with("multiproc") => Self::Ours,
            name if name.contains("threads") => Self::Threads,
            name if name.contains("floor") || name.contains("memcpy") => Self::Limit,
            _ => Self::Rival,
        }
    }
}

impl Unit {
    /// With three digits or so, and the unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => steps(value, 1000.0, &["ns", "µs", "ms", "s"]),
            Self::Bytes => steps(value, 1024.0, &["B", "KiB", "MiB", "GiB"]),
            Self::Count if value < 0.005 => "0".to_owned(),
            Self::Count => format!("{value:.2}"),
        }
    }
}

/// The value in the largest of the units that it reaches.
fn steps(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().expect("a unit");
    for larger in units {
        if value.abs() < step * 0.9995 {
            break;
        }
        (value, unit) = (value / step, larger);
    }
    match value.abs() {
        v if v >= 99.95 || v == v.trunc() => format!("{value:.0} {unit}"),
        v if v >= 9.995 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

impl Row {
    pub(crate) fn new(name: &str, values: Vec<Option<f64>>) -> Self {
        let kind = Kind::of(name);
        Self { name: name.to_owned(), kind, values, quartiles: Vec::new(), floors: None }
    }
}

impl Section {
    /// What a table has found, a bar each.
    pub(crate) fn table(
        name: &'static str,
        title: &'static str,
        text: &'static str,
        measured: Vec<Measured>,
    ) -> Self {
        let rows = measured.into_iter().map(|found| {
            let [q1, median, q3] = found.times;
            let mut row = Row::new(&found.name, vec![Some(median)]);
            row.quartiles = vec![Some([q1, q3])];
            row.floors = found.floors;
            row
        });
        let (columns, unit) = (vec!["median".to_owned()], Unit::Nanoseconds);
        let picture = Picture::Bars(1);
        Self { name, title, text, unit, picture, columns, last_unit: None, rows: rows.collect() }
    }

    /// What several tables have found, one for each number of `what`: a line for each contender.
    pub(crate) fn growth(
        name: &'static str,
        title: &'static str,
        text: &'static str,
        what: &'static str,
        points: Vec<(String, Vec<Measured>)>,
    ) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for (at, (_, measured)) in points.iter().enumerate() {
            for found in measured {
                let row = match rows.iter().position(|row| row.name == found.name) {
                    Some(known) => &mut rows[known],
                    None => {
                        let mut row = Row::new(&found.name, vec![None; points.len()]);
                        row.quartiles = vec![None; points.len()];
                        rows.push(row);
                        rows.last_mut().expect("the one just pushed")
                    }
                };
                let [q1, median, q3] = found.times;
                row.values[at] = Some(median);
                row.quartiles[at] = Some([q1, q3]);
            }
        }
        let columns = points.into_iter().map(|(point, _)| point).collect();
        let (unit, picture) = (Unit::Nanoseconds, Picture::Lines(what));
        Self { name, title, text, unit, picture, columns, last_unit: None, rows }
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.text);
        if !matches!(self.picture, Picture::Nothing) {
            let _ = writeln!(text, "![{}]({}.svg)\n", self.title, self.name);
        }
        let (has_spread, has_floors) = (
            matches!(self.picture, Picture::Bars(1)) && !self.rows[0].quartiles.is_empty(),
            self.rows.iter().any(|row| row.floors.is_some()),
        );
        let _ = write!(text, "| | {} |", self.columns.join(" | "));
        let extra = [(has_spread, " quartiles |"), (has_floors, " × floor |")];
        let extra = extra.iter().filter(|(is, _)| *is);
        extra.clone().for_each(|(_, head)| text.push_str(head));
        let columns = self.columns.len() + extra.count();
        let _ = writeln!(text, "\n|---|{}", "---:|".repeat(columns));
        for row in &self.rows {
            let show = |value: f64| self.unit.show(value);
            let cells = row.values.iter().enumerate().map(|(column, value)| {
                let is_last = column + 1 == row.values.len();
                let unit = self.last_unit.filter(|_| is_last).unwrap_or(self.unit);
                value.map_or(String::new(), |value| unit.show(value))
            });
            let _ = write!(text, "| {} | {} |", row.title(), cells.collect::<Vec<_>>().join(" | "));
            if has_spread {
                let [q1, q3] = row.quartiles[0].expect("a median has quartiles");
                let _ = write!(text, " {} to {} |", show(q1), show(q3));
            }
            if has_floors {
                let floors = row.floors.map_or(String::new(), |floors| format!("{floors:.2}"));
                let _ = write!(text, " {floors} |");
            }
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

impl Row {
    /// Ours stand out, and what is easier is slanted.
    fn title(&self) -> String {
        match self.kind {
            Kind::Ours => format!("**{}**", self.name),
            Kind::Threads | Kind::Limit => format!("*{}*", self.name),
            Kind::Rival => self.name.clone(),
        }
    }
}

impl Report {
    pub(crate) fn new(command: &str) -> Self {
        let machine = Machine::this();
        Self { machine, command: command.to_owned(), sections: Vec::new() }
    }

    pub(crate) fn add(&mut self, section: impl Into<Option<Section>>) {
        self.sections.extend(section.into().filter(|section| !section.rows.is_empty()));
    }

    /// Writes `compare.json`, `compare.md` and the pictures into `folder`.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("compare.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(folder.join("compare.md"), self.markdown())?;
        self.sections.iter().try_for_each(|section| {
            let path = folder.join(format!("{}.svg", section.name));
            charts::draw(section, &self.machine.to_string(), &path).map_err(io::Error::other)
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# multiproc and others\n\n{}.\n\n`{}`\n\n{}\n\n",
            self.machine, self.command, PREFACE
        );
        self.sections.iter().for_each(|section| text.push_str(&section.markdown()));
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

const PREFACE: &str = "Contenders take turns, forwards and then backwards, so that the weather of \
    the machine is the same for all of them. **Bold** is this crate, between processes, as all \
    that is plain is. What is *slanted* is a yardstick: threads of one process, which have it \
    easier, or what the machine itself takes. All times are medians but where percentiles are \
    named, and less is better.";
