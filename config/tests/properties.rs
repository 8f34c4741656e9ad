//! What holds of every configuration.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sekisho_config::Config;

/// A good one, in which nothing is read, written or asked for by name.
const GOOD: &str = r#"allowed_hosts = ["gate.example"]
allowed_origins = ["https://app.example"]
max_request_bytes = 10
give_up_after_ms = 1

[embedded]
runtime_id = "here"
display_name = "Here"
[embedded.profiles.zsh]
command = ["zsh", "-i"]

[[remote]]
runtime_id = "build-box"
base_url = "http://10.0.0.5:7700"
max_in_flight = 3

[[remote]]
runtime_id = "socket"
base_url = "unix:///run/rt.sock"
"#;

/// The tables, each as it is begun, with what it needs.
const TABLES: [&str; 4] = [
    "",
    "[embedded]\n",
    "[embedded.profiles.x]\ncommand = ['sh']\n",
    "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://10.0.0.5:7700'\n",
];

/// Every key whose value is never shown, in a table of its own. Paths of files are.
const SECRETIVE: [&str; 22] = [
    "listen = ",
    "allowed_hosts = ",
    "allowed_origins = ",
    "access_token_env = ",
    "insecure_no_access_token = ",
    "max_request_bytes = ",
    "max_viewers = ",
    "give_up_after_ms = ",
    "embedded = ",
    "embedded.enabled = ",
    "embedded.runtime_id = ",
    "embedded.profiles = ",
    "embedded.profiles.x = ",
    "embedded.profiles.x.command = ",
    "remote = ",
    "local = ",
    "[[remote]]\nruntime_id = ",
    "[[remote]]\nruntime_id = 'r'\nbase_url = ",
    "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://h'\ntoken_env = ",
    "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://h'\nmax_in_flight = ",
    "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://h'\nallow_plaintext = ",
    "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://h'\nconnect_timeout_ms = ",
];

fn refused(text: &str) -> Option<String> {
    Config::from_toml(text).err().map(|error| error.to_string())
}

#[test]
fn the_good_one_is_good() {
    assert_eq!(refused(GOOD), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_upsets_it(text in prop_oneof![any::<String>(), "[a-z\\[\\]{}=\"'\n #.0-9]{0,60}"]) {
        prop_assert_ne!(refused(&text), Some(String::new()));
    }

    #[test]
    fn nor_does_a_damaged_one(
        damage in prop::collection::vec((any::<Index>(), select(b"\0\n\"'[]{}=.#\\ax1".to_vec())), 1..4),
        end in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut text = GOOD.as_bytes().to_vec();
        damage.iter().for_each(|(index, byte)| *index.get_mut(&mut text) = *byte);
        text.truncate(end.map_or(text.len(), |end| end.index(text.len())));
        prop_assert_ne!(refused(&String::from_utf8(text).unwrap()), Some(String::new()));
    }

    #[test]
    fn a_key_that_nobody_knows_is_named(
        table in select(TABLES.to_vec()),
        key in "[a-z]{1,8}-[a-z]{1,8}",
        value in select(vec!["1", "'x'", "true", "[]", "{}", "{a.b = [1]}"]),
    ) {
        let said = refused(&format!("{table}{key} = {value}\n")).unwrap();
        prop_assert!(said.contains(&format!("`{key}`")), "{}", said);
    }

    #[test]
    fn no_value_is_repeated(
        key in select(SECRETIVE.to_vec()),
        before in select(vec!["'", "'http://user:", "[ '", "{ x = '", "[['"]),
        noise in "[ -~&&[^':]]{0,12}|, expected [a-z]{1,8}|`[a-z]{0,3}`",
    ) {
        let closed = match before {
            "[ '" => "' ]",
            "{ x = '" => "' }",
            "[['" => "']]",
            _ => "'",
        };
        let text = format!("{key}{before}hunter2{noise}{closed}\n");
        let said = refused(&text).unwrap_or_default();
        prop_assert!(!said.contains("hunter2"), "{}", said);
        // What is said consists of our own words, and the names of keys.
        prop_assert!(said.len() < 700, "{}", said);
    }
}
