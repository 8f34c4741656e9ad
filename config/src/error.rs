//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a configuration: in which file, at which key, and for TOML that cannot be read at which place.
///
/// It never repeats a value that may be a secret: of a line of the file it shows the key alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The configuration file, where there is one.
    pub file: Option<PathBuf>,
    /// The key, as in `remote[2].base_url`, or the flag, as in `--listen`; `None` where the fault is at neither.
    pub key: Option<String>,
    /// What is wrong there.
    pub reason: String,
    /// The place in the file, where TOML that cannot be read is the fault.
    pub place: Option<Place>,
}

/// A place in a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line; the first is 1.
    pub line: usize,
    /// The character in the line; the first is 1.
    pub column: usize,
    /// The line without its value, and below it a caret.
    excerpt: String,
}

impl ConfigError {
    /// A fault at a key.
    pub fn at(key: impl Into<String>, reason: impl ToString) -> Self {
        Self { file: None, key: Some(key.into()), reason: reason.to_string(), place: None }
    }

    /// A fault that the TOML parser found, or serde at the end of this path.
    pub(crate) fn in_toml(text: &str, path: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        let key = Some(path.to_owned()).filter(|path| !path.is_empty());
        let place = error.span().map(|span| Place::of(text, span));
        Self { file: None, key, reason: without_value(message).to_owned(), place }
    }

    /// The same fault, found in this file.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }
}

/// What the parser says. Of a value that is not what it should be it repeats the value: what is left is what was
/// expected.
fn without_value(message: &str) -> &str {
    let starts = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    match message.rfind("expected ") {
        Some(expected) if starts.iter().any(|start| message.starts_with(start)) => &message[expected..],
        _ => message,
    }
}

impl Place {
    fn of(text: &str, span: std::ops::Range<usize>) -> Self {
        // A span lies in the text, on boundaries of characters; an error at its end stands one behind the last.
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before[start..].chars().count() + 1;
        let shown = without_its_value(text[start..].lines().next().unwrap_or_default());
        let last = shown.chars().count().max(1);
        let spanned = text.get(span).unwrap_or_default().lines().next().unwrap_or_default().chars().count();
        let caret = column.min(last);
        let carets = spanned.clamp(1, last + 1 - caret);
        let gutter = " ".repeat(line.to_string().len());
        let excerpt = format!(
            "{gutter} |\n{line} | {shown}\n{gutter} | {}{}",
            " ".repeat(caret - 1),
            "^".repeat(carets)
        );
        Self { line, column, excerpt }
    }
}

/// A line of TOML with an ellipsis for its value. A line that is neither a header nor a key and a value may be a token
/// that was pasted, and is an ellipsis as a whole.
fn without_its_value(line: &str) -> String {
    if line.trim_start().starts_with('[') && !line.contains(['"', '\'', '=', ',']) {
        return line.trim_end().to_owned();
    }
    let is_key = |key: &str| {
        key.chars().all(|character| character.is_ascii_alphanumeric() || " \t_-.".contains(character))
    };
    match line.split_once('=') {
        // The padding of base64 looks like the sign between a key and a value.
        Some((key, value)) if is_key(key) && !value.trim().is_empty() && !value.starts_with('=') => {
            format!("{key}= …")
        }
        _ => "…".to_owned(),
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(Place { line, column, .. }) = &self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        match (&self.key, &self.file) {
            (Some(key), _) => write!(f, "{key}: {}", self.reason)?,
            (None, Some(_)) => f.write_str(&self.reason)?,
            (None, None) => write!(f, "the configuration: {}", self.reason)?,
        }
        if let Some(Place { excerpt, .. }) = &self.place {
            write!(f, "\n{excerpt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_without_its_value() {
        for (line, shown) in [
            ("listen = '127.0.0.1:1'", "listen = …"),
            ("  profiles.x.command = ['sh']", "  profiles.x.command = …"),
            ("[[remote]]", "[[remote]]"),
            ("[remote", "[remote"),
            ("c2VjcmV0", "…"),
            ("c2VjcmV0=", "…"),
            ("c2VjcmV0==", "…"),
            ("'hunter2' = 1", "…"),
            ("['hunter2', 3]", "…"),
            ("", "…"),
        ] {
            assert_eq!(without_its_value(line), shown, "{line}");
        }
    }

    #[test]
    fn places_are_shown_with_a_caret() {
        let text = "\n\nmax_viewers = 'hunter2'\n";
        let place = Place::of(text, 16..25);
        assert_eq!((place.line, place.column), (3, 15));
        assert_eq!(place.excerpt, "  |\n3 | max_viewers = …\n  |               ^");
        let place = Place::of(text, 2..13);
        assert_eq!(place.excerpt, "  |\n3 | max_viewers = …\n  | ^^^^^^^^^^^");
        assert_eq!(Place::of("é", 2..2).excerpt, "  |\n1 | …\n  | ^");
        assert_eq!(Place::of("", 0..0).line, 1);
    }
}
