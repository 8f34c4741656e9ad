//! The paths of both wires: constants with a name in braces where an id stands.

/// A path with `{runtime_id}`, `{worker_id}` and `{request_id}` where ids stand, each as a whole segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    text: &'static str,
    slashes: usize,
}

/// The segments of a path that stand where ids do, as they were sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Captures<'p> {
    pub(crate) runtime_id: Option<&'p str>,
    pub(crate) worker_id: Option<&'p str>,
    pub(crate) request_id: Option<&'p str>,
}

impl Template {
    pub(super) const fn new(text: &'static str) -> Self {
        let (mut slashes, mut index) = (0, 0);
        while index < text.len() {
            if text.as_bytes()[index] == b'/' {
                slashes += 1;
            }
            index += 1;
        }
        Self { text, slashes }
    }

    /// The path as the documentation writes it: fit for logs and metrics, whatever the request.
    pub(crate) fn as_str(self) -> &'static str {
        self.text
    }

    /// What stands where ids do in a path with so many slashes; `None` where the path is another one.
    pub(super) fn captures(self, path: &str, slashes: usize) -> Option<Captures<'_>> {
        if slashes != self.slashes {
            return None;
        }
        let mut captures = Captures::default();
        let mut end = 0;
        for (expected, found) in segments(self.text).zip(segments(path)) {
            let start = end;
            end = start + found.len() + 1;
            let id = match expected {
                b"{runtime_id}" => &mut captures.runtime_id,
                b"{worker_id}" => &mut captures.worker_id,
                b"{request_id}" => &mut captures.request_id,
                _ if expected == found => continue,
                _ => return None,
            };
            *id = path.get(start..start + found.len());
        }
        Some(captures)
    }

    /// The path with these ids behind this prefix. Ids are made of characters of a path.
    pub(crate) fn filled(self, prefix: &str, ids: Captures<'_>) -> String {
        let mut path = String::with_capacity(prefix.len() + 2 * self.text.len());
        path.push_str(prefix);
        for segment in self.text.split('/').skip(1) {
            let id = match segment {
                "{runtime_id}" => ids.runtime_id,
                "{worker_id}" => ids.worker_id,
                "{request_id}" => ids.request_id,
                _ => None,
            };
            path.push('/');
            path.push_str(id.unwrap_or(segment));
        }
        path
    }
}

/// What stands between slashes. Segments are short: what goes through them byte by byte is done before a search for the
/// next slash has begun.
fn segments(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        let template = Template::new("/v1/workers/{worker_id}/requests/{request_id}");
        let ids = Captures { worker_id: Some("w:1"), request_id: Some("r"), runtime_id: None };
        let path = template.filled("/prefix", ids);
        assert_eq!(path, "/prefix/v1/workers/w:1/requests/r");
        assert_eq!(template.captures(&path["/prefix".len()..], 5), Some(ids));
        for (other, slashes) in [("/v1/workers/w/requests", 4), ("/v1/workers/w/answers/r", 5)] {
            assert_eq!(template.captures(other, slashes), None, "{other}");
        }
    }
}
