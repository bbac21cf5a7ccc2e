//! Named tokens.

use time::Duration;

use super::{NOW, add, digest};
use crate::ledger::{DEFAULT_TOKEN, Ledger, TokenAdded, TokenRemoved, TokenRow, TokenUse};
use crate::timestamp::Timestamp;

/// The names of the valid tokens; one that has an expiry is followed by an asterisk.
fn names(ledger: &dyn Ledger, id: &str) -> Vec<String> {
    let tokens = ledger.tokens(id, NOW).expect("readable").expect("there");
    let name = |row: TokenRow| row.name + if row.expires_at.is_some() { "*" } else { "" };
    tokens.into_iter().map(name).collect()
}

pub(super) fn tokens_are_added_and_removed_by_name(ledger: &dyn Ledger) {
    assert_eq!(ledger.tokens("a", NOW), Ok(None));
    assert_eq!(
        ledger.add_token("a", "ci", digest("ci"), NOW),
        Ok(TokenAdded::NoClient)
    );
    assert_eq!(ledger.remove_token("a", "ci"), Ok(TokenRemoved::NoClient));
    let _ = add(ledger, "a");
    let _ = add(ledger, "b");
    assert_eq!(names(ledger, "a"), [DEFAULT_TOKEN]);
    assert_eq!(
        ledger.remove_token("a", DEFAULT_TOKEN),
        Ok(TokenRemoved::Last)
    );
    for (name, token, expected) in [
        ("ci", "ci", TokenAdded::Added),
        ("ci", "other", TokenAdded::NameTaken),
        ("web", "ci", TokenAdded::KnownAs("ci".to_owned())),
        ("CI", "other", TokenAdded::Added),
    ] {
        assert_eq!(
            ledger.add_token("a", name, digest(token), NOW),
            Ok(expected),
            "{name}"
        );
    }
    assert_eq!(names(ledger, "a"), ["CI", "ci", DEFAULT_TOKEN]);
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(account.tokens.len(), 3);
    assert_eq!(ledger.remove_token("a", "web"), Ok(TokenRemoved::NoToken));
    for name in ["CI", DEFAULT_TOKEN] {
        assert_eq!(ledger.remove_token("a", name), Ok(TokenRemoved::Removed));
    }
    assert_eq!(ledger.remove_token("a", "ci"), Ok(TokenRemoved::Last));
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(account.tokens, [digest("ci")]);
    assert_eq!(names(ledger, "b"), [DEFAULT_TOKEN], "another client's");
}

pub(super) fn a_rotation_replaces_the_tokens_of_its_name(ledger: &dyn Ledger) {
    let _ = add(ledger, "a");
    let end = NOW + Duration::hours(1);
    let rotate =
        |name: &str, token: &str, end| ledger.rotate_token("a", name, digest(token), end, NOW);
    assert_eq!(rotate("ci", "first", NOW), Ok(TokenAdded::Added));
    assert_eq!(rotate("ci", "second", end), Ok(TokenAdded::Added));
    assert_eq!(names(ledger, "a"), ["ci", "ci*", DEFAULT_TOKEN]);
    assert_eq!(
        rotate(DEFAULT_TOKEN, "second", NOW),
        Ok(TokenAdded::KnownAs("ci".to_owned()))
    );
    assert_eq!(
        names(ledger, "a"),
        ["ci", "ci*", DEFAULT_TOKEN],
        "nothing ended"
    );
    assert_eq!(rotate("ci", "first", NOW), Ok(TokenAdded::Added), "again");
    assert_eq!(names(ledger, "a"), ["ci", DEFAULT_TOKEN]);
    assert_eq!(rotate("ci", "third", end), Ok(TokenAdded::Added));
    assert_eq!(ledger.remove_token("a", "ci"), Ok(TokenRemoved::Removed));
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(
        account.tokens,
        [digest("a")],
        "with the one that overlapped"
    );
    // A token that has ended does not keep its name, nor its digest.
    assert_eq!(rotate("ci", "fourth", NOW), Ok(TokenAdded::Added));
    assert_eq!(rotate("ci", "fifth", end), Ok(TokenAdded::Added));
    let later = ledger.rotate_token("a", "web", digest("fourth"), end, end);
    assert_eq!(later, Ok(TokenAdded::Added));
}

pub(super) fn the_last_use_of_a_token_is_noted(ledger: &dyn Ledger) {
    let client = add(ledger, "a");
    let last_use = || {
        let tokens = ledger.tokens("a", NOW).expect("readable").expect("there");
        tokens[0].last_used_at
    };
    let noted = |token: &str, at: i64| {
        let usage = TokenUse {
            client,
            token: digest(token),
            at: Timestamp(at),
        };
        assert_eq!(ledger.note_token_uses(&[usage]), Ok(()));
        last_use()
    };
    assert_eq!(last_use(), None);
    assert_eq!(noted("unknown", 3_600), None);
    assert_eq!(noted("a", 7_200), Some(Timestamp(7_200)));
    assert_eq!(noted("a", 3_600), Some(Timestamp(7_200)), "earlier");
    assert_eq!(noted("a", 10_800), Some(Timestamp(10_800)));
}
