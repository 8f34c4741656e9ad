use super::*;

#[test]
fn every_error_has_its_code() {
    for (error, code) in [
        (StoreError::Io, FaultCode::StoreIo),
        (StoreError::Missing, FaultCode::StoreMissing),
        (StoreError::Corrupt, FaultCode::StoreCorrupt),
        (StoreError::Poisoned, FaultCode::StatePoisoned),
    ] {
        assert_eq!(error.code(), code);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn roles_are_known_by_their_names() {
    for role in Role::ALL {
        assert_eq!(Role::from_name(role.as_str()), Some(role));
    }
    assert_eq!(Role::from_name("other"), None);
}
