//! FastCGI, the Responder role (FastCGI Specification 1.0).
//!
//! [`record`] and [`params`] turn bytes into values and back and do no I/O. [`connection`] reads requests from a connection and
//! writes replies to it.

pub mod connection;
pub mod params;
pub mod record;
