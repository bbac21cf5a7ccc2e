//! An image CDN that drops into a host that already runs nginx.
//!
//! nginx takes every request. It serves images and pages from a docroot by itself and hands uploads to this program over FastCGI.
//!
//! # The path of one upload
//!
//! ```text
//! nginx      buffers the whole request, so that a slow client never holds a thread
//! serve      accepts nginx's connection, gives it a thread
//! fastcgi    records become parameters and a body that is read as it comes
//! api        which call it is; headers and log line of every reply
//! upload     THE PIPELINE: form, client, quota, source, image, commit
//!   form       multipart/form-data or x-www-form-urlencoded, streaming
//!   auth       client id and token
//!   plan       what the client may do; when an image expires
//!   fetch      the download of image_url, public addresses only
//!   image      type, structure and dimensions, from the bytes
//!   ledger     quota and row in one transaction, many uploads at once
//!   store      the spool, and the rename into the docroot
//! response   the documented JSON
//! ```
//!
//! `view` gives the viewer page the details of an image, `sweep` deletes what has expired, `render` writes the files of nginx and cron,
//! `doctor` checks an installation, `commands` is the command line over all of it.
//!
//! # What always holds
//!
//! - An upload that was acknowledged is on disk: its bytes, its name and its row.
//! - What nginx serves is whole: a file comes to its place by one rename, and never over another.
//! - A refused upload is not stored, not counted and not fetched.
//! - The quota of a day is decided in the transaction that records the image.
//! - Memory of a connection is constant, whatever is sent over it.
//! - Nothing a client sends reaches a path, a header or a log line unchecked.
//!
//! The two seams, [`ledger::Ledger`] and [`store::Store`], are where another database or an object store would go; each has a
//! conformance suite. Everything else is plain functions and values: parsers and policies do no I/O.

mod api;
mod app;
mod auth;
mod authentication;
mod authorities;
mod block_list;
mod byte_size;
mod cli;
pub mod commands;
pub mod commit;
pub mod config;
mod copy;
mod delete_key;
mod doctor;
mod error;
mod expiry;
mod export;
pub mod fastcgi;
pub mod fetch;
pub mod form;
mod idempotency;
mod identity;
pub mod image;
mod image_digest;
mod image_object;
pub mod image_path;
mod ledger;
mod log;
mod metrics;
pub mod nginx_conf;
mod owner;
mod plan;
mod program;
mod purge;
mod quota;
mod random;
pub mod render;
mod response;
mod routes;
mod scan;
mod semaphore;
mod serve;
mod site;
mod store;
mod sweep;
mod takedown;
mod template;
mod timestamp;
mod token_uses;
mod trace;
mod upload;
mod verify;
mod view;
