//! Process metrics from proc(5), under the names of Prometheus's client libraries
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};

/// Gauges of this process.
#[derive(Debug, Default)]
pub(super) struct Process {
    started: Gauge,
    resident: Gauge<u64, AtomicU64>,
    threads: Gauge,
    open_files: Gauge,
    max_files: Gauge<u64, AtomicU64>,
}

impl Process {
    pub(super) fn new() -> Self {
        let process = Self::default();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        process
            .started
            .set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        process
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "process_start_time",
            "When this process started, in Unix time",
            Unit::Seconds,
            self.started.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that this process has in use",
            Unit::Bytes,
            self.resident.clone(),
        );
        registry.register(
            "process_threads",
            "Threads of this process",
            self.threads.clone(),
        );
        registry.register(
            "process_open_fds",
            "Descriptors that are open",
            self.open_files.clone(),
        );
        registry.register(
            "process_max_fds",
            "Descriptors that may be open",
            self.max_files.clone(),
        );
    }

    /// Looks again. What cannot be read keeps its value.
    pub(super) fn look(&self) {
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            if let Some(kibibytes) = number_of(&status, "VmRSS:") {
                self.resident.set(kibibytes * 1024);
            }
            if let Some(threads) = number_of(&status, "Threads:") {
                self.threads.set(i64::try_from(threads).unwrap_or(i64::MAX));
            }
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // The one that counts them is gone by now.
            let open = descriptors.count().saturating_sub(1);
            self.open_files.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            self.max_files.set(limit);
        }
    }
}

fn number_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_descriptors() {
        let process = Process::new();
        process.look();
        assert!(process.started.get() > 1_700_000_000);
        assert!(process.resident.get() > 100 << 10);
        assert!(process.threads.get() >= 1);
        assert!(process.open_files.get() >= 1);
        assert!(process.max_files.get() >= 1);
        assert_eq!(number_of("VmRSS:\t  17 kB\nx", "VmRSS:"), Some(17));
        assert_eq!(number_of("VmRSS:\t  x kB", "VmRSS:"), None);
        assert_eq!(number_of("", "VmRSS:"), None);
    }
}
