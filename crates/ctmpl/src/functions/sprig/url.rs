//! URLs, taken apart and put together.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::Value;
use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Map, Text};
use crate::run::Run;
use crate::value::{Entries, Key, Kind};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_urlParse", &[Text], parse),
    Function::derives("sprig_urlJoin", &[Map], join),
];

/// What Go leaves as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// The same for the part behind `#`.
const FRAGMENT: &AsciiSet =
    &PATH.remove(b'?').remove(b'!').remove(b'(').remove(b')').remove(b'*').remove(b'\'');

fn parse(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(arguments[0].bytes())
        .map_err(|_| Fault::new("unable to parse url: it is not UTF-8"))?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Fault::new("unable to parse url: net/url: invalid control character in URL"));
    }
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| Fault::new("unable to parse url: invalid URL escape"))
    };
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let scheme_end = text.find(':').filter(|end| {
        let scheme = &text[..*end];
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    let (scheme, rest) = match scheme_end {
        Some(end) => (text[..end].to_lowercase(), &text[end + 1..]),
        None => (String::new(), text),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = [
        ("scheme", scheme.clone()),
        ("query", query.to_owned()),
        ("fragment", decode(fragment)?),
        ("host", String::new()),
        ("hostname", String::new()),
        ("userinfo", String::new()),
        ("path", String::new()),
        ("opaque", String::new()),
    ];
    let mut set = |name: &str, value: String| {
        if let Some((_, part)) = parts.iter_mut().find(|(part, _)| *part == name) {
            *part = value;
        }
    };
    if let Some(authority) = rest.strip_prefix("//") {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, path) = authority.split_at(end);
        let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let name = match (host.strip_prefix('['), host.rsplit_once(':')) {
            (Some(rest), _) => rest.split(']').next().unwrap_or_default(),
            (None, Some((name, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        set("userinfo", userinfo.to_owned());
        set("host", host.to_owned());
        set("hostname", name.to_owned());
        set("path", decode(path)?);
    } else if !scheme.is_empty() && !rest.starts_with('/') {
        set("opaque", rest.to_owned());
    } else {
        set("path", decode(rest)?);
    }
    let entries: Entries = parts
        .into_iter()
        .map(|(name, value)| (Key::text(name.as_bytes()), Value::text(value)))
        .collect();
    Ok(Value::dictionary(entries))
}

fn join(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let Kind::Map(map) = &arguments[0].kind else { return Ok(Value::text("")) };
    let part = |name: &str| match map.get(name.as_bytes()) {
        None => Ok(String::new()),
        Some(value) if value.as_bytes().is_some() => Ok(value.lossy()),
        Some(value) => {
            let kind = super::convert::kind(&value);
            Err(Fault::new(format!(
                "unable to parse {name} key, must be of type string, but {kind} found"
            )))
        }
    };
    let (scheme, host, path) = (part("scheme")?, part("host")?, part("path")?);
    let (query, opaque) = (part("query")?, part("opaque")?);
    let (fragment, userinfo) = (part("fragment")?, part("userinfo")?);
    let mut url = String::new();
    if !scheme.is_empty() {
        url.push_str(&format!("{scheme}:"));
    }
    if opaque.is_empty() {
        if !host.is_empty()
            || !userinfo.is_empty()
            || (!scheme.is_empty() && path.starts_with("//"))
        {
            url.push_str("//");
            if !userinfo.is_empty() {
                url.push_str(&format!("{userinfo}@"));
            }
            url.push_str(&host);
        }
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            url.push('/');
        }
        url.push_str(&utf8_percent_encode(&path, PATH).to_string());
    } else {
        url.push_str(&opaque);
    }
    if !query.is_empty() {
        url.push_str(&format!("?{query}"));
    }
    if !fragment.is_empty() {
        url.push_str(&format!("#{}", utf8_percent_encode(&fragment, FRAGMENT)));
    }
    Ok(Value::text(url))
}
