//! A template's text within a file, and the places of the one as places of the other.

use holdfast_hcl::Position;

use crate::finding::File;

/// A template's text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The file that it stands in.
    pub(super) file: File,
    /// The text itself.
    pub(super) body: String,
    /// Where it starts in the file, as a string of HCL; none where it is the whole file.
    literal: Option<Position>,
}

impl Text {
    /// A file that is a template.
    pub(super) fn whole(file: File) -> Self {
        let body = file.text.to_string();
        Self { file, body, literal: None }
    }

    /// A template within an agent's configuration.
    pub(super) fn within(file: File, body: &str, at: Position) -> Self {
        Self { file, body: body.to_owned(), literal: Some(at) }
    }

    /// The place in the file of a line, from 1, and a byte in it, from 0, of the template.
    pub(super) fn at(&self, (line, byte): (usize, usize)) -> Position {
        let lines = self.body.split_inclusive('\n');
        let start: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
        let offset = (start + byte).min(self.body.len());
        match self.literal {
            None => position(&self.file.text, offset),
            Some(at) => position(&self.file.text, self.in_literal(at, offset)),
        }
    }

    /// Where in the file a byte of the template stands.
    fn in_literal(&self, at: Position, offset: usize) -> usize {
        let text = &*self.file.text;
        let start = offset_of(text, at);
        let raw = text.get(start..).unwrap_or_default();
        if raw.starts_with("<<") {
            return start + in_heredoc(raw, &self.body, offset);
        }
        let mut decoded = 0;
        // Behind the quote.
        let mut place = 1;
        while decoded < offset && place < raw.len() {
            let (written, meant) = unit(&raw[place..]);
            place += written;
            decoded += meant;
        }
        start + place.min(raw.len())
    }
}

/// Where a byte of a heredoc's text is, from its `<<`. `<<-` takes the same blanks off each line.
fn in_heredoc(raw: &str, body: &str, offset: usize) -> usize {
    let before = &body[..offset];
    let line = before.matches('\n').count();
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    let mut place = 0;
    let mut lines = raw.split_inclusive('\n');
    place += lines.next().map_or(0, str::len);
    place += lines.by_ref().take(line).map(str::len).sum::<usize>();
    let written = lines.next().unwrap_or_default().trim_end_matches(['\r', '\n']).len();
    let meant = body.split('\n').nth(line).map_or(0, |line| line.trim_end_matches('\r').len());
    place + written.saturating_sub(meant) + column
}

/// The length of what stands at the beginning of a quoted string, and of what it means, in bytes.
fn unit(raw: &str) -> (usize, usize) {
    let mut chars = raw.chars();
    let first = chars.next();
    match (first, chars.next()) {
        (Some('\\'), Some(kind)) => {
            let digits = match kind {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                '0'..='7' => return (4, 1),
                other => return (1 + other.len_utf8(), other.len_utf8()),
            };
            let code = raw.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let meant = match kind {
                'x' => 1,
                _ => code.and_then(char::from_u32).map_or(1, char::len_utf8),
            };
            (2 + digits, meant)
        }
        (Some(other), _) => (other.len_utf8(), other.len_utf8()),
        (None, _) => (1, 1),
    }
}

/// The byte at a place: lines and columns from 1, columns in characters.
fn offset_of(text: &str, at: Position) -> usize {
    let lines = text.split_inclusive('\n');
    let start: usize = lines.take((at.line as usize).saturating_sub(1)).map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    let within = line.char_indices().nth((at.column as usize).saturating_sub(1));
    start + within.map_or(line.len(), |(at, _)| at)
}

/// The place of a byte.
fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before[before.rfind('\n').map_or(0, |at| at + 1)..].chars().count() + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_template_is_a_place_in_its_file() {
        for (written, body, (line, byte)) in [
            (
                r#"  contents = "a {{ secret \"x\" }} {{ HERE }}""#,
                "a {{ secret \"x\" }} {{ HERE }}",
                (1, 22),
            ),
            (r#"c = "é\né\t{{ HERE }}""#, "é\né\t{{ HERE }}", (2, 6)),
            (r#"c = "\u00e9\x41\101{{ HERE }}""#, "éAA{{ HERE }}", (1, 7)),
            ("c = <<END\nfirst\nü {{ HERE }}\nEND\n", "first\nü {{ HERE }}\n", (2, 6)),
            ("c = <<-END\n    first\n    b {{ HERE }}\n    END\n", "first\nb {{ HERE }}\n", (2, 5)),
        ] {
            let file = File { path: "a.hcl".into(), text: written.into() };
            let start = written.find(['"', '<']).unwrap();
            let text = Text::within(file, body, position(written, start));
            let at = text.at((line, byte));
            let found = &written[offset_of(written, at)..];
            assert!(found.starts_with("HERE"), "{written}: {at} {found}");
        }
    }
}
