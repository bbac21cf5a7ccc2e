//! What is looked at: values as they were found, without a judgement.

use std::path::PathBuf;

use time::UtcDateTime;

use super::access::{Account, Way};
use super::mounts::Mount;
use super::nginx::Build;
use super::web::{Server, Web};
use crate::config::Config;
use crate::ledger::Inspection;

/// What was found, or why it could not be looked at.
pub type Seen<T> = Result<T, String>;

/// Everything that was found about an installation.
#[derive(Debug)]
pub struct Facts {
    /// When it was looked at.
    pub now: UtcDateTime,
    /// The file of the configuration.
    pub config_file: PathBuf,
    /// What it says.
    pub config: Config,
    /// Who looks.
    pub examiner: Account,
    /// The account that the responder and the sweep run as: the owner of the ledger.
    pub service: Seen<Account>,
    /// nginx and its configuration.
    pub nginx: Nginx,
    /// How nginx's workers meet the rest.
    pub worker: Worker,
    /// The responder's socket.
    pub responder: Responder,
    /// Directories and files.
    pub places: Places,
    /// The ledger.
    pub ledger: Seen<Inspection>,
    /// What runs the sweep, in words; empty if nothing was found.
    pub schedules: Vec<String>,
    /// Where a schedule could not be looked for, and why.
    pub unseen_schedules: Vec<String>,
    /// What the public URL answers.
    pub public: Public,
}

/// nginx, as a program and as a configuration.
#[derive(Debug)]
pub struct Nginx {
    /// The program.
    pub build: Seen<Build>,
    /// Whether it takes its configuration: its complaints, which are warnings if it does.
    pub test: Seen<Test>,
    /// What the configuration says of this site.
    pub web: Seen<Web>,
    /// What it should say.
    pub wanted: (Web, Server),
    /// Rendered files in it that are not what this program renders now.
    pub outdated: Vec<PathBuf>,
    /// The process id of the master that runs, if one does.
    pub master: Seen<Option<u32>>,
}

/// The outcome of nginx's own test of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Whether it would start with it.
    pub passed: bool,
    /// What it complained about.
    pub complaints: Vec<String>,
}

/// The worker processes of nginx.
#[derive(Debug)]
pub struct Worker {
    /// The account they run as, or will.
    pub account: Seen<Account>,
    /// The directory of bodies that do not fit into memory.
    pub body_temp: Seen<Place>,
}

/// The responder's end of the connection.
#[derive(Debug)]
pub struct Responder {
    /// Whether it takes a connection; the text says why it does not.
    pub connected: Result<(), Unconnected>,
    /// Its socket; `None` over TCP.
    pub socket: Option<Place>,
}

/// Why there was no connection to the responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconnected {
    /// Nobody listens.
    Nobody(String),
    /// Whoever looks may not connect.
    Denied(String),
}

/// A file or a directory.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// The way there.
    pub way: Seen<Way>,
    /// Whether the last step is a symbolic link.
    pub is_link: bool,
    /// The number of the device that it lies on.
    pub device: Option<u64>,
    /// The file system that it lies on.
    pub mount: Option<Mount>,
    /// How much room is left there.
    pub room: Option<Room>,
    /// What the kernel said when whoever looks asked to write there; `None` where it was not asked.
    pub writable: Option<Result<(), String>>,
}

/// Room on a file system, for those who are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Files in all; 0 where there is no limit.
    pub files: u64,
    /// Files that can still be made.
    pub free_files: u64,
}

/// The directories and files of an installation.
#[derive(Debug)]
pub struct Places {
    /// The docroot.
    pub docroot: Place,
    /// Uploads on their way.
    pub spool: Place,
    /// The images.
    pub images: Place,
    /// The directories of the classes that there are.
    pub classes: Vec<Place>,
    /// Pages that nginx serves.
    pub pages: Vec<Place>,
    /// The ledger and the files beside it that there are.
    pub ledger_files: Vec<Place>,
    /// The directory of the ledger.
    pub ledger_directory: Place,
}

/// A reply over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it redirects to.
    pub location: Option<String>,
    /// The beginning of the body.
    pub body: String,
}

/// What the public URL answers.
#[derive(Debug)]
pub struct Public {
    /// To a question for its health.
    pub health: Seen<Answer>,
    /// To a question for an image that does not exist.
    pub missing_image: Seen<Answer>,
}
