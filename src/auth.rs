//! Tokens: generation, SHA-256 digests, comparison in constant time.

pub(crate) mod attempts;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::random::{self, NoRandom};

/// The SHA-256 of a token. The token itself is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// A token in the clear, which is shown once. It has no `Debug`, so that no log can contain it.
pub(crate) struct Token(String);

impl Token {
    /// 128 random bits as 32 hexadecimal characters.
    pub(crate) fn random() -> Result<Self, NoRandom> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        Ok(Self(base16ct::lower::encode_string(&bytes)))
    }

    /// Imports a token: 16 to 256 visible ASCII characters.
    pub(crate) fn import(text: &str) -> Result<Self, UnfitToken> {
        if (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(UnfitToken { length: text.len() })
        }
    }

    /// The token itself, to be printed.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Its digest, to be kept.
    pub(crate) fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }
}

/// A token that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is 16 to 256 visible ASCII characters; this one has {length} bytes, or others among them"
)]
pub(crate) struct UnfitToken {
    length: usize,
}

/// Why credentials are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidCredentials {
    /// No client has that id.
    UnknownClient,
    /// The client exists; the token is not one of its valid ones.
    WrongToken,
}

/// Compares the token of a request with the valid tokens of the client; `None` for an unknown client.
///
/// Constant time: an unknown client is compared with a dummy digest.
pub(crate) fn check(
    valid_tokens: Option<&[TokenDigest]>,
    sent: TokenDigest,
) -> Result<(), InvalidCredentials> {
    let dummy = [TokenDigest([0; 32])];
    let matches = valid_tokens
        .unwrap_or(&dummy)
        .iter()
        .fold(Choice::from(0), |matched, token| {
            matched | token.0.ct_eq(&sent.0)
        });
    match valid_tokens {
        None => Err(InvalidCredentials::UnknownClient),
        Some(_) if matches.into() => Ok(()),
        Some(_) => Err(InvalidCredentials::WrongToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_valid_token_is_accepted_and_no_other() {
        let valid = ["old", "new"].map(|token| TokenDigest::of(token.as_bytes()));
        let check_text = |token: &str| check(Some(&valid), TokenDigest::of(token.as_bytes()));
        for token in ["old", "new"] {
            assert_eq!(check_text(token), Ok(()));
        }
        for token in ["", "ol", "older", "OLD"] {
            assert_eq!(
                check_text(token),
                Err(InvalidCredentials::WrongToken),
                "{token}"
            );
        }
        assert_eq!(
            check(Some(&[]), TokenDigest::of(b"")),
            Err(InvalidCredentials::WrongToken)
        );
        assert_eq!(
            check(None, TokenDigest([0; 32])),
            Err(InvalidCredentials::UnknownClient)
        );
    }

    #[test]
    fn random_tokens_are_32_hexadecimal_characters() {
        let token = Token::random().expect("random");
        assert_eq!(token.reveal().len(), 32);
        assert!(
            token
                .reveal()
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_ne!(token.digest(), Token::random().expect("random").digest());
    }

    #[test]
    fn imported_tokens_are_visible_ascii() {
        assert!(Token::import("8b5d24c7e3af9d87156a40b1c3e92f67").is_ok());
        for wrong in [
            "",
            "short",
            "8b5d24c7e3af9d87 156a40b1c3e92f67",
            "8b5d24c7e3af9d87156a40b1c3e92f6\u{e9}",
        ] {
            assert!(Token::import(wrong).is_err(), "{wrong}");
        }
    }
}
