//! The documentation page: what it says follows from the configuration.

use super::*;
use crate::plan::UrlKind;
use crate::template::Escaped;

#[test]
fn the_page_says_what_becomes_of_metadata() {
    assert!(docs("").contains("names of places are removed"));
    let keep = "[plans.free]\nmetadata = \"keep\"\n";
    assert!(docs(keep).contains("The file is stored unchanged, with its metadata."));
    let both = docs(&format!("{keep}[plans.3m]\nmetadata = \"strip\"\n"));
    assert!(both.contains("Plan free: The file is stored unchanged"));
    assert!(both.contains("Plan 3m: Its metadata are removed"));
}

#[test]
fn the_plan_table_shows_the_plans() {
    let toml = "[plans.3m]\n[plans.free]\n[plans.lifetime]\n[plans.tiny]\ndaily_uploads = 0\nmax_file_size = 1500\n\
                durations = [\"LTF\"]\nurl = \"direct\"\n";
    let text = docs(toml);
    let rows: Vec<_> = text
        .lines()
        .filter(|line| {
            line.ends_with("the viewer page</td></tr>")
                || line.ends_with("the image itself</td></tr>")
        })
        .collect();
    assert_eq!(
        rows,
        [
            r#"<tr role="row"><th role="rowheader" scope="row">tiny</th><td role="cell" data-label="Uploads per day">0</td><td role="cell" data-label="Largest file">1,500 bytes</td><td role="cell" data-label="Storage durations">lifetime</td><td role="cell" data-label="URL leads to">the image itself</td></tr>"#,
            r#"<tr role="row"><th role="rowheader" scope="row">free</th><td role="cell" data-label="Uploads per day">50</td><td role="cell" data-label="Largest file">2 MiB</td><td role="cell" data-label="Storage durations">7 days, 1 month</td><td role="cell" data-label="URL leads to">the viewer page</td></tr>"#,
            r#"<tr role="row"><th role="rowheader" scope="row">3m</th><td role="cell" data-label="Uploads per day">1,000</td><td role="cell" data-label="Largest file">5 MiB</td><td role="cell" data-label="Storage durations">7 days, 1 month, 3 months</td><td role="cell" data-label="URL leads to">the image itself</td></tr>"#,
            r#"<tr role="row"><th role="rowheader" scope="row">lifetime</th><td role="cell" data-label="Uploads per day">3,000</td><td role="cell" data-label="Largest file">10 MiB</td><td role="cell" data-label="Storage durations">7 days, 1 month, 3 months, lifetime</td><td role="cell" data-label="URL leads to">the image itself</td></tr>"#,
        ]
    );
    assert_eq!(config(toml).plans["tiny"].url, UrlKind::Direct);
}

#[test]
fn only_durations_that_a_plan_has_are_documented() {
    let text = docs("[plans.free]\n");
    assert!(text.contains("<code>7D</code> (7 days), <code>1M</code> (1 month); see your plan"));
    assert!(!text.contains("<code>LTF</code>"));
    assert!(docs("").contains("<code>LTF</code> (lifetime)"));
}

#[test]
fn credentials_are_shown_in_a_demonstration_only() {
    let text = docs("");
    assert!(text.contains("YOUR_CLIENT_TOKEN") && !text.contains("demonstration"));
    let mut options = options();
    options.demo_client = Some(DemoClient {
        id: "client_3m_plan".to_owned(),
        token: "8b5d<&".to_owned(),
    });
    let text = file(&config(""), &options, "www/image/docs/index.html");
    assert!(text.contains("client_3m_plan") && text.contains("demonstration"));
    assert!(text.contains("8b5d&lt;&amp;") && !text.contains("8b5d<"));
    assert!(!text.contains("YOUR_CLIENT"));
}

#[test]
fn every_error_is_documented_with_its_own_text_and_advice() {
    let text = docs("");
    for body in [
        r#"{"error":"Missing required parameters"}"#,
        r#"{"error":"Provide either image or image_url, not both"}"#,
        r#"{"error":"Invalid storage duration","allowed":["7D","1M"]}"#,
        r#"{"error":"File too large","max_size":2097152}"#,
        r#"{"error":"Image dimensions too large","max_side":32768,"max_megapixels":64}"#,
        r#"{"error":"Daily upload limit reached"}"#,
        r#"{"error":"Too many failed attempts"}"#,
        r#"{"error":"Failed to create directory"}"#,
        r#"{"error":"Server busy"}"#,
    ] {
        let shown = Escaped::html(body).as_str().replace(',', ",<wbr>");
        assert!(text.contains(&format!("<code>{shown}</code>")), "{body}");
    }
    let rows: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("<tr role=\"row\"><td"))
        .collect();
    assert_eq!(rows.len(), 29);
    assert!(
        rows.iter()
            .all(|row| !row.contains("<td role=\"cell\"></td>"))
    );
    assert!(!docs("[limits]\nfailed_attempts_per_minute = 0\n").contains("Too many failed"));
}

#[test]
fn examples_are_shown_as_written_with_the_values_of_this_site() {
    let mut options = options();
    options.demo_client = Some(DemoClient {
        id: "client_3m_plan".to_owned(),
        token: "8b5d24c7e3af9d87156a40b1c3e92f67".to_owned(),
    });
    let text = file(&config(""), &options, "www/image/docs/index.html");
    for (id, line) in [
        ("quick", "-F image=@/path/to/image.jpg \\"),
        ("curl-file", "-F \"image=@/path/to/your/image.jpg\" \\"),
        (
            "curl-url",
            "-F \"image_url=https://example.com/image.jpg\" \\",
        ),
        ("javascript-form", "<form id=\"uploadForm\">"),
        (
            "javascript-file",
            "formData.append('client_id', 'client_3m_plan');",
        ),
        (
            "javascript-url",
            "fetch('https://cdn.example.com/image/v2/', {",
        ),
        (
            "python-file",
            "client_token=\"8b5d24c7e3af9d87156a40b1c3e92f67\",",
        ),
        ("python-url", "requests.post(url, data=data, timeout=60)"),
        ("php-file", "'image' => new CURLFile($filePath)"),
        ("php-url", "Storage duration ('7D', '1M', '3M', or 'LTF')"),
        (
            "reply-direct",
            "\"url\": \"https://cdn.example.com/p/d/ap5/AbCdEf1234.png\",",
        ),
        ("limit-headers", "X-RateLimit-Remaining: 2999"),
    ] {
        let block = text
            .split_once(&format!("id=\"{id}\">"))
            .and_then(|(_, rest)| rest.split_once("</code>"))
            .map(|(block, _)| code(block))
            .expect(id);
        assert!(block.contains(line), "{id}: {block}");
    }
}

/// The code of a block without its colours.
fn code(block: &str) -> String {
    let mut text = String::new();
    for (number, piece) in block.split('<').enumerate() {
        let after_tag = piece.split_once('>').filter(|_| number > 0);
        text.push_str(after_tag.map_or(piece, |(_, after)| after));
    }
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text, |text, (entity, character)| {
        text.replace(entity, character)
    })
}

#[test]
fn what_the_documentation_offers_for_download_is_there() {
    let files = render(&config(""), &options()).expect("valid options");
    let text = docs("");
    let links: Vec<_> = text
        .split("href=\"/")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(path, _)| match path.strip_suffix('/') {
            Some(directory) => format!("www/{directory}/index.html"),
            None => format!("www/{path}"),
        })
        .collect();
    assert!(links.len() > 4, "{links:?}");
    for link in links {
        assert!(files.iter().any(|file| file.path == link), "{link}");
    }
}
