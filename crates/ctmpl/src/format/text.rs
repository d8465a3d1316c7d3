//! Padding, cutting and hexadecimal digits.

use super::printer::Printer;
use crate::text::rune;

impl Printer {
    /// Writes `text`, padded to the width.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let missing = self.flags.width.map_or(0, |width| width.saturating_sub(rune::count(text)));
        if self.flags.minus {
            self.write(text);
            self.fill(b' ', missing);
        } else {
            self.fill(if self.flags.zero { b'0' } else { b' ' }, missing);
            self.write(text);
        }
    }

    /// The same without zeros.
    pub(super) fn pad_with_spaces(&mut self, text: &[u8]) {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text);
        self.flags.zero = zero;
    }

    pub(super) fn string(&mut self, text: &[u8]) {
        let text = self.truncate(text);
        self.pad(text);
    }

    /// As many characters of `text` as the precision says.
    pub(super) fn truncate<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(precision) = self.flags.precision else { return text };
        rune::runes(text).nth(precision).map_or(text, |(at, ..)| &text[..at])
    }

    pub(super) fn hexadecimal(&mut self, text: &[u8], upper: bool) {
        let text = &text[..self.flags.precision.map_or(text.len(), |limit| limit.min(text.len()))];
        if text.is_empty() {
            let width = self.flags.width.unwrap_or(0);
            return self.padding(width);
        }
        let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let prefix: &[u8] = match (self.flags.sharp, upper) {
            (false, _) => b"",
            (true, false) => b"0x",
            (true, true) => b"0X",
        };
        let spaced = self.flags.space;
        let prefixes = if spaced { text.len() } else { 1 };
        let length =
            text.len() * 2 + prefix.len() * prefixes + if spaced { text.len() - 1 } else { 0 };
        let missing = self.flags.width.map_or(0, |width| width.saturating_sub(length));
        if !self.flags.minus {
            self.padding(missing);
        }
        self.write(prefix);
        for (index, byte) in text.iter().enumerate() {
            if spaced && index > 0 {
                self.write(b" ");
                self.write(prefix);
            }
            let digit = |nibble: u8| digits[usize::from(nibble & 15)];
            self.write(&[digit(byte >> 4), digit(*byte)]);
        }
        if self.flags.minus {
            self.padding(missing);
        }
    }

    /// `count` bytes of padding.
    pub(super) fn padding(&mut self, count: usize) {
        let zero = self.flags.zero && !self.flags.minus;
        self.fill(if zero { b'0' } else { b' ' }, count);
    }
}
