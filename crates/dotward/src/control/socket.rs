//! The file of the control socket.
//!
//! Promises: the file has mode 0600 from its first moment; what stands in its way goes only if it is a socket where nobody answers;
//! at the end the file is removed, unless another program has put its own there.

use std::fmt;
use std::fs;
use std::io;
#[cfg(any(test, not(target_os = "linux")))]
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, Gid, OFlags, Uid, chownat, fchmod, fstat, open};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::CONTROL_CONNECTIONS;

/// The socket, bound.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file, which goes with this value.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file: another one with this name is somebody else's.
    identity: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // A directory that we may not write to any more keeps the file; nobody answers there, and the next start removes it.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Why there is no control socket.
#[derive(Debug)]
pub struct ControlBindError {
    path: PathBuf,
    kind: BindErrorKind,
}

#[derive(Debug)]
enum BindErrorKind {
    /// Another program answers there.
    Answers,
    /// Something else than a socket is there.
    NoSocket,
    /// The system refused.
    System(io::Error),
}

impl fmt::Display for ControlBindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot make the control socket {}: ",
            self.path.display()
        )?;
        match &self.kind {
            BindErrorKind::Answers => f.write_str(
                "another program answers there\n  fix:     stop it, give another path (--control), or turn it off (--control off)",
            ),
            BindErrorKind::NoSocket => f.write_str(
                "something that is no socket is there\n  fix:     remove it, or give another path (--control)",
            ),
            BindErrorKind::System(error) => write!(
                f,
                "{error}\n  fix:     give a path of at most 107 octets in a directory that exists and that this user may write to \
                 (--control), or turn it off (--control off)"
            ),
        }
    }
}

impl std::error::Error for ControlBindError {}

impl ControlSocket {
    /// Makes the socket at `path`.
    ///
    /// # Errors
    ///
    /// [`ControlBindError`], ready to be shown.
    pub fn bind(path: &Path) -> Result<Self, ControlBindError> {
        let fault = |kind| ControlBindError {
            path: path.to_owned(),
            kind,
        };
        let listener = match listener(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                make_way(path).map_err(fault)?;
                listener(path)
            }
            bound => bound,
        };
        let listener = listener.map_err(|error| fault(BindErrorKind::System(error)))?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(path),
        };
        Ok(Self { listener, file })
    }

    /// Makes a socket that is to have the name `path` later, where another process may still have one: in the same directory, under a
    /// name of this process, which goes with the value.
    ///
    /// # Errors
    ///
    /// [`ControlBindError`], ready to be shown.
    pub(crate) fn bind_beside(path: &Path) -> Result<Self, ControlBindError> {
        let is_other = |found: fs::Metadata| !found.file_type().is_socket();
        if fs::symlink_metadata(path).is_ok_and(is_other) {
            return Err(ControlBindError {
                path: path.to_owned(),
                kind: BindErrorKind::NoSocket,
            });
        }
        Self::bind(&path.with_file_name(format!(".dotward-{}", std::process::id())))
    }

    /// Gives the socket the name it is to have. Whoever had one of that name goes on with who is connected, and leaves the file alone at
    /// its end, because it is not its own any more.
    ///
    /// # Errors
    ///
    /// [`ControlBindError`], ready to be shown.
    pub(crate) fn take_place(&mut self, path: &Path) -> Result<(), ControlBindError> {
        fs::rename(&self.file.path, path).map_err(|error| ControlBindError {
            path: path.to_owned(),
            kind: BindErrorKind::System(error),
        })?;
        path.clone_into(&mut self.file.path);
        Ok(())
    }

    /// Makes the file another user's, who may then use it as its owner. Whatever else has its name by now is left alone: the directory
    /// may belong to somebody who is not root.
    ///
    /// # Errors
    ///
    /// When the file is not there any more, or may not be given away.
    #[cfg(target_os = "linux")]
    pub(crate) fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        let file = open(
            &self.file.path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let found = fstat(&file)?;
        if Some((found.st_dev, found.st_ino)) != self.file.identity {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        chownat(&file, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

fn listener(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let mode = Mode::RUSR | Mode::WUSR;
    // The file gets the mode of the socket: there is no moment in which it has another. Other systems know only the mode of the file; here
    // what has the name by now may be a link that the owner of the directory has put there, and is left alone.
    #[cfg(target_os = "linux")]
    fchmod(&socket, mode)?;
    socket.bind(&SockAddr::unix(path)?)?;
    #[cfg(not(target_os = "linux"))]
    fs::set_permissions(path, fs::Permissions::from_mode(mode.bits()))?;
    socket.listen(i32::try_from(CONTROL_CONNECTIONS).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Removes what a program that is no more has left.
fn make_way(path: &Path) -> Result<(), BindErrorKind> {
    let found = fs::symlink_metadata(path).map_err(BindErrorKind::System)?;
    if !found.file_type().is_socket() {
        return Err(BindErrorKind::NoSocket);
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindErrorKind::Answers),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(BindErrorKind::System)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BindErrorKind::System(error)),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path) -> String {
        ControlSocket::bind(path).unwrap_err().to_string()
    }

    #[test]
    fn the_file_is_for_its_owner_only_and_goes_with_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_program_left_is_replaced_and_what_lives_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        // The standard library's listener leaves its file behind.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = ControlSocket::bind(&path).unwrap();
        assert!(told(&path).contains("another program answers there"));
        assert!(path.exists());
        drop(living);

        fs::write(&path, "notes").unwrap();
        assert!(told(&path).contains("no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = ControlSocket::bind(&path).unwrap();
        // Kept so that the number of the file is not given to the next one.
        fs::rename(&path, directory.path().join("old")).unwrap();
        let second = ControlSocket::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_successor_takes_the_name_when_it_is_ready_and_nothing_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let files = || fs::read_dir(directory.path()).unwrap().count();
        let first = ControlSocket::bind(&path).unwrap();
        let first_has_it = || identity(&path) == first.file.identity;
        drop(ControlSocket::bind_beside(&path).unwrap());
        assert!(first_has_it() && files() == 1);
        let mut second = ControlSocket::bind_beside(&path).unwrap();
        assert!(first_has_it());
        second.take_place(&path).unwrap();
        assert!(!first_has_it());
        assert_eq!((identity(&path), files()), (second.file.identity, 1));
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert_eq!(files(), 0);

        fs::write(&path, "notes").unwrap();
        let refused = ControlSocket::bind_beside(&path).unwrap_err();
        assert!(refused.to_string().contains("no socket"));
    }

    #[test]
    fn a_path_that_cannot_be_is_told_with_what_to_do() {
        let long = Path::new("/").join("x".repeat(200));
        assert!(told(&long).contains("at most 107 octets"));
        assert!(told(Path::new("/nowhere/at/all.sock")).contains("--control off"));
    }
}
