//! The `metadata` of a secret id, which its tokens carry.

use std::collections::BTreeMap;

use holdfast_logical::Error;

/// Reads metadata: a JSON object of strings, or `key=value` pairs with commas between them.
///
/// # Errors
/// 400: it is neither.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, Error> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    if let Ok(map) = serde_json::from_str(text) {
        return Ok(map);
    }
    if let Ok(map) = serde_json::from_str::<BTreeMap<String, Option<String>>>(text)
        && let Some((key, _)) = map.iter().find(|(_, value)| value.is_none())
    {
        return Err(Error::invalid(format!(
            "failed to parse metadata: invalid value for key {key:?}"
        )));
    }
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect::<Option<_>>().ok_or_else(|| {
        Error::invalid(
            "failed to parse metadata: failed to parse the input: invalid <key,value> format",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_pairs_are_read() {
        for (text, want) in [
            ("", Some(&[][..])),
            (r#"{"a":"b"}"#, Some(&[("a", "b")][..])),
            ("a=b, c=d=e", Some(&[("a", "b"), ("c", "d=e")][..])),
            (r#"{"a":1}"#, None),
            (r#"{"a":null}"#, None),
            ("bogus", None),
            ("=b", None),
        ] {
            let got = parse(text).ok();
            let own = |pairs: &[(&str, &str)]| {
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
            };
            assert_eq!(got, want.map(own), "{text:?}");
        }
    }
}
