//! Bodies that are broken by accident or on purpose: no panic, and the same outcome however they are split.

use proptest::prelude::*;

use super::{Random, Split, Upload, open_split, outcome, outcome_at_once};
use crate::form::content_type::{self, Boundary};
use crate::form::urlencoded::Urlencoded;
use crate::form::{Form, MAX_FIELDS, open};

/// Changes a body the way accidents and attackers do.
fn mutate(body: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(body.len() + 1);
    let length = random.below(body.len() - at + 1).min(1 + random.below(30));
    match random.below(4) {
        0 => body.truncate(at),
        1 => {
            body.drain(at..at + length);
        }
        2 => {
            let copy = body[at..at + length].to_vec();
            let to = random.below(body.len() + 1);
            body.splice(to..to, copy);
        }
        _ => {
            let choices = b"\r\n-\" ;=:\0x\xff";
            let byte = choices[random.below(choices.len())];
            body.splice(at..at + length.min(1), [byte]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_bodies_read_the_same_however_split(seed: u64, mutations in 1..4_usize) {
        let mut random = Random::new(seed);
        let mut upload = Upload::random(&mut random);
        for _ in 0..mutations {
            mutate(&mut upload.body, &mut random);
        }
        let at_once = outcome_at_once(&upload.boundary, &upload.body);
        prop_assert!(at_once.fields.len() <= MAX_FIELDS);
        prop_assert_eq!(outcome(upload.open_split(&mut random)), at_once);
    }

    #[test]
    fn random_tokens_read_the_same_however_split(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "\r\n", "\r", "\n", "--", "-", "b", "--b", "\r\n--b", "--b\r\n", "\r\n--b--", "x", " ", "\r\n\r\n", ":", "\0",
            "Content-Disposition: form-data; name=a", "Content-Disposition:", "; filename=\"", "\"", "\\",
            "Content-Transfer-Encoding: ", "binary", "X: y", ";", "name", "=",
        ]), 0..40),
        well_begun: bool,
        seed: u64,
    ) {
        let start = if well_begun { "--b\r\nContent-Disposition: form-data; name=a" } else { "" };
        let body = [start, &tokens.concat()].concat().into_bytes();
        let boundary = Boundary::new(b"b").expect("a boundary");
        let at_once = outcome_at_once(&boundary, &body);
        let split = outcome(open_split(&boundary, &body, &mut Random::new(seed)));
        prop_assert_eq!(split, at_once);
    }

    #[test]
    fn random_bytes_never_panic(
        content_type in prop::collection::vec(any::<u8>(), 0..80),
        body in prop::collection::vec(any::<u8>(), 0..300),
        seed: u64,
    ) {
        let typed = [b"multipart/form-data; boundary=x;", &content_type[..]].concat();
        for content_type in [&content_type, &typed] {
            if let Ok(mut form) = open(Some(content_type), &body[..]) {
                let _ = form.drain();
            }
        }
        let _ = content_type::disposition(&[b"form-data;", &content_type[..]].concat());
        let split = Split { rest: &body, largest: 7, random: Random::new(seed) };
        let split = outcome(Form::Urlencoded(Urlencoded::new(split)));
        prop_assert_eq!(split, outcome(Form::Urlencoded(Urlencoded::new(&body[..]))));
    }
}
