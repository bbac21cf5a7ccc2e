//! The path of one upload, top to bottom.
//!
//! ```text
//! form       fields and file stream in; the file is inspected on its way to the spool
//! authorize  client, token, duration, quota: as soon as the fields are known, before the file where they precede it
//! source     a file or a URL, not both and not neither
//! fetch      the download of image_url, into the spool, and its inspection
//! commit     quota, row and file, on disk before the reply
//! ```
//!
//! Refusals come in the order of the documentation: missing fields, client id, token, disabled client, duration, quota, source, size,
//! type, dimensions. What is broken in the body itself is answered where it is met.

mod incoming;
mod submission;

use std::io::{BufReader, Read};

use serde_json::json;
use time::UtcDateTime;

use crate::api::identity::{authenticate, plan_of};
use crate::api::{Api, Stage, Trace};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::fetch::FetchError;
use crate::form::{self, FileName, Form};
use crate::image::{self, Inspected, Limits, Rejected};
use crate::ledger::committer::{Outcome, Upload};
use crate::ledger::{Account, ClientKey};
use crate::plan::{Expiry, NEVER_EXPIRES, Plan, StoreDuration, UrlKind};
use crate::response::Response;
use crate::store::Spool;
use crate::store::path::ImagePath;
use submission::{Image, Name, Source, Submission};

/// Bytes of a download that the image check reads at once.
const INSPECTION_BUFFER: usize = 64 * 1024;

/// An upload that was stored.
#[derive(Debug)]
pub(crate) struct Receipt {
    url: String,
    expiry: Option<Expiry>,
}

impl Receipt {
    /// The documented reply.
    pub(crate) fn into_response(self) -> Response {
        let expires_at = self
            .expiry
            .map_or_else(|| NEVER_EXPIRES.to_owned(), |expiry| expiry.to_string());
        Response::json(
            200,
            json!({ "status": "success", "url": self.url, "expires_at": expires_at }),
        )
    }
}

/// A client that may upload, with what it asked for.
struct Grant<'a> {
    client: ClientKey,
    plan: &'a Plan,
    duration: StoreDuration,
}

/// Takes one upload: reads `body`, stores the image, and says where it is.
pub(crate) fn upload(
    api: &Api,
    params: &Params,
    body: &mut dyn Read,
    trace: &mut Trace,
) -> Result<Receipt, Error> {
    trace.stages.enter(Stage::Form);
    let form = form::open(params.get("CONTENT_TYPE"), body)?;
    let (submission, grant) = receive(api, form, params, trace)?;
    let (spool, inspected) = match submission.source()? {
        Source::File(image) => file(image, grant.plan)?,
        Source::Url(url) => {
            let mut spool = fetch(api, &url, grant.plan, trace)?;
            trace.stages.enter(Stage::Image);
            let inspected = inspect(api, &mut spool)?;
            (spool, inspected)
        }
    };
    commit(api, &grant, spool, inspected, trace)
}

/// Reads the form to its end. The client is judged as soon as it is known, so that a refused one is not read any further.
fn receive<'a, R: Read>(
    api: &'a Api,
    mut form: Form<R>,
    params: &Params,
    trace: &mut Trace,
) -> Result<(Submission, Grant<'a>), Error> {
    let mut submission = Submission::default();
    let mut grant = None;
    while let Some(field) = form.next_field()? {
        match Name::of(&field) {
            Some(Name::Image) => {
                let limit = grant
                    .as_ref()
                    .map_or(api.config.largest_file(), |grant: &Grant<'_>| {
                        grant.plan.max_file_size
                    });
                let named = field.file_name == FileName::Given;
                let image = incoming::receive(api, &mut form, named, limit)?;
                submission.set_image(image)?;
            }
            Some(name) => submission.read(name, &mut form)?,
            None => {}
        }
        if grant.is_none() && submission.names_a_client() {
            grant = Some(authorize(api, &submission, params, trace)?);
            trace.stages.enter(Stage::Form);
        }
    }
    let grant = match grant {
        Some(grant) => grant,
        None => authorize(api, &submission, params, trace)?,
    };
    Ok((submission, grant))
}

/// Who uploads, and whether they may.
fn authorize<'a>(
    api: &'a Api,
    submission: &Submission,
    params: &Params,
    trace: &mut Trace,
) -> Result<Grant<'a>, Error> {
    trace.stages.enter(Stage::Auth);
    let claim = submission.claim()?;
    let now = (api.clock)();
    let account = authenticate(api, claim.client_id, claim.client_token, params, now, trace)?;
    grant(api, &account, claim.store_duration, now, trace)
}

