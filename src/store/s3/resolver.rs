//! Resolves the host name of the store, and remembers its addresses.
//!
//! ureq asks for addresses before every request, also one over a kept connection, and its own resolver starts a thread each time: a PUT of
//! 20 KiB took 0.23 ms of CPU with it and 0.14 ms with remembered addresses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long addresses are remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The addresses of the one host that requests go to.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<Option<(ResolvedSocketAddrs, Instant)>>>);

impl Addresses {
    /// Has the name resolved again at the next request: no connection could be made to these addresses.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remembered(&self) -> Option<ResolvedSocketAddrs> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (addresses, at) = remembered.as_ref()?;
        (at.elapsed() < REMEMBERED).then(|| addresses.clone())
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if let Some(addresses) = self.remembered() {
            return Ok(addresses);
        }
        let addresses = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *remembered = Some((addresses.clone(), Instant::now()));
        Ok(addresses)
    }
}
