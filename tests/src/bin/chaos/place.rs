//! Where a run's blocks lie and its workers are: a folder, a small disk, an S3 server in this process, hosts in
//! network namespaces. What is mounted or up goes when this program does, whatever ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peerwren_benches::guard::Guard;
use peerwren_tests::s3_server::S3Server;

use crate::draw::StoreKind;

/// Room of a small disk: several times what any of the runs needs.
const DISK_BYTES: u64 = 1 << 30;
/// Name of the file that fills it.
const FILLER: &str = "filler";
/// The prefix of objects in the server's bucket.
const PREFIX: &str = "runs";

/// A store of a run's own.
pub(crate) enum Place {
    Folder(PathBuf),
    Disk { folder: PathBuf, _unmounts: Guard },
    S3(S3Server),
}

impl Place {
    /// Makes an empty store; a folder or disk lies below `folder`.
    ///
    /// # Errors
    /// It cannot be made; a disk needs root.
    pub(crate) fn new(kind: StoreKind, folder: &Path) -> Result<Self, String> {
        let folder = folder.join("store");
        let name = folder.to_string_lossy().into_owned();
        if kind == StoreKind::S3 {
            return Ok(Self::S3(S3Server::start()));
        }
        fs::create_dir(&folder).map_err(|error| format!("{name}: {error}"))?;
        if kind == StoreKind::Folder {
            return Ok(Self::Folder(folder));
        }
        let unmounts = Guard::new("umount -l \"$1\"", &[&name])?;
        let size = format!("size={DISK_BYTES}");
        said(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs", &name]))?;
        Ok(Self::Disk {
            folder,
            _unmounts: unmounts,
        })
    }

    /// As `--store` takes it.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Folder(folder) | Self::Disk { folder, .. } => folder.display().to_string(),
            Self::S3(_) => format!("s3://bucket/{PREFIX}"),
        }
    }

    /// How processes reach it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::S3(server) => server.variables(),
            _ => Vec::new(),
        }
    }

    /// The server, where it is one.
    pub(crate) fn server(&self) -> Option<&S3Server> {
        match self {
            Self::S3(server) => Some(server),
            _ => None,
        }
    }

    /// All that lies there: objects' names, and writes in parts that are not complete.
    pub(crate) fn objects(&self) -> Vec<String> {
        match self {
            Self::S3(server) => {
                let mut all = server.keys();
                all.extend(server.uploads());
                all
            }
            Self::Folder(folder) | Self::Disk { folder, .. } => {
                let (mut all, mut folders) = (Vec::new(), vec![folder.clone()]);
                while let Some(next) = folders.pop() {
                    for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                        let path = entry.path();
                        if path.is_dir() {
                            folders.push(path.clone());
                        }
                        let name = path.strip_prefix(folder).unwrap_or(&path);
                        all.push(name.to_string_lossy().into_owned());
                    }
                }
                all.retain(|name| name != FILLER);
                all
            }
        }
    }

    /// The number of the newest manifest, 0 where there is none.
    pub(crate) fn newest_manifest(&self) -> u32 {
        let objects = self.objects();
        let numbers = objects.iter().filter_map(|name| {
            let (folder, number) = name.rsplit_once('/')?;
            folder
                .ends_with("/manifest")
                .then(|| number.parse().ok())
                .flatten()
        });
        numbers.max().unwrap_or(0)
    }

    /// Takes all room that is left on a disk, again and again while somebody frees some.
    ///
    /// # Errors
    /// The file cannot be written for another reason than the disk's end.
    pub(crate) fn fill(&self) -> Result<(), String> {
        let Self::Disk { folder, .. } = self else {
            return Err("only a disk can be filled".to_owned());
        };
        let file = folder.join(FILLER);
        let filled = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", "oflag=append", "conv=notrunc"])
            .arg(format!("of={}", file.display()))
            .stderr(Stdio::null())
            .status();
        filled
            .map(|_| ())
            .map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn make_room(&self) -> Result<(), String> {
        let Self::Disk { folder, .. } = self else {
            return Ok(());
        };
        match fs::remove_file(folder.join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

/// Hosts on one switch, gone when this is.
pub(crate) struct Hosts {
    prefix: String,
    _down: Guard,
}

impl Hosts {
    /// Makes so many hosts.
    ///
    /// # Errors
    /// There can be none: no root, or a tool is missing.
    pub(crate) fn up(count: u32) -> Result<Self, String> {
        let prefix = format!("pwx{}", std::process::id());
        // Made first: what is half up goes down too.
        let down = Guard::new("\"$1\" down \"$2\"", &[&script(), &prefix])?;
        let hosts = Self {
            prefix,
            _down: down,
        };
        hosts.ask("up", &[count])?;
        Ok(hosts)
    }

    /// Asks the script for something of this network.
    ///
    /// # Errors
    /// It fails; with what it said.
    pub(crate) fn ask(&self, verb: &str, numbers: &[u32]) -> Result<(), String> {
        let mut command = Command::new(script());
        command.args([verb, &self.prefix]).env("DELAY_US", "500");
        said(command.args(numbers.iter().map(u32::to_string)))
    }

    /// What is put before a program's name to run it on a host.
    pub(crate) fn words(&self, host: u32) -> [String; 4] {
        let space = format!("{}-h{host}", self.prefix);
        ["ip", "netns", "exec", &space].map(str::to_owned)
    }
}

/// A host's address.
pub(crate) fn address(host: u32) -> String {
    format!("10.77.0.{host}")
}

fn script() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("net/hosts.sh");
    script.to_string_lossy().into_owned()
}

/// Runs a command; what it said where it fails.
fn said(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| format!("{name}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&ended.stderr);
    Err(format!("{name}: {}", told.trim()))
}
