//! Integers, floats and complex numbers.

use super::printer::Printer;
use crate::text::number::format_float;
use crate::text::{quote, rune};

/// An integer by one of its verbs; false if it is none.
pub(super) fn integer(
    printer: &mut Printer,
    magnitude: u64,
    negative: bool,
    signed: bool,
    verb: char,
) -> bool {
    match verb {
        'v' if printer.flags.go_syntax && !signed => {
            let sharp = std::mem::replace(&mut printer.flags.sharp, true);
            in_base(printer, magnitude, negative, 'x');
            printer.flags.sharp = sharp;
        }
        'v' | 'd' => in_base(printer, magnitude, negative, 'd'),
        'b' | 'o' | 'O' | 'x' | 'X' => in_base(printer, magnitude, negative, verb),
        'c' | 'q' | 'U' => {
            let code = if negative { magnitude.wrapping_neg() } else { magnitude };
            match verb {
                'c' => {
                    let mut text = Vec::new();
                    rune::push(&mut text, quote::character(code));
                    printer.pad(&text);
                }
                'q' => {
                    let text = quote::quote_rune(code, printer.flags.plus);
                    printer.pad(text.as_bytes());
                }
                _ => unicode(printer, code),
            }
        }
        _ => return false,
    }
    true
}

fn in_base(printer: &mut Printer, magnitude: u64, negative: bool, verb: char) {
    let flags = printer.flags;
    let signed = negative || flags.plus || flags.space;
    let mut digits = 0;
    if let Some(precision) = flags.precision {
        digits = precision;
        if precision == 0 && magnitude == 0 {
            printer.fill(b' ', flags.width.unwrap_or(0));
            return;
        }
    } else if flags.zero
        && !flags.minus
        && let Some(width) = flags.width
    {
        digits = width.saturating_sub(usize::from(signed));
    }
    let plain = match verb {
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        _ => magnitude.to_string(),
    };
    let mut text = String::with_capacity(digits.max(plain.len()) + 3);
    if negative {
        text.push('-');
    } else if flags.plus {
        text.push('+');
    } else if flags.space {
        text.push(' ');
    }
    if verb == 'O' {
        text.push_str("0o");
    }
    let zeros = digits.saturating_sub(plain.len());
    if flags.sharp {
        text.push_str(match verb {
            'b' => "0b",
            'x' => "0x",
            'X' => "0X",
            'o' | 'O' if zeros == 0 && !plain.starts_with('0') => "0",
            _ => "",
        });
    }
    text.extend(std::iter::repeat_n('0', zeros));
    text.push_str(&plain);
    printer.pad_with_spaces(text.as_bytes());
}

/// `U+0078`, or `U+0078 'x'`.
fn unicode(printer: &mut Printer, code: u64) {
    let digits = printer.flags.precision.map_or(4, |precision| precision.max(4));
    let plain = format!("{code:X}");
    let mut text = String::from("U+");
    text.extend(std::iter::repeat_n('0', digits.saturating_sub(plain.len())));
    text.push_str(&plain);
    if printer.flags.sharp
        && let Some(character) = u32::try_from(code).ok().and_then(char::from_u32)
        && rune::is_print(character)
    {
        text.push_str(" '");
        text.push(character);
        text.push('\'');
    }
    printer.pad_with_spaces(text.as_bytes());
}

/// A float by one of its verbs; false if it is none.
pub(super) fn float(printer: &mut Printer, value: f64, verb: char) -> bool {
    let (format, precision) = match verb {
        'v' => (b'g', None),
        'b' => (b'b', None),
        'g' => (b'g', None),
        'G' => (b'G', None),
        'x' => (b'x', None),
        'X' => (b'X', None),
        'f' | 'F' => (b'f', Some(6)),
        'e' => (b'e', Some(6)),
        'E' => (b'E', Some(6)),
        _ => return false,
    };
    with_sign(printer, value, format, printer.flags.precision.or(precision));
    true
}

fn with_sign(printer: &mut Printer, value: f64, format: u8, precision: Option<usize>) {
    let flags = printer.flags;
    let number = format_float(value, format, precision);
    let (mut sign, mut body) = match number.as_bytes() {
        [b'-', rest @ ..] => (b'-', rest.to_vec()),
        [b'+', rest @ ..] => (b'+', rest.to_vec()),
        all => (b'+', all.to_vec()),
    };
    if flags.space && sign == b'+' && !flags.plus {
        sign = b' ';
    }
    if value.is_nan() || value.is_infinite() {
        // Infinities have a sign always.
        if flags.space || flags.plus || value.is_infinite() {
            body.insert(0, sign);
        }
        return printer.pad_with_spaces(&body);
    }
    if flags.sharp && format != b'b' {
        body = with_point(&body, format, precision);
    }
    if flags.plus || sign != b'+' {
        if flags.zero
            && !flags.minus
            && let Some(missing) =
                flags.width.and_then(|width| width.checked_sub(body.len() + 1)).filter(|n| *n > 0)
        {
            printer.write(&[sign]);
            printer.fill(b'0', missing);
            printer.write(&body);
            return;
        }
        body.insert(0, sign);
    }
    printer.pad(&body);
}

/// The `#` flag: a decimal point always, and for `%g` zeros at the end.
fn with_point(body: &[u8], format: u8, precision: Option<usize>) -> Vec<u8> {
    let mut digits = match format {
        b'g' | b'G' | b'x' => i64::try_from(precision.unwrap_or(6)).unwrap_or(i64::MAX),
        _ => 0,
    };
    let hexadecimal = matches!(format, b'x' | b'X');
    let exponent = body.iter().position(|byte| match byte {
        b'p' | b'P' => true,
        b'e' | b'E' => !hexadecimal,
        _ => false,
    });
    let (mantissa, tail) = body.split_at(exponent.unwrap_or(body.len()));
    let (mut point, mut nonzero) = (false, false);
    for byte in mantissa {
        if *byte == b'.' {
            point = true;
            continue;
        }
        nonzero |= *byte != b'0';
        digits -= i64::from(nonzero);
    }
    let mut out = mantissa.to_vec();
    if !point {
        digits -= i64::from(mantissa == b"0");
        out.push(b'.');
    }
    out.extend(std::iter::repeat_n(b'0', usize::try_from(digits).unwrap_or(0)));
    out.extend_from_slice(tail);
    out
}

/// A complex number by one of its verbs; false if it is none.
pub(super) fn complex(printer: &mut Printer, real: f64, imaginary: f64, verb: char) -> bool {
    if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
        return false;
    }
    printer.write(b"(");
    float(printer, real, verb);
    let plus = std::mem::replace(&mut printer.flags.plus, true);
    float(printer, imaginary, verb);
    printer.write(b"i)");
    printer.flags.plus = plus;
    true
}
