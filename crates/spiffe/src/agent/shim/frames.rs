//! The frames of a client's HTTP/2 connection (RFC 9113, section 4.1), as far as finding header
//! blocks takes.

use std::io;
use std::ops::Range;

use super::hpack::HeaderTable;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The longest header block, with its frames' headers, in bytes. Clients of the Workload API send a
/// few hundred bytes.
const BLOCK_LIMIT: usize = 64 * 1024;
/// A block in more frames than this is an attack: each costs a look at all of them.
const FRAMES_LIMIT: usize = 32;

/// Where the stream is, between two looks.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    table: HeaderTable,
}

#[derive(Debug)]
enum State {
    /// Within the connection preface, at this offset.
    Preface(usize),
    /// Before a frame.
    Boundary,
    /// Within a frame that is passed on, with so many bytes to come.
    Payload(usize),
    /// Not HTTP/2 as we know it: all that follows is the reader's to refuse.
    Through,
}

/// A header block that lies in front of us.
enum Block {
    /// Its fragments, and where its last frame ends.
    Whole(Vec<Range<usize>>, usize),
    /// More has to be read first.
    Incomplete,
    /// No header block after all.
    Malformed,
}

impl Default for Frames {
    fn default() -> Self {
        Self { state: State::Preface(0), table: HeaderTable::default() }
    }
}

impl Frames {
    /// Looks at `bytes`, which continue what was released before, and changes what must be changed.
    /// Returns how many of them may be handed on. The rest comes again, with more behind it.
    ///
    /// # Errors
    /// `InvalidData`: a header block is longer than 64 KiB, or in more than 32 frames.
    pub(super) fn release(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            match self.state {
                State::Through => return Ok(at + rest.len()),
                State::Preface(seen) => {
                    let count = rest.len().min(PREFACE.len() - seen);
                    self.state = if rest[..count] != PREFACE[seen..seen + count] {
                        State::Through
                    } else if seen + count == PREFACE.len() {
                        State::Boundary
                    } else {
                        State::Preface(seen + count)
                    };
                    at += count;
                }
                State::Payload(left) => {
                    let count = rest.len().min(left);
                    self.state =
                        if count == left { State::Boundary } else { State::Payload(left - count) };
                    at += count;
                }
                State::Boundary => {
                    let Some(frame) = Frame::read(rest) else { return Ok(at) };
                    if frame.kind != HEADERS {
                        // A CONTINUATION here is out of place, which the reader will say.
                        self.state = State::Payload(frame.length);
                        at += HEADER;
                        continue;
                    }
                    match block(rest)? {
                        Block::Incomplete => return Ok(at),
                        Block::Malformed => self.state = State::Through,
                        Block::Whole(fragments, end) => {
                            if self.rewrite(rest, &fragments).is_none() {
                                self.state = State::Through;
                            }
                            at += end;
                        }
                    }
                }
            }
        }
        Ok(at)
    }

    /// Changes the block that lies in these parts of `bytes`. None: it is no header block.
    fn rewrite(&mut self, bytes: &mut [u8], fragments: &[Range<usize>]) -> Option<()> {
        if let [only] = fragments {
            return self.table.rewrite(&mut bytes[only.clone()]);
        }
        let mut whole = Vec::new();
        for fragment in fragments {
            whole.extend_from_slice(&bytes[fragment.clone()]);
        }
        self.table.rewrite(&mut whole)?;
        let mut from = 0;
        for fragment in fragments {
            let to = from + fragment.len();
            bytes[fragment.clone()].copy_from_slice(&whole[from..to]);
            from = to;
        }
        Some(())
    }
}

#[derive(Clone, Copy)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    /// The header of the frame that `bytes` begin with. None: not all of it is there.
    fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        // The highest bit is reserved.
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(Self { length, kind, flags, stream })
    }
}

/// The header block whose HEADERS frame `bytes` begin with.
fn block(bytes: &[u8]) -> io::Result<Block> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the header block is too long");
    let mut fragments = Vec::new();
    let mut at = 0;
    let mut stream = None;
    loop {
        if fragments.len() >= FRAMES_LIMIT {
            return Err(too_long());
        }
        let Some(frame) = Frame::read(&bytes[at..]) else { return Ok(Block::Incomplete) };
        let begin = at + HEADER;
        let end = begin + frame.length;
        if end > BLOCK_LIMIT {
            return Err(too_long());
        }
        let is_expected = match stream {
            None => frame.kind == HEADERS,
            Some(stream) => frame.kind == CONTINUATION && frame.stream == stream,
        };
        if !is_expected {
            return Ok(Block::Malformed);
        }
        let Some(payload) = bytes.get(begin..end) else { return Ok(Block::Incomplete) };
        let fragment = match stream {
            Some(_) => Some(0..payload.len()),
            None => fragment(payload, frame.flags),
        };
        let Some(fragment) = fragment else { return Ok(Block::Malformed) };
        fragments.push(begin + fragment.start..begin + fragment.end);
        stream = Some(frame.stream);
        at = end;
        if frame.flags & END_HEADERS != 0 {
            return Ok(Block::Whole(fragments, end));
        }
    }
}

/// The part of a HEADERS frame's payload that is not padding or priority. None: there is none.
fn fragment(payload: &[u8], flags: u8) -> Option<Range<usize>> {
    let (mut start, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*payload.first()?))?;
        start += 1;
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    (start <= end).then_some(start..end)
}
