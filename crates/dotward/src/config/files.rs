//! Files named by settings: read, bounded, and looked into before anything is started.
//!
//! A certificate or key that would fail later fails here, with the setting that names it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::fault::{Fault, FileFault, Problem};
use super::place::Place;

/// The most octets any file may have. All roots of a large operating system take a quarter of it.
pub const FILE_OCTETS_MAX: usize = 1024 * 1024;

/// Where files are read from.
pub trait ReadFiles {
    /// The octets of a file; of a file larger than [`FILE_OCTETS_MAX`], one more than that many.
    ///
    /// # Errors
    ///
    /// Those of opening and reading.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The file system.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl ReadFiles for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        File::open(path)?
            .take(FILE_OCTETS_MAX as u64 + 1)
            .read_to_end(&mut octets)?;
        Ok(octets)
    }
}

/// A file, the setting that names it, and where that was written.
#[derive(Debug, Clone)]
pub(crate) struct NamedFile {
    pub(crate) path: PathBuf,
    pub(crate) key: String,
    pub(crate) place: Place,
}

impl NamedFile {
    pub(super) fn fault(&self, fault: FileFault) -> Fault {
        let (key, path) = (self.key.clone(), self.path.clone());
        Fault::new(&self.place, Problem::BadFile { key, path, fault })
    }

    fn unreadable(&self, error: &io::Error) -> Fault {
        let (key, path) = (self.key.clone(), self.path.clone());
        let (kind, error) = (error.kind(), words_of(error));
        let problem = Problem::Unreadable {
            key,
            path,
            kind,
            error,
        };
        Fault::new(&self.place, problem)
    }

    fn octets(&self, files: &dyn ReadFiles) -> Result<Vec<u8>, Fault> {
        match files.read(&self.path) {
            Ok(octets) if octets.len() > FILE_OCTETS_MAX => Err(self.fault(FileFault::TooLarge)),
            Ok(octets) => Ok(octets),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// The text of the file.
    pub(crate) fn text(&self, files: &dyn ReadFiles) -> Result<String, Fault> {
        let octets = self.octets(files)?;
        String::from_utf8(octets).map_err(|_| self.fault(FileFault::NotUtf8))
    }

    /// The text of a file that need not be there.
    pub(crate) fn text_if_there(&self, files: &dyn ReadFiles) -> Result<Option<String>, Fault> {
        match files.read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) | Ok(_) => self.text(files).map(Some),
        }
    }

    fn certificates(&self, files: &dyn ReadFiles) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let octets = self.octets(files)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.fault(FileFault::NoCertificate)),
            Ok(found) => Ok(found),
            Err(_) => Err(self.fault(FileFault::BadCertificate)),
        }
    }

    fn private_key(&self, files: &dyn ReadFiles) -> Result<PrivateKeyDer<'static>, Fault> {
        let octets = self.octets(files)?;
        PrivateKeyDer::from_pem_slice(&octets).map_err(|_| self.fault(FileFault::NoKey))
    }
}

/// What the system says of a file that this user, or this process in its sandbox, may not read.
pub(crate) const PERMISSION_DENIED: &str = "permission denied";

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the list of the standard library may grow"
)]
fn words_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => PERMISSION_DENIED.into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        _ => error.to_string(),
    }
}

/// Faults of a file of roots.
pub(crate) fn check_roots(file: &NamedFile, files: &dyn ReadFiles) -> Result<(), Fault> {
    let mut store = RootCertStore::empty();
    for certificate in file.certificates(files)? {
        store
            .add(certificate)
            .map_err(|_| file.fault(FileFault::BadCertificate))?;
    }
    Ok(())
}

/// Faults of a certificate chain and its key.
pub(crate) fn check_identity(
    certificate: &NamedFile,
    key: &NamedFile,
    files: &dyn ReadFiles,
) -> Vec<Fault> {
    match (certificate.certificates(files), key.private_key(files)) {
        (Ok(chain), Ok(private)) => {
            let fault = match_up(chain, private, &default_provider()).err();
            let blamed = |it| {
                if it == FileFault::BadCertificate {
                    certificate
                } else {
                    key
                }
            };
            fault.map(|it| blamed(it).fault(it)).into_iter().collect()
        }
        (chain, private) => chain.err().into_iter().chain(private.err()).collect(),
    }
}

fn match_up(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), FileFault> {
    let loaded = provider.key_provider.load_private_key(private);
    let pair = CertifiedKey::new(chain, loaded.map_err(|_| FileFault::BadKey)?);
    match pair.keys_match() {
        // A provider that cannot tell is no reason to refuse.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err(FileFault::KeyOfAnother),
        Err(_) => Err(FileFault::BadCertificate),
    }
}
