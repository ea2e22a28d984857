//! Becoming another user once everything is bound (`--user`, `--group`).
//!
//! Promises: what is kept is what that user has: its groups, no capability, no way back, no gain by executing something; a file that
//! is to be read again later and that user may not read is told at start. The log is made and opened as that user from the first. One capability is kept where an interface is listened on at a
//! port below 1024: to bind such ports (`CAP_NET_BIND_SERVICE`), because its addresses come and go.
//!
//! Deliberately absent: sandboxes; changing who owns files that were there before, which is the operator's to decide.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, setfsgid, setfsuid, setgid, setuid,
};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::config::{Config, RunAs, SocketOwner};

/// Why the program cannot become somebody else.
#[derive(Debug)]
pub enum PrivilegeError {
    /// No such user.
    NoUser(String),
    /// No such group.
    NoGroup(String),
    /// A number without an entry among the users, and no group said.
    GroupUnknown(String),
    /// The system does not permit it.
    Refused {
        /// Who was to be become.
        user: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is the user already, and of another group.
    OtherGroup {
        /// As the configuration names it.
        group: String,
        /// What the system said.
        error: io::Error,
    },
    /// It became root again, or kept a capability.
    Kept(&'static str),
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(name) => write!(
                f,
                "no user {name}\n  fix:     create it (useradd --system --shell /usr/sbin/nologin {name}), or correct runtime.user"
            ),
            Self::NoGroup(name) => write!(
                f,
                "no group {name}\n  fix:     create it (groupadd --system {name}), or correct runtime.group"
            ),
            Self::GroupUnknown(user) => write!(
                f,
                "the group of user {user} is not known\n  fix:     give it too (runtime.group, --group)"
            ),
            Self::Refused { user, error } => write!(
                f,
                "cannot become user {user}: {error}\n  fix:     start as root, or leave out runtime.user and have the service manager \
                 start the program as that user"
            ),
            Self::OtherGroup { group, error } => write!(
                f,
                "cannot become group {group}: {error}\n  fix:     start as root, have the service manager start the program in that group, or \
                 leave out runtime.group"
            ),
            Self::Kept(what) => write!(
                f,
                "{what} after becoming another user\n  fix:     have the service manager start the program as that user"
            ),
        }
    }
}

impl std::error::Error for PrivilegeError {}

/// Who to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// The name to look supplementary groups up by; a number without an entry has none.
    name: Option<String>,
}

/// What of root's power is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None of it.
    Nothing,
    /// To bind ports below 1024.
    LowPorts,
}

impl Keep {
    /// What it takes to bind these ports later.
    pub(crate) fn for_ports(mut ports: impl Iterator<Item = u16>) -> Self {
        if ports.any(|port| port < 1024) {
            Self::LowPorts
        } else {
            Self::Nothing
        }
    }
}

/// Becomes who the configuration says. To be called while this is the only thread that serves; it holds for all threads. `before` is
/// done with the rights that are given up then, unless there are none to give up.
///
/// # Errors
///
/// [`PrivilegeError`]; the process is of no use then, as it may be half changed.
pub(crate) fn drop_to(
    run_as: &RunAs,
    keep: Keep,
    before: impl FnOnce(&Identity),
) -> Result<(), PrivilegeError> {
    let identity = look_up(run_as)?;
    if geteuid() == identity.uid && !identity.uid.is_root() {
        // The service manager was faster.
        return run_as
            .group
            .as_ref()
            .map_or(Ok(()), |group| become_group(group, identity.gid));
    }
    before(&identity);
    let refused = |error: nix::Error| PrivilegeError::Refused {
        user: run_as.user.clone(),
        error: error.into(),
    };
    set_whether_kept(keep).map_err(refused)?;
    set_groups(&identity).map_err(refused)?;
    setgid(identity.gid).map_err(refused)?;
    setuid(identity.uid).map_err(refused)?;
    if identity.uid.is_root() {
        return Ok(());
    }
    let no_way_back = thread::set_no_new_privs(true).is_ok();
    if !no_way_back || setuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::Kept("root can be had again"));
    }
    keep_no_more_than(keep)
}

