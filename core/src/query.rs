//! Query strings with a known set of parameters (`application/x-www-form-urlencoded`, URL Standard, section 5).

use std::borrow::Cow;

/// Why a query is not one that the route takes. Names are bounded: they come from the request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("there is no query parameter {0:?} here")]
    Unknown(String),
    #[error("the query parameter {0:?} is given twice")]
    Repeated(&'static str),
    #[error("the query parameter {0:?} is not a whole number")]
    NotANumber(&'static str),
    #[error("the query parameter {name:?} is not {expected}")]
    Other { name: &'static str, expected: &'static str },
}

/// The longest name of an unknown parameter that is repeated in an error, in characters.
const MAX_NAME: usize = 64;

/// The values of the parameters with these names, decoded, and those of the one that may be given several times.
pub(crate) struct Parameters<'q, const N: usize> {
    pub(crate) single: [Option<Cow<'q, str>>; N],
    pub(crate) repeated: Vec<Cow<'q, str>>,
}

/// Reads a query: any parameter that is not named here is an error, and so is any repetition but of `repeatable`.
pub(crate) fn read<'q, const N: usize>(
    query: Option<&'q str>,
    names: [&'static str; N],
    repeatable: Option<&'static str>,
) -> Result<Parameters<'q, N>, QueryError> {
    let mut parameters = Parameters { single: [const { None }; N], repeated: Vec::new() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if repeatable.is_some_and(|repeatable| repeatable == name) {
            parameters.repeated.push(value);
            continue;
        }
        let Some(index) = names.iter().position(|known| *known == name) else {
            return Err(QueryError::Unknown(name.chars().take(MAX_NAME).collect()));
        };
        if parameters.single[index].replace(value).is_some() {
            return Err(QueryError::Repeated(names[index]));
        }
    }
    Ok(parameters)
}

/// The values of the named parameters, decoded; any other parameter and any repetition is an error.
pub(crate) fn parameters<'q, const N: usize>(
    query: Option<&'q str>,
    names: [&'static str; N],
) -> Result<[Option<Cow<'q, str>>; N], QueryError> {
    Ok(read(query, names, None)?.single)
}

/// A whole number of at least 0, without a sign.
pub(crate) fn number(name: &'static str, value: Option<&str>) -> Result<Option<u64>, QueryError> {
    let Some(value) = value else { return Ok(None) };
    // `parse` would take a sign, too.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).map(Some).ok_or(QueryError::NotANumber(name))
}

/// Either `true` or `false`.
pub(crate) fn flag(name: &'static str, value: Option<&str>) -> Result<Option<bool>, QueryError> {
    let expected = "true or false";
    value.map(|value| value.parse().map_err(|_| QueryError::Other { name, expected })).transpose()
}

/// A path with these parameters as its query.
pub(crate) fn with_parameters<'a>(
    path: String,
    parameters: impl IntoIterator<Item = (&'static str, Cow<'a, str>)>,
) -> String {
    let mut parameters = parameters.into_iter().peekable();
    if parameters.peek().is_none() {
        return path;
    }
    let start = path.len() + 1;
    form_urlencoded::Serializer::for_suffix(path + "?", start).extend_pairs(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<const N: usize>(
        query: Option<&str>,
        names: [&'static str; N],
    ) -> Result<[Option<u64>; N], QueryError> {
        let values = parameters(query, names)?;
        let mut numbers = [None; N];
        for ((slot, value), name) in numbers.iter_mut().zip(values).zip(names) {
            *slot = number(name, value.as_deref())?;
        }
        Ok(numbers)
    }

    #[test]
    fn queries() {
        let page = |query| numbers(Some(query), ["start", "limit"]);
        assert_eq!(numbers(None, ["start"]), Ok([None]));
        assert_eq!(page(""), Ok([None, None]));
        assert_eq!(page("limit=5&start=%31%30"), Ok([Some(10), Some(5)]));
        assert_eq!(page("%73tart=1"), Ok([Some(1), None]));
        assert_eq!(page("start=x"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=%2B1"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start="), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=99999999999999999999"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("start=1&start=2"), Err(QueryError::Repeated("start")));
        assert_eq!(page("start=1&%73tart=2"), Err(QueryError::Repeated("start")));
        assert_eq!(page("start=%FF"), Err(QueryError::NotANumber("start")));
        assert_eq!(page("begin=1"), Err(QueryError::Unknown("begin".into())));
    }

    #[test]
    fn a_form_has_its_own_encoding() {
        let read = read(Some("name=a+b%2Bc&label=x%3D1&label=y"), ["name"], Some("label")).unwrap();
        assert_eq!(read.single[0].as_deref(), Some("a b+c"));
        assert_eq!(read.repeated, ["x=1", "y"]);
    }

    #[test]
    fn what_is_written_is_read() {
        let written = |parameters: &[(&'static str, &'static str)]| {
            with_parameters(
                "/t".into(),
                parameters.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))),
            )
        };
        assert_eq!(written(&[]), "/t");
        assert_eq!(written(&[("start", "0"), ("limit", "5")]), "/t?start=0&limit=5");
        let path = written(&[("name", "a b&c=関+")]);
        let value = parameters(path.split_once('?').map(|(_, query)| query), ["name"]).unwrap();
        assert_eq!(value[0].as_deref(), Some("a b&c=関+"));
    }
}
