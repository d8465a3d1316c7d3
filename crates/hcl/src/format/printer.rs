//! Writing a tree in canonical form: the same layout, to the byte, that HCL1's own printer makes.

use super::tree::{Comments, Item, Literal, Tree, Value};
use crate::Position;
use crate::token::Kind;

/// What a level is indented by.
const INDENT: &str = "  ";
/// Stands before a line that keeps its place: inside a heredoc, or a comment of several lines. No
/// text holds it, for the scanner refuses it.
const KEEP: char = '\u{E123}';

/// The whole text, with a newline at its end.
pub(super) fn print(tree: &Tree<'_>) -> String {
    let start = Position { line: 0, column: 0 };
    let mut printer = Printer { alone: &tree.alone, behind: start };
    let text = printer.file(&tree.items);
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.split('\n') {
        out.push_str(line.split_once(KEEP).map_or(line, |(_, kept)| kept));
        out.push('\n');
    }
    out
}

struct Printer<'a> {
    alone: &'a [Comments<'a>],
    /// Comments up to here have been printed.
    behind: Position,
}

impl<'a> Printer<'a> {
    /// The items of a file.
    fn file(&mut self, items: &[Item<'_>]) -> String {
        let mut out = String::new();
        for index in 0..=items.len() {
            let next = items.get(index);
            for group in self.alone {
                let comments = self.between(group, next.map(Item::position));
                if comments.is_empty() {
                    continue;
                }
                // At the end, below what came before; the first one begins the file.
                if next.is_none() && self.behind.line > 0 {
                    out.push_str("\n\n");
                }
                for (_, comment) in comments {
                    out.push_str(comment);
                    out.push('\n');
                }
                if next.is_some() {
                    out.push('\n');
                }
            }
            let Some(item) = next else { break };
            self.behind = item.position();
            out.push_str(&self.item(item));
            if let Some(next) = items.get(index + 1) {
                out.push('\n');
                let adjoins = next.position().line == item.position().line + 1;
                if !(adjoins && is_empty_block(next) && is_empty_block(item)) {
                    out.push('\n');
                }
            }
        }
        out
    }

    /// The comments of `group` that are due before `next`.
    fn between(&self, group: &Comments<'a>, next: Option<Position>) -> Vec<(Position, &'a str)> {
        let comments = group.0.iter();
        let due = comments.filter(|comment| {
            comment.position > self.behind && next.is_none_or(|next| comment.position < next)
        });
        due.map(|comment| (comment.position, comment.text)).collect()
    }

    fn item(&mut self, item: &Item<'_>) -> String {
        let mut out = leading(&item.lead);
        let shares_line = item.value.position().line == item.position().line;
        if !shares_line {
            out.push_str(&leading(&item.line));
        }
        for key in &item.keys {
            out.push_str(key.text);
            out.push(' ');
        }
        if item.has_assign {
            out.push_str("= ");
        }
        out.push_str(&self.value(&item.value));
        if let Some(line) = item.line.as_ref().filter(|_| shares_line) {
            out.push(' ');
            out.extend(line.0.iter().map(|comment| comment.text));
        }
        out
    }

    fn value(&mut self, value: &Value<'_>) -> String {
        match value {
            Value::Literal(literal) => text(literal),
            Value::List { open, elements } => match is_one_line(*open, elements) {
                true => self.short_list(elements),
                false => self.list(elements),
            },
            Value::Object { items, close, .. } => self.object(items, *close),
        }
    }

    fn object(&mut self, items: &[Item<'_>], close: Position) -> String {
        let mut out = String::from("{");
        let mut index = 0;
        let (mut begun, mut commented) = (false, false);
        loop {
            let next = items.get(index).map_or(close, Item::position);
            for group in self.alone {
                let comments = self.between(group, Some(next));
                let Some((last, _)) = comments.last().copied() else { continue };
                for (_, comment) in comments {
                    if !begun {
                        begun = true;
                        out.push('\n');
                    }
                    if index > 0 {
                        commented = true;
                        out.push('\n');
                    }
                    out.push_str(&indented(&kept(comment)));
                }
                out.push('\n');
                if next != close && next.line != last.line + 1 {
                    out.push('\n');
                }
            }
            if index == items.len() {
                self.behind = close;
                break;
            }
            if !begun {
                begun = true;
                out.push('\n');
            }
            let together = self.neighbours(items, index);
            let first = index;
            index += together;
            // Apart from what stands above, unless a comment sees to that.
            if !commented && first > 0 {
                out.push('\n');
            }
            if together > 0 {
                self.behind = items[index - 1].position();
                let aligned = self.aligned(&items[first..index]);
                out.push_str(&indented(&aligned));
            } else {
                self.behind = items[index].position();
                let item = self.item(&items[index]);
                out.push_str(&indented(&item));
                index += 1;
            }
            out.push('\n');
        }
        out.push('}');
        out
    }

    /// How many items from `first` on are short and stand on lines one below the other.
    fn neighbours(&mut self, items: &[Item<'_>], first: usize) -> usize {
        if items.len() == 1 {
            return 0;
        }
        let line = |index: usize| items.get(index).map(|item| item.position().line);
        let mut index = first;
        while let Some(item) = items.get(index) {
            // Itself, and perhaps a comment that leads it.
            if self.item(item).matches('\n').count() > 1 {
                break;
            }
            let here = item.position().line;
            let above = index.checked_sub(1).and_then(line);
            if line(index + 1) == Some(here + 1) {
                index += 1;
            } else if above.is_some_and(|above| above + 1 == here) {
                index += 1;
                break;
            } else {
                break;
            }
        }
        index - first
    }

    /// Items one below the other, their values and the comments behind them in columns.
    fn aligned(&mut self, items: &[Item<'_>]) -> String {
        let values: Vec<_> = items.iter().map(|item| self.value(&item.value)).collect();
        let key_width = items.iter().map(|item| item.keys[0].text.len()).max().unwrap_or_default();
        let value_width = values.iter().map(String::len).max().unwrap_or_default();
        let mut lines = Vec::new();
        for (item, value) in items.iter().zip(&values) {
            let mut out = leading(&item.lead);
            for key in &item.keys {
                out.push_str(key.text);
                pad(&mut out, (key_width + 1).saturating_sub(key.text.len()));
            }
            if item.keys.len() == 1 {
                out.push_str("= ");
            }
            out.push_str(value);
            if let Some(line) = &item.line
                && item.value.position().line == item.position().line
            {
                pad(&mut out, value_width - value.len() + 1);
                out.extend(line.0.iter().map(|comment| comment.text));
            }
            lines.push(out);
        }
        lines.join("\n")
    }

    fn list(&mut self, elements: &[Value<'_>]) -> String {
        let literal = |value: &Value<'_>| match value {
            Value::Literal(literal) => literal.token.text.len(),
            _ => 0,
        };
        let width = elements.iter().map(literal).max().unwrap_or_default();
        let mut out = String::from("[\n");
        let mut is_apart = false;
        for (index, element) in elements.iter().enumerate() {
            let literal = match element {
                Value::Literal(literal) => Some(literal),
                _ => None,
            };
            let lead = literal.and_then(|literal| literal.lead.as_ref());
            if let Some(lead) = lead {
                if !is_apart && index > 0 {
                    out.push('\n');
                }
                for comment in &lead.0 {
                    out.push_str(&indented(comment.text));
                    out.push('\n');
                }
            }
            let value = self.value(element);
            out.push_str(&indented(&value));
            // A heredoc's last line holds nothing else.
            let is_heredoc = literal.is_some_and(|literal| literal.token.kind == Kind::Heredoc);
            if is_heredoc {
                out.push('\n');
                out.push_str(INDENT);
            }
            out.push(',');
            if let Some(line) = literal.and_then(|literal| literal.line.as_ref()) {
                pad(&mut out, 1 + width.saturating_sub(value.len()));
                out.extend(line.0.iter().map(|comment| comment.text));
            }
            out.push('\n');
            is_apart = lead.is_some() && index + 1 < elements.len();
            if is_apart {
                out.push('\n');
            }
        }
        out.push(']');
        out
    }

    fn short_list(&mut self, elements: &[Value<'_>]) -> String {
        let mut parts = Vec::new();
        for element in elements {
            let mut value = self.value(element);
            if matches!(element, Value::Literal(literal) if literal.token.kind == Kind::Heredoc) {
                value.push('\n');
            }
            parts.push(value);
        }
        format!("[{}]", parts.join(", "))
    }
}

/// A literal as it was written; further lines of it keep their place.
fn text(literal: &Literal<'_>) -> String {
    let text = literal.token.text;
    match literal.token.kind {
        Kind::Heredoc => kept(text.strip_suffix('\n').unwrap_or(text)),
        Kind::String => kept(text),
        _ => text.to_owned(),
    }
}

/// A list that was written on one line and can be again.
fn is_one_line(open: Position, elements: &[Value<'_>]) -> bool {
    elements.iter().all(|element| match element {
        Value::Literal(literal) => {
            literal.token.position.line == open.line
                && (literal.token.kind != Kind::Heredoc || elements.len() == 1)
                && literal.line.is_none()
        }
        _ => false,
    })
}

/// A block with nothing in it and no comment above: such may stand close together.
fn is_empty_block(item: &Item<'_>) -> bool {
    let is_empty = matches!(&item.value, Value::Object { items, .. } if items.is_empty());
    item.lead.is_none() && !item.has_assign && is_empty
}

/// Comments above something.
fn leading(comments: &Option<Comments<'_>>) -> String {
    let comments = comments.iter().flat_map(|group| &group.0);
    comments.map(|comment| format!("{}\n", comment.text)).collect()
}

/// `text`, whose lines but the first are not to be indented.
fn kept(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push(KEEP);
            out.push_str(line);
        }
    }
    out
}

/// `text` one level deeper.
fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.push_str(INDENT);
            out.push_str(line);
        }
    }
    out
}

fn pad(out: &mut String, width: usize) {
    out.extend(std::iter::repeat_n(' ', width));
}
