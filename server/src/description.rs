//! A configuration in words, for `sekisho-server check`.

use std::fmt::Write;

use sekisho_config::{Config, Listen, StorePlace};

/// What a server would do with this configuration, in lines. Neither a base URL nor a token is in it.
pub fn describe(config: &Config) -> String {
    let mut text = String::new();
    for (what, how) in rows(config) {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{what:<16} {how}");
    }
    for warning in &config.runtimes.warnings {
        let _ = writeln!(text, "{:<16} {warning}", "warning");
    }
    text
}

fn rows(config: &Config) -> Vec<(String, String)> {
    let listen = match &config.listen {
        Listen::Tcp(addresses) => {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            addresses.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().join(" or ")
        }
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Inherited(number) => format!("socket {number} of those that systemd opens"),
    };
    let access = match (&config.access_token, config.listen.is_local()) {
        (Some(_), _) => "with a token",
        (None, true) => "without a token, from this machine",
        (None, false) => "without a token, from everywhere",
    };
    let mut rows = vec![("listen".to_owned(), listen), ("access".to_owned(), access.to_owned())];
    let mut list = |what: &str, all: Vec<String>| {
        if !all.is_empty() {
            rows.push((what.to_owned(), all.join(", ")));
        }
    };
    list("allowed hosts", config.allowed_hosts.iter().map(ToString::to_string).collect());
    list("allowed origins", config.allowed_origins.iter().map(ToString::to_string).collect());
    let delay = match config.drain_delay.is_zero() {
        true => String::new(),
        false => format!("{:?} as before, then ", config.drain_delay),
    };
    rows.push(("shutting down".to_owned(), format!("{delay}at most {:?}", config.drain_time)));
    rows.extend(runtimes(config));
    rows
}

fn runtimes(config: &Config) -> Vec<(String, String)> {
    let runtimes = &config.runtimes;
    let row = |runtime_id: &dyn std::fmt::Display, how| (format!("runtime {runtime_id}"), how);
    let embedded = runtimes.embedded.iter().map(|embedded| {
        let store = match &embedded.store.place {
            StorePlace::Memory => "remembers nothing over its end".to_owned(),
            StorePlace::Named(folder) => format!("store in {}", folder.display()),
            StorePlace::Default(folder) => format!("store in {}, if that can be had", folder.display()),
        };
        let profiles: Vec<&str> =
            embedded.workers.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let profiles = if profiles.is_empty() { "echo".to_owned() } else { profiles.join(", ") };
        row(&embedded.runtime_id, format!("embedded; {store}; profiles: {profiles}"))
    });
    let remotes = runtimes.remotes.iter().map(|remote| {
        let wire = if remote.tls.is_some() { "over TLS" } else { "in the clear" };
        let token = match (&remote.token_file, &remote.token) {
            (Some(_), _) => "token from a file",
            (None, Some(_)) => "token from a variable",
            (None, None) => "no token",
        };
        row(&remote.runtime_id, format!("remote, {wire}; {token}"))
    });
    let locals = runtimes
        .locals
        .iter()
        .map(|local| row(&local.runtime_id, format!("the store in {}, read only", local.store.display())));
    embedded.chain(remotes).chain(locals).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_in_words_tells_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "s3cret-token").unwrap();
        let config = format!(
            "allowed_hosts = ['gate.example']\ndrain_delay_ms = 5000\n[embedded]\nstore = 'memory'\n\
             [[remote]]\nruntime_id = 'box'\nbase_url = 'http://127.0.0.1:7700/hidden'\ntoken_file = '{}'\n\
             [[local]]\nruntime_id = 'old'\nstore = '/srv/old'\n",
            token.display()
        );
        let text = describe(&Config::from_toml(&config).unwrap());
        for line in [
            "listen           http://127.0.0.1:8787",
            "access           without a token, from this machine",
            "allowed hosts    gate.example",
            "shutting down    5s as before, then at most 10s",
            "runtime embedded embedded; remembers nothing over its end; profiles: echo",
            "runtime box      remote, in the clear; token from a file",
            "runtime old      the store in /srv/old, read only",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("7700") && !text.contains("hidden") && !text.contains("s3cret"), "{text}");
    }
}
