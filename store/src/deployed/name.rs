//! The names of folders: an id in hexadecimal digits, so that any id can be one.

use std::fmt::Write as _;

/// The folder of an id.
pub(super) fn folder_of(id: &str) -> String {
    let mut name = String::with_capacity(3 + 2 * id.len());
    name.push_str("id-");
    for byte in id.bytes() {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The id of a folder; `None` for a name that is no id's.
pub(super) fn id_of(folder: &str) -> Option<String> {
    let digits = folder.strip_prefix("id-")?.as_bytes();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    let id = String::from_utf8(bytes?).ok()?;
    (!id.trim().is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for id in ["worker-00000001", "関所", "a/b", ".."] {
            assert_eq!(id_of(&folder_of(id)).as_deref(), Some(id));
        }
        assert_eq!(folder_of("archive"), "id-61726368697665");
    }

    #[test]
    fn other_names_are_none() {
        for name in
            ["", "id-", "id-2", "id-2F", "id-zz", "id-ff", "id-20", "ID-61", "61", ".worker.json.tmp-1-1"]
        {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
