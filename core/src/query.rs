//! Query strings with a known set of parameters (`application/x-www-form-urlencoded`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a query is not of the form. Names are bounded: they come from the request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("there is no query parameter {0:?} here")]
    Unknown(String),
    #[error("the query parameter {0:?} stands twice")]
    Repeated(&'static str),
    #[error("the query parameter {0:?} is not a whole number")]
    NotANumber(&'static str),
    #[error("the query parameter {0:?} is not UTF-8")]
    NotUtf8(&'static str),
}

/// The longest name of an unknown parameter that is repeated in an error, in characters.
const MAX_NAME: usize = 64;

/// The values of the named parameters, decoded; any other parameter and any repetition is an error.
pub(crate) fn parameters<'q, const N: usize>(
    query: Option<&'q str>,
    names: [&'static str; N],
) -> Result<[Option<Cow<'q, str>>; N], QueryError> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = names.iter().position(|known| *known == name) else {
            return Err(QueryError::Unknown(name.chars().take(MAX_NAME).collect()));
        };
        let value = percent_decode_str(value).decode_utf8().map_err(|_| QueryError::NotUtf8(names[index]))?;
        if values[index].replace(value).is_some() {
            return Err(QueryError::Repeated(names[index]));
        }
    }
    Ok(values)
}

/// The same for parameters that are whole numbers.
pub(crate) fn numbers<const N: usize>(
    query: Option<&str>,
    names: [&'static str; N],
) -> Result<[Option<u64>; N], QueryError> {
    let values = parameters(query, names)?;
    let mut numbers = [None; N];
    for ((number, value), name) in numbers.iter_mut().zip(values).zip(names) {
        if let Some(value) = value {
            // `parse` would take a sign, too.
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = value.parse().ok().filter(|_| digits);
            *number = Some(parsed.ok_or(QueryError::NotANumber(name))?);
        }
    }
    Ok(numbers)
}

/// A path with those of the numbers as its query that are there.
pub(crate) fn with_numbers<const N: usize>(path: String, numbers: [(&str, Option<u64>); N]) -> String {
    let given = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
    given.fold(path, |path, (name, number)| {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}{name}={number}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let page = |query| numbers(Some(query), ["start", "limit"]);
        assert_eq!(numbers(None, ["start"]), Ok([None]));
        assert_eq!(page(""), Ok([None, None]));
        assert_eq!(page("limit=5&start=%31%30"), Ok([Some(10), Some(5)]));
        assert_eq!(page("start=x"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=+1"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start="), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=99999999999999999999"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=1&start=2"), Err(QueryError::Repeated("start")));
        assert_eq!(page("start=%FF"), Err(QueryError::NotUtf8("start")));
        assert_eq!(page("begin=1"), Err(QueryError::Unknown("begin".into())));
    }

    #[test]
    fn queries_of_numbers() {
        let page = |start, limit| with_numbers("/t".into(), [("start", start), ("limit", limit)]);
        assert_eq!(page(None, None), "/t");
        assert_eq!(page(None, Some(5)), "/t?limit=5");
        assert_eq!(page(Some(0), Some(5)), "/t?start=0&limit=5");
    }
}
