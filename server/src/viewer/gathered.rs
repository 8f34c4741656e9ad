//! Messages that are written together.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::ready;

use bytes::Bytes;
use futures_util::SinkExt;
use sekisho_core::viewer::GATHER;
use sekisho_listener::Connection;
use tokio::io::AsyncWrite;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

/// How many messages are written at once, at most.
const MESSAGES: usize = 16;

/// Up to how many bytes it is cheaper to copy them together than to have the system gather them.
const SMALL: usize = 1 << 10;

/// The longest head of a message without a mask (RFC 6455, 5.2).
const LONGEST_HEAD: usize = 10;

/// A text message in one frame, of at most 125 bytes, of at most 65,535, or longer.
const FINAL_TEXT: u8 = 0x81;
const LENGTH_IN_2_BYTES: u8 = 126;
const LENGTH_IN_8_BYTES: u8 = 127;

/// Text messages, to be written in one piece.
///
/// They go from where all viewers share them into the socket: the library that speaks WebSocket otherwise would copy each
/// one into a buffer of each viewer, and look through it for whether it is UTF-8, which JSON is.
#[derive(Default)]
pub(super) struct Gathered {
    messages: Vec<Message>,
    bytes: usize,
}

struct Message {
    head: [u8; LONGEST_HEAD],
    head_length: usize,
    text: Bytes,
}

impl Message {
    fn new(text: Bytes) -> Self {
        let mut head = [0; LONGEST_HEAD];
        head[0] = FINAL_TEXT;
        let length = text.len();
        let head_length = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < LENGTH_IN_2_BYTES => {
                head[1] = short;
                2
            }
            (_, Ok(medium)) => {
                head[1] = LENGTH_IN_2_BYTES;
                head[2..4].copy_from_slice(&medium.to_be_bytes());
                4
            }
            _ => {
                head[1] = LENGTH_IN_8_BYTES;
                head[2..].copy_from_slice(&(length as u64).to_be_bytes());
                LONGEST_HEAD
            }
        };
        Self { head, head_length, text }
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.head_length]
    }
}

impl Gathered {
    pub(super) fn push(&mut self, text: Bytes) {
        let message = Message::new(text);
        self.bytes += message.head_length + message.text.len();
        self.messages.push(message);
    }

    /// Whether there is enough to be written.
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() == MESSAGES || self.bytes >= GATHER
    }

    /// Writes all of it, after what the library still has to write. To be awaited to its end: half a message cannot be
    /// taken up by anything else.
    pub(super) async fn write(
        &mut self,
        socket: &mut WebSocketStream<Connection>,
    ) -> tungstenite::Result<()> {
        if self.messages.is_empty() {
            return Ok(());
        }
        socket.flush().await?;
        let mut written = 0;
        poll_fn(|context| {
            while written < self.bytes {
                let mut slices = [IoSlice::new(&[]); 2 * MESSAGES];
                let count = self.rest(written, &mut slices);
                let (slices, connection) = (&slices[..count], Pin::new(socket.get_mut()));
                let progress = match self.bytes - written <= SMALL {
                    true => {
                        let mut together = [0; SMALL];
                        let length = copy(slices, &mut together);
                        connection.poll_write(context, &together[..length])
                    }
                    false => connection.poll_write_vectored(context, slices),
                };
                match ready!(progress)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()).into(),
                    more => written += more,
                }
            }
            Ok(()).into()
        })
        .await
        .map_err(tungstenite::Error::Io)?;
        self.messages.clear();
        self.bytes = 0;
        Ok(())
    }

    /// What is left after so many bytes. In how many pieces.
    fn rest<'a>(&'a self, written: usize, slices: &mut [IoSlice<'a>; 2 * MESSAGES]) -> usize {
        let (mut skipped, mut count) = (written, 0);
        let pieces = self.messages.iter().flat_map(|message| [message.head(), &message.text]);
        for piece in pieces {
            let skip = skipped.min(piece.len());
            skipped -= skip;
            let piece = &piece[skip..];
            if !piece.is_empty() {
                slices[count] = IoSlice::new(piece);
                count += 1;
            }
        }
        count
    }
}

/// Copies pieces behind each other. How many bytes they have.
fn copy(slices: &[IoSlice<'_>], into: &mut [u8; SMALL]) -> usize {
    let mut length = 0;
    for slice in slices {
        into[length..length + slice.len()].copy_from_slice(slice);
        length += slice.len();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(gathered: &Gathered, written: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 2 * MESSAGES];
        let count = gathered.rest(written, &mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn messages_have_their_heads_and_are_taken_up_anywhere() {
        let mut gathered = Gathered::default();
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            gathered.push(vec![b'x'; length].into());
        }
        let all = whole(&gathered, 0);
        let mut rest = &all[..];
        for (head, length) in [
            (&[0x81, 0][..], 0),
            (&[0x81, 1], 1),
            (&[0x81, 125], 125),
            (&[0x81, 126, 0, 126], 126),
            (&[0x81, 126, 255, 255], 65_535),
            (&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            assert!(rest.starts_with(head), "{length}");
            rest = &rest[head.len() + length..];
        }
        assert!(rest.is_empty() && all.len() == gathered.bytes);
        for written in [1, 2, 3, 4, 5, 130, 140, 70_000, all.len() - SMALL, all.len() - 1, all.len()] {
            assert_eq!(whole(&gathered, written), all[written..], "{written}");
        }
        let mut slices = [IoSlice::new(&[]); 2 * MESSAGES];
        let count = gathered.rest(all.len() - SMALL, &mut slices);
        let mut together = [0; SMALL];
        assert_eq!(
            (copy(&slices[..count], &mut together), &together[..]),
            (SMALL, &all[all.len() - SMALL..])
        );
        assert!(gathered.is_full());
    }

    #[test]
    fn many_small_ones_are_as_full_as_few_large_ones() {
        let mut gathered = Gathered::default();
        (1..MESSAGES).for_each(|_| gathered.push(Bytes::new()));
        assert!(!gathered.is_full());
        gathered.push(Bytes::new());
        assert!(gathered.is_full());
    }
}
