//! HCL in its canonical form, comments kept.

mod printer;
mod tree;

use crate::{Error, MAX_SIZE, parser};

/// `text` in HCL1's canonical form: two spaces a level, `=` of neighbouring lines aligned, one
/// empty line between blocks. Comments stay; of several ways to write a thing, such as quoted
/// keys, each stays as it is. JSON has no such form and is read as the HCL that it is not.
///
/// # Errors
/// As [`crate::parse`]; a key that is set twice.
pub fn format(text: &str) -> Result<String, Error> {
    if text.len() > MAX_SIZE {
        return Err(Error::bare(format!("text is longer than {MAX_SIZE} bytes")));
    }
    parser::parse(text)?;
    let text = text.replace("\r\n", "\n");
    Ok(printer::print(&tree::read(&text)?))
}

#[cfg(test)]
mod tests;
