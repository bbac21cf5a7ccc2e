//! End-to-end tests: the real responder behind the real nginx, with a site of its own for each test.
//!
//! Unit tests lie beside the code. These tests cover what needs the whole: replies as nginx sends them, files in the docroot, rows in
//! the ledger, processes that start and stop. nginx must be installed. A test that needs another program or a permission that is
//! missing prints `skip NAME: WHY` and returns; `tests/run` counts these lines.

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
mod bucket_delivery;
#[cfg(feature = "s3")]
mod bucket_names;
#[cfg(feature = "s3")]
mod bucket_tls;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod cluster;
mod command_errors;
mod commands;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod copying;
mod credentials;
mod cross_origin;
mod delivery;
mod doctor;
mod expiry;
mod fetching;
mod form_variants;
mod handbook;
mod identity;
mod image_metadata;
mod management;
mod metrics_and_log;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod pairs;
#[cfg(feature = "postgres")]
mod postgres;
mod quota;
mod rate_limits;
mod refusal_order;
mod refusals;
mod relocation;
mod repetition;
mod robustness;
mod root;
mod scanning;
mod server_errors;
mod ssrf;
mod ssrf_names;
mod starting;
mod storage_limit;
mod takedown;
mod tokens;
mod uploads;
mod viewer;
