//! The program as its users meet it: the real responder behind the real nginx, each test with a site of its own.
//!
//! What can be seen from one function alone is tested beside that function; here is what needs the whole: replies as they leave
//! nginx, files on the disk, rows in the ledger, processes that start and end. nginx has to be installed. A check that needs
//! something else that is missing says so and is skipped.

mod commands;
mod credentials;
mod delivery;
mod doctor;
mod expiry;
mod fastcgi;
mod faults;
mod fetching;
mod form;
mod http;
mod images;
mod limits;
mod machine;
mod mistakes;
mod names;
mod observing;
mod order;
mod origin;
mod own;
mod plan;
mod quota;
mod refusals;
mod robustness;
mod site;
mod ssrf;
mod ssrf_names;
mod starting;
mod uploads;
mod viewer;
