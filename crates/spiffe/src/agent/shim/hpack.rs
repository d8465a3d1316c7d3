//! Header fields as HPACK writes them (RFC 7541), as far as finding `:authority` takes.

use std::collections::VecDeque;

use http::uri::Authority;

use super::huffman;

const AUTHORITY: &[u8] = b":authority";
/// What an entry of the dynamic table counts for beside its name and value (section 4.1).
const ENTRY_OVERHEAD: usize = 32;
/// The dynamic table's size until the decoder asks for another, which `h2` does not.
const TABLE_SIZE: usize = 4096;

/// The names of the static table (appendix A), the first of which has index 1.
const STATIC_NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// The decoder's dynamic table, as far as it matters here: how large each entry is, and whether its
/// name is `:authority`, so that a later field may refer to that name.
///
/// Values are not kept: one that was replaced when it entered the table is legal in `h2`'s table.
#[derive(Debug)]
pub(super) struct HeaderTable {
    /// The newest first, as they are counted.
    entries: VecDeque<Name>,
    size: usize,
    limit: usize,
}

/// The name of a field, and what its entry counts for.
#[derive(Debug, Clone, Copy)]
struct Name {
    is_authority: bool,
    length: usize,
    /// The size of the entry; 0 while it is in no table.
    entry: usize,
}

impl Default for HeaderTable {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE_SIZE }
    }
}

impl HeaderTable {
    /// Replaces what is illegal in each `:authority` of a whole header block.
    ///
    /// None: this is no header block, and neither is what follows on the connection to be understood.
    pub(super) fn rewrite(&mut self, block: &mut [u8]) -> Option<()> {
        let mut at = 0;
        while let Some(&first) = block.get(at) {
            match first {
                // An indexed field: its value was legal, or was made so, when it entered the table.
                0x80.. => {
                    let index = integer(block, &mut at, 7)?;
                    self.name(index)?;
                }
                0x40.. => {
                    let mut name = self.literal_name(block, &mut at, 6)?;
                    let value = self.value(block, &mut at, name.is_authority, true)?;
                    name.entry = name.length + value + ENTRY_OVERHEAD;
                    self.insert(name);
                }
                0x20.. => {
                    let limit = integer(block, &mut at, 5)?;
                    if limit > TABLE_SIZE {
                        return None;
                    }
                    self.limit = limit;
                    self.evict(0);
                }
                _ => {
                    let name = self.literal_name(block, &mut at, 4)?;
                    self.value(block, &mut at, name.is_authority, false)?;
                }
            }
        }
        Some(())
    }

    /// The name with this index, in the static or the dynamic table.
    fn name(&self, index: usize) -> Option<Name> {
        let index = index.checked_sub(1)?;
        if let Some(name) = STATIC_NAMES.get(index) {
            return Some(Name { is_authority: index == 0, length: name.len(), entry: 0 });
        }
        self.entries.get(index - STATIC_NAMES.len()).copied()
    }

    fn literal_name(&self, block: &[u8], at: &mut usize, prefix: u32) -> Option<Name> {
        let index = integer(block, at, prefix)?;
        if index != 0 {
            return self.name(index);
        }
        let (text, is_huffman) = string(block, at)?;
        let text = &block[text];
        if !is_huffman {
            return Some(Name { is_authority: text == AUTHORITY, length: text.len(), entry: 0 });
        }
        let mut decoded = Vec::new();
        huffman::decode(text, |symbol, _| decoded.push(symbol))?;
        Some(Name { is_authority: decoded == AUTHORITY, length: decoded.len(), entry: 0 })
    }

    /// Steps over a value, which is made legal where it `is_authority`. Returns its decoded length,
    /// or 0 where nobody `counts` it.
    fn value(
        &self,
        block: &mut [u8],
        at: &mut usize,
        is_authority: bool,
        counts: bool,
    ) -> Option<usize> {
        let (range, is_huffman) = string(block, at)?;
        let text = &mut block[range];
        if is_authority {
            return make_legal(text, is_huffman);
        }
        let mut length = 0;
        match (is_huffman, counts) {
            (true, true) => huffman::decode(text, |_, _| length += 1)?,
            (true, false) => {}
            (false, _) => length = text.len(),
        }
        Some(length)
    }

    fn insert(&mut self, name: Name) {
        self.evict(name.entry);
        // An entry larger than the table empties it, and is not in it (section 4.4).
        if name.entry <= self.limit {
            self.size += name.entry;
            self.entries.push_front(name);
        }
    }

    /// Makes room for an entry of this size.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.limit {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.entry;
        }
    }
}

/// An integer with a prefix of so many bits (section 5.1). None: it does not end, or is absurd.
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1u8 << prefix) - 1;
    let mut value = usize::from(block.get(*at)? & mask);
    *at += 1;
    if value < usize::from(mask) {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Where a string literal's bytes are, and whether they are Huffman-coded (section 5.2).
fn string(block: &[u8], at: &mut usize) -> Option<(std::ops::Range<usize>, bool)> {
    let is_huffman = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let end = at.checked_add(length).filter(|end| *end <= block.len())?;
    let range = *at..end;
    *at = end;
    Some((range, is_huffman))
}

/// Replaces what is illegal in an authority, at the same length, also of what it decodes to. Returns
/// that length.
fn make_legal(text: &mut [u8], is_huffman: bool) -> Option<usize> {
    if !is_huffman {
        if Authority::try_from(&*text).is_err() {
            for byte in text.iter_mut().filter(|byte| !is_plain(**byte)) {
                *byte = b'-';
            }
        }
        return Some(text.len());
    }
    let mut decoded = Vec::new();
    huffman::decode(text, |symbol, bit| decoded.push((symbol, bit)))?;
    let symbols: Vec<u8> = decoded.iter().map(|(symbol, _)| *symbol).collect();
    if Authority::try_from(&*symbols).is_err() {
        let length = |symbol: u8| huffman::LENGTHS[usize::from(symbol)];
        for (symbol, bit) in decoded.into_iter().filter(|(symbol, _)| !is_plain(*symbol)) {
            // A letter whose code is as long. Where there is none the rest stays illegal: no client
            // sends such bytes, and `h2` refuses them.
            let stand_in = match length(symbol) {
                6 => b'-',
                7 => b'x',
                8 => b'X',
                10 => b'!',
                11 => b'+',
                13 => b'~',
                _ => continue,
            };
            huffman::write(text, bit, stand_in);
        }
    }
    Some(symbols.len())
}

/// Whether a byte is legal wherever it stands in an authority.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
