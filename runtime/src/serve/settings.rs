//! What the command line and the configuration file say, as one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::Parser;
use sekisho_core::id::IdError;
use sekisho_core::secret::{Token, TokenError};
use serde::Deserialize;
use toml::Spanned;

use crate::{ProcessProfile, RuntimeConfig};

const DEFAULT_LISTEN: &str = "127.0.0.1:7700";

/// Serves a worker runtime: child processes as workers, over the worker-runtime API v1.
#[derive(Parser, Default, Debug)]
#[command(name = "sekisho-runtime", version)]
pub(super) struct Flags {
    /// Where to listen: HOST:PORT or unix:/PATH [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The name that this runtime goes by
    #[arg(long, value_name = "ID")]
    runtime_id: Option<String>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A file that holds the token which every request has to present
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A program for workers, in a shell's words; may be repeated, the first is the default
    #[arg(long = "profile", value_name = "NAME=COMMAND")]
    profiles: Vec<String>,
    /// A TOML file with the same settings; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The certificate chain to serve TLS with, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without a token: whoever reaches the port can run the profiles
    #[arg(long)]
    insecure_no_token: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    runtime_id: Option<String>,
    display_name: Option<String>,
    token_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    #[serde(default)]
    profiles: BTreeMap<Spanned<String>, FileProfile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileProfile {
    command: Vec<String>,
}

/// Everything that serving needs, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: Listen,
    pub(super) tls: Option<TlsFiles>,
    pub(super) runtime: RuntimeConfig,
}

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Listen {
    /// The first of these that can be bound.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// Where the server's identity is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TlsFiles {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// What is wrong with the settings, by the key that it stands under.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("{key}: cannot read {}: {kind}", .path.display())]
    Unreadable { key: &'static str, path: PathBuf, kind: io::ErrorKind },
    #[error("config: {message}")]
    Config { message: String },
    #[error("runtime_id is missing: give it with --runtime-id or in the configuration file")]
    NoRuntimeId,
    #[error("runtime_id: {0}")]
    RuntimeId(IdError),
    #[error("token_file: {0}")]
    Token(TokenError),
    #[error("profile: {given:?} is not of the form NAME=COMMAND")]
    Profile { given: String },
    #[error("listen: {given:?} is neither HOST:PORT nor unix:/PATH, or the host has no address")]
    Listen { given: String },
    #[error(
        "listen: {given:?} can be reached from other machines, and there is no token: set token_file, or \
             --insecure-no-token if whoever reaches it may run the profiles"
    )]
    Exposed { given: String },
    #[error("tls_cert and tls_key go together")]
    HalfTls,
    #[error("tls_cert: a unix socket is not served over TLS")]
    TlsOverUnix,
}

impl Settings {
    pub(super) fn from_flags(flags: Flags) -> Result<Self, SettingsError> {
        let file = match &flags.config {
            Some(path) => toml::from_str(&read("config", path)?).map_err(|error: toml::de::Error| {
                // A parser's error ends with a line break.
                SettingsError::Config { message: error.to_string().trim_end().to_owned() }
            })?,
            None => File::default(),
        };
        let runtime_id = flags.runtime_id.or(file.runtime_id).ok_or(SettingsError::NoRuntimeId)?;
        let mut runtime = RuntimeConfig::new(runtime_id.parse().map_err(SettingsError::RuntimeId)?);
        runtime.display_name = flags.display_name.or(file.display_name);
        runtime.token = flags.token_file.or(file.token_file).map(|path| token(&path)).transpose()?;
        runtime.profiles = profiles(&flags.profiles, file.profiles)?;

        let given = flags.listen.or(file.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let listen = listen(&given)?;
        if let Listen::Tcp(addresses) = &listen
            && !addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
            && runtime.token.is_none()
            && !flags.insecure_no_token
        {
            return Err(SettingsError::Exposed { given });
        }
        let tls = match (flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key)) {
            (None, None) => None,
            (Some(_), Some(_)) if matches!(listen, Listen::Unix(_)) => {
                return Err(SettingsError::TlsOverUnix);
            }
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (Some(_), None) | (None, Some(_)) => return Err(SettingsError::HalfTls),
        };
        Ok(Self { listen, tls, runtime })
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path).map_err(|error| SettingsError::Unreadable {
        key,
        path: path.to_owned(),
        kind: error.kind(),
    })
}

fn token(path: &Path) -> Result<Token, SettingsError> {
    read("token_file", path)?.parse().map_err(SettingsError::Token)
}

/// The flags' profiles, and then the file's in the order in which they stand there; a flag replaces a profile of
/// the file by the same name.
fn profiles(
    flags: &[String],
    file: BTreeMap<Spanned<String>, FileProfile>,
) -> Result<Vec<ProcessProfile>, SettingsError> {
    let mut profiles = Vec::new();
    for given in flags {
        let profile = given.split_once('=').and_then(|(name, command)| {
            Some(ProcessProfile { name: name.to_owned(), command: shell_words::split(command).ok()? })
        });
        profiles.push(profile.ok_or_else(|| SettingsError::Profile { given: given.clone() })?);
    }
    let mut file: Vec<_> = file.into_iter().collect();
    file.sort_by_key(|(name, _)| name.span().start);
    for (name, FileProfile { command }) in file {
        let name = name.into_inner();
        if !profiles.iter().any(|profile| profile.name == name) {
            profiles.push(ProcessProfile { name, command });
        }
    }
    Ok(profiles)
}

