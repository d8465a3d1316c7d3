//! Base64, hashes, JSON.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use md5::{Digest as _, Md5};

use super::Function;
use super::Parameter::{Any, Text};
use crate::error::Fault;
use crate::run::Run;
use crate::value::Entries;
use crate::{Value, json};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("base64Encode", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len() / 3 * 4)?;
        Ok(Value::text(STANDARD.encode(arguments[0].bytes())))
    }),
    Function::derives("base64URLEncode", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len() / 3 * 4)?;
        Ok(Value::text(URL_SAFE.encode(arguments[0].bytes())))
    }),
    Function::derives("base64Decode", &[Text], |_, arguments| {
        let decoded = decode(arguments[0].bytes(), false);
        decoded.map(Value::text).map_err(|fault| Fault::new(format!("base64Decode: {fault}")))
    }),
    Function::derives("base64URLDecode", &[Text], |_, arguments| {
        let decoded = decode(arguments[0].bytes(), true);
        decoded.map(Value::text).map_err(|fault| Fault::new(format!("base64URLDecode: {fault}")))
    }),
    Function::derives("sha256Hex", &[Text], |_, arguments| {
        Ok(Value::text(hex::encode(digest::digest(&digest::SHA256, arguments[0].bytes()))))
    }),
    Function::derives("md5sum", &[Text], |_, arguments| {
        Ok(Value::text(hex::encode(Md5::digest(arguments[0].bytes()))))
    }),
    Function::derives("hmacSHA256Hex", &[Text, Text], |_, arguments| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, arguments[1].bytes());
        Ok(Value::text(hex::encode(hmac::sign(&key, arguments[0].bytes()))))
    }),
    Function::derives("toJSON", &[Any], |run, arguments| {
        write_json(run, "toJSON", &arguments[0], json::Style { pretty: false, html: true })
    }),
    Function::derives("toJSONPretty", &[Any], |run, arguments| {
        write_json(run, "toJSONPretty", &arguments[0], json::Style { pretty: true, html: true })
    }),
    Function::derives("toUnescapedJSON", &[Any], |run, arguments| {
        write_json(
            run,
            "toUnescapedJSON",
            &arguments[0],
            json::Style { pretty: false, html: false },
        )
    }),
    Function::derives("toUnescapedJSONPretty", &[Any], |run, arguments| {
        let style = json::Style { pretty: true, html: false };
        write_json(run, "toUnescapedJSONPretty", &arguments[0], style)
    }),
    Function::derives("parseJSON", &[Text], |run, arguments| {
        let text = arguments[0].bytes();
        run.budget.allow(text.len())?;
        if text.is_empty() {
            return Ok(Value::dictionary(Entries::new()));
        }
        json::parse(&mut run.budget, text)
    })
    .boxed(),
];

fn write_json(
    run: &mut Run<'_>,
    function: &str,
    value: &Value,
    style: json::Style,
) -> Result<Value, Fault> {
    json::write(&mut run.budget, value, style).map(Value::text).map_err(|fault| match fault {
        Fault::Message(message) => Fault::new(format!("{function}: {message}")),
        fault => fault,
    })
}

/// Go's decoder: padded, new lines skipped, and its words for the first byte that is wrong.
pub(super) fn decode(text: &[u8], url: bool) -> Result<Vec<u8>, String> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' if !url => Some(62),
        b'/' if !url => Some(63),
        b'-' if url => Some(62),
        b'_' if url => Some(63),
        _ => None,
    };
    let fault = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut bytes = text.iter().copied().enumerate();
    let mut next = || bytes.find(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    loop {
        let mut group = [0_u8; 4];
        for index in 0..4 {
            let Some((at, byte)) = next() else {
                return if index == 0 { Ok(out) } else { fault(text.len() - index) };
            };
            if let Some(digit) = value(byte) {
                group[index] = digit;
                continue;
            }
            if byte != b'=' || index < 2 {
                return fault(at);
            }
            if index == 2 {
                match next() {
                    Some((_, b'=')) => {}
                    Some((at, _)) => return fault(at),
                    None => return fault(text.len()),
                }
            }
            if let Some((at, _)) = next() {
                return fault(at);
            }
            out.push(group[0] << 2 | group[1] >> 4);
            if index == 3 {
                out.push(group[1] << 4 | group[2] >> 2);
            }
            return Ok(out);
        }
        out.push(group[0] << 2 | group[1] >> 4);
        out.push(group[1] << 4 | group[2] >> 2);
        out.push(group[2] << 6 | group[3]);
    }
}
