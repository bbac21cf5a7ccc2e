//! Compares the images in quarantine, both ways. Their bytes are never touched: they may be evidence.

use std::io;

use super::{Difference, RECOVERED, Report, Subject, Verification, VerifyError};
use crate::image_path::ImagePath;
use crate::ledger::{ImageRow, Quarantined};
use crate::store::Stored;

impl Verification<'_> {
    /// Looks for the row of each file in quarantine.
    pub(super) fn compare_quarantine(&mut self, report: &mut Report) -> Result<(), VerifyError> {
        let mut paths = self.store.quarantined().map_err(VerifyError::Store)?;
        paths.sort_unstable();
        for path in paths {
            match self.ledger.image(&path)? {
                Some(row) if row.quarantine.is_some() => {}
                Some(_) => {
                    let outcome = self.mark(&path)?;
                    let difference = Difference::Quarantine { is_served: false };
                    self.tell(Subject::Image(path.clone()), difference, outcome, report)?;
                }
                None => self.handle_unknown_in_quarantine(&path, report)?,
            }
        }
        Ok(())
    }

    /// Compares a row in quarantine with its file.
    pub(super) fn compare_quarantined(
        &mut self,
        row: &ImageRow,
        is_served: bool,
        mut kept: io::Result<Option<Stored>>,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let path = &row.path;
        if is_served {
            let outcome = if self.repair {
                let moved = self.store.quarantine(std::slice::from_ref(path)).remove(0);
                moved.map(drop).map_err(Some)
            } else {
                Err(None)
            };
            let is_left = outcome.is_err();
            let difference = Difference::Quarantine { is_served: true };
            self.tell(Subject::Image(path.clone()), difference, outcome, report)?;
            if is_left {
                return Ok(());
            }
            kept = self.store.stat_quarantined(path);
        }
        match kept {
            Ok(Some(stored)) => self.compare_size(row, stored, report),
            Ok(None) => {
                let cause = "it was in quarantine; `image delete` deletes its row";
                let cause = io::Error::new(io::ErrorKind::NotFound, cause);
                self.tell(
                    Subject::Image(path.clone()),
                    Difference::Missing,
                    Err(Some(cause)),
                    report,
                )
            }
            Err(error) => self.tell_unreadable(path, error, report),
        }
    }

    fn mark(&self, path: &ImagePath) -> Result<Result<(), Option<io::Error>>, VerifyError> {
        if !self.repair {
            return Ok(Err(None));
        }
        self.set_quarantine(path)?;
        Ok(Ok(()))
    }

    fn set_quarantine(&self, path: &ImagePath) -> Result<(), VerifyError> {
        let now = Quarantined {
            at: self.now.into(),
            until: None,
            reason: None,
            with_client: false,
        };
        let paths = std::slice::from_ref(path);
        self.ledger.set_quarantine(paths, &now, false)?;
        Ok(())
    }

    /// A rebuilt row is in quarantine from the beginning.
    fn handle_unknown_in_quarantine(
        &mut self,
        path: &ImagePath,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let stored = match (self.store.stat_quarantined(path), self.rebuild) {
            (Ok(None), _) => return Ok(()),
            (Ok(Some(stored)), Some(plan)) => Ok((stored, plan)),
            (Ok(Some(_)), None) => Err(None),
            (Err(error), _) => Err(Some(error)),
        };
        let found = stored.and_then(|(stored, plan)| {
            let read = || self.store.read_quarantined(path);
            let found = self.look().examine(path, stored, read).map_err(Some)?;
            Ok((found, plan))
        });
        let outcome = match found {
            Ok((found, plan)) => {
                self.ledger.adopt(&[found], RECOVERED, plan, self.now)?;
                self.set_quarantine(path)?;
                Ok(())
            }
            Err(cause) => Err(cause),
        };
        self.tell(
            Subject::Image(path.clone()),
            Difference::Unknown,
            outcome,
            report,
        )
    }
}
