//! Authenticates requests: client id and token, with the rate limit on failed attempts.

use std::net::IpAddr;
use std::time::Instant;

use time::UtcDateTime;

use crate::app::App;
use crate::auth::{self, InvalidCredentials, TokenDigest};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::ledger::Account;
use crate::plan::Plan;
use crate::trace::Trace;

/// The id and the token of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) client_id: &'a [u8],
    pub(crate) client_token: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Those of the headers `X-Client-Id` and `X-Client-Token`; empty where a header is absent.
    pub(crate) fn of_headers(params: &'a Params) -> Self {
        Self {
            client_id: params.get("HTTP_X_CLIENT_ID").unwrap_or_default(),
            client_token: params.get("HTTP_X_CLIENT_TOKEN").unwrap_or_default(),
        }
    }
}

/// An authenticated client that is not disabled, and its plan.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) account: Account,
    pub(crate) plan: &'a Plan,
}

/// Checks the credentials of a request. An unknown id costs the same time as a wrong token. Both are limited for the address; the right
/// token is accepted however many wrong ones came.
///
/// From here on the reply carries the client's quota of the UTC day of `now`.
pub(crate) fn authenticate<'a>(
    app: &'a App,
    credentials: Credentials<'_>,
    params: &Params,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Client<'a>, Error> {
    let account = check(app, credentials, params.remote_addr(), now, trace)?;
    let plan = app.config.plans.get(&account.plan).ok_or_else(|| {
        Fault::Internal(format!(
            "the client's plan {:?} is not in the configuration",
            account.plan
        ))
    })?;
    trace.quota = Some(plan.quota(account.used, now.date()));
    trace.plan = Some(plan.name.clone());
    if account.disabled {
        return Err(Refusal::ClientDisabled.into());
    }
    Ok(Client { account, plan })
}

fn check(
    app: &App,
    credentials: Credentials<'_>,
    address: Option<IpAddr>,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Account, Error> {
    let account = match str::from_utf8(credentials.client_id) {
        Ok(id) => app.ledger.account(id, now).map_err(Fault::from)?,
        Err(_) => None,
    };
    if account.is_some() {
        trace.client = Some(String::from_utf8_lossy(credentials.client_id).into_owned());
    }
    let tokens = account.as_ref().map(|account| &account.tokens[..]);
    let sent = TokenDigest::of(credentials.client_token);
    let attempts = &app.attempts;
    let (counted, refused) = match (auth::check(tokens, sent), account) {
        (Ok(()), Some(account)) => {
            app.token_uses.note(account.key, sent, now);
            return Ok(account);
        }
        (Err(InvalidCredentials::WrongToken), Some(account)) => (
            attempts.wrong_token(address, account.key.0, Instant::now()),
            Refusal::InvalidClientToken,
        ),
        (_, _) => (
            attempts.wrong_id(address, Instant::now()),
            Refusal::InvalidClientId,
        ),
    };
    counted.map_err(|retry_after| Refusal::TooManyFailedAttempts { retry_after })?;
    Err(refused.into())
}
