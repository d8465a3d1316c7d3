use std::io;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::frames::Frames;
use super::hpack::HeaderTable;
use super::{Shim, huffman};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CORE: &str = "run%2Fspire%2Fsockets%2Fagent.sock";
const LEGAL: &str = "run-2Fspire-2Fsockets-2Fagent.sock";

fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1usize << prefix) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | most as u8];
    let mut left = value - most;
    while left >= 128 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn string(text: &str, is_huffman: bool) -> Vec<u8> {
    let bytes = if is_huffman { huffman::encode(text.as_bytes()) } else { text.into() };
    let mut encoded = integer(if is_huffman { 0x80 } else { 0 }, 7, bytes.len());
    encoded.extend(bytes);
    encoded
}

/// A literal field: `first` and `prefix` say of which kind, `name` is an index or a text.
fn literal(first: u8, prefix: u32, name: Result<usize, &str>, value: &str, huff: bool) -> Vec<u8> {
    let mut field = match name {
        Ok(index) => integer(first, prefix, index),
        Err(text) => [vec![first], string(text, huff)].concat(),
    };
    field.extend(string(value, huff));
    field
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Passes `bytes` through in pieces of these sizes, over and over.
fn pass(bytes: &[u8], sizes: &[usize]) -> io::Result<Vec<u8>> {
    let mut frames = Frames::default();
    let (mut held, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let end = bytes.len().min(at + size.max(&1));
        held.extend_from_slice(&bytes[at..end]);
        let free = frames.release(&mut held)?;
        out.extend(held.drain(..free));
        at = end;
        if at == bytes.len() {
            break;
        }
    }
    out.extend(held);
    Ok(out)
}

#[test]
fn the_authority_of_each_kind_of_literal_is_made_legal() {
    for huff in [false, true] {
        for (first, prefix) in [(0x40, 6), (0x00, 4), (0x10, 4)] {
            for name in [Ok(1), Err(":authority")] {
                let mut block = literal(first, prefix, name, CORE, huff);
                let want = literal(first, prefix, name, LEGAL, huff);
                HeaderTable::default().rewrite(&mut block).unwrap();
                assert_eq!(block, want, "{huff} {first:x} {name:?}");
            }
        }
    }
}

#[test]
fn what_is_legal_and_what_is_another_header_stays() {
    for (name, value) in [
        (":authority", "localhost:8443"),
        (":authority", "[::1]:8443"),
        (":authority", "user%20name@localhost"),
        (":path", "/a%2Fb"),
        ("x-test", CORE),
    ] {
        for huff in [false, true] {
            let block = literal(0x40, 6, Err(name), value, huff);
            let mut passed = block.clone();
            HeaderTable::default().rewrite(&mut passed).unwrap();
            assert_eq!(passed, block, "{name}: {value}");
        }
    }
}

#[test]
fn letters_are_replaced_by_letters_of_the_same_code_length() {
    for (value, want) in [
        ("a%b:c/d?e@f", "a-bxc-d!e~f"),
        ("%|&", "-+X"),
        // No legal letter has a code of 12 bits, or of 15 and more.
        ("%<#", "-<#"),
    ] {
        let mut block = literal(0, 4, Ok(1), value, true);
        HeaderTable::default().rewrite(&mut block).unwrap();
        assert_eq!(block, literal(0, 4, Ok(1), want, true), "{value}");
    }
}

#[test]
fn a_name_of_the_dynamic_table_is_followed_until_it_is_evicted() {
    let authority = literal(0x40, 6, Err(":authority"), "localhost", true);
    let other = literal(0x40, 6, Err("x-test"), "1", true);
    let again = |index| literal(0, 4, Ok(index), CORE, true);
    let legal = |index| literal(0, 4, Ok(index), LEGAL, true);
    let mut table = HeaderTable::default();
    let mut block = [authority.clone(), other.clone(), again(63), again(62)].concat();
    table.rewrite(&mut block).unwrap();
    assert_eq!(block, [authority, other, legal(63), again(62)].concat());

    // 10 + 9 + 32 octets for the authority, 6 + 1 + 32 for the other: room for one, then for none.
    table.rewrite(&mut integer(0x20, 5, 60)).unwrap();
    assert_eq!(table.rewrite(&mut again(63)), None);
    table.rewrite(&mut again(62)).unwrap();
    table.rewrite(&mut integer(0x20, 5, 38)).unwrap();
    assert_eq!(table.rewrite(&mut again(62)), None);
}

#[test]
fn what_is_no_header_block_is_not_touched() {
    for block in [
        vec![0x80],                               // index 0
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // an integer without end
        vec![0x41, 0x05, b'a'],                   // a string that is cut off
        vec![0x3f, 0xe2, 0x1f],                   // a table of 4097 octets
        vec![0x01, 0x81, 0x00],                   // padding of zeros
        vec![0xbe],                               // the dynamic table is empty
    ] {
        let mut passed = block.clone();
        assert_eq!(HeaderTable::default().rewrite(&mut passed), None, "{block:x?}");
        assert_eq!(passed, block);
    }
}

/// A connection with everything that may surround a header block, and how it must come out.
fn connection(value: &str, huff: bool, padding: u8, cut: usize) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 2, 0, 0, 0, 0]));
    let block =
        [integer(0x80, 7, 3), literal(0x40, 6, Ok(1), value, huff), integer(0x80, 7, 7)].concat();
    let cut = cut.min(block.len());
    let mut payload = vec![padding, 0, 0, 0, 0, 16];
    payload.extend(&block[..cut]);
    payload.extend(vec![0; padding.into()]);
    bytes.extend(frame(1, 0x8 | 0x20, 1, &payload));
    bytes.extend(frame(9, 0, 1, &[]));
    bytes.extend(frame(9, 0x4, 1, &block[cut..]));
    bytes.extend(frame(0, 0x1, 1, &[0, 0, 0, 0, 0]));
    bytes.extend(frame(1, 0x4 | 0x1, 3, &literal(0, 4, Ok(62), value, huff)));
    bytes.extend(frame(0, 0x1, 3, b"a payload"));
    bytes
}