/// Whether the user and group the configuration names are there.
///
/// # Errors
///
/// [`PrivilegeError`] when one is not.
pub(crate) fn check(config: &Config) -> Result<(), PrivilegeError> {
    config
        .run_as
        .as_ref()
        .map_or(Ok(()), |run_as| look_up(run_as).map(drop))
}

/// Whom sockets are given that are bound before the program becomes who the configuration says; `None` where it stays who it is.
///
/// # Errors
///
/// [`PrivilegeError`] when there is no such user or group.
pub(crate) fn owner_of_sockets(config: &Config) -> Result<Option<SocketOwner>, PrivilegeError> {
    let Some(run_as) = &config.run_as else {
        return Ok(None);
    };
    let identity = look_up(run_as)?;
    let changes = geteuid().is_root() && !identity.uid.is_root();
    Ok(changes.then(|| SocketOwner {
        user: identity.uid.as_raw(),
        group: identity.gid.as_raw(),
    }))
}

/// Who the program becomes, for the files that are made or opened before.
#[derive(Debug)]
pub(crate) struct FileUser {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl FileUser {
    /// `None` where the program stays who it is.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError`] when there is no such user or group.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, PrivilegeError> {
        let Some(run_as) = &config.run_as else {
            return Ok(None);
        };
        let identity = look_up(run_as)?;
        if !geteuid().is_root() || identity.uid.is_root() {
            return Ok(None);
        }
        let (uid, gid) = (identity.uid, identity.gid);
        let name = identity.name.map(std::ffi::CString::new);
        let groups = match name {
            Some(Ok(name)) => {
                getgrouplist(&name, gid).map_err(|error| PrivilegeError::Refused {
                    user: run_as.user.clone(),
                    error: error.into(),
                })?
            }
            Some(Err(_)) | None => vec![gid],
        };
        Ok(Some(Self {
            name: run_as.user.clone(),
            uid,
            gid,
            groups,
        }))
    }

