//! What the process gives up once it serves: files, ports and system calls that it has no use for.
//!
//! Whoever finds a way to run code of their own through a message gets what the process may do, and that is little: the directories
//! of the files that the configuration names can be read, that of the log written, TCP reaches the ports of upstreams only, and nothing
//! can be executed. Two layers, both of the kernel and both for ever: Landlock for files and TCP ports (`files`), seccomp for
//! system calls (`calls`).
//!
//! Promises: entered after everything is bound and privileges are dropped; threads made later are inside; what the kernel does not offer
//! is told and is no fault, because an older kernel is no reason to be without DNS.
//!
//! Deliberately absent: user and group, capabilities and namespaces, which the service manager sets up (docs/hardening.md).

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::{Config, ListenTransport};
use crate::shared::{Place, Ports};

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;

/// What the process needs while it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories, or files, that are read.
    pub read: BTreeSet<PathBuf>,
    /// Directories in which files are read, written, made and removed.
    pub write: BTreeSet<PathBuf>,
    /// Ports that TCP connects to.
    pub connect: BTreeSet<u16>,
    /// Whether TCP connects to whichever port somebody else names.
    pub connect_any: bool,
    /// Ports that TCP is bound to.
    pub bind: BTreeSet<u16>,
    /// Whether somebody else's Unix socket without a file is sent to: the service manager's, where it has one.
    pub abstract_sockets: bool,
    /// Those files among what is read or written that lie in the root of the file system: rules hold for them alone, and not for what is put in
    /// their places.
    pub alone: BTreeSet<PathBuf>,
}

/// Read by parts of the system, not by us: time zones, and the number of processors and the memory a container may use.
const SYSTEM_FILES: [&str; 5] = [
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/proc/self",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Read by the C library when it looks for the address of the shared cache. They are replaced by others of their name, and a rule holds
/// for a file, not for its name; so their directories count.
const NAME_FILES: [&str; 4] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
];

/// Where `resolv.conf` may be a link to before long.
const NAME_DIRECTORIES: [&str; 3] = [
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
];

