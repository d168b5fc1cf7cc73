//! The token of a run: a file that lets whoever has it join as a worker. Holds a secret key, so that only
//! its owner may read it; good for asking to join alone, and for a limited time.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use peerwren_transports::identity::{IdentityError, NodeId, NodeIdentity};

use crate::options::ControlChoice;

/// First line of every token.
const TITLE: &str = "peerwren token 1";
/// Longest token: an identity of a few kB, some addresses, a place.
const TOKEN_BYTES_MAX: u64 = 32 << 10;
/// Readable and writable by the owner.
const PRIVATE: u32 = 0o600;

/// What a token says.
pub(crate) struct Token {
    /// Who may ask.
    pub(crate) identity: NodeIdentity,
    /// Where the coordinator may listen, `host:port` each, best first.
    pub(crate) coordinators: Vec<String>,
    /// Where the run's store is.
    pub(crate) store: String,
    /// Which ways to the coordinator are tried.
    pub(crate) control: ControlChoice,
}

/// Why a file is no token that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} is no token of peerwren: expected the file that `peerwren coordinator --token` wrote",
        path = path.display()
    )]
    Malformed { path: PathBuf },
    #[error("{path} exists and is no token of peerwren: name another file", path = path.display())]
    Taken { path: PathBuf },
    #[error("the token {path} cannot be used: {source}", path = path.display())]
    Identity {
        path: PathBuf,
        source: IdentityError,
    },
}

impl Token {
    /// Reads a token that is good at `now`.
    pub(crate) fn read(path: &Path, now: SystemTime) -> Result<Self, TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let malformed = || TokenError::Malformed {
            path: path.to_owned(),
        };
        let identity = |source| TokenError::Identity {
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(
                "others can read the token {}: anybody who does can join the run; chmod 600 it",
                path.display()
            );
        }
        let mut bytes = Vec::new();
        file.take(TOKEN_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        if bytes.len() as u64 > TOKEN_BYTES_MAX {
            return Err(malformed());
        }
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        let rest = text.strip_prefix(TITLE).ok_or_else(malformed)?;
        let named = |name: &'static str| rest.lines().filter_map(move |l| l.strip_prefix(name));
        let control = named("control ").next().unwrap_or_default();
        let token = Self {
            coordinators: named("coordinator ").map(str::to_owned).collect(),
            store: named("store ").next().unwrap_or_default().to_owned(),
            control: control.parse().map_err(|_| malformed())?,
            identity: NodeIdentity::from_pem(rest).map_err(identity)?,
        };
        if token.identity.node() != NodeId::Guest {
            return Err(malformed());
        }
        token.identity.check_validity(now).map_err(identity)?;
        Ok(token)
    }

    /// Refuses a file that a token cannot replace.
    pub(crate) fn check_writable(path: &Path) -> Result<(), TokenError> {
        match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(TokenError::Io {
                path: path.to_owned(),
                source,
            }),
            Ok(file) => {
                let mut title = String::new();
                let read = file.take(TITLE.len() as u64).read_to_string(&mut title);
                if read.is_ok() && title == TITLE {
                    Ok(())
                } else {
                    Err(TokenError::Taken {
                        path: path.to_owned(),
                    })
                }
            }
        }
    }

    /// Writes the token, whole or not at all; the file goes when what is returned does.
    pub(crate) fn write(&self, path: &Path) -> Result<TokenFile, TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        Self::check_writable(path)?;
        let mut text = format!("{TITLE}\n");
        for address in &self.coordinators {
            text.push_str(&format!("coordinator {address}\n"));
        }
        text.push_str(&format!("store {}\ncontrol {}\n", self.store, self.control));
        text.push_str(&self.identity.to_pem());
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let before = PathBuf::from(name);
        let written = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(PRIVATE)
                .open(&before)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&before, path)
        };
        written().map_err(|error| {
            // It may never have come to be.
            let _ = fs::remove_file(&before);
            io(error)
        })?;
        Ok(TokenFile {
            path: path.to_owned(),
            text,
        })
    }
}

/// A token's file, which is of no use any more when the run is over.
pub(crate) struct TokenFile {
    path: PathBuf,
    text: String,
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Another run may have written its own by now.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::clock;
    use peerwren_transports::identity::Authority;
    use std::time::Duration;

    fn token(authority: &Authority, made: SystemTime) -> Token {
        let identity = authority.issue_guest(made, Duration::from_secs(3600));
        Token {
            identity: identity.unwrap(),
            store: "s3://bucket/a b".to_owned(),
            control: ControlChoice::Auto,
            coordinators: vec!["192.0.2.1:4433".to_owned(), "[2001:db8::1]:4433".to_owned()],
        }
    }

    #[test]
    fn tokens_are_private_and_go_with_the_run() {
        let path = std::env::temp_dir().join(format!("peerwren-token-{}", std::process::id()));
        let now = clock::wall();
        let authority = Authority::new(5, now).unwrap();
        let file = token(&authority, now).write(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            PRIVATE
        );
        let read = Token::read(&path, now).unwrap();
        assert_eq!(read.store, "s3://bucket/a b");
        assert_eq!(read.coordinators, ["192.0.2.1:4433", "[2001:db8::1]:4433"]);
        assert_eq!(
            (read.identity.run(), read.identity.node()),
            (5, NodeId::Guest)
        );
        let late = Token::read(&path, now + Duration::from_secs(7200));
        let error = late.err().unwrap().to_string();
        assert!(error.contains("expired"), "{error}");
        // A newer run's token stays when the older one's goes.
        let newer = token(&authority, now).write(&path).unwrap();
        drop(file);
        assert!(path.exists());
        drop(newer);
        assert!(!path.exists());
        // Nothing of the user's is overwritten or read as a token.
        fs::write(&path, "notes\n").unwrap();
        let taken = token(&authority, now).write(&path).err().unwrap();
        assert!(matches!(taken, TokenError::Taken { .. }), "{taken}");
        let error = Token::read(&path, now).err().unwrap();
        assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
        // A worker's own identity is no token.
        let worker = authority.issue(NodeId::Worker(1), now).unwrap();
        fs::write(&path, format!("{TITLE}\n{}", worker.to_pem())).unwrap();
        let error = Token::read(&path, now).err().unwrap();
        assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
        fs::remove_file(&path).unwrap();
    }
}
