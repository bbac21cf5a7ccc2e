//! The store of a simulated host: the verbs that the write-ahead log calls.

use std::io::{self, Read};

use super::World;
use crate::expiry::Expiry;
use crate::identity::Identity;
use crate::image_path::{Directory, ImagePath};
use crate::store::{
    Cleaned, ImageList, Part, Publication, PublishError, Quarantine, Space, Spool, Store, Stored,
};
use crate::timestamp::Timestamp;

impl Store for World {
    fn place(&self) -> String {
        unreachable!()
    }

    fn spool(&self) -> io::Result<Spool> {
        self.docroot.spool()
    }

    fn prepare(&self, _: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()> {
        Ok(())
    }

    fn publish(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>> {
        self.before("publish durably");
        uploads
            .iter()
            .map(|upload| self.put(upload, true))
            .collect()
    }

    fn publish_unsynced(&self, upload: Publication<'_>) -> Result<(), PublishError> {
        self.before("publish");
        self.put(&upload, false)
    }

    fn sync(&self, paths: &[ImagePath]) -> io::Result<()> {
        self.before("sync");
        let mut state = self.state();
        for path in paths {
            if let Some(file) = state.files.get_mut(path) {
                file.is_durable = true;
            }
        }
        Ok(())
    }

    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<()>> {
        self.before("delete file");
        let mut state = self.state();
        let delete = |path| drop(state.files.remove(path));
        paths.iter().map(delete).map(Ok).collect()
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let state = self.state();
        Ok(state.files.get(path).map(|file| Stored {
            size: file.bytes.len() as u64,
            expires_at: file.expiry.map_or(Timestamp(0), Expiry::instant),
            published_at: Timestamp(0),
        }))
    }

    fn open(&self, path: &ImagePath, _: Part) -> io::Result<Option<(Stored, Box<dyn Read>)>> {
        let stored = self.stat(path)?;
        let bytes = self.bytes(path).unwrap_or_default();
        Ok(stored.map(|stored| (stored, Box::new(io::Cursor::new(bytes)) as Box<dyn Read>)))
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        unreachable!()
    }

    fn set_identity(&self, _: Identity) -> io::Result<()> {
        unreachable!()
    }

    fn list(&self, _: Directory) -> io::Result<Vec<ImagePath>> {
        unreachable!()
    }

    fn listing(&self, _: Directory) -> ImageList<'_> {
        unreachable!()
    }

    fn set_expiry(&self, _: &ImagePath, _: Expiry) -> io::Result<()> {
        unreachable!()
    }

    fn space(&self) -> io::Result<Space> {
        unreachable!()
    }

    fn clean(&self, _: Timestamp, _: &[Directory], _: bool) -> io::Result<Cleaned> {
        unreachable!()
    }
}

impl Quarantine for World {
    fn quarantine(&self, paths: &[ImagePath]) -> Vec<io::Result<bool>> {
        self.before("quarantine file");
        let mut state = self.state();
        let state = &mut *state;
        let mut move_out = |path: &ImagePath| {
            let Some(file) = state.files.remove(path) else {
                return false;
            };
            state.quarantine.entry(path.clone()).or_insert(file.bytes);
            true
        };
        paths.iter().map(|path| Ok(move_out(path))).collect()
    }

    fn stat_quarantined(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let state = self.state();
        Ok(state.quarantine.get(path).map(|bytes| Stored {
            size: bytes.len() as u64,
            expires_at: Timestamp(0),
            published_at: Timestamp(0),
        }))
    }

    fn publish_quarantined(&self, _: Publication<'_>) -> Result<(), PublishError> {
        unreachable!()
    }

    fn release(&self, _: &ImagePath) -> io::Result<bool> {
        unreachable!()
    }

    fn quarantined(&self) -> io::Result<Vec<ImagePath>> {
        unreachable!()
    }

    fn read_quarantined(&self, _: &ImagePath) -> io::Result<Box<dyn Read>> {
        unreachable!()
    }

    fn delete_quarantined(&self, _: &ImagePath) -> io::Result<()> {
        unreachable!()
    }
}
