//! As much of RFC 6455 as it takes to count frames.

/// The opcode of a text frame.
pub(crate) const TEXT: u8 = 1;

/// The opcode of a ping.
pub(crate) const PING: u8 = 9;

/// The largest head of a frame: two bytes, eight of length and four of a mask.
const MAX_HEAD: usize = 14;

/// Finds the frames in what is read of a connection, without looking into them.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; MAX_HEAD],
    /// How much of `head` is there.
    filled: usize,
    /// How much is still to come of the payload after the last head.
    payload: u64,
}

impl Frames {
    /// Says the opcode of each frame whose head ends in `bytes`.
    pub(crate) fn find(&mut self, mut bytes: &[u8], mut found: impl FnMut(u8)) {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
            self.payload -= skipped as u64;
            let Some((&next, rest)) = bytes[skipped..].split_first() else { return };
            bytes = rest;
            self.head[self.filled] = next;
            self.filled += 1;
            if let Some(payload) = self.payload_after_head() {
                self.payload = payload;
                self.filled = 0;
                found(self.head[0] & 0x0f);
            }
        }
    }

    /// The length of the payload, once the head is there as a whole.
    fn payload_after_head(&self) -> Option<u64> {
        let length = self.head.get(1).filter(|_| self.filled >= 2)?;
        let extended = match length & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if length & 0x80 == 0 { 0 } else { 4 };
        if self.filled < 2 + extended + mask {
            return None;
        }
        let of_bytes = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match extended {
            0 => u64::from(length & 0x7f),
            _ => self.head[2..2 + extended].iter().fold(0, of_bytes),
        })
    }
}

/// A text frame from a server.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | TEXT];
    match u16::try_from(text.len()) {
        Ok(length @ 0..126) => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
