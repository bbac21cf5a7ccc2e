//! The path of one upload, top to bottom.
//!
//! ```text
//! form       fields and file stream in; the file passes the image check on its way into the spool
//! authorize  client, token, duration, quota, storage: as soon as the fields have come, before the file if they precede it
//! source     a file or a URL, not both and not neither
//! repetition an upload with a known Idempotency-Key gets the reply of the first
//! download   image_url, into the spool in the same way
//! metadata   positions or all metadata are removed, as the plan says
//! blocked    the digest of the bytes as they came, or as they are stored, is not on the block list
//! scanned    the operator's program lets it through, if there is one
//! commit     quota, row and file, durable before the reply
//! ```
//!
//! Errors come in the documented order: missing fields, client id, token, disabled client, duration, quota, storage, source, size, type,
//! dimensions, blocked. A malformed body is answered where it is found.

mod blocked;
mod metadata;
mod receive;
mod repetition;
mod scanned;
mod submission;

use std::io::{BufReader, Read};
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value, json};
use time::UtcDateTime;

use crate::app::App;
use crate::authentication::{Client, Credentials, authenticate};
use crate::commit::{Outcome, Upload};
use crate::error::{Error, Refusal};
use crate::expiry::{Expiry, StoreDuration};
use crate::fastcgi::params::Params;
use crate::fetch::FetchError;
use crate::form::{self, FieldReader, FileName, Form, FormError};
use crate::idempotency::Fingerprint;
use crate::image_object::StoredImage;
use crate::ledger::ClientKey;
use crate::plan::Plan;
use crate::quota::Quota;
use crate::response::Response;
use crate::trace::{Stage, Trace};
use blocked::refuse_blocked;
use receive::{Content, Received, receive};
use repetition::Keyed;
use scanned::refuse_unwanted;
use submission::{Image, Name, Source, Submission};

/// Bytes of a download that are read at once.
const DOWNLOAD_BUFFER: usize = 64 * 1024;

/// An upload that was stored.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// The object of the image.
    image: Value,
}

impl Receipt {
    /// The documented reply.
    pub(crate) fn into_response(self) -> Response {
        let mut reply = json!({ "status": "success" });
        if let (Value::Object(reply), Value::Object(image)) = (&mut reply, self.image) {
            reply.extend(image);
        }
        Response::json(200, reply)
    }
}

/// A client that may upload, with what it asked for.
struct Authorized<'a> {
    client: ClientKey,
    plan: &'a Plan,
    duration: StoreDuration,
    /// Its upload, if that has a key.
    keyed: Option<Keyed<'a>>,
}

/// Takes one upload: reads `body`, stores the image, and returns its URL and expiry.
pub(crate) fn upload(
    app: &App,
    params: &Params,
    body: &mut dyn Read,
    trace: &mut Trace,
) -> Result<Receipt, Error> {
    trace.stages.enter(Stage::Form);
    let form = form::open(params.get("CONTENT_TYPE"), body)?;
    let (submission, authorized) = read_form(app, form, params, trace)?;
    let source = submission.source()?;
    let key = match &authorized.keyed {
        Some(keyed) => {
            let key = keyed.upload_key(&source, authorized.duration);
            if let Some(image) = keyed.image(app, key.request, (app.clock)())? {
                trace.is_repeated = true;
                trace.path = Some(image.path.to_string());
                let image = StoredImage::from(image).to_json(app, authorized.plan);
                return Ok(Receipt { image });
            }
            Some(key)
        }
        None => None,
    };
    let received = match source {
        Source::File(file) => file,
        Source::Url(url) => download(app, &url, &authorized, trace)?,
    };
    let Content {
        mut spool,
        inspected,
        layout,
        digest,
    } = check(received, authorized.plan)?;
    let size = spool.size();
    metadata::strip(&mut spool, inspected, &layout, authorized.plan.metadata)?;
    let may_differ = !layout.blocks.is_empty() || spool.size() != size;
    refuse_blocked(app, digest, may_differ.then_some(&spool), trace)?;
    refuse_unwanted(app, &spool, trace)?;
    let upload = Upload {
        spool,
        inspected,
        client: authorized.client,
        daily_limit: authorized.plan.daily_uploads,
        max_storage: authorized.plan.max_storage,
        duration: authorized.duration,
        address: address_to_keep(app, params),
        key,
    };
    commit(app, authorized.plan, upload, trace)
}

/// The address that the upload comes from, where the operator wants it kept.
fn address_to_keep(app: &App, params: &Params) -> Option<Ipv6Addr> {
    app.config.abuse.keep_addresses()?;
    Some(match params.remote_addr()? {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    })
}

