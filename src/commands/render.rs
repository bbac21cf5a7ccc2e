//! `render`: the files that follow from the configuration.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Failure, print, token};
use crate::cli::RenderArguments;
use crate::config::Config;
use crate::render::{
    Cgi, DemoClient, Options, OwnNginx, Rendered, Site, Tls, render as render_files,
};

/// Writes the files below the directory and prints the path of each.
pub(super) fn render(
    config: &Config,
    config_file: &Path,
    arguments: &RenderArguments,
) -> Result<(), Failure> {
    let options = options(config_file, arguments)?;
    let files = render_files(config, &options).map_err(Failure::usage)?;
    for file in &files {
        let target = arguments.directory.join(file.path);
        write_whole(&target, file).map_err(|error| {
            Failure::storage(format!(
                "{} could not be written: {error}",
                target.display()
            ))
        })?;
        print(&format!("{}\n", target.display()))?;
    }
    Ok(())
}

fn options(config_file: &Path, arguments: &RenderArguments) -> Result<Options, Failure> {
    let demo_client = match (&arguments.demo_client, &arguments.demo_token_file) {
        (Some(id), Some(file)) => Some(DemoClient {
            id: id.clone(),
            token: token::read(file)?.reveal().to_owned(),
        }),
        _ => None,
    };
    let own_nginx = arguments.nginx_listen.map(|listen| OwnNginx {
        listen,
        worker_user: arguments.nginx_worker_user.clone(),
    });
    let site = match (&arguments.site, &arguments.snippet) {
        (Some(name), Some(snippet)) => Some(Site {
            name: name.clone(),
            listen: arguments.site_listen.clone(),
            snippet: text_of(snippet)?,
            tls: tls(arguments)?,
        }),
        _ => None,
    };
    let cgi = match (&arguments.cgi_wrapper, &arguments.cgi_script) {
        (Some(wrapper), Some(script)) => Some(Cgi {
            wrapper: wrapper.clone(),
            script: text_of(script)?,
        }),
        _ => None,
    };
    Ok(Options {
        binary: match &arguments.binary {
            Some(binary) => text_of(binary)?,
            None => text_of(&std::env::current_exe()?)?,
        },
        config_file: match &arguments.config_path {
            Some(path) => text_of(path)?,
            None => text_of(&fs::canonicalize(config_file)?)?,
        },
        user: arguments.user.clone(),
        nginx_group: arguments.nginx_group.clone(),
        site,
        cgi,
        own_nginx,
        acme: arguments.acme,
        demo_client,
    })
}

fn tls(arguments: &RenderArguments) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (&arguments.site_certificate, &arguments.site_key) else {
        return Ok(None);
    };
    Ok(Some(Tls {
        certificate: text_of(certificate)?,
        key: text_of(key)?,
        listen: arguments.site_tls_listen.clone(),
        beside: arguments.site_beside,
    }))
}

fn text_of(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::failed(format!("{} is not UTF-8", path.display())))
}

/// Writes beside the target and renames, so that nginx never reads half a file.
fn write_whole(target: &Path, file: &Rendered) -> io::Result<()> {
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(file.mode)
        .open(&new)?;
    out.write_all(&file.contents)?;
    out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    fs::rename(&new, target)
}
