//! The figures, with their goals, as a table or as JSON.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    /// What was measured, such as `KV read`.
    pub(super) what: String,
    /// Its unit, such as `1/s`.
    pub(super) unit: Cow<'static, str>,
    pub(super) holdfast: f64,
    /// The real one's: OpenBao's, or SPIRE's. None where it was not measured.
    pub(super) real: Option<f64>,
    /// None where none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
    /// Ours over theirs.
    ratio: Option<f64>,
    met: Option<bool>,
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// At most this.
    AtMost(f64),
    /// The real server's, times this, or more.
    TimesTheirs(f64),
    /// The real server's, times this, or less.
    ShareOfTheirs(f64),
}

impl Figure {
    pub(super) fn new(
        what: impl Into<String>,
        unit: impl Into<Cow<'static, str>>,
        holdfast: f64,
        real: Option<f64>,
        goal: Option<Goal>,
    ) -> Self {
        let ratio = real.filter(|theirs| *theirs > 0.0).map(|theirs| holdfast / theirs);
        let met = goal.and_then(|goal| match goal {
            Goal::AtMost(most) => Some(holdfast <= most),
            Goal::TimesTheirs(times) => ratio.map(|ratio| ratio >= times),
            Goal::ShareOfTheirs(share) => ratio.map(|ratio| ratio <= share),
        });
        Self { what: what.into(), unit: unit.into(), holdfast, real, goal, ratio, met }
    }
}

/// Prints the figures for people, beside those of the real one of this name.
pub(super) fn print_table(figures: &[Figure], real: &str) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "", "Holdfast", real, "ratio", "goal", ""]);
    for figure in figures {
        let goal = match figure.goal {
            None => String::new(),
            Some(Goal::AtMost(most)) => format!("<= {}", number(most)),
            Some(Goal::TimesTheirs(times)) => format!(">= {times}x"),
            Some(Goal::ShareOfTheirs(share)) => format!("<= {share}x"),
        };
        let met = match figure.met {
            None => "",
            Some(true) => "met",
            Some(false) => "missed",
        };
        table.add_row([
            figure.what.clone(),
            figure.unit.to_string(),
            number(figure.holdfast),
            figure.real.map_or_else(String::new, number),
            figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            goal,
            met.to_owned(),
        ]);
    }
    for column in [2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{}", table.trim_fmt());
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Says on a terminal what is being done.
pub(super) struct Progress {
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn say(&self, what: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[2K{what}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_or_missed() {
        for (ours, theirs, goal, want) in [
            (5.0, Some(1.0), Goal::TimesTheirs(5.0), Some(true)),
            (4.9, Some(1.0), Goal::TimesTheirs(5.0), Some(false)),
            (1.0, Some(4.0), Goal::ShareOfTheirs(0.25), Some(true)),
            (1.1, Some(4.0), Goal::ShareOfTheirs(0.25), Some(false)),
            (20.0, None, Goal::AtMost(20.0), Some(true)),
            (20.1, None, Goal::AtMost(20.0), Some(false)),
            (20.1, None, Goal::TimesTheirs(5.0), None),
        ] {
            let figure = Figure::new("x", "1/s", ours, theirs, Some(goal));
            assert_eq!(figure.met, want, "{figure:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, want) in [(31234.4, "31234"), (120.4, "120"), (12.34, "12.3"), (1.234, "1.23")]
        {
            assert_eq!(number(value), want);
        }
    }
}
