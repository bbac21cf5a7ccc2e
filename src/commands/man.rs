//! `man`: the manual pages, from the definitions of the command line and from the text of a new configuration.

use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::Failure;
use crate::cli::Arguments;
use crate::config::document;

/// The configuration's page beside those of the commands.
const CONFIGURATION: &str = "corenexis-cdn.toml.5";

/// Writes the pages into the directory.
pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    let failed = |error| {
        Failure::storage(format!(
            "the manual pages could not be written to {}: {error}",
            directory.display()
        ))
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, directory).map_err(failed)?;
    let text = document::default_text(&[], "", "").map_err(Failure::configuration)?;
    fs::write(directory.join(CONFIGURATION), configuration_page(&text)).map_err(failed)
}

/// The page of a configuration in the form of `config default`: tables are sections, keys are tagged paragraphs with the comment above
/// them.
fn configuration_page(text: &str) -> String {
    let mut page = format!(
        ".TH corenexis-cdn.toml 5 \"\" \"corenexis-cdn {}\" \"File formats\"\n\
         .SH NAME\ncorenexis-cdn.toml \\- configuration of the image CDN corenexis-cdn\n\
         .SH SYNOPSIS\n.I /etc/corenexis-cdn/config.toml\n\
         .SH DESCRIPTION\nA TOML file. Only \\fBpublic_url\\fR is required, and an unknown key is an error. Sizes are bytes or KiB, MiB, \
         GiB; lengths of time end in s, m, h or d. Another file is named with \\fB\\-\\-config\\fR or the environment variable \
         \\fBCORENEXIS_CDN_CONFIG\\fR. \\fBcorenexis-cdn config default\\fR prints a whole file, \\fBcorenexis-cdn config get\\fR the \
         values that hold. After a change run \\fBinstall.sh\\fR, or \\fBcorenexis-cdn setup\\fR of a package, again.\n",
        env!("CARGO_PKG_VERSION")
    );
    let tables = text.find("\n[").map_or("", |start| &text[start..]);
    let mut comment = String::new();
    for line in tables.lines() {
        if line.starts_with('[') {
            // The comment above a table is about the table.
            page.extend([".SH ", &escaped(line), "\n"]);
            flush_paragraph(&mut page, &mut comment);
        } else if let Some(words) = line.strip_prefix("# ") {
            comment.push_str(&escaped(words));
            comment.push('\n');
        } else if line.contains(" = ") {
            let setting = line.trim_start_matches('#');
            page.extend([".TP\n\\fB", &escaped(setting), "\\fR\n"]);
            page.push_str(&comment);
            comment.clear();
        } else {
            flush_paragraph(&mut page, &mut comment);
        }
    }
    page.push_str(".SH SEE ALSO\n.BR corenexis-cdn (1)\n");
    page
}

fn flush_paragraph(page: &mut String, comment: &mut String) {
    page.push_str(comment);
    comment.clear();
}

/// A line of text for roff: no escape, no request (groff_char(7)).
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_configuration_is_a_paragraph_with_its_comment() {
        let text = document::default_text(&[], "", "").expect("defaults");
        let page = configuration_page(&text);
        let keys = text
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with("# "));
        for key in keys {
            let tag = format!(".TP\n\\fB{}\\fR\n", escaped(key.trim_start_matches('#')));
            assert!(page.contains(&tag), "{tag}");
        }
        assert!(page.contains(".SH [ledger]\n.TP\n\\fBpath = "));
        assert!(page.contains("\nThe SQLite database of clients, quotas and images."));
        assert!(!page.contains("{}"), "{page}");
    }

    #[test]
    fn text_is_no_request_and_no_escape() {
        assert_eq!(escaped(".TH a\\b"), "\\&.TH a\\eb");
        assert_eq!(escaped("'x'"), "\\&'x'");
    }
}
