//! Tells the service manager that the responder is ready, alive or stopping (`sd_notify(3)`).
//!
//! systemd ends and restarts a service that does not report within `WatchdogSec=`. The accept loop reports: a process that is stopped or
//! whose accept loop hangs is restarted, a slow disk alone is not, since a restart would not make it faster. Without `NOTIFY_SOCKET`
//! nothing is sent.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::event;

/// Reports in one watchdog interval, so that one that comes late does no harm.
const REPORTS_EACH: u32 = 3;

/// The service manager that started this process, if any.
#[derive(Debug)]
pub(super) struct ServiceManager {
    /// The time between two reports; `None` without a watchdog.
    period: Option<Duration>,
    next: Instant,
}

impl ServiceManager {
    /// Reports that the responder takes connections.
    pub(super) fn ready() -> Self {
        notify(&[NotifyState::Ready]);
        Self {
            period: sd_notify::watchdog_enabled().map(|limit| limit / REPORTS_EACH),
            next: Instant::now(),
        }
    }

    /// Reports that the accept loop runs, if a report is due, and returns the time to the next one; `None` without a watchdog.
    pub(super) fn report(&mut self, now: Instant) -> Option<Duration> {
        let period = self.period?;
        if now >= self.next {
            notify(&[NotifyState::Watchdog]);
            self.next = now + period;
        }
        Some(self.next.saturating_duration_since(now))
    }

    /// Reports that a graceful shutdown begins, which takes less than one watchdog interval.
    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
        if self.period.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        event("notify_failed").field("cause", error).write();
    }
}
