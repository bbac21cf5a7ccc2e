//! The account that a process of root's works as: the owner of the ledger's directory, or of the spool if the ledger is in PostgreSQL.
//!
//! The service account may write the directories of ledger and docroot, and could put links, FIFOs or devices there for root to follow.
//! So root becomes that account before it opens anything in them. Credentials belong to a thread in Linux, and new threads inherit them
//! (credentials(7)).

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;

use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::config::Config;
use crate::store::SPOOL;

/// The owner of the ledger's directory, whom root becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Its user id.
    pub(crate) uid: u32,
    /// Its group id.
    pub(crate) gid: u32,
}

/// Why root does not work in the ledger's directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    /// Root owns it, but other accounts may write it.
    #[error(
        "the ledger's directory {directory} belongs to root, and other accounts may write it (mode {mode:o}): give it to the service's account, \
         for example `chown corenexis-cdn {directory} && chmod 750 {directory}`"
    )]
    Writable {
        /// The directory.
        directory: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The credentials could not be changed.
    #[error(
        "root could not become the account {uid}, which owns the ledger's directory: {error}; run `sudo -u '#{uid}' corenexis-cdn …`"
    )]
    Credentials {
        /// The account.
        uid: u32,
        /// What failed.
        error: io::Error,
    },
}

impl Owner {
    /// The account to become; `None` if the process is not root's, or if the directory is root's alone or missing.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, OwnerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let spool = match &config.storage.s3 {
            Some(bucket) => bucket.spool.clone(),
            None => config.storage.docroot.join(SPOOL),
        };
        let directory = config.ledger.directory().unwrap_or(&spool);
        let metadata = match (fs::metadata(directory), spool.parent()) {
            (Ok(metadata), _) => metadata,
            // The spool is made in a directory that the account owns already, or by root.
            (Err(_), Some(parent)) if config.ledger.postgres.is_some() => {
                match fs::metadata(parent) {
                    Ok(metadata) if metadata.uid() != 0 => metadata,
                    _ => return Ok(None),
                }
            }
            (Err(_), _) => return Ok(None),
        };
        let mode = metadata.permissions().mode() & 0o7777;
        match metadata.uid() {
            0 if mode & 0o022 != 0 => Err(OwnerError::Writable {
                directory: directory.display().to_string(),
                mode,
            }),
            0 => Ok(None),
            uid => Ok(Some(Self {
                uid,
                gid: metadata.gid(),
            })),
        }
    }

    /// Gives the credentials of the owner to this thread and to those that it starts: groups, gid and uid, for good.
    pub(crate) fn become_owner(self) -> Result<(), OwnerError> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[gid])
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .map_err(|error| OwnerError::Credentials {
                uid: self.uid,
                error: error.into(),
            })
    }

    /// Runs `work` on a thread with the credentials of the owner. This thread keeps root's.
    pub(crate) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> Result<T, OwnerError> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| self.become_owner().map(|()| work()));
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
