//! What a transcript is searched for.

use std::borrow::Cow;
use std::sync::LazyLock;

/// A text that items of a transcript may hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contains {
    /// The text, of 1 to [`MAX_CONTAINS`](super::MAX_CONTAINS) characters: no pattern.
    pub text: String,
    /// Whether capital and small letters are the same.
    ///
    /// Two texts are the same then if they are so once each of their characters has been replaced by the upper case of its
    /// lower case, by Unicode's mappings that depend neither on a language nor on what stands around: `ß` is `SS`, `ς` is
    /// `Σ`. What only looks alike stays apart: accents count, and so do characters that are composed otherwise.
    pub ignore_case: bool,
}

impl Contains {
    /// Tells of contents whether they are asked for, which all are where no text is. What there is to do about the text is
    /// done once for all of them.
    pub fn filter(contains: Option<&Self>) -> impl Fn(&str) -> bool {
        let wanted = contains.map(|contains| match contains.ignore_case {
            false => (Cow::Borrowed(&*contains.text), false),
            true => (Cow::Owned(without_case(&contains.text)), true),
        });
        move |content| match &wanted {
            None => true,
            Some((text, false)) => content.contains(&**text),
            Some((text, true)) => without_case(content).contains(&**text),
        }
    }
}

/// Below this are the scripts of which most letters have two cases.
const COMMON: char = '\u{2e80}';

/// What stands for each character below [`COMMON`]: one to three, and no more than that. Looking it up costs a tenth of asking
/// Unicode's tables, and an event loop searches pages of several MiB.
static FOLDED: LazyLock<Vec<[char; 3]>> = LazyLock::new(|| {
    let folded = |character| {
        let mut all = mapped(character);
        std::array::from_fn(|_| all.next().unwrap_or_default())
    };
    ('\0'..COMMON).map(folded).collect()
});

/// The upper case of a character's lower case.
fn mapped(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase)
}

/// Whether a character is of those that have no case: of East Asian scripts, a symbol, an emoji.
fn has_no_case(character: char) -> bool {
    matches!(character, COMMON..'\u{a640}' | '\u{1f000}'..)
}

fn without_case(text: &str) -> String {
    // Most output is, and this is faster still.
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    let mut without = String::with_capacity(text.len());
    let table = &*FOLDED;
    for character in text.chars() {
        match table.get(character as usize) {
            Some([first, more @ ..]) => {
                without.push(*first);
                without.extend(more.iter().take_while(|more| **more != '\0'));
            }
            None if has_no_case(character) => without.push(character),
            None => without.extend(mapped(character)),
        }
    }
    without
}

#[cfg(test)]
mod tests;
