//! `[images] scan_command`: whether the responder's account may run it.

use std::path::Path;

use super::access::Permission;
use super::check::Check;
use super::installation::Installation;
use crate::config::ScanOnError;

pub(super) fn check(installation: &Installation) -> Option<Check> {
    let name = "scan command";
    let scan = &installation.config.scan;
    let program = scan.command.first()?;
    let advice =
        "install the program or correct [images] scan_command, then run `install.sh` again";
    let consequence = match scan.on_error {
        ScanOnError::Refuse => "every upload is answered with 503",
        ScanOnError::Publish => "no image is judged",
    };
    let refusal = installation
        .account
        .refusal(Path::new(program), Permission::Execute);
    Some(match refusal {
        Ok(None) => Check::ok(
            name,
            format!("{} may run {program}", installation.account.name),
        ),
        Ok(Some(why)) => Check::fail(name, format!("{why}, so {consequence}"), advice),
        Err(error) => Check::fail(
            name,
            format!("{program}: {error}, so {consequence}"),
            advice,
        ),
    })
}
