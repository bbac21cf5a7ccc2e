//! Whether an account may reach a file, from owners and permission bits alone (POSIX.1-2017, section 4.5).
//!
//! It can be asked for any account, whoever asks, which `access(2)` cannot. Access control lists and security modules are not seen: an
//! ACL grants more than the bits say, SELinux and AppArmor less.

use std::fmt;
use std::path::{Path, PathBuf};

/// An account as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What it is called; its number where it has no name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// All its group ids.
    pub groups: Vec<u32>,
}

/// A file or a directory on the way to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its path, without symbolic links.
    pub path: PathBuf,
    /// The owner's user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// What an account wants of the last step of a way. The directories before it are passed through, whatever is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Read a file.
    Read,
    /// Write to a socket.
    Write,
    /// Pass through a directory.
    Enter,
    /// Make and delete files in a directory.
    Fill,
}

impl Want {
    const fn bits(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::Write => 0o2,
            Self::Enter => 0o1,
            Self::Fill => 0o3,
        }
    }
}

/// The steps from the root directory to a place; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way(pub Vec<Step>);

/// Where an account is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The step that stops it.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    lacking: u32,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacking = match self.lacking {
            0o1 => "enter",
            0o2 => "write to",
            0o4 => "read",
            _ => "make files in",
        };
        write!(
            f,
            "may not {lacking} {} (mode {:04o})",
            self.path.display(),
            self.mode
        )
    }
}

impl Way {
    /// The place itself.
    pub fn place(&self) -> Option<&Step> {
        self.0.last()
    }

    /// What stops `account` on the way, if anything does.
    pub fn obstacle(&self, account: &Account, want: Want) -> Option<Obstacle> {
        let last = self.0.len().saturating_sub(1);
        self.0.iter().enumerate().find_map(|(index, step)| {
            let wanted = if index == last { want } else { Want::Enter }.bits();
            step.refuses(account, wanted).then(|| Obstacle {
                path: step.path.clone(),
                mode: step.mode & 0o7777,
                lacking: wanted,
            })
        })
    }
}

impl Step {
    /// The first class that an account belongs to decides, even if a later one would grant more.
    fn refuses(&self, account: &Account, wanted: u32) -> bool {
        let granted = if account.uid == 0 {
            0o7
        } else if account.uid == self.uid {
            self.mode >> 6
        } else if account.groups.contains(&self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        granted & wanted != wanted
    }
}

/// The accounts of `/etc/passwd` and the groups of `/etc/group` (passwd(5), group(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Takes the text of the two files.
    pub const fn new(passwd: String, group: String) -> Self {
        Self { passwd, group }
    }

    /// Reads the two files of this host; one that cannot be read counts as empty.
    pub fn of_this_host() -> Self {
        let read = |path| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        Self::new(read("/etc/passwd"), read("/etc/group"))
    }

    /// The account of a name, with the groups it would get at a login.
    pub fn named(&self, name: &str) -> Option<Account> {
        self.find(|account_name, _| account_name == name)
    }

    /// The account of a user id, with the groups it would get at a login; for an id without a name, an account without groups.
    pub fn of(&self, uid: u32) -> Account {
        self.find(|_, found| found == uid)
            .unwrap_or_else(|| Account {
                name: uid.to_string(),
                uid,
                groups: Vec::new(),
            })
    }

    fn find(&self, wanted: impl Fn(&str, u32) -> bool) -> Option<Account> {
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            wanted(name, uid).then(|| Account {
                name: name.to_owned(),
                uid,
                groups: self.groups_of(name, gid),
            })
        })
    }

    fn groups_of(&self, name: &str, first: u32) -> Vec<u32> {
        let others = self.group.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let member = fields.get(3)?.split(',').any(|member| member == name);
            member.then(|| fields[2].parse().ok()).flatten()
        });
        std::iter::once(first).chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32, groups: &[u32]) -> Account {
        Account {
            name: "x".to_owned(),
            uid,
            groups: groups.to_vec(),
        }
    }

    fn way(steps: &[(u32, u32, u32)]) -> Way {
        let step = |(index, &(uid, gid, mode)): (usize, &(u32, u32, u32))| Step {
            path: PathBuf::from(format!("/step{index}")),
            uid,
            gid,
            mode,
        };
        Way(steps.iter().enumerate().map(step).collect())
    }

    #[test]
    fn every_step_has_to_let_through() {
        let home = way(&[(0, 0, 0o755), (1000, 1000, 0o700), (1000, 1000, 0o755)]);
        let obstacle = home.obstacle(&account(33, &[33]), Want::Read);
        assert_eq!(
            obstacle.map(|obstacle| obstacle.to_string()),
            Some("may not enter /step1 (mode 0700)".to_owned())
        );
        assert_eq!(home.obstacle(&account(1000, &[1000]), Want::Fill), None);
        assert_eq!(home.obstacle(&account(0, &[0]), Want::Fill), None);
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        // The owner may not, although everybody else may.
        let odd = way(&[(0, 0, 0o755), (33, 50, 0o077)]);
        assert!(odd.obstacle(&account(33, &[50]), Want::Enter).is_some());
        assert!(odd.obstacle(&account(34, &[50]), Want::Enter).is_none());
        let socket = way(&[(0, 0, 0o755), (900, 33, 0o660)]);
        assert!(socket.obstacle(&account(33, &[33]), Want::Write).is_none());
        assert!(
            socket
                .obstacle(&account(33, &[5, 33]), Want::Write)
                .is_none()
        );
        let stopped = socket.obstacle(&account(33, &[34]), Want::Write);
        assert_eq!(
            stopped.map(|obstacle| obstacle.to_string()),
            Some("may not write to /step1 (mode 0660)".to_owned())
        );
    }

    #[test]
    fn accounts_have_the_groups_of_a_login() {
        let accounts = Accounts::new(
            "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\nbroken\n".to_owned(),
            "root:x:0:\nwww-data:x:33:\ncdn:x:900:deploy,www-data\nshort:x:1\n".to_owned(),
        );
        let worker = accounts.named("www-data").expect("there");
        assert_eq!((worker.uid, worker.groups), (33, vec![33, 900]));
        assert_eq!(accounts.named("nobody"), None);
        assert_eq!(accounts.of(0).name, "root");
        assert_eq!(accounts.of(4711).name, "4711");
    }
}
