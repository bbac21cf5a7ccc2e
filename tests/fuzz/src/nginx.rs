//! The configuration of a host's nginx.

use corenexis_cdn::nginx_conf::placement::{Wanted, place};
use corenexis_cdn::nginx_conf::servers::servers;
use corenexis_cdn::nginx_conf::{Dump, read};

/// Any text is read to its end, every directive has a line of it, and a placement names lines of it alone.
pub fn nginx_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = u32::try_from(text.split('\n').count()).expect("few lines");
    let mut open = read("file", &text);
    while let Some(directive) = open.pop() {
        assert!((1..=lines).contains(&directive.place.line));
        if let Some(block) = directive.block {
            assert!((directive.place.line..=lines).contains(&block.line));
            open.extend(block.directives);
        }
    }
    let Some(dump) = Dump::read(&text) else {
        return;
    };
    let servers = servers(&dump.directives());
    let wanted = Wanted {
        host: "cdn.example.com",
        port: 80,
        snippet: "/etc/nginx/snippets/corenexis-cdn.conf",
        insert: true,
    };
    let _ = place(&servers, wanted);
}
