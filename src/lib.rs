//! An image CDN that drops into a host that already runs nginx.

pub mod config;
pub mod error;
pub mod fetch;
pub mod form;
pub mod image;
pub mod plan;
pub mod render;
pub mod store;
