//! The user as whom a profile's program runs.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::PathBuf;

use crate::launcher::message::Identity;

/// A user of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) identity: Identity,
}

/// Why there is no such user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// The files of users or groups cannot be read.
    #[error("the users of this machine cannot be read")]
    Unreadable,
    /// There is no user by the name or number.
    #[error("there is no such user on this machine")]
    Unknown,
}

impl User {
    /// Finds a user by name or number in `/etc/passwd`, and the groups in `/etc/group`. Users that only a directory
    /// service knows are not found.
    pub(crate) fn find(name: &str) -> Result<Self, UserError> {
        let passwd = fs::read_to_string("/etc/passwd").map_err(|_| UserError::Unreadable)?;
        let group = fs::read_to_string("/etc/group").map_err(|_| UserError::Unreadable)?;
        Self::find_in(name, &passwd, &group).ok_or(UserError::Unknown)
    }

    /// passwd(5) and group(5).
    fn find_in(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid: u32 = fields.nth(1)?.parse().ok()?;
            let gid: u32 = fields.next()?.parse().ok()?;
            let home = fields.nth(1)?;
            Some((name, uid, gid, home))
        });
        // A name comes before a number that looks like it.
        let (by_name, by_number): (Vec<_>, Vec<_>) = users.partition(|(known, ..)| *known == name);
        let by_number = || by_number.into_iter().find(|(_, uid, ..)| name.parse() == Ok(*uid));
        let (name, uid, gid, home) = by_name.into_iter().next().or_else(by_number)?;
        let member_of = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let gid: u32 = fields.next()?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        });
        let mut groups: Vec<u32> = std::iter::once(gid).chain(member_of).collect();
        groups.sort_unstable();
        groups.dedup();
        Some(Self { name: name.to_owned(), home: home.into(), identity: Identity { uid, gid, groups } })
    }
}
