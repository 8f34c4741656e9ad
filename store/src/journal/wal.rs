//! What an owner that ended at once left unfinished.
//!
//! SQLite's write-ahead log is a header and frames, each a page with a checksum over all before it
//! (<https://www.sqlite.org/fileformat2.html#walformat>). What follows the last frame that commits is not part of the
//! store, and SQLite passes over it in silence. It is counted here before SQLite opens the log, so that it can be told.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The largest page of SQLite.
const MAX_PAGE: usize = 65_536;

/// How much of a log is torn off: frames of transactions that were never completed. A log that cannot be read as one
/// has nothing that could be told.
pub(crate) fn torn_bytes(log: &Path) -> u64 {
    File::open(log).ok().and_then(|file| count(BufReader::with_capacity(1 << 16, file))).unwrap_or(0)
}

/// Runs on until the first frame that does not belong to the log, which is where the log ends.
fn count(mut log: impl Read) -> Option<u64> {
    let mut header = [0; HEADER];
    log.read_exact(&mut header).ok()?;
    let big_endian = match word(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let page_size = word(&header, 8) as usize;
    if !page_size.is_power_of_two() || !(512..=MAX_PAGE).contains(&page_size) {
        return None;
    }
    let mut sums = checksum([0, 0], &header[..24], big_endian);
    if sums != [word(&header, 24), word(&header, 28)] {
        return None;
    }
    let salts = [word(&header, 16), word(&header, 20)];
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut uncommitted = 0;
    loop {
        let length = read_up_to(&mut log, &mut frame);
        // A frame of an earlier round of the log has other salts: it was complete in its time.
        if length < 16 || [word(&frame, 8), word(&frame, 12)] != salts {
            return Some(uncommitted);
        }
        if length < frame.len() {
            return Some(uncommitted + length as u64);
        }
        sums = checksum(sums, &frame[..8], big_endian);
        sums = checksum(sums, &frame[FRAME_HEADER..], big_endian);
        let whole = sums == [word(&frame, 16), word(&frame, 20)];
        uncommitted += length as u64;
        if !whole {
            return Some(uncommitted);
        }
        if word(&frame, 4) != 0 {
            uncommitted = 0;
        }
    }
}

fn read_up_to(log: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    while length < buffer.len() {
        match log.read(&mut buffer[length..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    length
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The running checksum of the format: two sums over pairs of words.
fn checksum([mut one, mut other]: [u32; 2], bytes: &[u8], big_endian: bool) -> [u32; 2] {
    let (pairs, _) = bytes.as_chunks::<8>();
    for pair in pairs {
        let word = |at: usize| {
            let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        one = one.wrapping_add(word(0)).wrapping_add(other);
        other = other.wrapping_add(word(4)).wrapping_add(one);
    }
    [one, other]
}

#[cfg(test)]
mod tests;
