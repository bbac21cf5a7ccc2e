//! An nginx for each target, with the settings of this project's rendered file.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Server, free_address, program, takes_tcp};

/// The directives of every location that takes a body, this project's included.
pub const BODY: &str = "client_max_body_size 20m; client_body_buffer_size 1m;";

/// Connections to a responder that a worker process keeps open: as many as this project renders for its default configuration.
pub const KEPT: usize = 32;

/// An nginx with one location, on a free port.
pub fn plain(home: &Path, http: &str, location: &str) -> io::Result<(SocketAddr, Server)> {
    plain_at(free_address(), home, http, location)
}

/// An nginx with the settings that this project's own has, and one location.
pub fn plain_at(
    address: SocketAddr,
    home: &Path,
    http: &str,
    location: &str,
) -> io::Result<(SocketAddr, Server)> {
    for directory in ["nginx/logs", "nginx/run"] {
        fs::create_dir_all(home.join(directory))?;
    }
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let config = home.join("nginx.conf");
    fs::write(
        &config,
        format!(
            "{user}
worker_processes 2;
pid run/nginx.pid;
error_log logs/error.log warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path run/body;
    proxy_temp_path run/proxy;
    fastcgi_temp_path run/fastcgi;
    uwsgi_temp_path run/uwsgi;
    scgi_temp_path run/scgi;
    access_log logs/access.log;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    types {{ image/png png; }}
    {http}
    server {{
        listen {address};
        {location}
    }}
}}
"
        ),
    )?;
    let server = start(home, &config, address)?;
    Ok((address, server))
}

/// Starts nginx with this configuration, its files below `home`.
pub fn start(home: &Path, config: &Path, address: SocketAddr) -> io::Result<Server> {
    let nginx = program("nginx").ok_or_else(|| io::Error::other("nginx is missing"))?;
    let mut prefix = home.join("nginx").into_os_string();
    prefix.push("/");
    let mut command = Command::new(nginx);
    command.arg("-p").arg(prefix).args(["-e", "logs/error.log"]);
    command.arg("-c").arg(config).args(["-g", "daemon off;"]);
    let mut server = Server::start(&mut command, &home.join("nginx.log"))?;
    server.wait_until(takes_tcp(address))?;
    Ok(server)
}
