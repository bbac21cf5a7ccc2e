//! Where images lie.

pub mod path;
