//! An image CDN that drops into a host that already runs nginx.

pub mod api;
pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod error;
pub mod fastcgi;
pub mod fetch;
pub mod form;
pub mod image;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod random;
pub mod render;
pub mod response;
pub mod serve;
pub mod store;
pub mod sweep;
mod upload;
