//! `setup`: runs the install.sh of the package that this program comes from.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;

/// Replaces this process by install.sh, with the options.
pub(super) fn setup(options: &[OsString]) -> Result<(), Failure> {
    let script = script().ok_or_else(|| {
        Failure::failed(
            "this program does not come from a package: run the install.sh of the source tree or of the archive that it was installed from",
        )
    })?;
    let error = Command::new("/bin/sh").arg(&script).args(options).exec();
    Err(Failure::failed(format!(
        "{} could not be run: {error}",
        script.display()
    )))
}

/// The install.sh of the package that this program comes from; `None` if it does not come from one.
pub(super) fn script() -> Option<PathBuf> {
    let script = script_of(&env::current_exe().ok()?)?;
    script.is_file().then_some(script)
}

/// The install.sh of a package whose program this is: PREFIX/share/corenexis-cdn/install.sh for PREFIX/bin/corenexis-cdn.
fn script_of(program: &Path) -> Option<PathBuf> {
    let prefix = program.parent()?.parent()?;
    Some(prefix.join("share/corenexis-cdn/install.sh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_a_package_is_below_its_share_directory() {
        assert_eq!(
            script_of(Path::new("/usr/bin/corenexis-cdn")),
            Some(PathBuf::from("/usr/share/corenexis-cdn/install.sh"))
        );
        assert_eq!(script_of(Path::new("/")), None);
    }
}
