//! The FastCGI protocol, Responder role (FastCGI Specification 1.0).
//!
//! [`record`] and [`params`] encode and decode without I/O. [`connection`] reads requests from a connection and writes replies.

pub mod connection;
pub mod params;
pub mod record;
