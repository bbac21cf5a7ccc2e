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

use std::io::{BufReader, ErrorKind, Read, Write};

use serde_json::json;
use time::UtcDateTime;

use crate::app::App;
use crate::authentication::{Client, authenticate};
use crate::error::{Error, Fault, Refusal};
use crate::fastcgi::params::Params;
use crate::fetch::FetchError;
use crate::form::{self, FileName, Form};
use crate::image::{self, Inspected, Limits, Rejected};
use crate::image_path::ImagePath;
use crate::ledger::ClientKey;
use crate::ledger::committer::{Outcome, Upload};
use crate::plan::{Expiry, NEVER_EXPIRES, Plan, StoreDuration, UrlKind};
use crate::response::Response;
use crate::store::Spool;
use crate::trace::{Stage, Trace};
use submission::{Image, Name, Source, Submission};

/// Bytes of a download that are written to the spool at once.
const DOWNLOAD_BUFFER: usize = 32 * 1024;

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
struct Authorized<'a> {
    client: ClientKey,
    plan: &'a Plan,
    duration: StoreDuration,
}

/// Takes one upload: reads `body`, stores the image, and says where it is.
pub(crate) fn upload(
    app: &App,
    params: &Params,
    body: &mut dyn Read,
    trace: &mut Trace,
) -> Result<Receipt, Error> {
    trace.stages.enter(Stage::Form);
    let form = form::open(params.get("CONTENT_TYPE"), body)?;
    let (submission, authorized) = receive(app, form, params, trace)?;
    let (spool, inspected) = match submission.source()? {
        Source::File(image) => file(image, authorized.plan)?,
        Source::Url(url) => {
            let mut spool = fetch(app, &url, authorized.plan, trace)?;
            trace.stages.enter(Stage::Image);
            let inspected = inspect(app, &mut spool)?;
            (spool, inspected)
        }
    };
    commit(app, &authorized, spool, inspected, trace)
}

/// Reads the form to its end. The client is judged as soon as it is known, so that a refused one is not read any further.
fn receive<'a, R: Read>(
    app: &'a App,
    mut form: Form<R>,
    params: &Params,
    trace: &mut Trace,
) -> Result<(Submission, Authorized<'a>), Error> {
    let mut submission = Submission::default();
    let mut authorized = None;
    while let Some(field) = form.next_field()? {
        match Name::of(&field) {
            Some(Name::Image) => {
                let limit = authorized
                    .as_ref()
                    .map_or(app.config.largest_file(), |authorized: &Authorized<'_>| {
                        authorized.plan.max_file_size
                    });
                let named = field.file_name == FileName::Given;
                let image = incoming::receive(app, &mut form, named, limit)?;
                submission.set_image(image)?;
            }
            Some(name) => submission.read(name, &mut form)?,
            None => {}
        }
        if authorized.is_none() && submission.names_a_client() {
            authorized = Some(authorize(app, &submission, params, trace)?);
            trace.stages.enter(Stage::Form);
        }
    }
    let authorized = match authorized {
        Some(authorized) => authorized,
        None => authorize(app, &submission, params, trace)?,
    };
    Ok((submission, authorized))
}

/// Authenticates the client and checks what the fields ask for: duration and quota.
fn authorize<'a>(
    app: &'a App,
    submission: &Submission,
    params: &Params,
    trace: &mut Trace,
) -> Result<Authorized<'a>, Error> {
    trace.stages.enter(Stage::Auth);
    let (credentials, store_duration) = submission.required()?;
    let now = (app.clock)();
    let Client { account, plan } = authenticate(app, credentials, params, now, trace)?;
    let duration = str::from_utf8(store_duration)
        .ok()
        .and_then(|code| code.parse().ok())
        .filter(|&duration| plan.allows(duration))
        .ok_or_else(|| Refusal::InvalidDuration {
            allowed: plan.durations.clone(),
        })?;
    let quota = plan.quota(account.used, now.date());
    if quota.is_exhausted() {
        return Err(exhausted(quota.resets_at, now).into());
    }
    Ok(Authorized {
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
fn fetch(app: &App, url: &[u8], plan: &Plan, trace: &mut Trace) -> Result<Spool, Error> {
    trace.stages.enter(Stage::Fetch);
    app.check_free_space()?;
    let mut spool = app.store.spool().map_err(Fault::saving)?;
    let max_size = plan.max_file_size;
    let mut download = match app.fetcher.open(url, max_size) {
        Ok(download) => download,
        Err(error) => return Err(download_refusal(error, max_size, trace).into()),
    };
    let mut chunk = vec![0; DOWNLOAD_BUFFER];
    loop {
        match download.read(&mut chunk) {
            Ok(0) => return Ok(spool),
            Ok(length) => spool.write_all(&chunk[..length]).map_err(Fault::saving)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let error = FetchError::from_read(error);
                return Err(download_refusal(error, max_size, trace).into());
            }
        }
    }
}

/// The refusal that a failed download is answered with; its cause goes to the log only.
fn download_refusal(error: FetchError, max_size: u64, trace: &mut Trace) -> Refusal {
    match error {
        FetchError::TooLarge => too_large(max_size),
        FetchError::Busy => Refusal::ServerBusy,
        FetchError::Failed(cause) => {
            trace.cause = Some(cause);
            Refusal::DownloadFailed
        }
    }
}

/// What the bytes of a download are.
fn inspect(app: &App, spool: &mut Spool) -> Result<Inspected, Error> {
    let limits = app.config.images;
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
    app: &App,
    authorized: &Authorized<'_>,
    spool: Spool,
    inspected: Inspected,
    trace: &mut Trace,
) -> Result<Receipt, Error> {
    let size = spool.size();
    trace.stages.enter(Stage::Sync);
    let mut begun = app.committer.begin(Upload {
        spool,
        inspected,
        client: authorized.client,
        daily_limit: authorized.plan.daily_uploads,
        duration: authorized.duration,
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
            trace.quota = Some(authorized.plan.quota(used, at.date()));
            trace.size = Some(size);
            trace.path = Some(path.to_string());
            Ok(Receipt {
                url: url_of(&path, authorized.plan, app.config.site.public_url()),
                expiry,
            })
        }
        Outcome::Exhausted { used, at } => {
            let quota = authorized.plan.quota(used, at.date());
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
