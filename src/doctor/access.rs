//! Whether an account may use a file, by owners and permission bits (POSIX.1-2017, section 4.5, "File Access Permissions").
//!
//! Unlike access(2), this answers for any account. Access control lists, SELinux and AppArmor are not considered.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};

use super::files::read_file;

/// An account of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// The login name; the user id if it has none.
    pub(super) name: String,
    pub(super) uid: u32,
    /// The ids of all its groups.
    pub(super) groups: Vec<u32>,
}

/// What an account needs of a file. It needs to search every directory on the path to it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Read,
    Write,
    /// Run a program.
    Execute,
    /// Pass through a directory.
    Search,
    /// Create and delete files in a directory.
    Create,
}

impl Permission {
    const fn bits(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::Write => 0o2,
            Self::Search | Self::Execute => 0o1,
            Self::Create => 0o3,
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write to",
            Self::Execute => "run",
            Self::Search => "enter",
            Self::Create => "create files in",
        }
    }
}

impl Account {
    /// The account of this process, with the groups that the process has.
    pub(super) fn current() -> Self {
        let groups = getgroups().unwrap_or_default();
        Self {
            groups: groups
                .into_iter()
                .chain([getegid()])
                .map(rustix::process::Gid::as_raw)
                .collect(),
            ..Self::of_uid(geteuid().as_raw())
        }
    }

    /// The account of a login name, with the groups of a login.
    pub(super) fn named(name: &str) -> Option<Self> {
        find(|found, _| found == name)
    }

    /// The account of a user id, with the groups of a login; without groups if the id has no name.
    pub(super) fn of_uid(uid: u32) -> Self {
        find(|_, found| found == uid).unwrap_or_else(|| Self {
            name: uid.to_string(),
            uid,
            groups: Vec::new(),
        })
    }

    pub(super) const fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Why this account may not use `path`, in words: the first file on the way to it that refuses. `None` if all permit it.
    pub(super) fn refusal(
        &self,
        path: &Path,
        permission: Permission,
    ) -> io::Result<Option<String>> {
        let path = path.canonicalize()?;
        let mut steps: Vec<_> = path.ancestors().collect();
        steps.reverse();
        for step in steps {
            let needed = if step == path {
                permission
            } else {
                Permission::Search
            };
            let metadata = fs::metadata(step)?;
            if self.class_bits(&metadata) & needed.bits() != needed.bits() {
                return Ok(Some(format!(
                    "{} may not {} {} (mode {:04o}, owner {})",
                    self.name,
                    needed.verb(),
                    step.display(),
                    metadata.mode() & 0o7777,
                    Self::of_uid(metadata.uid()).name
                )));
            }
        }
        Ok(None)
    }

    /// The first class that the account belongs to decides, even if a later class has more permissions.
    fn class_bits(&self, metadata: &fs::Metadata) -> u32 {
        let mode = metadata.mode();
        if self.is_root() {
            0o7
        } else if self.uid == metadata.uid() {
            mode >> 6
        } else if self.groups.contains(&metadata.gid()) {
            mode >> 3
        } else {
            mode
        }
    }
}

fn find(matches: impl Fn(&str, u32) -> bool) -> Option<Account> {
    let read = |path| read_file(Path::new(path)).unwrap_or_default();
    parse(&read("/etc/passwd"), &read("/etc/group"), matches)
}

/// The first account in passwd(5) that matches, with its groups from group(5).
fn parse(passwd: &str, group: &str, matches: impl Fn(&str, u32) -> bool) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        let memberships = group.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == name);
            is_member.then(|| fields[2].parse().ok()).flatten()
        });
        matches(name, uid).then(|| Account {
            name: name.to_owned(),
            uid,
            groups: [gid].into_iter().chain(memberships).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn account(uid: u32, groups: &[u32]) -> Account {
        Account {
            name: "worker".to_owned(),
            uid,
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn every_directory_on_the_path_must_permit() {
        let root = tempfile::tempdir().expect("a directory");
        let closed = root.path().join("closed");
        let file = closed.join("file");
        fs::create_dir(&closed).expect("created");
        fs::write(&file, "").expect("written");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        set(root.path(), 0o755);
        set(&closed, 0o700);
        set(&file, 0o640);
        let owner = fs::metadata(&file).expect("metadata");
        let stranger = account(owner.uid() + 1000, &[owner.gid() + 1000]);
        let refusal = |account: &Account, permission| {
            account.refusal(&file, permission).expect("all can be seen")
        };
        let refused = refusal(&stranger, Permission::Read).expect("refused");
        let expected = format!("worker may not enter {} (mode 0700", closed.display());
        assert!(refused.starts_with(&expected), "{refused}");
        assert_eq!(refusal(&account(0, &[]), Permission::Write), None);

        set(&closed, 0o755);
        let member = account(owner.uid() + 1000, &[owner.gid()]);
        assert_eq!(refusal(&member, Permission::Read), None);
        let refused = refusal(&member, Permission::Write).expect("refused");
        assert!(refused.contains("may not write to"), "{refused}");
        // The group is refused, although everybody else is permitted.
        set(&file, 0o604);
        assert!(refusal(&member, Permission::Read).is_some());
        assert_eq!(refusal(&stranger, Permission::Read), None);
        let missing = stranger.refusal(&root.path().join("no"), Permission::Read);
        assert_eq!(
            missing.expect_err("missing").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn accounts_have_the_groups_of_a_login() {
        let passwd = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\nbroken\nx:y:z:1\n";
        let group = "root:x:0:\nwww-data:x:33:\ncdn:x:900:deploy,www-data\nshort:x:1\n";
        let worker = parse(passwd, group, |name, _| name == "www-data").expect("found");
        assert_eq!((worker.uid, worker.groups), (33, vec![33, 900]));
        assert_eq!(parse(passwd, group, |name, _| name == "nobody"), None);
        assert_eq!(Account::of_uid(0).name, "root");
        assert_eq!(Account::of_uid(4_000_004_711).name, "4000004711");
    }
}
