//! Metrics in the OpenMetrics text format, which Prometheus reads
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! They count what this process did since it started; what sweeps did is read from the ledger. Labels have few values, all of them ours:
//! plans of the configuration, documented error texts, stages.

mod labels;
mod process;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::commit::wal;
use crate::ledger::{Status, TakedownCounts};
use crate::store::Space;
use crate::trace::Stage;
use labels::{
    DOWNLOAD_RESULTS, KINDS, Kind, Outcome, Plan, SCAN_RESULTS, Scan, StageLabel, Upload,
};
use process::Process;

/// The media type of [`Metrics::encode`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The `result` of an upload that was stored; others have the text of their error.
pub(crate) const STORED: &str = "stored";

/// The result of an upload that was stored before, as the metrics call it.
pub(crate) const REPEATED: &str = "repeated";

/// Figures of the disk and the ledger, read when the metrics are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The space of the store; `None` if it cannot be written.
    pub space: Option<Space>,
    /// The state of the ledger; `None` if it cannot be read.
    pub status: Option<Status>,
    /// What was taken down; `None` if the ledger cannot be read.
    pub takedowns: Option<TakedownCounts>,
    /// The write-ahead log; `None` if this process does not hold it.
    pub log: Option<wal::Status>,
}

/// Counters of one process, shared by its threads.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    uploads: Family<Upload, Counter>,
    downloads: Family<Upload, Counter>,
    scans: Family<Scan, Counter>,
    bytes: Family<Plan, Counter>,
    /// Of uploads that were refused, and that were stored.
    durations: [Histogram; 2],
    /// By the number of the stage.
    stages: [Histogram; Stage::ALL.len()],
    batches: Histogram,
    checkpoints: Histogram,
    connections: Gauge,
    log_bytes: Gauge<u64, AtomicU64>,
    log_oldest: Gauge<f64, AtomicU64>,
    log_recovered: Gauge<u64, AtomicU64>,
    free_bytes: Gauge<u64, AtomicU64>,
    free_files: Gauge<u64, AtomicU64>,
    quarantined: Gauge<u64, AtomicU64>,
    blocked: Gauge<u64, AtomicU64>,
    waiting_purges: Gauge<u64, AtomicU64>,
    last_sweep: Gauge,
    swept: [Counter; KINDS.len()],
    swept_bytes: Counter,
    process: Process,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them at zero.
    pub(crate) fn new() -> Self {
        let durations_by_outcome = Family::new_with_constructor(durations as fn() -> Histogram);
        let durations_by_stage = Family::new_with_constructor(durations as fn() -> Histogram);
        let swept = Family::<Kind, Counter>::default();
        // Each is there from the start, and found without a search when it is needed.
        let metrics = Self {
            registry: Registry::default(),
            uploads: Family::default(),
            downloads: Family::default(),
            scans: Family::default(),
            bytes: Family::default(),
            durations: ["false", "true"].map(|stored| {
                let outcome = Outcome { stored };
                durations_by_outcome.get_or_create(&outcome).clone()
            }),
            stages: Stage::ALL.map(|stage| {
                let stage = StageLabel {
                    stage: stage.name(),
                };
                durations_by_stage.get_or_create(&stage).clone()
            }),
            // 1 to 256, the largest batch.
            batches: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            checkpoints: durations(),
            connections: Gauge::default(),
            log_bytes: Gauge::default(),
            log_oldest: Gauge::default(),
            log_recovered: Gauge::default(),
            free_bytes: Gauge::default(),
            free_files: Gauge::default(),
            quarantined: Gauge::default(),
            blocked: Gauge::default(),
            waiting_purges: Gauge::default(),
            last_sweep: Gauge::default(),
            swept: KINDS.map(|kind| swept.get_or_create(&Kind { kind }).clone()),
            swept_bytes: Counter::default(),
            process: Process::new(),
        };
        metrics.registered(durations_by_outcome, durations_by_stage, swept)
    }

    fn registered(
        mut self,
        durations: Family<Outcome, Histogram, fn() -> Histogram>,
        stages: Family<StageLabel, Histogram, fn() -> Histogram>,
        swept: Family<Kind, Counter>,
    ) -> Self {
        let mut root = std::mem::take(&mut self.registry);
        self.process.register(&mut root);
        let registry = root.sub_registry_with_prefix("corenexis_cdn");
        self.register_uploads(registry, durations, stages);
        self.register_state(registry, swept);
        self.registry = root;
        self
    }

    fn register_uploads(
        &self,
        registry: &mut Registry,
        durations: Family<Outcome, Histogram, fn() -> Histogram>,
        stages: Family<StageLabel, Histogram, fn() -> Histogram>,
    ) {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", version);
        registry.register(
            "uploads",
            "Uploads by plan, which is empty before a client is known, and result: stored, or the text of the error",
            self.uploads.clone(),
        );
        registry.register(
            "downloads",
            "Downloads of image_url by plan and result: image, no image, too large, failed, or busy where the client's share or budget was used up",
            self.downloads.clone(),
        );
        registry.register(
            "scans",
            "Images that scan_command judged, by result: passed, refused, failed",
            self.scans.clone(),
        );
        registry.register_with_unit(
            "stored",
            "Bytes of the images that were stored, by plan",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "upload_duration",
            "From the first byte of an upload to its reply",
            Unit::Seconds,
            durations,
        );
        registry.register_with_unit(
            "upload_stage_duration",
            "The stages of an upload",
            Unit::Seconds,
            stages,
        );
        registry.register(
            "batch_size",
            "Uploads that were recorded in one transaction",
            self.batches.clone(),
        );
        registry.register_with_unit(
            "log_checkpoint_duration",
            "Checkpoints of the write-ahead log",
            Unit::Seconds,
            self.checkpoints.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            self.connections.clone(),
        );
    }

    fn register_state(&self, registry: &mut Registry, swept: Family<Kind, Counter>) {
        registry.register_with_unit(
            "log",
            "The write-ahead log on disk; 0 if this process does not hold it",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        registry.register_with_unit(
            "log_oldest_record",
            "Age of the oldest record of the write-ahead log that is not checkpointed",
            Unit::Seconds,
            self.log_oldest.clone(),
        );
        registry.register(
            "log_recovered_images",
            "Images that got back their rows or files from the write-ahead log when this process opened it",
            self.log_recovered.clone(),
        );
        registry.register_with_unit(
            "docroot_free",
            "Space left on the docroot's file system",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
        registry.register(
            "docroot_free_inodes",
            "Files that can still be made on the docroot's file system; 0 too where their number is not limited",
            self.free_files.clone(),
        );
        registry.register(
            "quarantined_images",
            "Images in quarantine",
            self.quarantined.clone(),
        );
        registry.register(
            "blocked_digests",
            "Digests on the block list",
            self.blocked.clone(),
        );
        registry.register(
            "waiting_purges",
            "Images whose URLs purge_command still has to purge",
            self.waiting_purges.clone(),
        );
        registry.register_with_unit(
            "last_sweep_timestamp",
            "When a sweep ran to its end, in Unix time; 0 if none did",
            Unit::Seconds,
            self.last_sweep.clone(),
        );
        registry.register(
            "swept",
            "What sweeps deleted since the ledger was made: expired images, abandoned uploads, withdrawn rows, orphaned files",
            swept,
        );
        registry.register_with_unit(
            "swept",
            "Bytes of the expired images that sweeps deleted since the ledger was made",
            Unit::Bytes,
            self.swept_bytes.clone(),
        );
    }

    /// Counts downloads of these plans, and scans, from zero, so that the first of them is an increase.
    pub(crate) fn count_from_zero<'a>(&self, plans: impl Iterator<Item = &'a String>) {
        for plan in plans {
            for result in DOWNLOAD_RESULTS {
                let plan = plan.clone();
                drop(self.downloads.get_or_create(&Upload { plan, result }));
            }
        }
        for result in SCAN_RESULTS {
            drop(self.scans.get_or_create(&Scan { result }));
        }
    }

    /// Counts an upload that was answered. `plan` is empty when the client is not known; `size` is that of a stored image.
    pub(crate) fn count_upload(
        &self,
        plan: &str,
        result: &'static str,
        size: Option<u64>,
        took: Duration,
    ) {
        let plan = plan.to_owned();
        if let Some(size) = size {
            let plan = Plan { plan: plan.clone() };
            self.bytes.get_or_create(&plan).inc_by(size);
        }
        self.uploads.get_or_create(&Upload { plan, result }).inc();
        self.durations[usize::from(result == STORED)].observe(took.as_secs_f64());
    }

    /// Counts a download that ended, or that was not begun.
    pub(crate) fn count_download(&self, plan: &str, result: &'static str) {
        let plan = plan.to_owned();
        let labels = Upload { plan, result };
        self.downloads.get_or_create(&labels).inc();
    }

    /// Counts a scan of an image.
    pub(crate) fn count_scan(&self, result: &'static str) {
        self.scans.get_or_create(&Scan { result }).inc();
    }

    /// Notes how long a stage of an upload took.
    pub(crate) fn observe_stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].observe(took.as_secs_f64());
    }

    /// What notes the sizes of batches.
    pub(crate) fn batch_observer(&self) -> impl Fn(usize) + Send + Sync + 'static {
        let batches = self.batches.clone();
        // No batch is near 2^32.
        move |size| batches.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)))
    }

    /// Observes the time that each checkpoint of the write-ahead log took.
    pub(crate) fn checkpoint_observer(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let checkpoints = self.checkpoints.clone();
        move |time| checkpoints.observe(time.as_secs_f64())
    }

    /// Notes that a connection was opened.
    pub(crate) fn connection_began(&self) {
        self.connections.inc();
    }

    /// Notes that a connection ended.
    pub(crate) fn connection_ended(&self) {
        self.connections.dec();
    }

    /// All metrics as text.
    pub(crate) fn encode(&self, snapshot: Snapshot) -> String {
        let free = |part: fn(Space) -> Option<u64>| snapshot.space.and_then(part).unwrap_or(0);
        self.free_bytes.set(free(|space| space.free_bytes));
        self.free_files.set(free(|space| space.free_files));
        if let Some(Status {
            last_sweep, swept, ..
        }) = snapshot.status
        {
            self.last_sweep.set(last_sweep.map_or(0, |at| at.0));
            let counts = [
                swept.expired,
                swept.abandoned,
                swept.refunded,
                swept.orphaned,
            ];
            for (counter, count) in self.swept.iter().zip(counts) {
                counter.inner().store(count, Ordering::Relaxed);
            }
            self.swept_bytes
                .inner()
                .store(swept.bytes, Ordering::Relaxed);
        }
        if let Some(counts) = snapshot.takedowns {
            self.quarantined.set(counts.quarantined);
            self.blocked.set(counts.blocked);
            self.waiting_purges.set(counts.purges);
        }
        if let Some(log) = snapshot.log {
            self.log_bytes.set(log.bytes);
            self.log_oldest
                .set(log.oldest.unwrap_or_default().as_secs_f64());
            self.log_recovered
                .set(log.recovered.rows.max(log.recovered.files));
        }
        self.process.look();
        let mut text = String::with_capacity(8 * 1024);
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// Half a millisecond to half a minute.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Swept;
    use crate::timestamp::Timestamp;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.count_upload("3m", STORED, Some(9_183), Duration::from_millis(3));
        metrics.count_upload("3m", STORED, Some(1_000), Duration::from_millis(3));
        metrics.count_upload("", "Invalid client ID", None, Duration::from_secs(40));
        metrics.count_from_zero(["3m".to_owned()].iter());
        metrics.count_download("3m", "no image");
        metrics.observe_stage(Stage::Commit, Duration::from_millis(2));
        metrics.batch_observer()(3);
        metrics.connection_began();
        metrics.connection_began();
        metrics.connection_ended();
        let text = metrics.encode(Snapshot {
            log: Some(wal::Status {
                bytes: 8 << 20,
                oldest: Some(Duration::from_millis(250)),
                recovered: wal::Recovered {
                    files: 2,
                    ..wal::Recovered::default()
                },
            }),
            space: Some(Space {
                free_bytes: Some(u64::MAX),
                free_files: Some(17),
            }),
            takedowns: Some(TakedownCounts {
                quarantined: 7,
                blocked: 8,
                purges: 9,
            }),
            status: Some(Status {
                created_at: Timestamp(0),
                last_sweep: None,
                swept: Swept {
                    expired: 5,
                    bytes: 5_000,
                    abandoned: 1,
                    refunded: 2,
                    orphaned: 3,
                },
            }),
        });
        for line in [
            "corenexis_cdn_uploads_total{plan=\"3m\",result=\"stored\"} 2",
            "corenexis_cdn_uploads_total{plan=\"\",result=\"Invalid client ID\"} 1",
            "corenexis_cdn_downloads_total{plan=\"3m\",result=\"no image\"} 1",
            "corenexis_cdn_downloads_total{plan=\"3m\",result=\"busy\"} 0",
            "corenexis_cdn_scans_total{result=\"refused\"} 0",
            "corenexis_cdn_stored_bytes_total{plan=\"3m\"} 10183",
            "corenexis_cdn_upload_duration_seconds_count{stored=\"true\"} 2",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"0.002\",stored=\"true\"} 0",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"0.004\",stored=\"true\"} 2",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"+Inf\",stored=\"false\"} 1",
            "corenexis_cdn_upload_stage_duration_seconds_count{stage=\"commit\"} 1",
            "corenexis_cdn_batch_size_bucket{le=\"2.0\"} 0",
            "corenexis_cdn_batch_size_bucket{le=\"4.0\"} 1",
            "corenexis_cdn_connections 1",
            "corenexis_cdn_log_bytes 8388608",
            "corenexis_cdn_log_oldest_record_seconds 0.25",
            "corenexis_cdn_log_recovered_images 2",
            "corenexis_cdn_docroot_free_bytes 18446744073709551615",
            "corenexis_cdn_docroot_free_inodes 17",
            "corenexis_cdn_quarantined_images 7",
            "corenexis_cdn_blocked_digests 8",
            "corenexis_cdn_waiting_purges 9",
            "corenexis_cdn_last_sweep_timestamp_seconds 0",
            "corenexis_cdn_swept_total{kind=\"expired\"} 5",
            "corenexis_cdn_swept_total{kind=\"orphaned\"} 3",
            "corenexis_cdn_swept_bytes_total 5000",
            concat!(
                "corenexis_cdn_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "# TYPE process_start_time_seconds gauge",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
    }
}
