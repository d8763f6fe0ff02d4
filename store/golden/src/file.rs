//! Files of archives and keys on the real file system.

use crate::error::Error;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// Longest key file read.
const SECRET_LEN_MAX: u64 = 16 << 10;
const TEXT_LEN_MAX: u64 = 4 << 20;

/// Where a secret comes from: never an argument or the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// An open file descriptor.
    Descriptor(u32),
}

impl FromStr for KeySource {
    type Err = String;

    /// A path, `-`, or `fd:N`.
    fn from_str(text: &str) -> Result<KeySource, String> {
        match text.strip_prefix("fd:") {
            _ if text.is_empty() => Err("an empty path".into()),
            _ if text == "-" => Ok(KeySource::Stdin),
            Some(number) => number
                .parse()
                .map(KeySource::Descriptor)
                .map_err(|_| "expected fd: and a number".into()),
            None => Ok(KeySource::File(text.into())),
        }
    }
}

/// Reads a secret. A file must be a regular one, not a link, of this user, and closed to everybody else.
///
/// # Errors
/// [`Error::UnsafeKeyFile`], [`Error::Io`].
pub fn read_secret(source: &KeySource) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (file, path) = match source {
        KeySource::Stdin => {
            let path = Path::new("standard input");
            return take(&mut std::io::stdin().lock(), path);
        }
        KeySource::Descriptor(number) => {
            let path = PathBuf::from(format!("/dev/fd/{number}"));
            (File::open(&path).map_err(Error::io("open", &path))?, path)
        }
        KeySource::File(path) => (open_secret(path)?, path.clone()),
    };
    take(&mut { file }, &path)
}

fn take(from: &mut dyn Read, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_LEN_MAX as usize + 1));
    from.take(SECRET_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > SECRET_LEN_MAX {
        return Err(Error::BadKey {
            what: path.display().to_string(),
            why: "it is longer than a key file can be".into(),
        });
    }
    Ok(bytes)
}

/// Reads a trust file or a witness's state, of at most 4 MiB.
///
/// # Errors
/// [`Error::Text`] for a longer one, [`Error::Io`].
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(TEXT_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > TEXT_LEN_MAX {
        return Err(Error::Text {
            what: "trust file or witness state",
            why: format!("{} has more than {TEXT_LEN_MAX} bytes", path.display()),
        });
    }
    Ok(bytes)
}

fn open_secret(path: &Path) -> Result<File, Error> {
    let refuse = |why: String| Error::UnsafeKeyFile {
        path: path.to_owned(),
        why,
    };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                refuse("it is a symbolic link".into())
            }
            _ => Error::io("open", path)(error),
        })?;
    let meta = file.metadata().map_err(Error::io("look at", path))?;
    if !meta.is_file() {
        return Err(refuse("it is not a regular file".into()));
    }
    let user = rustix::process::geteuid().as_raw();
    if meta.uid() != user {
        return Err(refuse(format!(
            "it belongs to user {}, not to {user}",
            meta.uid()
        )));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(refuse(format!(
            "its mode is {:04o}, not 0600: others can open it",
            meta.mode() & 0o7777
        )));
    }
    Ok(file)
}

/// Writes a new file whole, or none: under a temporary name, synced, then given its name, which nothing may have yet. The
/// directory is synced. `mode` is the file's mode at the end.
///
/// # Errors
/// [`Error::Exists`], [`Error::Io`].
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.finish(path, mode)
}

/// A file in the making beside its final place.
pub(crate) struct NewFile {
    file: File,
    temporary: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Begins a file in the directory of `path`.
    pub(crate) fn create(path: &Path) -> Result<NewFile, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = folder(path);
        for attempt in 0..1000 {
            let temporary = folder.join(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary);
            match opened {
                Ok(file) => {
                    // Tells `cleanup` that somebody is at it. Where a file system has no locks, its age alone tells.
                    let _locked = file.try_lock();
                    return Ok(NewFile {
                        file,
                        temporary,
                        kept: false,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &temporary)(error)),
            }
        }
        Err(Error::Exists { path: folder })
    }

    /// Another one in the same directory, which is never finished.
    pub(crate) fn beside(&self) -> Result<NewFile, Error> {
        NewFile::create(&self.temporary)
    }

    /// Copies what was written behind what `other` has.
    pub(crate) fn append_to(&mut self, other: &mut NewFile) -> Result<(), Error> {
        let copied = self
            .file
            .rewind()
            .and_then(|()| std::io::copy(&mut self.file, &mut other.file));
        copied.map(drop).map_err(Error::io("copy", &self.temporary))
    }

    /// Where it lies until it is finished.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(Error::io("write", &self.temporary))
    }

    pub(crate) fn write_at(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, at)
            .map_err(Error::io("write", &self.temporary))
    }

    /// Gives the file its name, which must be free.
    pub(crate) fn finish(self, path: &Path, mode: u32) -> Result<(), Error> {
        self.settle(mode)?;
        match std::fs::hard_link(&self.temporary, path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(Error::io("create", path)(error)),
        }
        std::fs::remove_file(&self.temporary).map_err(Error::io("remove", &self.temporary))?;
        sync_folder(path)
    }

    /// Gives the file its name in place of the one that has it, which must begin with the same bytes or be a key.
    pub(crate) fn replace(mut self, path: &Path, mode: u32) -> Result<(), Error> {
        self.settle(mode)?;
        std::fs::rename(&self.temporary, path).map_err(Error::io("replace", path))?;
        self.kept = true;
        sync_folder(path)
    }

    fn settle(&self, mode: u32) -> Result<(), Error> {
        self.file
            .sync_all()
            .map_err(Error::io("sync", &self.temporary))?;
        self.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(Error::io("protect", &self.temporary))
    }
}

impl Write for &mut NewFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // What was not finished leaves nothing behind; a failure leaves a file whose name says what it is.
            let _left = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Whether a name is that of an archive or pack that was being written.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let mut name = name;
    let mut levels = 0;
    while let Some(inner) = name.strip_prefix('.').and_then(|n| n.strip_suffix(".tmp")) {
        let mut parts = inner.rsplitn(3, '.');
        let (attempt, process, rest) = (parts.next(), parts.next(), parts.next());
        let number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
        let (true, true, Some(rest)) = (number(attempt), number(process), rest) else {
            return false;
        };
        (name, levels) = (rest, levels + 1);
    }
    let is_ours = name == "seal"
        || name.ends_with(".golden")
        || name.starts_with("pack-") && name.ends_with(".tar.zst");
    levels > 0 && is_ours
}

/// Replaces a key file by one with the key's next secret, in one step.
///
/// # Errors
/// [`Error::Io`].
pub fn replace_key(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, 0o600)
}

/// Replaces the content of a file in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.replace(path, mode)
}

pub(crate) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = folder(path);
    File::open(&folder)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("sync", &folder))
}
