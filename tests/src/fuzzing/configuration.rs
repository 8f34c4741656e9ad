use sekisho_config::Config;
use toml::{Table, Value};

/// What a value must hold to be told from the words of a fault.
const MARK: &str = "hunter2";

/// The keys of the file.
const KEYS: [&str; 15] = [
    "listen",
    "allowed_hosts",
    "allowed_origins",
    "access_token_file",
    "access_token_env",
    "insecure_no_access_token",
    "max_request_bytes",
    "max_response_bytes",
    "max_event_bytes",
    "max_viewers",
    "give_up_after_ms",
    "cursor_key_file",
    "embedded",
    "remote",
    "local",
];

/// The input is a configuration. What is taken has known keys alone, and no fault repeats a value.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let table = text.parse::<Table>();
    if table.as_ref().is_ok_and(reaches_out) {
        return;
    }
    let error = match Config::from_toml(text) {
        Ok(_) => {
            let table = table.unwrap();
            assert!(table.keys().all(|key| KEYS.contains(&key.as_str())), "{text}");
            return;
        }
        Err(error) => error,
    };
    let said = error.to_string();
    assert!(!said.is_empty() && format!("{error:?}").len() < text.len() + 1000);
    if let Ok(table) = table {
        let keys_hold_it = keys(&Value::Table(table)).iter().any(|key| key.contains(MARK));
        assert!(keys_hold_it || !said.contains(MARK), "{said}");
    }
}

/// Whether it would read a file, write one, or ask a name server.
fn reaches_out(table: &Table) -> bool {
    let named_file = |key: &String| key.ends_with("_file");
    let resolves = |listen: &Value| {
        let address = listen.as_str().unwrap_or_default();
        address.contains(':') && address.parse::<std::net::SocketAddr>().is_err()
    };
    let remotes = table.get("remote").and_then(Value::as_array);
    let tables = remotes.into_iter().flatten().filter_map(Value::as_table);
    let is_https = |remote: &Table| {
        let base_url = remote.get("base_url").and_then(Value::as_str).unwrap_or_default();
        base_url.to_ascii_lowercase().starts_with("https:")
    };
    table.keys().any(named_file)
        || table.get("listen").is_some_and(resolves)
        || tables.clone().any(|remote| remote.keys().any(named_file) || is_https(remote))
}

fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Table(table) => {
            table.iter().flat_map(|(key, value)| std::iter::once(key.as_str()).chain(keys(value))).collect()
        }
        Value::Array(values) => values.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}
