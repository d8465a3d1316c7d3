//! Makes the HTTP/2 of gRPC's C core acceptable to `h2`.
//!
//! Over a Unix socket the C core sends the percent-encoded path of the socket as `:authority`, such
//! as `run%2Fspire%2Fagent.sock`. RFC 3986 allows that, `http::uri::Authority` does not, and `h2`
//! ends the stream with `PROTOCOL_ERROR`: no client in Python, C++, Ruby or PHP gets an answer
//! (hyperium/h2#487). [`Shim`] stands between the socket and `h2`, finds the `:authority` in the
//! client's HEADERS frames and replaces what is illegal in it, in place and at the same length, so
//! that neither the frames nor the state of the header compression change.
//!
//! [`frames`] follows the frames, [`hpack`] the header fields, [`huffman`] the letters. None of them
//! does I/O. What is not understood passes as it is, and is `h2`'s to refuse.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod frames;
mod hpack;
mod huffman;
#[cfg(test)]
mod tests;

use frames::Frames;

/// How much is read at once while a header block is incomplete.
const READ: usize = 4096;

/// A client's connection, with the `:authority` of its requests made legal.
///
/// Reading fails with [`io::ErrorKind::InvalidData`] when a header block is longer than any client
/// of ours sends. Writing passes.
#[derive(Debug)]
pub(super) struct Shim<S> {
    stream: S,
    frames: Frames,
    /// What was read; only `released` of it may be handed on.
    held: Vec<u8>,
    /// How much of `held` was already handed on.
    taken: usize,
    released: usize,
}

impl<S> Shim<S> {
    /// Stands between `stream`, of which nothing was read yet, and its reader.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::default(), held: Vec::new(), taken: 0, released: 0 }
    }

    /// Hands on what was held and is free to go. Says whether that was anything.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let ready = self.released - self.taken;
        let count = ready.min(buffer.remaining());
        buffer.put_slice(&self.held[self.taken..self.taken + count]);
        self.taken += count;
        if self.taken == self.held.len() {
            self.held.clear();
            (self.taken, self.released) = (0, 0);
        }
        ready > 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shim<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 || this.hand_on(buffer) {
            return Poll::Ready(Ok(()));
        }
        if this.held.is_empty() {
            // The usual case: straight into the reader's own memory.
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = &mut buffer.filled_mut()[before..];
            let free = this.frames.release(read)?;
            if free == read.len() {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(&read[free..]);
            buffer.set_filled(before + free);
            if free > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        loop {
            let mut chunk = [0; READ];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if this.taken > 0 {
                this.held.drain(..this.taken);
                (this.taken, this.released) = (0, 0);
            }
            if chunk.filled().is_empty() {
                // The connection ended within a header block: the reader sees what there was.
                this.released = this.held.len();
            } else {
                this.held.extend_from_slice(chunk.filled());
                this.released = this.frames.release(&mut this.held)?;
            }
            let is_end = this.held.is_empty();
            if this.hand_on(buffer) || is_end {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shim<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