impl Needs {
    /// What a configuration needs.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut needs = Self {
            read: SYSTEM_FILES.map(PathBuf::from).into(),
            ..Self::default()
        };
        if let Some(identity) = &config.listen_tls {
            needs.read_file(&identity.certificate_file);
            needs.read_file(&identity.key_file);
            if let Some(file) = &identity.client_ca_file {
                needs.read_file(file);
            }
        }
        if let Some(socket) = &config.control {
            // It is removed at the end.
            needs.write_file(socket);
        }
        if let Some(snapshot) = &config.snapshot {
            needs.write_file(&snapshot.path);
        }
        let store = config.shared_cache.as_ref();
        if let Some(place) = store.and_then(|it| Place::parse(&it.url)) {
            needs.shared_cache(&place);
        }
        for upstream in config.upstreams.iter().chain(&config.bootstrap) {
            needs.upstream(upstream);
        }
        if let Some(log) = &config.log.file {
            needs.write_file(log);
        }
        let streams = config.listeners.iter();
        let streams = streams.filter(|it| it.transport != ListenTransport::Udp);
        needs.bind.extend(streams.map(|it| it.address.port()));
        let interfaces = config.interfaces.iter();
        let interfaces = interfaces.filter(|it| it.transport != ListenTransport::Udp);
        needs.bind.extend(interfaces.map(|it| it.port));
        needs
    }

    fn shared_cache(&mut self, place: &Place) {
        match place.ports() {
            Ports::Known(ports) => self.connect.extend(ports),
            Ports::Any => self.connect_any = true,
        }
        if place.has_names() {
            for file in NAME_FILES {
                self.read_file(Path::new(file));
            }
            self.read.extend(NAME_DIRECTORIES.map(PathBuf::from));
        }
    }

    fn upstream(&mut self, upstream: &crate::config::UpstreamSettings) {
        if let Some(file) = &upstream.ca_file {
            self.read_file(file);
        }
        if let Some(identity) = &upstream.client_identity {
            self.read_file(&identity.certificate_file);
            self.read_file(&identity.key_file);
        }
        // A truncated datagram is asked again over TCP, so a port is needed whatever the protocol.
        self.connect
            .extend(upstream.endpoints.iter().map(|it| it.port()));
        self.connect.insert(upstream.port);
        if !upstream.binding.source.is_empty() {
            // A source address is bound with a port of the system's choice, for a truncated datagram's second try too.
            self.bind.insert(0);
        }
    }

    /// A file that may be replaced by another of its name, so its directory counts; a link's target may be elsewhere.
    pub fn read_file(&mut self, file: &Path) {
        let places = self.places(file);
        self.read.extend(places);
        self.read.extend(switched(file));
    }

    fn write_file(&mut self, file: &Path) {
        let places = self.places(file);
        self.write.extend(places);
    }

    /// The directory of a file, and that of the file it is a link to. The root is no such directory, for a rule holds for everything below: there
    /// the file itself counts.
    fn places(&mut self, file: &Path) -> Vec<PathBuf> {
        let target = file.canonicalize().ok();
        let names = std::iter::once(file).chain(target.as_deref());
        let place = |name: &Path| {
            let directory = directory(name);
            let is_root = directory
                .canonicalize()
                .is_ok_and(|it| it.parent().is_none());
            if !is_root {
                return directory.to_owned();
            }
            let name = std::path::absolute(name).unwrap_or_else(|_| name.to_owned());
            self.alone.insert(name.clone());
            name
        };
        names.map(place).collect()
    }

    /// Tells of the files that lie in the root of the file system.
    pub(crate) fn tell_alone(&self) {
        let files: Vec<_> = self
            .alone
            .iter()
            .map(|it| it.display().to_string())
            .collect();
        if !files.is_empty() {
            tracing::warn!(
                files = files.join(", "),
                "files in / are within the sandbox, but not others that take their places or are to be made anew: a reload would not open such a \
                 one, and a snapshot or control socket there is not made or removed; give them a directory, or start with --no-sandbox"
            );
        }
    }
}

/// What a directory on the way to a file may be switched to, where it is a link: the siblings of what it points to now, as
/// in `certificates/current -> releases/7`. A link that points out of the directory it is in is none that is switched (`/var/run`), and
/// would open too much.
fn switched(file: &Path) -> Vec<PathBuf> {
    let Ok(file) = std::path::absolute(file) else {
        return Vec::new();
    };
    let is_link = |path: &&Path| path.is_symlink();
    let siblings = |link: &Path| {
        let around = link.parent()?.canonicalize().ok()?;
        let target = link.canonicalize().ok()?;
        let siblings = target.parent()?;
        let inside = siblings.starts_with(&around) && around.parent().is_some();
        inside.then(|| siblings.to_owned())
    };
    let above = file.ancestors().skip(1).filter(is_link);
    above.filter_map(siblings).collect()
}

/// Where a file lies.
fn directory(file: &Path) -> &Path {
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

/// What the process can still reach, for who wants to know whether something else will work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    needs: Needs,
}

impl Inside {
    /// What is left when only `needs` were kept. A rule for what is not there is none.
    #[must_use]
    pub fn new(mut needs: Needs) -> Self {
        needs.read.retain(|path| path.exists());
        // Of a file that is not there yet the same has been told as of one that is.
        let alone = &needs.alone;
        needs
            .write
            .retain(|path| path.exists() || alone.contains(path));
        Self { needs }
    }

    /// Whether a file can be read, as far as this goes.
    #[must_use]
    pub fn reads(&self, path: &Path) -> bool {
        let known = self.needs.read.iter().chain(&self.needs.write);
        is_below(path, known)
    }

    /// Whether the rule for a file holds for it alone.
    pub(crate) fn is_alone(&self, path: &Path) -> bool {
        std::path::absolute(path).is_ok_and(|it| self.needs.alone.contains(&it))
    }

    /// Whether connections can be made from a source address.
    pub(crate) fn has_sources(&self) -> bool {
        self.needs.bind.contains(&0)
    }

