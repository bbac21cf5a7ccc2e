//! Refuses images that the operator's program does not let through.

use crate::app::App;
use crate::error::{Error, Fault, Refusal};
use crate::log::Line;
use crate::scan::Verdict;
use crate::store::Spool;
use crate::trace::Trace;

/// Seconds until another attempt makes sense after the program failed.
const RETRY_AFTER: u64 = 10;

/// Has the image scanned, if there is a program for it.
pub(super) fn refuse_unwanted(app: &App, spool: &Spool, trace: &mut Trace) -> Result<(), Error> {
    let Some(scanner) = &app.scanner else {
        return Ok(());
    };
    let verdict = scanner.scan(spool.reader().map_err(Fault::saving)?);
    app.metrics.count_scan(match verdict {
        Verdict::Passed => "passed",
        Verdict::Refused(_) => "refused",
        Verdict::Failed(_) => "failed",
    });
    match verdict {
        Verdict::Passed => Ok(()),
        Verdict::Refused(cause) => {
            trace.cause = Some(format!("scan_command: {cause}"));
            Err(Refusal::ImageNotAllowed.into())
        }
        Verdict::Failed(cause) if scanner.publishes_on_error() => {
            Line::new((app.clock)(), "scan_failed")
                .field("cause", cause)
                .write();
            Ok(())
        }
        Verdict::Failed(cause) => {
            trace.cause = Some(format!("scan_command: {cause}"));
            Err(Refusal::ServerBusy {
                retry_after: RETRY_AFTER,
            }
            .into())
        }
    }
}