fn listen(given: &str) -> Result<Listen, SettingsError> {
    let error = || SettingsError::Listen { given: given.to_owned() };
    if let Some(path) = given.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return if path.is_absolute() { Ok(Listen::Unix(path)) } else { Err(error()) };
    }
    let addresses: Vec<SocketAddr> = given.to_socket_addrs().map_err(|_| error())?.collect();
    if addresses.is_empty() { Err(error()) } else { Ok(Listen::Tcp(addresses)) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        Flags::try_parse_from(["sekisho-runtime"].iter().chain(arguments)).unwrap()
    }

    fn settings(arguments: &[&str]) -> Result<Settings, SettingsError> {
        Settings::from_flags(flags(arguments))
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn with_file(content: &str, arguments: &[&str]) -> Result<Settings, SettingsError> {
        let file = file(content);
        let config = ["--config", file.path().to_str().unwrap()];
        settings(&[&config, arguments].concat())
    }

    fn named(name: &str, command: &[&str]) -> ProcessProfile {
        ProcessProfile { name: name.into(), command: command.iter().map(|part| (*part).to_owned()).collect() }
    }

    #[test]
    fn flags_alone_are_enough() {
        let profile = r#"agent=python3 -u "my agent.py" --name='a b'"#;
        let settings = settings(&["--runtime-id", "r", "--profile", "sh=sh", "--profile", profile]).unwrap();
        assert_eq!(settings.listen, Listen::Tcp(vec!["127.0.0.1:7700".parse().unwrap()]));
        assert_eq!(
            settings.runtime.profiles,
            [named("sh", &["sh"]), named("agent", &["python3", "-u", "my agent.py", "--name=a b"])]
        );
        assert_eq!(settings.tls, None);
    }

    #[test]
    fn a_file_is_enough_too_and_keeps_its_order() {
        let settings = with_file(
            r#"
            listen = "unix:/run/rt.sock"
            runtime_id = "r"
            display_name = "R"
            [profiles.zsh]
            command = ["zsh", "-f"]
            [profiles.agent]
            command = ["agent"]
            "#,
            &[],
        )
        .unwrap();
        assert_eq!(settings.listen, Listen::Unix("/run/rt.sock".into()));
        assert_eq!(settings.runtime.display_name.as_deref(), Some("R"));
        assert_eq!(settings.runtime.profiles, [named("zsh", &["zsh", "-f"]), named("agent", &["agent"])]);
    }

    #[test]
    fn flags_win() {
        let content = r#"
            runtime_id = "file"
            listen = "127.0.0.1:1"
            profiles.a.command = ["file-a"]
            profiles.b.command = ["file-b"]
        "#;
        let arguments =
            ["--runtime-id", "flag", "--listen", "[::1]:2", "--profile", "c=c", "--profile", "a=flag-a"];
        let settings = with_file(content, &arguments).unwrap();
        assert_eq!(settings.runtime.runtime_id.as_str(), "flag");
        assert_eq!(settings.listen, Listen::Tcp(vec!["[::1]:2".parse().unwrap()]));
        let expected = [named("c", &["c"]), named("a", &["flag-a"]), named("b", &["file-b"])];
        assert_eq!(settings.runtime.profiles, expected);
    }

    #[test]
    fn errors_name_the_key() {
        for (content, arguments, key) in [
            ("", &[][..], "runtime_id is missing"),
            ("", &["--runtime-id", "a/b"], "runtime_id: has a character"),
            ("colour = 1", &[], "colour"),
            ("profiles.a.comand = []", &[], "comand"),
            ("runtime_id = ", &[], "config: "),
            ("token_file = \"/no/such\"", &["--runtime-id", "r"], "token_file: cannot read /no/such"),
            ("token_file = \"/dev/null\"", &["--runtime-id", "r"], "token_file: the token is empty"),
            ("", &["--runtime-id", "r", "--profile", "sh"], "profile: \"sh\""),
            ("", &["--runtime-id", "r", "--profile", "sh='"], "profile: "),
            ("", &["--runtime-id", "r", "--listen", "7700"], "listen: \"7700\""),
            ("", &["--runtime-id", "r", "--listen", "unix:run"], "listen: \"unix:run\""),
            ("", &["--runtime-id", "r", "--listen", "0.0.0.0:1"], "there is no token"),
            ("", &["--runtime-id", "r", "--listen", "[::]:1"], "there is no token"),
            ("", &["--runtime-id", "r", "--tls-cert", "c"], "tls_cert and tls_key"),
            (
                "tls_cert = \"c\"\ntls_key = \"k\"",
                &["--runtime-id", "r", "--listen", "unix:/s"],
                "tls_cert: a unix",
            ),
        ] {
            let error = with_file(content, arguments).unwrap_err().to_string();
            assert!(error.contains(key), "{error} lacks {key}");
        }
        let error = settings(&["--config", "/no/such"]).unwrap_err().to_string();
        assert!(error.contains("config: cannot read /no/such"), "{error}");
    }

    #[test]
    fn listening_beyond_this_machine_takes_a_token_or_the_will() {
        let token = file("s3cret\n");
        let beyond = ["--runtime-id", "r", "--listen", "0.0.0.0:1"];
        let path = ["--token-file", token.path().to_str().unwrap()];
        let settings_with_token = settings(&[&beyond[..], &path].concat()).unwrap();
        assert_eq!(settings_with_token.runtime.token, "s3cret".parse().ok());
        assert!(!format!("{settings_with_token:?}").contains("s3cret"));
        assert!(settings(&[&beyond[..], &["--insecure-no-token"]].concat()).is_ok());
        assert!(settings(&["--runtime-id", "r", "--listen", "[::ffff:127.0.0.1]:1"]).is_ok());
    }
}
