//! nginx's configuration language, read once: for the installer, which places an include line, and for `nginx-sites`, which prints
//! what it found.
//!
//! Pure: the text that `nginx -T` prints goes in. [`read`] gives directives and blocks, [`Dump`] the files of a configuration with
//! their includes in place, [`servers`] the `server` blocks, and [`placement`] where a host name's images belong.
//! Source: <https://nginx.org/en/docs/beginners_guide.html#conf_structure>, `ngx_conf_read_token` in `src/core/ngx_conf_file.c`.

mod dump;
mod names;
pub mod placement;
mod read;
pub mod servers;

pub use dump::Dump;
pub use read::{Block, Directive, Place, read};

#[cfg(test)]
mod tests;
