//! Metrics in the OpenMetrics text format, which Prometheus reads
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! They count what this process did since it started. Labels have few values, all of them ours: plans of the configuration,
//! documented error texts, stages.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The `result` of an upload that was stored; others have the text of their error.
pub const STORED: &str = "stored";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upload {
    plan: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plan {
    plan: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    stored: &'static str,
}

/// What is known of the disk and the ledger when metrics are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Bytes that may still be written to the docroot.
    pub free_bytes: Option<u64>,
    /// When a sweep ran to its end, in Unix seconds.
    pub last_sweep: Option<i64>,
}

/// Counters of one process, shared by its threads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    uploads: Family<Upload, Counter>,
    bytes: Family<Plan, Counter>,
    durations: Family<Outcome, Histogram>,
    stages: Family<Stage, Histogram>,
    batches: Histogram,
    connections: Gauge,
    free_bytes: Gauge<u64, AtomicU64>,
    last_sweep: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("corenexis_cdn"),
            uploads: Family::default(),
            bytes: Family::default(),
            durations: Family::new_with_constructor(durations),
            stages: Family::new_with_constructor(durations),
            // 1 to 256, the largest batch.
            batches: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            connections: Gauge::default(),
            free_bytes: Gauge::default(),
            last_sweep: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", version);
        registry.register(
            "uploads",
            "Uploads by plan, which is empty before a client is known, and result: stored, or the text of the error",
            self.uploads.clone(),
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
            self.durations.clone(),
        );
        registry.register_with_unit(
            "upload_stage_duration",
            "The stages of an upload",
            Unit::Seconds,
            self.stages.clone(),
        );
        registry.register(
            "batch_size",
            "Uploads that were recorded in one transaction",
            self.batches.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register_with_unit(
            "docroot_free",
            "Space left on the docroot's file system",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
        registry.register_with_unit(
            "last_sweep_timestamp",
            "When a sweep ran to its end, in Unix time; 0 if none did",
            Unit::Seconds,
            self.last_sweep.clone(),
        );
    }

    /// Counts an upload that was answered. `plan` is empty when the client is not known; `size` is that of a stored image.
    pub fn count_upload(
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
        let stored = if result == STORED { "true" } else { "false" };
        self.durations
            .get_or_create(&Outcome { stored })
            .observe(took.as_secs_f64());
    }

    /// Notes how long a stage of an upload took.
    pub fn observe_stage(&self, stage: &'static str, took: Duration) {
        self.stages
            .get_or_create(&Stage { stage })
            .observe(took.as_secs_f64());
    }

    /// What notes the sizes of batches.
    pub fn batch_observer(&self) -> impl Fn(usize) + Send + 'static {
        let batches = self.batches.clone();
        // No batch is near 2^32.
        move |size| batches.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)))
    }

    /// Notes that a connection was opened.
    pub fn connection_began(&self) {
        self.connections.inc();
    }

    /// Notes that a connection ended.
    pub fn connection_ended(&self) {
        self.connections.dec();
    }

    /// All metrics as text.
    pub fn encode(&self, present: Present) -> String {
        self.free_bytes.set(present.free_bytes.unwrap_or(0));
        self.last_sweep.set(present.last_sweep.unwrap_or(0));
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

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.count_upload("3m", STORED, Some(9_183), Duration::from_millis(3));
        metrics.count_upload("3m", STORED, Some(1_000), Duration::from_millis(3));
        metrics.count_upload("", "Invalid client ID", None, Duration::from_secs(40));
        metrics.observe_stage("commit", Duration::from_millis(2));
        metrics.batch_observer()(3);
        metrics.connection_began();
        metrics.connection_began();
        metrics.connection_ended();
        let text = metrics.encode(Present {
            free_bytes: Some(u64::MAX),
            last_sweep: None,
        });
        for line in [
            "corenexis_cdn_uploads_total{plan=\"3m\",result=\"stored\"} 2",
            "corenexis_cdn_uploads_total{plan=\"\",result=\"Invalid client ID\"} 1",
            "corenexis_cdn_stored_bytes_total{plan=\"3m\"} 10183",
            "corenexis_cdn_upload_duration_seconds_count{stored=\"true\"} 2",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"0.002\",stored=\"true\"} 0",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"0.004\",stored=\"true\"} 2",
            "corenexis_cdn_upload_duration_seconds_bucket{le=\"+Inf\",stored=\"false\"} 1",
            "corenexis_cdn_upload_stage_duration_seconds_count{stage=\"commit\"} 1",
            "corenexis_cdn_batch_size_bucket{le=\"2.0\"} 0",
            "corenexis_cdn_batch_size_bucket{le=\"4.0\"} 1",
            "corenexis_cdn_connections 1",
            "corenexis_cdn_docroot_free_bytes 18446744073709551615",
            "corenexis_cdn_last_sweep_timestamp_seconds 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n\n{text}");
        }
    }
}