    /// What `config` needs that cannot be reached any more, for people.
    #[must_use]
    pub fn lacks(&self, config: &Config) -> Vec<String> {
        let wanted = Needs::of(config);
        let mut lacking = Vec::new();
        for path in wanted.read.iter().filter(|it| it.exists()) {
            if !self.reads(path) {
                lacking.push(format!("reading in {}", path.display()));
            }
        }
        for path in &wanted.write {
            if !is_below(path, self.needs.write.iter()) {
                lacking.push(format!("writing in {}", path.display()));
            }
        }
        for port in wanted.connect.difference(&self.needs.connect) {
            if is_denied(*port) {
                lacking.push(format!("connecting to port {port} over TCP"));
            }
        }
        if !wanted.bind.is_subset(&self.needs.bind) {
            lacking.push("connecting from a source address".to_owned());
        }
        lacking
    }
}

fn is_below<'a>(path: &Path, mut known: impl Iterator<Item = &'a PathBuf>) -> bool {
    let real = path.canonicalize();
    known.any(|it| path.starts_with(it) || real.as_ref().is_ok_and(|real| real.starts_with(it)))
}

/// Whether connecting to this port is refused by the sandbox: older kernels have no rules for ports. The address is nobody's, and
/// nothing is sent.
fn is_denied(port: u16) -> bool {
    let nobody = SocketAddr::from((Ipv4Addr::BROADCAST, port));
    let error = std::net::TcpStream::connect(nobody).err();
    error.is_some_and(|it| it.kind() == std::io::ErrorKind::PermissionDenied)
}

/// How much of a layer the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// All of it.
    Fully,
    /// What this kernel knows; a newer one knows more.
    Partly,
    /// Nothing: this kernel does not have it, or refused.
    Not,
    /// Nothing, because the configuration says so.
    Off,
}

impl Enforced {
    /// The words for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fully => "enforced",
            Self::Partly => "partly enforced",
            Self::Not => "not enforced",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the process has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Files and TCP ports (Landlock).
    pub files: Enforced,
    /// System calls (seccomp).
    pub calls: Enforced,
}

impl Status {
    /// Nothing given up.
    pub const OFF: Self = Self {
        files: Enforced::Off,
        calls: Enforced::Off,
    };

    /// Each layer with what of it is enforced.
    pub fn layers(self) -> [(&'static str, Enforced); 2] {
        [("files", self.files), ("calls", self.calls)]
    }
}

/// Gives up everything but `needs`, for this thread and those it makes, and system calls for all threads of the process. There is no
/// way back.
#[cfg(target_os = "linux")]
#[must_use]
pub fn enter(needs: &Needs) -> Status {
    let files = files::enter(needs).unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel does not take rules for files and ports (Landlock)");
        Enforced::Not
    });
    let calls = calls::enter().map_or_else(
        |error| {
            tracing::warn!(%error, "the kernel does not take rules for system calls (seccomp)");
            Enforced::Not
        },
        |()| Enforced::Fully,
    );
    Status { files, calls }
}

/// Only Linux has these layers.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn enter(_: &Needs) -> Status {
    Status {
        files: Enforced::Not,
        calls: Enforced::Not,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_links_are_switched_to_can_be_read_and_what_lies_elsewhere_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let [inside, outside] = ["etc/releases/1", "else/where"].map(|it| root.join(it));
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(&outside).unwrap();
        for place in [&inside, &outside] {
            fs::write(place.join("ca.pem"), "").unwrap();
        }
        symlink("releases/1", root.join("etc/current")).unwrap();
        symlink(&outside, root.join("etc/away")).unwrap();
        let read = |file: &str| {
            let mut needs = Needs::default();
            needs.read_file(&root.join(file));
            needs.read
        };
        let current = [root.join("etc/current"), inside, root.join("etc/releases")];
        assert_eq!(read("etc/current/ca.pem"), current.into());
        let away = [root.join("etc/away"), outside];
        assert_eq!(read("etc/away/ca.pem"), away.into());
    }
}