    /// As the configuration names it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes this thread, and no other, the user where files are concerned.
    ///
    /// # Errors
    ///
    /// When the system does not permit it.
    pub(crate) fn assume(&self) -> io::Result<()> {
        let groups = self.groups.iter();
        let groups: Vec<_> = groups
            .map(|it| thread::Gid::from_raw(it.as_raw()))
            .collect();
        thread::set_thread_groups(&groups)?;
        setfsgid(self.gid);
        setfsuid(self.uid);
        // They say who it was before, whatever became of it.
        match setfsgid(self.gid) == self.gid && setfsuid(self.uid) == self.uid {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

/// Who is the user already may be of that group too, or may be allowed to become it.
fn become_group(group: &str, gid: Gid) -> Result<(), PrivilegeError> {
    if getegid() == gid {
        return Ok(());
    }
    setgid(gid).map_err(|error| PrivilegeError::OtherGroup {
        group: group.to_owned(),
        error: error.into(),
    })
}

#[cfg(target_os = "linux")]
fn set_groups(identity: &Identity) -> nix::Result<()> {
    match identity.name.as_deref().map(std::ffi::CString::new) {
        Some(Ok(name)) => nix::unistd::initgroups(&name, identity.gid),
        Some(Err(_)) | None => nix::unistd::setgroups(&[identity.gid]),
    }
}

/// Whether this thread's capabilities outlive its being root. Other threads lose theirs in any case.
#[cfg(target_os = "linux")]
fn set_whether_kept(keep: Keep) -> nix::Result<()> {
    let kept = thread::set_keep_capabilities(keep != Keep::Nothing);
    kept.map_err(|error| nix::Error::from_raw(error.raw_os_error()))
}

#[cfg(target_os = "linux")]
fn keep_no_more_than(keep: Keep) -> Result<(), PrivilegeError> {
    let wanted = match keep {
        Keep::Nothing => CapabilitySet::empty(),
        Keep::LowPorts => CapabilitySet::NET_BIND_SERVICE,
    };
    let refused = |_| PrivilegeError::Kept("capabilities cannot be given up");
    if keep != Keep::Nothing {
        let sets = CapabilitySets {
            effective: wanted,
            permitted: wanted,
            inheritable: CapabilitySet::empty(),
        };
        thread::set_capabilities(None, sets).map_err(refused)?;
        thread::set_keep_capabilities(false).map_err(refused)?;
    }
    let kept = thread::capabilities(None);
    match kept.is_ok_and(|it| it.effective == wanted && it.permitted == wanted) {
        true => Ok(()),
        false => Err(PrivilegeError::Kept("capabilities are kept")),
    }
}

fn look_up(run_as: &RunAs) -> Result<Identity, PrivilegeError> {
    let name = &run_as.user;
    let known = User::from_name(name).ok().flatten();
    let number = || name.parse().ok().map(Uid::from_raw);
    let entry = known.or_else(|| User::from_uid(number()?).ok().flatten());
    let uid = match (&entry, number()) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(PrivilegeError::NoUser(name.clone())),
    };
    let gid = match (&run_as.group, &entry) {
        (Some(group), _) => look_up_group(group)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => return Err(PrivilegeError::GroupUnknown(name.clone())),
    };
    let name = entry.map(|entry| entry.name);
    Ok(Identity { uid, gid, name })
}

fn look_up_group(name: &str) -> Result<Gid, PrivilegeError> {
    if let Ok(Some(group)) = Group::from_name(name) {
        return Ok(group.gid);
    }
    let number = name.parse().map(Gid::from_raw);
    number.map_err(|_| PrivilegeError::NoGroup(name.to_owned()))
}

/// Tells that a file will not be read again.
pub(crate) fn tell_unreadable(file: &Path) {
    let Err(error) = File::open(file) else {
        return;
    };
    tracing::warn!(
        file = %file.display(), %error,
        "a file that was read at start cannot be read again, so a changed one will not be seen, and reloads go on with what it said; let the \
         user the program has become read it (chgrp, chmod g+r), directories above it included"
    );
}

/// Tells which files cannot be written.
pub(crate) fn tell_unwritable(config: &Config) {
    let user = config.run_as.as_ref().map_or("?", |it| it.user.as_str());
    let snapshot = config.snapshot.iter().map(|it| it.path.as_path());
    for file in snapshot.chain(config.log.file.as_deref()) {
        let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new("."));
        if let Err(error) = accessat(CWD, directory, Access::WRITE_OK, AtFlags::EACCESS) {
            tracing::warn!(
                directory = %directory.display(), %error,
                "user {user} cannot make files in the directory of {}, which is written anew in the course of time; let that user write \
                 there (chown, chmod)",
                file.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_as(user: &str, group: Option<&str>) -> RunAs {
        RunAs {
            user: user.to_owned(),
            group: group.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let root = look_up(&run_as("root", None)).unwrap();
        assert_eq!((root.uid.as_raw(), root.gid.as_raw()), (0, 0));
        assert_eq!(look_up(&run_as("0", None)).unwrap(), root);
        let nobody_known = look_up(&run_as("4000000", Some("4000001"))).unwrap();
        let ids = (nobody_known.uid.as_raw(), nobody_known.gid.as_raw());
        assert_eq!((ids, nobody_known.name), ((4_000_000, 4_000_001), None));
    }

    #[test]
    fn whoever_is_not_there_is_named_with_what_to_do() {
        for (wanted, word) in [
            (run_as("no-such-user", None), "useradd"),
            (run_as("root", Some("no-such-group")), "groupadd"),
            (run_as("4000000", None), "--group"),
        ] {
            let error = look_up(&wanted).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("fix:"), "{error}");
        }
    }
}
