//! Why a certificate is not trusted, in a sentence. Transports do not tell: to them one failed handshake is like another.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error};

/// What is wrong with the certificate at a place, found by one more handshake; `None` where that does not tell.
pub(super) fn fault(host: &str, port: u16, config: &Arc<ClientConfig>, within: Duration) -> Option<String> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let address = (host, port).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    stream.set_write_timeout(Some(within)).ok()?;
    let mut connection = ClientConnection::new(config.clone(), name).ok()?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            let error = error.get_ref()?.downcast_ref::<Error>()?;
            return Some(sentence(error));
        }
    }
    None
}

fn sentence(error: &Error) -> String {
    let Error::InvalidCertificate(certificate) = error else {
        return match error {
            Error::InvalidMessage(_) => "what answers there does not speak TLS".into(),
            Error::AlertReceived(AlertDescription::ProtocolVersion) => {
                "the server has no TLS version in common with this program (1.2 and 1.3)".into()
            }
            _ => "the TLS handshake failed".into(),
        };
    };
    match certificate {
        CertificateError::UnknownIssuer => "the certificate's issuer is not one that is trusted".into(),
        CertificateError::Expired => "the certificate has expired".into(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", day(*not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".into(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", day(*not_before))
        }
        CertificateError::NotValidForName => "the certificate is for another name".into(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| bare(name)).collect();
            match names.is_empty() {
                true => "the certificate is for no name at all".into(),
                false => format!("the certificate is for another name: {}", names.join(", ")),
            }
        }
        // The library has no value of its own for this one.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the certificate is that of an authority, used as a server's own: the server needs one that it issued".into()
        }
        _ => "the certificate is not valid".into(),
    }
}

/// A name as a certificate has it, without the kind that the library puts around it.
fn bare(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn day(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_sentence_of_its_own() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        let name = ServerName::try_from("box.example").unwrap().to_owned();
        let presented = vec!["DnsName(\"other.example\")".to_owned()];
        let causes = [
            CertificateError::UnknownIssuer,
            CertificateError::ExpiredContext { time, not_after: time },
            CertificateError::NotValidYetContext { time, not_before: time },
            CertificateError::NotValidForNameContext { expected: name, presented },
        ];
        let said: Vec<String> =
            causes.into_iter().map(|cause| sentence(&Error::InvalidCertificate(cause))).collect();
        assert_eq!(
            said,
            [
                "the certificate's issuer is not one that is trusted",
                "the certificate expired on 2023-11-14T22:13:20Z",
                "the certificate is not valid before 2023-11-14T22:13:20Z",
                "the certificate is for another name: other.example",
            ]
        );
    }
}
