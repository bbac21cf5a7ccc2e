//! The identity of a store as a text.

use serde::Deserialize;

use crate::identity::Identity;

#[derive(Deserialize)]
struct Document {
    id: String,
    mark: u64,
}

/// Reads what [`text`] writes. The error says what is wrong.
pub(super) fn parse(text: &str) -> Result<Identity, String> {
    let Document { id, mark } = toml::from_str(text).map_err(|error| error.to_string())?;
    let id = u64::from_str_radix(&id, 16).map_err(|error| error.to_string())?;
    Ok(Identity { id, mark })
}

/// Two lines of TOML below a comment.
pub(super) fn text(identity: Identity) -> String {
    format!(
        "# The ledger that these images belong to (corenexis-cdn). Copy this file with the images.\nid = \"{:016x}\"\nmark = {}\n",
        identity.id, identity.mark
    )
}
