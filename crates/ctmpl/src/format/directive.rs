//! `Sprintf`: flags, widths, precisions and argument numbers of a format.

use super::printer::{Flags, Printer};
use crate::Value;
use crate::text::rune;
use crate::value::Kind;

/// Widths and precisions beyond this are refused, as in Go.
const LARGEST: usize = 1_000_000;

/// Writes `format` with `values` in place of its directives.
pub(super) fn run(printer: &mut Printer, format: &[u8], values: &[Value]) {
    let mut scan = Scan { format, values, at: 0, argument: 0, reordered: false, good: true };
    while let Some(length) = scan.rest().iter().position(|byte| *byte == b'%') {
        printer.write(&scan.rest()[..length]);
        scan.at += length + 1;
        if !scan.directive(printer) {
            break;
        }
    }
    if scan.at < format.len() {
        printer.write(scan.rest());
    }
    if !scan.reordered && scan.argument < values.len() {
        printer.flags = Flags::default();
        printer.write(b"%!(EXTRA ");
        for (index, value) in values[scan.argument..].iter().enumerate() {
            if index > 0 {
                printer.write(b", ");
            }
            if value.is_nil() {
                printer.write(b"<nil>");
            } else {
                printer.typed(value);
            }
        }
        printer.write(b")");
    }
}

struct Scan<'a> {
    format: &'a [u8],
    values: &'a [Value],
    at: usize,
    /// The argument that the next directive takes.
    argument: usize,
    reordered: bool,
    /// Whether the argument number of this directive makes sense.
    good: bool,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.format[self.at.min(self.format.len())..]
    }

    /// One directive behind its `%`; false at the end of the format.
    fn directive(&mut self, printer: &mut Printer) -> bool {
        self.good = true;
        let mut flags = Flags::default();
        while let Some(byte) = self.rest().first() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.index();
        if self.rest().first() == Some(&b'*') {
            self.at += 1;
            match self.integer() {
                Some(width) => {
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
                None => printer.write(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.number();
            if after_index && flags.width.is_some() {
                self.good = false;
            }
        }
        if self.rest().len() > 1 && self.rest()[0] == b'.' {
            self.at += 1;
            if after_index {
                self.good = false;
            }
            after_index = self.index();
            if self.rest().first() == Some(&b'*') {
                self.at += 1;
                let precision = self.integer();
                flags.precision = precision.and_then(|value| usize::try_from(value).ok());
                if flags.precision.is_none() {
                    printer.write(b"%!(BADPREC)");
                }
                after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        let Some((verb, length)) = rune::decode(self.rest()) else {
            printer.write(b"%!(NOVERB)");
            return false;
        };
        self.at += length;
        printer.flags = flags;
        self.print(printer, verb);
        true
    }

    fn print(&mut self, printer: &mut Printer, verb: char) {
        let complain = |printer: &mut Printer, what: &str| {
            printer.write(format!("%!{verb}({what})").as_bytes());
        };
        if verb == '%' {
            printer.write(b"%");
        } else if !self.good {
            complain(printer, "BADINDEX");
        } else if let Some(value) = self.values.get(self.argument) {
            if matches!(verb, 'v' | 'w') {
                printer.flags.go_syntax = std::mem::take(&mut printer.flags.sharp);
                printer.flags.names = std::mem::take(&mut printer.flags.plus);
            }
            printer.argument(value, verb);
            self.argument += 1;
        } else {
            complain(printer, "MISSING");
        }
    }

    /// A decimal number, if one stands here. Too large ones count as none, and are skipped.
    fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.rest().first().filter(|byte| byte.is_ascii_digit()) {
            let before = value.unwrap_or(0);
            if before > LARGEST {
                // As Go: it stops reading, and goes on behind the format's end.
                self.at = self.format.len();
                return None;
            }
            value = Some(before * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        value
    }

    /// `[n]`: the number of the argument that comes next; true if one stands here.
    fn index(&mut self) -> bool {
        let rest = self.rest();
        if rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        let close = rest.iter().position(|byte| *byte == b']');
        let Some(close) = close.filter(|_| rest.len() >= 3) else {
            self.good = false;
            self.at += 1;
            return false;
        };
        self.at += close + 1;
        let digits = &rest[1..close];
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok())
            .filter(|number| *number <= LARGEST);
        match number {
            Some(number) if (1..=self.values.len()).contains(&number) => {
                self.argument = number - 1;
                true
            }
            Some(_) => {
                self.good = false;
                true
            }
            None => {
                self.good = false;
                false
            }
        }
    }

    /// An argument that is a width or a precision.
    fn integer(&mut self) -> Option<i64> {
        let value = self.values.get(self.argument)?;
        self.argument += 1;
        let number = match value.kind {
            Kind::Int(number, _) => number,
            Kind::Uint(number, _) => i64::try_from(number).ok()?,
            _ => return None,
        };
        (number.unsigned_abs() <= LARGEST as u64).then_some(number)
    }
}