#[test]
fn a_block_that_never_ends_ends_the_connection() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(1, 0, 1, &integer(0x80, 7, 3)));
    for _ in 0..40 {
        bytes.extend(frame(9, 0, 1, &[]));
    }
    assert_eq!(pass(&bytes, &[7]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let large = [PREFACE, &frame(1, 0, 1, &vec![0x82; 70_000])].concat();
    assert_eq!(pass(&large, &[1000]).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn another_protocol_passes() {
    for bytes in [&b"GET / HTTP/1.1\r\nHost: %\r\n\r\n"[..], b"", b"PRI", &[0; 100]] {
        assert_eq!(pass(bytes, &[3]).unwrap(), bytes);
    }
}

#[tokio::test]
async fn the_adapter_hands_on_all_that_comes() {
    let sent = connection(CORE, true, 3, 5);
    let want = connection(LEGAL, true, 3, 5);
    for size in [1, 2, 3, 10, 100, 10_000] {
        let (mut client, server) = duplex(size);
        let mut shim = Shim::new(server);
        let bytes = sent.clone();
        let writer = tokio::spawn(async move {
            client.write_all(&bytes).await.unwrap();
            // Cut off in the middle of a block.
            client.write_all(&frame(1, 0, 5, &[0x82])).await.unwrap();
        });
        let mut got = Vec::new();
        shim.read_to_end(&mut got).await.unwrap();
        writer.await.unwrap();
        assert_eq!(got, [want.clone(), frame(1, 0, 5, &[0x82])].concat(), "{size}");
    }
}

proptest! {
    #[test]
    fn however_it_is_split_the_bytes_are_the_same(
        huff: bool,
        padding: u8,
        cut in 0usize..60,
        sizes in prop::collection::vec(1usize..50, 1..20),
    ) {
        let sent = connection(CORE, huff, padding, cut);
        prop_assert_eq!(pass(&sent, &sizes).unwrap(), connection(LEGAL, huff, padding, cut));
    }

    #[test]
    fn any_bytes_pass_at_their_length_or_are_refused(
        frames in prop::collection::vec((0u8..11, any::<u8>(), 0u32..4, prop::collection::vec(any::<u8>(), 0..60)), 0..10),
        tail in prop::collection::vec(any::<u8>(), 0..30),
        sizes in prop::collection::vec(1usize..50, 1..10),
    ) {
        let mut bytes = PREFACE.to_vec();
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        bytes.extend(tail);
        let whole = pass(&bytes, &[bytes.len()]);
        let split = pass(&bytes, &sizes);
        if let Ok(whole) = &whole {
            prop_assert_eq!(whole.len(), bytes.len());
        }
        prop_assert_eq!(whole.ok(), split.ok());
    }

    #[test]
    fn what_is_encoded_is_decoded(text in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut decoded = Vec::new();
        prop_assert!(huffman::decode(&huffman::encode(&text), |symbol, _| decoded.push(symbol)).is_some());
        prop_assert_eq!(decoded, text);
    }
}

/// The examples of RFC 7541, appendix C.4.
#[test]
fn the_code_is_the_standards() {
    for (text, want) in [
        ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        ("no-cache", "a8eb10649cbf"),
        ("custom-value", "25a849e95bb8e8b4bf"),
    ] {
        assert_eq!(hex::encode(huffman::encode(text.as_bytes())), want);
    }
}
