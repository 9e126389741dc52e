//! Where words go and where JSON goes.
//!
//! For a person: tables and words on the standard output, bars on a terminal. With `--json`: the standard
//! output has JSON alone, an object a line; words for a person go to the standard error.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{json, Value};

use crate::failure::Failure;

pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Words for a person.
    pub fn say(&self, words: impl AsRef<str>) {
        // A reader that has gone ends nothing: what runs is more important than its report.
        let words = words.as_ref();
        let _ = match self.json {
            true => writeln!(std::io::stderr(), "{words}"),
            false => writeln!(std::io::stdout(), "{words}"),
        };
    }

    /// A table for a person; nothing with `--json`.
    pub fn table<const N: usize>(&self, head: [&str; N], rows: &[[String; N]]) {
        if !self.json && !rows.is_empty() {
            self.say(table(head, rows));
        }
    }

    /// An event for a program; nothing without `--json`.
    pub fn event(&self, name: &str, fields: impl Serialize) {
        if !self.json {
            return;
        }
        let mut object = json!({ "event": name });
        if let (Value::Object(object), Ok(Value::Object(fields))) =
            (&mut object, serde_json::to_value(fields))
        {
            object.extend(fields);
        }
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{object}").and_then(|()| stdout.flush());
    }

    /// The end of a command that did not end well.
    pub fn failed(&self, failure: &Failure) {
        let fields = json!({ "exit_code": failure.exit_code(), "error": failure.to_string() });
        self.event("failed", fields);
        let _ = writeln!(std::io::stderr(), "peer-storage: {failure}");
    }

    /// Shows on a terminal that something goes on.
    pub fn spinner(&self, words: &'static str) -> ProgressBar {
        let target = match self.json {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let spinner = ProgressBar::with_draw_target(None, target).with_style(spinner_style());
        spinner.set_message(words);
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    }
}

pub fn spinner_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let line = |cells: [&str; N]| {
        let cells = cells.iter().enumerate();
        let line: Vec<_> = cells
            .map(|(column, cell)| format!("{cell:<0$}", width(column)))
            .collect();
        line.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head)];
    lines.extend(
        rows.iter()
            .map(|row| line(row.each_ref().map(String::as_str))),
    );
    lines.join("\n")
}

/// Writes the log of this project to the standard error. Nothing that is private is ever logged.
pub fn log_to_standard_error() {
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

struct StandardError;

impl log::Log for StandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // Others may log what they send.
        let target = metadata.target();
        target.starts_with("ldk_peer_storage") || target.starts_with("peer_storage")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = writeln!(std::io::stderr(), "{}: {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["long cell".to_owned(), "x".to_owned()],
            [String::new(), "yy".to_owned()],
        ];
        let expected = "a          second\nlong cell  x\n           yy";
        assert_eq!(table(["a", "second"], &rows), expected);
    }
}
