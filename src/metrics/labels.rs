//! The labels of metrics, and the values of those that have a fixed list.

use prometheus_client::encoding::EncodeLabelSet;

/// Values of the label `kind`: what sweeps delete.
pub(super) const KINDS: [&str; 4] = ["expired", "abandoned", "withdrawn", "orphaned"];

/// Values of the label `result` of scans.
pub(super) const SCAN_RESULTS: [&str; 3] = ["passed", "refused", "failed"];

/// Values of the label `result` of downloads.
pub(super) const DOWNLOAD_RESULTS: [&str; 5] = ["image", "no image", "too large", "failed", "busy"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Upload {
    pub(super) plan: String,
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Plan {
    pub(super) plan: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabel {
    pub(super) stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Scan {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) stored: &'static str,
}
