use super::*;

#[test]
fn what_is_no_log_has_nothing_torn_off() {
    for bytes in [&b""[..], &[0; 31], &[0; 32], &[0xff; 5000], &0x377f_0682_u32.to_be_bytes()] {
        assert_eq!(count(bytes).unwrap_or(0), 0);
    }
}

/// A log of two transactions, made as the format says.
fn log() -> Vec<u8> {
    let mut header = Vec::new();
    for word in [0x377f_0682_u32, 3_007_000, 512, 0, 7, 9] {
        header.extend(word.to_be_bytes());
    }
    let mut sums = checksum([0, 0], &header, false);
    let mut log = header;
    log.extend(sums[0].to_be_bytes());
    log.extend(sums[1].to_be_bytes());
    for (page, size) in [(1, 0), (2, 2), (1, 2)] {
        let head: Vec<u8> = [page, size].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        let body = [u8::try_from(page).unwrap(); 512];
        sums = checksum(checksum(sums, &head, false), &body, false);
        log.extend(head);
        for word in [7, 9, sums[0], sums[1]] {
            log.extend(word.to_be_bytes());
        }
        log.extend(body);
    }
    log
}

#[test]
fn a_log_ends_with_its_last_whole_transaction() {
    let log = log();
    let frame = FRAME_HEADER + 512;
    // The ends of the transactions.
    let ends = [HEADER, HEADER + 2 * frame, HEADER + 3 * frame];
    for length in HEADER..=log.len() {
        let end = ends.iter().rfind(|end| **end <= length).unwrap();
        let torn = (length - end) as u64;
        let counted = count(&log[..length]).unwrap();
        // The beginning of a frame that does not yet have its salts is not told from what was there before.
        let unsure = (length - HEADER) % frame < 16;
        assert!(counted == torn || unsure && counted <= torn, "{length}: {counted} of {torn}");
    }
    let mut flipped = log.clone();
    flipped[HEADER + 2 * frame + 100] ^= 1;
    assert_eq!(count(&flipped[..]), Some(frame as u64));
    // What is left of an earlier round has other salts.
    let mut reused = log;
    reused[HEADER + 2 * frame + 8] ^= 1;
    assert_eq!(count(&reused[..]), Some(0));
}
