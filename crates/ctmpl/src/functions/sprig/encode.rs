//! Encodings and hashes.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Text};
use crate::functions::encode::decode;
use crate::run::Run;
use crate::{Value, json};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_b64enc", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len() / 3 * 4)?;
        Ok(Value::text(STANDARD.encode(arguments[0].bytes())))
    }),
    // What is no base64 becomes the error's text.
    Function::derives("sprig_b64dec", &[Text], |_, arguments| {
        Ok(Value::text(decode(arguments[0].bytes(), false).unwrap_or_else(String::into_bytes)))
    }),
    Function::derives("sprig_b32enc", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len() / 5 * 8)?;
        Ok(Value::text(base32_encode(arguments[0].bytes())))
    }),
    Function::derives("sprig_b32dec", &[Text], |_, arguments| {
        Ok(Value::text(base32_decode(arguments[0].bytes()).unwrap_or_else(String::into_bytes)))
    }),
    Function::derives("sprig_sha1sum", &[Text], |_, arguments| {
        Ok(hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, &arguments[0]))
    }),
    Function::derives("sprig_sha256sum", &[Text], |_, arguments| {
        Ok(hash(&digest::SHA256, &arguments[0]))
    }),
    Function::derives("sprig_sha512sum", &[Text], |_, arguments| {
        Ok(hash(&digest::SHA512, &arguments[0]))
    }),
    Function::derives("sprig_adler32sum", &[Text], |_, arguments| {
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in arguments[0].bytes() {
            low = (low + u32::from(*byte)) % 65521;
            high = (high + low) % 65521;
        }
        Ok(Value::text((high << 16 | low).to_string()))
    }),
    Function::derives("sprig_toJson", &[Any], |run, arguments| {
        lenient(write(run, &arguments[0], false, true))
    }),
    Function::derives("sprig_mustToJson", &[Any], |run, arguments| {
        write(run, &arguments[0], false, true)
    }),
    Function::derives("sprig_toPrettyJson", &[Any], |run, arguments| {
        lenient(write(run, &arguments[0], true, true))
    }),
    Function::derives("sprig_mustToPrettyJson", &[Any], |run, arguments| {
        write(run, &arguments[0], true, true)
    }),
    Function::derives("sprig_toRawJson", &[Any], |run, arguments| {
        write(run, &arguments[0], false, false)
    }),
    Function::derives("sprig_mustToRawJson", &[Any], |run, arguments| {
        write(run, &arguments[0], false, false)
    }),
    Function::derives("sprig_fromJson", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len())?;
        match json::parse(&mut run.budget, arguments[0].bytes()) {
            Err(Fault::Limit(limit)) => Err(limit.into()),
            parsed => Ok(parsed.unwrap_or_default()),
        }
    })
    .boxed(),
    Function::derives("sprig_mustFromJson", &[Text], |run, arguments| {
        run.budget.allow(arguments[0].bytes().len())?;
        json::parse(&mut run.budget, arguments[0].bytes())
    })
    .boxed(),
];

fn write(run: &mut Run<'_>, value: &Value, pretty: bool, html: bool) -> Result<Value, Fault> {
    json::write(&mut run.budget, value, json::Style { pretty, html }).map(Value::text)
}

/// Nothing for what cannot be written; limits stay errors.
fn lenient(written: Result<Value, Fault>) -> Result<Value, Fault> {
    match written {
        Err(Fault::Message(_)) => Ok(Value::text("")),
        other => other,
    }
}

fn hash(algorithm: &'static digest::Algorithm, value: &Value) -> Value {
    Value::text(hex::encode(digest::digest(algorithm, value.bytes())))
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32_encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        let digits = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = usize::try_from(bits >> (35 - index * 5) & 31).unwrap_or(0);
            out.push(if index < digits { BASE32[digit] } else { b'=' });
        }
    }
    out
}

fn base32_decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let fault = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    let text: Vec<u8> =
        text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let mut out = Vec::with_capacity(text.len() / 8 * 5);
    for (number, group) in text.chunks(8).enumerate() {
        let start = number * 8;
        let digits = group.iter().position(|byte| *byte == b'=').unwrap_or(group.len());
        let mut bits = 0_u64;
        for (index, byte) in group[..digits].iter().enumerate() {
            let Some(digit) = BASE32.iter().position(|known| known == byte) else {
                return fault(start + index);
            };
            bits |= (digit as u64) << (35 - index * 5);
        }
        let bytes = match digits {
            8 => 5,
            7 => 4,
            5 => 3,
            4 => 2,
            2 => 1,
            _ => return fault(start + digits),
        };
        if group.len() < 8 {
            return fault(text.len());
        }
        if group[digits..].iter().any(|byte| *byte != b'=')
            || (digits < 8 && start + 8 < text.len())
        {
            return fault(start + digits);
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + bytes]);
    }
    Ok(out)
}
