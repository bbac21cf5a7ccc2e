//! What other programs read about this service.

pub(crate) mod errors;