/// What an authenticated client may do today.
fn grant<'a>(
    api: &'a Api,
    account: &Account,
    store_duration: &[u8],
    now: UtcDateTime,
    trace: &mut Trace,
) -> Result<Grant<'a>, Error> {
    let plan = plan_of(api, account, now, trace)?;
    let quota = plan.quota(account.used, now.date());
    let duration = str::from_utf8(store_duration)
        .ok()
        .and_then(|code| code.parse().ok())
        .filter(|&duration| plan.allows(duration))
        .ok_or_else(|| Refusal::InvalidDuration {
            allowed: plan.durations.clone(),
        })?;
    if quota.is_exhausted() {
        return Err(exhausted(quota.resets_at, (api.clock)()).into());
    }
    Ok(Grant {
        client: account.key,
        plan,
        duration,
    })
}

fn exhausted(resets_at: i64, now: UtcDateTime) -> Refusal {
    let retry_after = u64::try_from(resets_at - now.unix_timestamp())
        .unwrap_or(0)
        .max(1);
    Refusal::QuotaExhausted { retry_after }
}

/// The file that came with the form, if the plan takes it. One that came before the fields was held to the largest plan's limit.
fn file(image: Image, plan: &Plan) -> Result<(Spool, Inspected), Error> {
    match image {
        Image::Absent => Err(Refusal::MissingParameters.into()),
        Image::Received { size, .. } if size > plan.max_file_size => {
            Err(too_large(plan.max_file_size).into())
        }
        Image::Received { content, .. } => content,
    }
}

const fn too_large(max_size: u64) -> Refusal {
    Refusal::FileTooLarge { max_size }
}

/// Downloads `image_url` into the spool.
fn fetch(api: &Api, url: &[u8], plan: &Plan, trace: &mut Trace) -> Result<Spool, Error> {
    trace.stages.enter(Stage::Fetch);
    api.check_free_space()?;
    let mut spool = api.store.spool().map_err(Fault::saving)?;
    match api.fetcher.download(url, plan.max_file_size, &mut spool) {
        Ok(_) => Ok(spool),
        Err(FetchError::TooLarge) => Err(too_large(plan.max_file_size).into()),
        Err(FetchError::Busy) => Err(Refusal::ServerBusy.into()),
        Err(FetchError::Failed(cause)) => {
            trace.cause = Some(cause);
            Err(Refusal::DownloadFailed.into())
        }
        Err(FetchError::Sink(error)) => Err(Fault::saving(error).into()),
    }
}

/// What the bytes of a download are.
fn inspect(api: &Api, spool: &mut Spool) -> Result<Inspected, Error> {
    let limits = api.config.images;
    let bytes = spool.rewound().map_err(Fault::SaveImage)?;
    image::inspect(
        &mut BufReader::with_capacity(INSPECTION_BUFFER, bytes),
        limits,
    )
    .map_err(|rejected| rejection(rejected, limits))
}

fn rejection(rejected: Rejected, limits: Limits) -> Error {
    match rejected {
        Rejected::InvalidType(_) => Refusal::InvalidFileType.into(),
        Rejected::TooLarge { .. } => Refusal::DimensionsTooLarge {
            max_side: limits.max_side,
            max_megapixels: limits.max_megapixels,
        }
        .into(),
        Rejected::Read(error) => Fault::SaveImage(error).into(),
    }
}

/// Stores the image: when this returns, it is on disk and served.
fn commit(
    api: &Api,
    grant: &Grant<'_>,
    spool: Spool,
    inspected: Inspected,
    trace: &mut Trace,
) -> Result<Receipt, Error> {
    let size = spool.size();
    trace.stages.enter(Stage::Sync);
    let mut begun = api.committer.begin(Upload {
        spool,
        inspected,
        client: grant.client,
        daily_limit: grant.plan.daily_uploads,
        duration: grant.duration,
    })?;
    begun.seal();
    trace.stages.enter(Stage::Commit);
    match begun.finish()? {
        Outcome::Stored {
            path,
            expiry,
            used,
            at,
        } => {
            trace.quota = Some(grant.plan.quota(used, at.date()));
            trace.size = Some(size);
            trace.path = Some(path.to_string());
            Ok(Receipt {
                url: url_of(&path, grant.plan, api.config.site.public_url()),
                expiry,
            })
        }
        Outcome::Exhausted { used, at } => {
            let quota = grant.plan.quota(used, at.date());
            trace.quota = Some(quota);
            Err(exhausted(quota.resets_at, at).into())
        }
    }
}

fn url_of(path: &ImagePath, plan: &Plan, public_url: &str) -> String {
    match plan.url {
        UrlKind::Viewer => path.viewer_url(public_url),
        UrlKind::Direct => path.direct_url(public_url),
    }
}
