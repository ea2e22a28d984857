//! One file that is changed and put back.
//!
//! Promises: a file is whole at every moment, before, between and after; what was there first is never overwritten; what somebody else
//! wrote is never thrown away.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is put behind the name of a file that was there first.
const KEPT: &str = ".before-dotward";

/// A file as it is and as it is to be.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    /// What is in it; `None` when it is not there.
    pub(super) before: Option<String>,
    pub(super) after: String,
    /// What tells whether the file is as this program wrote it.
    pub(super) ours: Ours,
}

/// How a file is known to be as this program wrote it, whatever was configured then.
#[derive(Debug)]
pub(super) enum Ours {
    /// It begins with this line and the digest of what follows: see [`sealed`].
    Sealed(String),
    /// The format has no comments: it is exactly this.
    Exactly(String),
}

/// A file of ours: who wrote it, the digest of the rest, and the rest.
pub(super) fn sealed(mark: &str, body: &str) -> String {
    format!("{mark}{DIGEST}{}\n{body}", digest_text(body))
}

/// What stands before the digest.
const DIGEST: &str = "# Only while the lines below are as they were written, SHA-256 ";

fn digest_text(body: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let octets = digest.as_ref().iter();
    octets.map(|octet| format!("{octet:02x}")).collect()
}

impl Ours {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Exactly(written) => text == written,
            Self::Sealed(mark) => {
                let rest = text.strip_prefix(mark.as_str());
                let rest = rest.and_then(|rest| rest.strip_prefix(DIGEST));
                let parts = rest.and_then(|rest| rest.split_once('\n'));
                parts.is_some_and(|(digest, body)| digest == digest_text(body))
            }
        }
    }
}

/// Why a file was left as it is.
#[derive(Debug)]
pub enum FileError {
    /// The system refused.
    System {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is a link, so something else writes what it leads to.
    Link {
        /// Which file.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// What was kept from before is there already, and the file is not ours.
    InTheWay {
        /// Which file.
        path: PathBuf,
        /// What was kept.
        kept: PathBuf,
    },
    /// The file is not as we wrote it.
    Changed {
        /// Which file.
        path: PathBuf,
        /// What was kept, if anything.
        kept: Option<PathBuf>,
    },
    /// There is nothing to undo.
    NotThere(PathBuf),
    /// The file cannot be read as what it should be.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Link { path, target } => write!(
                f,
                "{} leads to {}, which another program writes; nothing was changed\n  fix:     change that program: dotward setup \
                 systemd-resolved, or dotward setup networkmanager",
                path.display(),
                target.display()
            ),
            Self::InTheWay { path, kept } => write!(
                f,
                "{} is there already, and {} is not what this program wrote; nothing was changed\n  fix:     look at both, and move the \
                 first away",
                kept.display(),
                path.display()
            ),
            Self::Changed {
                path,
                kept: Some(kept),
            } => write!(
                f,
                "{} was changed since; nothing was undone\n  fix:     look at it, then `mv {} {}` if what was there before is wanted",
                path.display(),
                kept.display(),
                path.display()
            ),
            Self::Changed { path, kept: None } => write!(
                f,
                "{} is not as this program writes it; nothing was undone\n  fix:     look at it, and remove it by hand if it is not wanted",
                path.display()
            ),
            Self::NotThere(path) => write!(f, "{} is not there: nothing to undo", path.display()),
            Self::Unreadable { path, why } => write!(
                f,
                "{} cannot be read: {why}; nothing was changed\n  fix:     mend the file first",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FileError {}

impl Change {
    /// Where what was there first is kept.
    pub(super) fn kept(&self) -> PathBuf {
        kept(&self.path)
    }

    /// What a person types to put it back.
    pub(super) fn undo_command(&self) -> String {
        let path = self.path.display();
        if self.before.is_some() {
            format!("mv {} {path}", self.kept().display())
        } else {
            format!("rm {path}")
        }
    }

    /// Writes the file; what it says has been done.
    pub(super) fn apply(&self) -> Result<String, FileError> {
        self.refuse_link()?;
        let path = self.path.display();
        if self.before.as_deref() == Some(self.after.as_str()) {
            return Ok(format!("{path} is so already"));
        }
        let kept = self.kept();
        let is_kept = kept.symlink_metadata().is_ok();
        let mut done = format!("wrote {path}");
        match &self.before {
            Some(before) if self.ours.is(before) => {}
            Some(_) if is_kept => {
                let path = self.path.clone();
                return Err(FileError::InTheWay { path, kept });
            }
            Some(_) => {
                fs::copy(&self.path, &kept).map_err(|error| self.system(error))?;
                done.push_str(&format!("; what was there is in {}", kept.display()));
            }
            None => {
                let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
                fs::create_dir_all(directory).map_err(|error| self.system(error))?;
            }
        }
        replace(&self.path, &self.after).map_err(|error| self.system(error))?;
        Ok(done)
    }

    /// Puts back what was there first; what it says has been done.
    pub(super) fn undo(&self) -> Result<String, FileError> {
        self.refuse_link()?;
        let path = self.path.clone();
        let kept = self.kept();
        let kept_text = fs::read_to_string(&kept).ok();
        match &self.before {
            None => return Err(FileError::NotThere(path)),
            Some(before) if !self.ours.is(before) => {
                let kept = kept_text.map(|_| kept);
                return Err(FileError::Changed { path, kept });
            }
            Some(_) => {}
        }
        if let Some(text) = kept_text {
            replace(&path, &text).map_err(|error| self.system(error))?;
            fs::remove_file(&kept).map_err(|error| self.system(error))?;
            return Ok(format!("{} is as it was before", path.display()));
        }
        fs::remove_file(&path).map_err(|error| self.system(error))?;
        Ok(format!("removed {}", path.display()))
    }

    fn refuse_link(&self) -> Result<(), FileError> {
        match fs::read_link(&self.path) {
            Ok(target) => Err(FileError::Link {
                path: self.path.clone(),
                target,
            }),
            // Not there, or no link.
            Err(_) => Ok(()),
        }
    }

    fn system(&self, error: io::Error) -> FileError {
        FileError::System {
            path: self.path.clone(),
            error,
        }
    }
}

/// Where what was there before `path` was written is kept.
pub(super) fn kept(path: &Path) -> PathBuf {
    let mut kept = path.to_owned().into_os_string();
    kept.push(KEPT);
    kept.into()
}

/// What is in a file; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::System {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Replaces a file in one step, with the rights it had. Where the file itself is a mount, as `/etc/resolv.conf` in a container, it is
/// written in place, because nothing else is possible.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".dotward-new");
    let beside = PathBuf::from(beside);
    let rights = fs::metadata(path).map(|it| it.permissions());
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    if let Ok(rights) = rights {
        file.set_permissions(rights)?;
    }
    file.sync_all()?;
    match fs::rename(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            fs::remove_file(&beside)?;
            fs::write(path, text)
        }
        renamed => renamed,
    }
}
