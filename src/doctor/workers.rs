//! Whether nginx's worker processes can read images and pages, reach the responder, and buffer uploads.

use std::io;
use std::path::Path;

use super::access::{Account, Permission};
use super::check::{Check, INSTALL};
use super::docroot::class_directories;
use super::file_systems::little_space;
use super::installation::Installation;
use super::responder;
use crate::config::Listen;
use crate::image_path::IMAGE_ROOT;

/// Pages that nginx serves, below the docroot.
const PAGES: [&str; 3] = [
    "view/page.html",
    "image/docs/index.html",
    "image/upload/index.html",
];

/// `body_temp` is the directory of nginx's `client_body_temp_path`.
pub(super) fn checks(
    installation: &Installation,
    account: Option<&Account>,
    body_temp: &Path,
) -> Vec<Check> {
    let Some(account) = account else {
        let why = "the account of nginx's workers is not in /etc/passwd";
        return vec![
            Check::skip("nginx workers", why),
            responder::check(installation),
        ];
    };
    let mut checks = Vec::new();
    // A missing docroot is reported with the docroot.
    if installation.config.storage.docroot.exists() {
        checks.push(readable(installation, account));
    }
    checks.push(responder::check(installation));
    checks.extend(socket(installation, account));
    checks.push(buffer(installation, account, body_temp));
    checks
}

fn readable(installation: &Installation, account: &Account) -> Check {
    let name = "nginx workers";
    let docroot = &installation.config.storage.docroot;
    let mut directories = class_directories(docroot);
    directories.push(match installation.config.storage.s3 {
        Some(_) => docroot.clone(),
        None => docroot.join(IMAGE_ROOT),
    });
    if let Some(link) = directories.iter().find(|directory| directory.is_symlink()) {
        return Check::fail(
            name,
            format!(
                "{} is a symbolic link, and nginx follows none below the docroot",
                link.display()
            ),
            "mount the other disk there, or make the docroot itself the link",
        );
    }
    let directories = directories
        .into_iter()
        .map(|path| (path, Permission::Search));
    let pages = PAGES.map(|page| (docroot.join(page), Permission::Read));
    for (path, permission) in directories.chain(pages) {
        match account.refusal(&path, permission) {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                return Check::fail(
                    name,
                    refusal,
                    "permit it: `chmod o+x` on the directories above the docroot, 0755 on those below it, 0644 on pages",
                );
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && permission == Permission::Read =>
            {
                let message = format!("the page {} is missing", path.display());
                return Check::warn(name, message, INSTALL);
            }
            Err(error) => return Check::skip(name, format!("{}: {error}", path.display())),
        }
    }
    Check::ok(name, format!("{} can read images and pages", account.name))
}

/// nginx needs write permission to connect to a Unix socket (unix(7)).
fn socket(installation: &Installation, account: &Account) -> Option<Check> {
    let name = "socket";
    let Listen::Unix(path) = &installation.config.server.listen else {
        return None;
    };
    Some(match account.refusal(path, Permission::Write) {
        Ok(None) => Check::ok(
            name,
            format!("{} may connect to the responder", account.name),
        ),
        Ok(Some(refusal)) => Check::fail(
            name,
            format!("{refusal}, so nginx answers uploads with 502"),
            format!(
                "give the socket the group of the workers (SocketGroup= in corenexis-cdn.socket), or add {} to the socket's group and restart \
                 nginx",
                account.name
            ),
        ),
        // That nothing listens is reported with the responder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Check::skip(name, format!("{}: {error}", path.display())),
    })
}

/// nginx writes bodies that exceed `client_body_buffer_size` to files.
fn buffer(installation: &Installation, account: &Account, directory: &Path) -> Check {
    let name = "client_body_temp";
    let shown = directory.display();
    match account.refusal(directory, Permission::Create) {
        Ok(None) => {}
        Ok(Some(refusal)) => {
            return Check::fail(
                name,
                format!("{refusal}, so nginx answers uploads over 1 MiB with 500"),
                format!(
                    "`chown {} {shown}`, or set client_body_temp_path to another directory",
                    account.name
                ),
            );
        }
        Err(error) => return Check::skip(name, format!("{shown}: {error}")),
    }
    let minimum = installation.config.largest_file() * 4;
    let advice = "free some space there, or set client_body_temp_path to a larger disk: nginx buffers uploads in it";
    little_space(name, directory, minimum, advice)
        .unwrap_or_else(|| Check::ok(name, format!("{} can write to {shown}", account.name)))
}
