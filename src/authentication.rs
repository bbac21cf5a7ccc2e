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

/// An authenticated client that is not disabled, and its plan.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) account: Account,
    pub(crate) plan: &'a Plan,
}

/// Checks the credentials of a request. An unknown id costs the same time as a wrong token, and both count against the address.
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
    check_rate(app, address)?;
    let account = match str::from_utf8(credentials.client_id) {
        Ok(id) => app.ledger.account(id, now).map_err(Fault::from)?,
        Err(_) => None,
    };
    if account.is_some() {
        trace.client = Some(String::from_utf8_lossy(credentials.client_id).into_owned());
    }
    let tokens = account.as_ref().map(|account| &account.tokens[..]);
    let sent = TokenDigest::of(credentials.client_token);
    let refused = match (auth::check(tokens, sent), account) {
        (Ok(()), Some(account)) => {
            // Attempts that are sent all at once are admitted before any of them has failed. The right one among them gets no more
            // than the others.
            check_rate(app, address)?;
            return Ok(account);
        }
        (Err(InvalidCredentials::WrongToken), _) => Refusal::InvalidClientToken,
        (Err(InvalidCredentials::UnknownClient), _) | (Ok(()), None) => Refusal::InvalidClientId,
    };
    if let Some(address) = address {
        app.attempts
            .failed(address, Instant::now())
            .map_err(|retry_after| Refusal::TooManyFailedAttempts { retry_after })?;
    }
    Err(refused.into())
}

/// Fails while `address` is over the rate limit of failed attempts.
fn check_rate(app: &App, address: Option<IpAddr>) -> Result<(), Refusal> {
    let Some(address) = address else {
        return Ok(());
    };
    app.attempts
        .admit(address, Instant::now())
        .map_err(|retry_after| Refusal::TooManyFailedAttempts { retry_after })
}
