//! The real server as people run it, in a process of its own.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekisho_tests::processes::Process;

/// The token that the gateway presents to runtimes.
pub(crate) const TOKEN: &str = "a-token-of-a-usual-length-0123456789";

/// A server with these remote runtimes and no embedded one.
///
/// Its configuration is written into `directory`.
pub(crate) fn start(directory: &Path, remotes: &str) -> Result<Process, Box<dyn Error>> {
    let config = configure(directory, remotes)?;
    let server = build("sekisho-server")?;
    Ok(Process::start(Command::new(server).arg("--config").arg(config).env("BENCH_RUNTIME_TOKEN", TOKEN)))
}

/// Writes the configuration, in one step. Requests are not logged: nginx logs none beside it either.
pub(crate) fn configure(directory: &Path, remotes: &str) -> Result<PathBuf, Box<dyn Error>> {
    let (config, next) = (directory.join("sekisho.toml"), directory.join("next.toml"));
    let text = format!("listen = '127.0.0.1:0'\nlog = 'warn'\nembedded.enabled = false\n{remotes}");
    fs::write(&next, text)?;
    fs::rename(next, &config)?;
    Ok(config)
}

/// A `[[remote]]` table.
pub(crate) fn remote(runtime_id: &str, address: std::net::SocketAddr) -> String {
    format!(
        "[[remote]]\nruntime_id = '{runtime_id}'\nbase_url = 'http://{address}'\n\
         token_env = 'BENCH_RUNTIME_TOKEN'\nresponse_timeout_ms = 1000\nmax_in_flight = 128\n"
    )
}

/// Builds a package's binary of the same name.
///
/// `cargo bench` builds the benchmark and the libraries that it uses, but no binary: one that lies there may be
/// from before the last change.
pub(crate) fn build(package: &str) -> Result<PathBuf, Box<dyn Error>> {
    let benchmark = env::current_exe()?;
    let [release, target] = [2, 3].map(|parents| benchmark.ancestors().nth(parents));
    let (release, target) = release.zip(target).ok_or("the benchmark is not in a target directory")?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", package, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    match status.success() {
        true => Ok(release.join(package)),
        false => Err(format!("{package} does not build").into()),
    }
}
