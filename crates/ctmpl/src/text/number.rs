//! Go's `strconv`: numbers from text, with the bases and underscores of Go's literals, and floats
//! to text.

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not written as one.
    Syntax,
    /// It is too large for the type.
    Range,
}

impl Fault {
    /// Go's words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

/// Reads an unsigned number: in `base`, or by its prefix if `base` is 0.
pub(crate) fn parse_unsigned(text: &[u8], base: u32) -> Result<u64, Fault> {
    let mut digits = text;
    let mut radix = base;
    if base == 0 {
        radix = 10;
        if let [b'0', rest @ ..] = text {
            (radix, digits) = match rest {
                [b'b' | b'B', _, ..] => (2, &text[2..]),
                [b'o' | b'O', _, ..] => (8, &text[2..]),
                [b'x' | b'X', _, ..] => (16, &text[2..]),
                _ => (8, rest),
            };
            if rest.is_empty() {
                return Ok(0);
            }
        }
    }
    if digits.is_empty() {
        return Err(Fault::Syntax);
    }
    let mut value = Some(0_u64);
    let mut underscores = false;
    for &byte in digits {
        if byte == b'_' && base == 0 {
            underscores = true;
            continue;
        }
        let digit = char::from(byte).to_digit(radix).ok_or(Fault::Syntax)?;
        value = value
            .and_then(|value| value.checked_mul(u64::from(radix)))
            .and_then(|value| value.checked_add(u64::from(digit)));
        if value.is_none() {
            // Go stops at the digit that is too much; what follows is not looked at.
            return Err(Fault::Range);
        }
    }
    if underscores && !underscores_fit(text) {
        return Err(Fault::Syntax);
    }
    value.ok_or(Fault::Range)
}

/// Reads a signed number, like [`parse_unsigned`].
pub(crate) fn parse_signed(text: &[u8], base: u32) -> Result<i64, Fault> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = parse_unsigned(digits, base)?;
    if negative {
        0_i64.checked_sub_unsigned(value).ok_or(Fault::Range)
    } else {
        i64::try_from(value).map_err(|_| Fault::Range)
    }
}

/// Underscores stand between digits, or between the base's prefix and a digit.
fn underscores_fit(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let (mut saw, hex, text) = match text {
        [b'0', b'b' | b'B' | b'o' | b'O', rest @ ..] => (b'0', false, rest),
        [b'0', b'x' | b'X', rest @ ..] => (b'0', true, rest),
        _ => (b'^', false, text),
    };
    for &byte in text {
        if byte.is_ascii_digit() || (hex && byte.is_ascii_hexdigit()) {
            saw = b'0';
        } else if byte == b'_' {
            if saw != b'0' {
                return false;
            }
            saw = b'_';
        } else {
            if saw == b'_' {
                return false;
            }
            saw = b'!';
        }
    }
    saw != b'_'
}

/// Reads a float as Go's `strconv.ParseFloat`: decimal, hexadecimal, infinities, NaN.
pub(crate) fn parse_float(text: &[u8]) -> Result<f64, Fault> {
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    let lower = body.to_ascii_lowercase();
    match lower.as_slice() {
        b"inf" | b"infinity" => return Ok(signed(f64::INFINITY)),
        b"nan" if body.len() == text.len() => return Ok(f64::NAN),
        _ => {}
    }
    if lower.contains(&b'_') && !underscores_fit(body) {
        return Err(Fault::Syntax);
    }
    let plain: Vec<u8> = lower.iter().copied().filter(|byte| *byte != b'_').collect();
    let value = match plain.strip_prefix(b"0x") {
        Some(digits) => parse_hex_float(digits)?,
        None => parse_decimal_float(&plain)?,
    };
    if value.is_infinite() { Err(Fault::Range) } else { Ok(signed(value)) }
}

fn parse_decimal_float(text: &[u8]) -> Result<f64, Fault> {
    // Rust reads the same decimal forms, and "inf" and "nan", which are not digits.
    if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'))
        || text.first().is_some_and(|byte| matches!(byte, b'+' | b'-' | b'e'))
    {
        return Err(Fault::Syntax);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Fault::Syntax)
}

fn parse_hex_float(text: &[u8]) -> Result<f64, Fault> {
    let split = text.iter().position(|byte| *byte == b'p').ok_or(Fault::Syntax)?;
    let (digits, exponent) = (&text[..split], &text[split + 1..]);
    let unsigned = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Syntax);
    }
    let magnitude = unsigned
        .iter()
        .fold(0_i64, |value, byte| (value * 10 + i64::from(byte - b'0')).min(100_000));
    let mut exponent = if exponent.starts_with(b"-") { -magnitude } else { magnitude };
    // The first 60 bits of the mantissa, and whether anything follows them: enough to round right.
    let (mut mantissa, mut rest, mut point, mut any) = (0_u64, false, false, false);
    for &byte in digits {
        if byte == b'.' {
            if point {
                return Err(Fault::Syntax);
            }
            point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16).ok_or(Fault::Syntax)?;
        any = true;
        if mantissa < 1 << 56 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if point { 4 } else { 0 };
        } else {
            rest |= digit != 0;
            exponent += if point { 0 } else { 4 };
        }
    }
    if !any {
        return Err(Fault::Syntax);
    }
    Ok(scale(mantissa, rest, exponent))
}

