//! Go's `fmt`: values as text, by verbs.

mod directive;
mod number;
mod printer;
mod text;
pub(crate) mod time;

use zeroize::Zeroize;

use crate::Value;
use crate::error::Exceeded;
use crate::run::Budget;
use crate::value::Kind;
use printer::Printer;

/// `fmt.Sprint`: a space between two values neither of which is text.
pub(crate) fn print(budget: &mut Budget<'_>, values: &[Value]) -> Result<Value, Exceeded> {
    let mut printer = Printer::new(budget.size_limit());
    let mut after_text = false;
    for (index, value) in values.iter().enumerate() {
        let text = matches!(value.kind, Kind::Text(..));
        if index > 0 && !text && !after_text {
            printer.write(b" ");
        }
        printer.argument(value, 'v');
        after_text = text;
    }
    finish(printer, budget)
}

/// `fmt.Sprintln`: spaces between all values, and a newline.
pub(crate) fn println(budget: &mut Budget<'_>, values: &[Value]) -> Result<Value, Exceeded> {
    let mut printer = Printer::new(budget.size_limit());
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.write(b" ");
        }
        printer.argument(value, 'v');
    }
    printer.write(b"\n");
    finish(printer, budget)
}

/// `fmt.Sprintf`.
pub(crate) fn printf(
    budget: &mut Budget<'_>,
    format: &[u8],
    values: &[Value],
) -> Result<Value, Exceeded> {
    let mut printer = Printer::new(budget.size_limit());
    directive::run(&mut printer, format, values);
    finish(printer, budget)
}

/// A value by a verb, for messages: cut after some thousand bytes.
pub(crate) fn brief(value: &Value, verb: char) -> String {
    const LIMIT: usize = 4096;
    let mut printer = Printer::new(LIMIT);
    printer.argument(value, verb);
    let (mut bytes, _) = printer.finish();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    bytes.zeroize();
    text
}

fn finish(printer: Printer, budget: &mut Budget<'_>) -> Result<Value, Exceeded> {
    let (mut bytes, exceeded) = printer.finish();
    match exceeded.map_or_else(|| budget.charge(bytes.len() as u64 / 16), Err) {
        Ok(()) => Ok(Value::text(bytes)),
        Err(exceeded) => {
            bytes.zeroize();
            Err(exceeded)
        }
    }
}
