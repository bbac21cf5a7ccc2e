//! What other programs read about this service.

pub(crate) mod clients;
pub(crate) mod errors;
