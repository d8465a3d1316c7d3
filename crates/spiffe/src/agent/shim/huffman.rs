//! HPACK's Huffman code (RFC 7541, appendix B).
//!
//! The code is canonical: symbols with codes of the same length have consecutive codes in their own
//! order, and each length goes on where the shorter one ended. So the lengths say everything.

/// How many bits the code of each byte has. The 257th symbol, which ends a string, has 30 ones, the
/// last code of all, and must not appear.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;

struct Code {
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// How many symbols have a code of this length.
    count: [u32; LONGEST + 1],
    /// The place of a length's first symbol in `symbols`.
    offset: [usize; LONGEST + 1],
    /// All bytes, by the length of their codes, then by themselves.
    symbols: [u8; 256],
    /// The code of each byte.
    codes: [u32; 256],
}

const CODE: Code = {
    let mut code = Code {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 256],
        codes: [0; 256],
    };
    let mut next = 0;
    let mut placed = 0;
    let mut length = 1;
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.offset[length] = placed;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                code.symbols[placed] = symbol as u8;
                code.codes[symbol] = next;
                code.count[length] += 1;
                next += 1;
                placed += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code
};

static TABLE: Code = CODE;

/// Calls `each` with every symbol of `text` and the bit at which its code begins.
///
/// None: this is no such text. It holds the symbol that ends a string, or ends in more than seven
/// bits, or other bits than ones, that are no symbol.
pub(super) fn decode(text: &[u8], mut each: impl FnMut(u8, usize)) -> Option<()> {
    let (mut code, mut length) = (0u32, 0usize);
    for (index, byte) in text.iter().enumerate() {
        for bit in 0..8 {
            code = code << 1 | u32::from(byte >> (7 - bit) & 1);
            length += 1;
            if length > LONGEST {
                return None;
            }
            let place = code.wrapping_sub(TABLE.first[length]);
            if place < TABLE.count[length] {
                let symbol = TABLE.symbols[TABLE.offset[length] + place as usize];
                each(symbol, index * 8 + bit + 1 - length);
                (code, length) = (0, 0);
            }
        }
    }
    (length < 8 && code == (1 << length) - 1).then_some(())
}

/// Writes the code of `symbol` at this bit of `text`, over a code of the same length.
pub(super) fn write(text: &mut [u8], at: usize, symbol: u8) {
    let length = usize::from(LENGTHS[usize::from(symbol)]);
    let code = TABLE.codes[usize::from(symbol)];
    for index in 0..length {
        let Some(byte) = text.get_mut((at + index) / 8) else { return };
        let mask = 0x80 >> ((at + index) % 8);
        match code >> (length - 1 - index) & 1 {
            1 => *byte |= mask,
            _ => *byte &= !mask,
        }
    }
}

#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    // All ones: what is left over is padding.
    let mut encoded = vec![0xff; bits.div_ceil(8)];
    let mut at = 0;
    for byte in text {
        write(&mut encoded, at, *byte);
        at += usize::from(LENGTHS[usize::from(*byte)]);
    }
    encoded
}
