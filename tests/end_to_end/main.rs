//! The program as its users meet it: the real responder behind the real nginx, each test with a site of its own.
//!
//! What can be seen from one function alone is tested beside that function; here is what needs the whole: replies as they leave
//! nginx, files on the disk, rows in the ledger, processes that start and end. nginx has to be installed. A check that needs
//! something else that is missing says so and is skipped.

mod commands;
mod delivery;
mod expiry;
mod fastcgi;
mod fetching;
mod form;
mod http;
mod images;
mod quota;
mod refusals;
mod robustness;
mod site;
mod starting;
mod uploads;
mod viewer;
