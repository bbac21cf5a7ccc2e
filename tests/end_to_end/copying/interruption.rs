//! Copies that are ended by SIGKILL while they are under way.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use support::http_proxy::HttpProxy;
use support::machine::until;
use support::site::Site;

/// Images that a copy transfers at once.
const CONNECTIONS: usize = 16;

/// Starts a copy.
pub(super) fn copying(site: &Site, what: &str, to: &Path) -> Child {
    let mut command = site.command(&[what, "copy", "--to-config", &to.display().to_string()]);
    command.stderr(Stdio::piped()).spawn().expect("it starts")
}

fn assert_runs(child: &mut Child) {
    if let Some(status) = child.try_wait().expect("known") {
        let mut text = String::new();
        let stderr = child.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut text).expect("read");
        panic!("the copy ended by itself, with {status}: {text}");
    }
}

/// Ends a copy by SIGKILL when it `is_under_way`; it must not have ended by itself.
pub(super) fn kill(mut child: Child, mut is_under_way: impl FnMut() -> bool) {
    until("a copy to be under way", || {
        assert_runs(&mut child);
        is_under_way().then_some(())
    });
    child.kill().expect("killed");
    let status = child.wait().expect("ended");
    assert_eq!(status.signal(), Some(9), "{status}");
}

/// Starts a copy of images that transfers `part` of them by requests of `method` through the proxy, and ends it by SIGKILL between them
/// and the next ones. `copied` counts the images in the target.
pub(super) fn interrupt_images(
    site: &Site,
    to: &Path,
    proxy: &HttpProxy,
    method: &'static str,
    part: usize,
    copied: &dyn Fn() -> usize,
) {
    let before = copied();
    let hold = proxy.hold_after(part, move |head| {
        head.method() == method && head.target().contains(".png")
    });
    let mut child = copying(site, "storage", to);
    let mut requests = proxy.requests();
    while hold.held() == 0 {
        until("the copy to go on", || {
            assert_runs(&mut child);
            let is_further = proxy.requests() > requests || hold.held() > 0;
            requests = proxy.requests();
            is_further.then_some(())
        });
    }
    // Each of its connections waits for the next image. A request that failed and was repeated has passed twice.
    kill(child, || hold.held() >= CONNECTIONS);
    let passed = copied() - before;
    assert!(0 < passed && passed <= part, "{passed} of {part}");
}
