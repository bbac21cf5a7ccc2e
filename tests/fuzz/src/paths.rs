//! Names of images and the configuration: text that becomes paths, URLs and nginx directives.

use std::path::{Component, Path};

use corenexis_cdn::config::Config;
use corenexis_cdn::image_path::ImagePath;
use corenexis_cdn::render::{Options, render};

const MONTHS: [&str; 10] = ["ja", "fe", "ma", "ap", "ju", "au", "se", "oc", "no", "de"];

/// The form of an image's path, written a second time: split instead of parsed.
fn is_image_path(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let [class, day, file] = parts[..] else {
        return false;
    };
    let days = |month: &str| (1..=31).any(|number| format!("{month}{number}") == day);
    let mut file = file.split('.');
    let (name, extension, more) = (file.next(), file.next(), file.next());
    ["d", "m", "mm", "l"].contains(&class)
        && MONTHS.iter().any(|month| days(month))
        && name.is_some_and(|name| {
            (6..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        && extension.is_some_and(|extension| ["jpg", "png", "gif", "webp"].contains(&extension))
        && more.is_none()
}

/// A path, and whatever a person gives as a reference to one.
pub fn image_path(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let parsed = text.parse::<ImagePath>();
    assert_eq!(parsed.is_ok(), is_image_path(text), "{text:?}");
    let decoded = text.replace("%2F", "/").replace("%2f", "/");
    let referred = ImagePath::from_reference(text, "https://h").ok();
    for path in parsed.ok().into_iter().chain(referred) {
        assert!(is_image_path(path.as_str()) && decoded.contains(path.as_str()));
        let below = path.below(Path::new("/docroot"));
        let steps = below.components().count();
        assert!(below.starts_with("/docroot/p") && steps == 6);
        assert!(!below.components().any(|step| step == Component::ParentDir));
        for url in [path.direct_url("https://h"), path.viewer_url("https://h")] {
            assert_eq!(
                ImagePath::from_reference(&url, "https://h").as_ref(),
                Ok(&path)
            );
        }
    }
}

/// A configuration, and every file that is rendered from it.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(config) = Config::from_toml(text) else {
        return;
    };
    assert!(config.storage.docroot.is_absolute() && config.ledger.path.is_absolute());
    assert!(!config.ledger.path.starts_with(&config.storage.docroot));
    assert!(!config.plans.is_empty() && config.largest_file() > 0);
    let public_url = config.site.public_url();
    assert!(public_url.starts_with("http") && !public_url.ends_with('/'));
    let options = Options {
        binary: "/usr/bin/corenexis-cdn".to_owned(),
        config_file: "/etc/corenexis-cdn/config.toml".to_owned(),
        user: "cdn".to_owned(),
        nginx_group: "www-data".to_owned(),
        site: None,
        cgi: None,
        own_nginx: None,
        acme: false,
        demo_client: None,
    };
    let files = render(&config, &options).expect("the options are fit");
    for file in files {
        let contents = str::from_utf8(&file.contents).expect("text");
        if Path::new(file.path)
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            assert!(is_balanced(contents), "{}", file.path);
        }
    }
}

/// Whether an nginx file ends where its outermost block does, read as nginx does: quotes hold braces, backslashes hold quotes.
fn is_balanced(file: &str) -> bool {
    let mut depth = 0_u32;
    let mut quote = None;
    let mut comment = false;
    let mut escaped = false;
    let mut at_start = true;
    for byte in file.bytes() {
        let starts = at_start;
        at_start = byte.is_ascii_whitespace() || matches!(byte, b';' | b'{' | b'}');
        match (quote, byte) {
            _ if comment => comment = byte != b'\n',
            _ if escaped => escaped = false,
            (_, b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (None, b'"' | b'\'') if starts => quote = Some(byte),
            (None, b'#') if starts => comment = true,
            (None, b'{') if starts => depth += 1,
            (None, b'}') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            _ => {}
        }
    }
    depth == 0 && quote.is_none() && !escaped
}
