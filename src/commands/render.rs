//! `render`: the files that follow from the configuration.

use std::path::Path;

use super::Failure;
use crate::cli::RenderArguments;
use crate::config::Config;

pub(super) fn render(
    _config: &Config,
    _path: &Path,
    _arguments: &RenderArguments,
) -> Result<(), Failure> {
    Err(Failure::failed("not yet"))
}
