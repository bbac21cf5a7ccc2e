//! Random bytes from the operating system.

use rand::TryRng;
use rand::rngs::SysRng;

/// getrandom(2) failed.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the operating system: {0}")]
pub struct NoRandom(String);

/// Fills `bytes` from the operating system's generator (getrandom(2)).
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandom> {
    SysRng
        .try_fill_bytes(bytes)
        .map_err(|error| NoRandom(error.to_string()))
}