/// Reads the form to its end. The client is authorized as soon as its fields have come: the file of a refused one is not read.
fn read_form<'a, R: Read>(
    app: &'a App,
    mut form: Form<R>,
    params: &'a Params,
    trace: &mut Trace,
) -> Result<(Submission<'a>, Authorized<'a>), Error> {
    let key = repetition::key_of(params)?;
    let mut submission = Submission::new(Credentials::of_headers(params));
    let mut authorized: Option<Authorized<'_>> = None;
    while let Some(field) = form.next_field()? {
        match Name::of(&field) {
            Some(Name::Image) => {
                let limit = match &authorized {
                    Some(authorized) => authorized.plan.max_file_size,
                    None => app.config.largest_file(),
                };
                let received = receive(app, FieldReader::new(&mut form), limit, key.is_some())
                    .map_err(FormError::from_read)?;
                let is_absent = received.size == 0 && field.file_name != FileName::Given;
                submission.set_image(if is_absent {
                    Image::Absent
                } else {
                    Image::File(received)
                })?;
            }
            Some(name) => submission.read(name, &mut form)?,
            None => {}
        }
        if authorized.is_none() && submission.can_be_authorized() {
            authorized = Some(authorize(app, &submission, key, params, trace)?);
            trace.stages.enter(Stage::Form);
        }
    }
    let authorized = match authorized {
        Some(authorized) => {
            // A field that came later may differ from its header.
            submission.required()?;
            authorized
        }
        None => authorize(app, &submission, key, params, trace)?,
    };
    Ok((submission, authorized))
}

/// Authenticates the client and checks what the fields ask for: duration, quota and storage. What was stored before is not counted again.
fn authorize<'a>(
    app: &'a App,
    submission: &Submission<'_>,
    key: Option<Fingerprint>,
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
    let keyed = match key {
        Some(key) => Some(Keyed::begin(app, account.key, key, now)?),
        None => None,
    };
    if !keyed.as_ref().is_some_and(Keyed::is_known) {
        let quota = plan.quota(account.used, now.date());
        if quota.is_exceeded() {
            return Err(quota_exceeded(quota, now).into());
        }
        if let Some(max_storage) = plan.max_storage.filter(|&max| account.stored.bytes >= max) {
            return Err(Refusal::StorageExceeded { max_storage }.into());
        }
    }
    Ok(Authorized {
        client: account.key,
        plan,
        duration,
        keyed,
    })
}

fn quota_exceeded(quota: Quota, now: UtcDateTime) -> Refusal {
    let seconds = quota.resets_at.0 - now.unix_timestamp();
    Refusal::QuotaExhausted {
        retry_after: u64::try_from(seconds).unwrap_or(0).max(1),
    }
}

/// Downloads `image_url`.
fn download(
    app: &App,
    url: &[u8],
    authorized: &Authorized<'_>,
    trace: &mut Trace,
) -> Result<Received, Error> {
    trace.stages.enter(Stage::Fetch);
    app.check_free_space()?;
    let (client, max_size) = (authorized.client.0, authorized.plan.max_file_size);
    let downloaded = app
        .fetcher
        .open(client, url, max_size)
        .and_then(|download| {
            let reader = BufReader::with_capacity(DOWNLOAD_BUFFER, download);
            receive(app, reader, max_size, false).map_err(FetchError::from_read)
        });
    let result = match &downloaded {
        Ok(Received {
            content: None | Some(Err(Error::Refusal(_))),
            size,
            ..
        }) => {
            app.fetcher.charge(client, *size);
            "no image"
        }
        Ok(_) => "image",
        Err(FetchError::TooLarge) => "too large",
        Err(FetchError::Busy { .. }) => "busy",
        Err(FetchError::Failed(_)) => "failed",
    };
    app.metrics.count_download(&authorized.plan.name, result);
    downloaded.map_err(|error| match error {
        FetchError::TooLarge => Refusal::FileTooLarge { max_size }.into(),
        FetchError::Busy { cause, retry_after } => {
            trace.cause = Some(cause.to_owned());
            Refusal::ServerBusy { retry_after }.into()
        }
        FetchError::Failed(cause) => {
            trace.cause = Some(cause);
            Refusal::DownloadFailed.into()
        }
    })
}

/// The image that was received. A file that preceded the fields was only limited to the largest plan's size.
fn check(received: Received, plan: &Plan) -> Result<Content, Error> {
    let max_size = plan.max_file_size;
    match received.content {
        _ if received.size > max_size => Err(Refusal::FileTooLarge { max_size }.into()),
        None => Err(Refusal::InvalidFileType.into()),
        Some(content) => content,
    }
}

/// Stores the image; when this returns, it is durable and served.
fn commit(app: &App, plan: &Plan, upload: Upload, trace: &mut Trace) -> Result<Receipt, Error> {
    trace.stages.enter(Stage::Commit);
    let size = upload.spool.size();
    let (width, height) = (upload.inspected.width, upload.inspected.height);
    match app.committer.commit(upload)? {
        Outcome::Stored {
            path,
            expiry,
            used,
            at,
        } => {
            trace.quota = Some(plan.quota(used, at.date()));
            trace.size = Some(size);
            trace.path = Some(path.to_string());
            let image = StoredImage {
                path,
                size,
                width,
                height,
                uploaded_at: at.into(),
                expires_at: expiry.map(Expiry::instant),
            };
            Ok(Receipt {
                image: image.to_json(app, plan),
            })
        }
        Outcome::QuotaExceeded { used, at } => {
            let quota = plan.quota(used, at.date());
            trace.quota = Some(quota);
            Err(quota_exceeded(quota, at).into())
        }
        Outcome::StorageExceeded { used, at } => {
            trace.quota = Some(plan.quota(used, at.date()));
            let max_storage = plan.max_storage.unwrap_or_default();
            Err(Refusal::StorageExceeded { max_storage }.into())
        }
        Outcome::Repeated => Err(Refusal::UploadInProgress.into()),
    }
}
