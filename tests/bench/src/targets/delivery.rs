//! Delivery: what the headers of images cost nginx.

use std::fs;
use std::io;

use super::{Protocol, Shared, Target, Workshop, nginx};
use crate::process::free_address;

impl Workshop<'_> {
    /// An nginx that serves `docroot`: as this project renders it for `cdn`, the same without its headers, and with no settings at
    /// all.
    pub fn deliveries(&self, cdn: &Target) -> io::Result<Vec<Target>> {
        let home = self.home("delivery")?;
        let rendered = self.disk.join(cdn.key).join("rendered/nginx");
        fs::create_dir_all(home.join("nginx/logs"))?;
        fs::create_dir_all(home.join("nginx/run"))?;
        let address = free_address();
        for name in [
            "nginx.conf",
            "corenexis-cdn.http.conf",
            "corenexis-cdn.server.conf",
        ] {
            let text = fs::read_to_string(rendered.join(name))?;
            let kept = text.lines().filter(|line| {
                let line = line.trim_start();
                !line.starts_with("add_header") && !line.starts_with("expires ")
            });
            let text = kept.collect::<Vec<_>>().join("\n") + "\n";
            let text = text.replace(&cdn.address.to_string(), &address.to_string());
            fs::write(home.join(name), text)?;
        }
        let headless = nginx::start(&home, &home.join("nginx.conf"), address)?;
        let plain_home = self.home("plain")?;
        let location = format!("location /p/ {{ root {}; }}", cdn.root.display());
        let (plain_address, plain) = nginx::plain(&plain_home, "", &location)?;
        let delivery = |key, label, address, servers, borrowed| Target {
            key,
            label,
            address,
            protocol: Protocol::Raw,
            root: cdn.root.clone(),
            store: cdn.store.clone(),
            servers,
            borrowed,
            shared: Shared::default(),
        };
        Ok(vec![
            delivery(
                "p",
                "GET /p/ as rendered",
                cdn.address,
                Vec::new(),
                cdn.pids(),
            ),
            delivery(
                "p-headless",
                "GET /p/ without our headers",
                address,
                vec![headless],
                Vec::new(),
            ),
            delivery(
                "p-plain",
                "GET /p/ of a plain location",
                plain_address,
                vec![plain],
                Vec::new(),
            ),
        ])
    }
}
