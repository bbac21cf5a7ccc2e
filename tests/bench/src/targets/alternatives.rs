//! Alternatives that do less: nginx's PUT, and responders that only store the body.

use std::fs;
use std::io;
use std::process::Command;

use super::nginx::{self, BODY, KEPT};
use super::{Protocol, Shared, Target, Workshop};
use crate::process::{Server, takes_unix};
use crate::responder::Durable;

impl Workshop<'_> {
    /// nginx by itself: the body goes to a file, which is renamed.
    pub fn put(&self) -> io::Result<Target> {
        let home = self.home("put")?;
        fs::create_dir_all(home.join("put"))?;
        let location = format!(
            "location /put/ {{ root {}; dav_methods PUT; {BODY} }}",
            home.display()
        );
        let (address, nginx) = nginx::plain(&home, "", &location)?;
        Ok(Target {
            key: "put",
            label: "nginx dav_methods PUT",
            address,
            protocol: Protocol::Put,
            root: home.join("put"),
            store: home.join("put"),
            servers: vec![nginx],
            borrowed: Vec::new(),
            shared: Shared::default(),
        })
    }

    /// A responder that only stores the body, `durable` when it replies.
    pub fn bare(&self, key: &'static str, durable: Durable) -> io::Result<Target> {
        let home = self.home(key)?;
        let store = home.join("store");
        fs::create_dir_all(&store)?;
        let socket = self.sockets.join(key);
        let mut command = Command::new(self.own);
        command.arg("responder").arg(&socket).arg(&store);
        command.args(durable.option());
        if let Some(slow_syncs) = self.slow_syncs {
            slow_syncs.preload(&mut command);
        }
        let mut responder = Server::start(&mut command, &home.join("responder.log"))?;
        responder.wait_until(takes_unix(&socket))?;
        let upstream = format!(
            "upstream responder {{ server unix:{}; keepalive {KEPT}; }}",
            socket.display()
        );
        let location = format!(
            "location = /store {{ {BODY} fastcgi_pass responder; fastcgi_keep_conn on; fastcgi_pass_request_headers off;
            fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_LENGTH $content_length; }}"
        );
        let (address, nginx) = nginx::plain(&home, &upstream, &location)?;
        Ok(Target {
            key,
            label: match durable {
                Durable::Nothing => "bare responder, no sync",
                Durable::File => "bare responder, sync per file",
                Durable::Steps => "bare responder, our disk steps",
            },
            address,
            protocol: Protocol::Raw,
            root: store.clone(),
            store,
            servers: vec![responder, nginx],
            borrowed: Vec::new(),
            shared: Shared::default(),
        })
    }
}