/// `mantissa * 2^exponent`, rounded once, to even.
fn scale(mantissa: u64, rest: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    // The exponent of the last bit that the result keeps.
    let last = (exponent + bits - 53).max(-1074);
    let drop = last - exponent;
    let kept = if drop <= 0 {
        return ldexp(mantissa, exponent);
    } else if drop > 63 {
        return 0.0;
    } else {
        let (kept, lost) = (mantissa >> drop, mantissa & ((1 << drop) - 1));
        let half = 1_u64 << (drop - 1);
        kept + u64::from(lost > half || (lost == half && (rest || kept & 1 == 1)))
    };
    ldexp(kept, last)
}

/// `mantissa * 2^exponent` where that is exact but for overflow.
fn ldexp(mantissa: u64, exponent: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 53 bits come here")]
    let mut value = mantissa as f64;
    let mut exponent = exponent.clamp(-3000, 3000);
    while exponent > 0 {
        let step = exponent.min(1000);
        value *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        exponent -= step;
    }
    while exponent < 0 {
        let step = exponent.max(-1000);
        value *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        exponent -= step;
    }
    value
}

/// A float as Go's `strconv.FormatFloat` writes it. `precision` is `None` for the fewest digits
/// that read back as the same number. `format` is one of `b e E f g G x X`.
pub(crate) fn format_float(value: f64, format: u8, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    let (precision, zeros) = match precision {
        // A float has no digits beyond these, and Rust's formatting has a limit of its own.
        Some(precision) if precision > DIGITS => (Some(DIGITS), precision - DIGITS),
        _ => (precision, 0),
    };
    let mut body = match format {
        b'b' => binary(value),
        b'x' | b'X' => hexadecimal(value, format == b'X', precision),
        b'e' | b'E' => exponential(value, format, precision),
        b'f' => match precision {
            Some(precision) => format!("{value:.precision$}"),
            None => format!("{value}"),
        },
        _ => general(value, format, precision),
    };
    let end = match format {
        b'f' => body.len(),
        b'e' | b'E' | b'x' | b'X' => body
            .find(if matches!(format, b'e' | b'E') { ['e', 'E'] } else { ['p', 'P'] })
            .unwrap_or(body.len()),
        _ => return format!("{sign}{body}"),
    };
    if zeros > 0 {
        body.insert_str(end, &"0".repeat(zeros));
    }
    format!("{sign}{body}")
}

/// More decimal digits than any float has.
const DIGITS: usize = 1100;

/// The digits of a float and its decimal exponent: `(d.ddd, exponent)`.
fn digits(value: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

fn exponential(value: f64, format: u8, precision: Option<usize>) -> String {
    let (digits, exponent) = digits(value, precision);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{}{sign}{:02}", char::from(format), exponent.unsigned_abs())
}

fn general(value: f64, format: u8, precision: Option<usize>) -> String {
    let significant = precision.map(|precision| precision.max(1));
    let (text, exponent) = digits(value, significant.map(|count| count - 1));
    let plain: String = text.chars().filter(char::is_ascii_digit).collect();
    // `%g` drops zeros at the end.
    let plain = match plain.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let count = i32::try_from(plain.len()).unwrap_or(i32::MAX);
    let threshold = match significant {
        None => 6,
        Some(significant) => {
            let wanted = i32::try_from(significant).unwrap_or(i32::MAX);
            if wanted > count && count > exponent { count } else { wanted }
        }
    };
    if exponent < -4 || exponent >= threshold {
        let (first, rest) = plain.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        let letter = if format == b'G' { 'E' } else { 'e' };
        return format!("{first}{point}{rest}{letter}{sign}{:02}", exponent.unsigned_abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("0.{zeros}{plain}");
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if plain.len() <= whole {
        return format!("{plain}{}", "0".repeat(whole - plain.len()));
    }
    format!("{}.{}", &plain[..whole], &plain[whole..])
}

/// Mantissa of 53 bits and exponent: `value = mantissa * 2^exponent`.
fn parts(value: f64) -> (u64, i64) {
    let bits = value.to_bits();
    let exponent = i64::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    format!("{mantissa}p{exponent:+}")
}

fn hexadecimal(value: f64, upper: bool, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // One bit before the point, 60 behind it.
        let shift = i64::from(mantissa.leading_zeros()) - 3;
        mantissa <<= shift;
        exponent += 60 - shift;
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let drop = 60 - precision * 4;
        let (kept, lost) = (mantissa >> drop, mantissa & ((1 << drop) - 1));
        let half = 1_u64 << (drop - 1);
        mantissa = (kept + u64::from(lost > half || (lost == half && kept & 1 == 1))) << drop;
        if mantissa >= 1 << 61 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut fraction = format!("{:015x}", mantissa & ((1 << 60) - 1));
    match precision {
        Some(precision) if precision <= 15 => fraction.truncate(precision),
        Some(precision) => fraction.push_str(&"0".repeat(precision - 15)),
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text =
        format!("0x{}{point}{fraction}p{sign}{:02}", mantissa >> 60, exponent.unsigned_abs());
    if upper { text.to_uppercase() } else { text }
}
