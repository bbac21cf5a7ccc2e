//! The translations of the pages: complete, and of the texts that the pages have.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::pages::{LANGUAGES, STATIC};

type Texts = Map<String, Value>;

fn translations() -> Vec<(&'static str, Texts)> {
    let parsed = |(code, _, text): (&'static str, _, &str)| {
        (code, serde_json::from_str(text).expect("an object"))
    };
    LANGUAGES.map(parsed).into()
}

/// The names in braces, sorted.
fn names(text: &str) -> BTreeSet<&str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .collect()
}

/// The scripts of the pages with translations, and the pages, with single spaces.
fn sources() -> (String, String) {
    let scripts: String = STATIC
        .iter()
        .filter(|(path, _)| path.starts_with("www/image/upload/") || path.starts_with("www/view/"))
        .filter(|(path, _)| path.rsplit('.').next() == Some("js"))
        .map(|(_, text)| *text)
        .collect();
    let pages = [
        include_str!("../../../www/image/upload/index.html"),
        include_str!("../../../www/view/page.html"),
        include_str!("../../view.rs"),
    ]
    .concat();
    let spaced: Vec<_> = pages.split_whitespace().collect();
    (scripts, spaced.join(" "))
}

#[test]
fn every_language_has_the_same_texts_with_the_same_values() {
    let all = translations();
    let (_, first) = &all[0];
    for (code, texts) in &all {
        let keys = |texts: &Texts| texts.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(texts), keys(first), "{code}");
        for (english, translated) in texts {
            let forms: Vec<_> = match translated {
                Value::Object(forms) => forms.values().collect(),
                text => vec![text],
            };
            for form in forms {
                let form = form.as_str().expect("a text");
                assert_eq!(names(form), names(english), "{code}: {english}");
            }
            assert!(
                translated.is_string() || translated["other"].is_string(),
                "{code}: {english} has no form `other`"
            );
        }
    }
}

#[test]
fn every_text_of_the_scripts_is_translated_and_no_other() {
    let (scripts, pages) = sources();
    let (_, texts) = &translations()[0];
    for call in scripts.split(" t(\"").chain(scripts.split("(t(\"")).skip(1) {
        let text = call.split_once('"').map_or("", |(text, _)| text);
        if scripts.contains(&format!("t(\"{text}\"")) {
            assert!(texts.contains_key(text), "no translation of {text:?}");
        }
    }
    for text in texts.keys() {
        let is_used = scripts.contains(&format!("\"{text}\"")) || pages.contains(text.as_str());
        assert!(is_used, "{text:?} is in no page and no script");
    }
}
