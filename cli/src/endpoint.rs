//! Where something is, in words.

use sekisho_core::transport::Target;

/// A target as the URL that names it.
pub(crate) fn endpoint(target: &Target) -> String {
    match target {
        Target::Tcp { host, port, tls } => {
            let scheme = if *tls { "https" } else { "http" };
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
            format!("{scheme}://{host}:{port}")
        }
        Target::Unix(path) => format!("unix://{}", path.display()),
        Target::InProcess => "in this process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_as_they_are_configured() {
        for url in
            ["http://10.0.0.5:7700", "https://box.example:443", "http://[::1]:80", "unix:///run/rt.sock"]
        {
            let base_url: sekisho_core::secret::BaseUrl = url.parse().unwrap();
            assert_eq!(endpoint(&base_url.target()), url);
        }
    }
}
