//! The one place that prints: text for people, documents for programs, failures.

use std::fmt::Arguments;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::Failure;

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What succeeded.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What needs attention.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// What matters less.
pub const FAINT: Style = Style::new().dimmed();

/// Prints to standard output and standard error.
pub struct Render<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    colour: bool,
    terminal: bool,
}

impl<'a> Render<'a> {
    /// Prints to these, with or without colours; `terminal`: whether the output is one.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        colour: bool,
        terminal: bool,
    ) -> Render<'a> {
        Render { out, err, colour, terminal }
    }

    /// Standard output.
    pub fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Whether standard output is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether output has colours.
    #[must_use]
    pub fn has_colour(&self) -> bool {
        self.colour
    }

    /// Text in a style, if output has colours.
    #[must_use]
    pub fn paint(&self, style: Style, text: &str) -> String {
        match self.colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }

    /// Prints a line.
    ///
    /// # Errors
    ///
    /// If standard output takes no more.
    pub fn line(&mut self, text: Arguments<'_>) -> io::Result<()> {
        self.out.write_fmt(text)?;
        self.out.write_all(b"\n")
    }

    /// Prints a heading.
    ///
    /// # Errors
    ///
    /// If standard output takes no more.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(HEADING, text);
        self.line(format_args!("{text}"))
    }

    /// Prints a document for programs.
    ///
    /// # Errors
    ///
    /// If standard output takes no more.
    pub fn json(&mut self, document: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self.out, document).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }

    /// Prints something to know to standard error.
    pub fn note(&mut self, text: Arguments<'_>) {
        self.tell(NOTE, "note", text);
    }

    /// Prints why the command failed to standard error, unless its output said so.
    pub fn failure(&mut self, failure: &Failure) {
        // What was printed so far belongs before it.
        let _ = self.out.flush();
        if !matches!(failure, Failure::No) {
            self.tell(BAD, "error", format_args!("{failure}"));
        }
    }

    fn tell(&mut self, style: Style, what: &str, text: Arguments<'_>) {
        let what = self.paint(style, what);
        // If standard error is closed, there is nobody to tell.
        let _ = writeln!(self.err, "{what}: {text}");
    }
}
