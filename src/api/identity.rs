//! Who asks: the one check of id and token that every call with credentials goes through.

use std::net::IpAddr;
use std::time::Instant;

use time::UtcDateTime;

use super::{Api, Trace, address};
use crate::auth::{self, Decision, TokenDigest};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::ledger::Account;
use crate::plan::Plan;

/// The client of that id, if the token is one of its. An unknown id costs the same time as a wrong token, and either counts against the
/// address.
pub(crate) fn authenticate(
    api: &Api,
    client_id: &[u8],
    client_token: &[u8],
    params: &Params,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Account, Error> {
    let address = address(params);
    admit(api, address)?;
    let known = match str::from_utf8(client_id) {
        Ok(id) => api.ledger.account(id, now).map_err(Fault::from)?,
        Err(_) => None,
    };
    if known.is_some() {
        trace.client = Some(String::from_utf8_lossy(client_id).into_owned());
    }
    let refused = match auth::decide(known, TokenDigest::of(client_token)) {
        Decision::Granted(account) => {
            // Guesses that were sent all at once were admitted before any was found wrong. The right one among them gets no more
            // than the others.
            admit(api, address)?;
            return Ok(account);
        }
        Decision::UnknownClient => Refusal::InvalidClientId,
        Decision::WrongToken => Refusal::InvalidClientToken,
    };
    if let Some(address) = address {
        api.attempts
            .failed(address, Instant::now())
            .map_err(|retry_after| Refusal::TooManyFailedAttempts { retry_after })?;
    }
    Err(refused.into())
}

/// Whether `address` has not guessed too often.
fn admit(api: &Api, address: Option<IpAddr>) -> Result<(), Refusal> {
    let Some(address) = address else {
        return Ok(());
    };
    api.attempts
        .admit(address, Instant::now())
        .map_err(|retry_after| Refusal::TooManyFailedAttempts { retry_after })
}

/// The plan of a client that is not disabled. From here on the reply says what is left of today's quota.
pub(crate) fn plan_of<'a>(
    api: &'a Api,
    account: &Account,
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<&'a Plan, Error> {
    let plan = api.config.plans.get(&account.plan).ok_or_else(|| {
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
    Ok(plan)
}
