//! What goes over the wire: what an answer says beside the data is kept for the retry.
//!
//! The errors of `object_store` do not have the status, `Retry-After` or the service's code in a form that can be asked
//! for; here they pass by.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE, RETRY_AFTER};
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

/// Most bytes of the body of an error that are read.
const SAID: usize = 64 << 10;
/// Most bytes of a body of unknown length that no one bounds: a listing, a token.
const UNASKED: u64 = 64 << 20;
/// A body that brings fewer bytes per second, over all of the stall time, is given up.
const SLOWEST: u64 = 512;

/// What an attempt saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The last status.
    pub(super) status: Option<StatusCode>,
    /// How long the server asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The service's own code: `NoSuchBucket`.
    pub(super) code: Option<String>,
    /// What the service said, for people.
    pub(super) message: Option<String>,
    /// The size of the object, where a range was refused.
    pub(super) size: Option<u64>,
    /// Bytes that came of a body that had more than it may.
    pub(super) too_many: Option<u64>,
    /// A failure below HTTP.
    pub(super) transport: Option<HttpErrorKind>,
}

tokio::task_local! {
    /// Of the attempt that this task is at.
    pub(super) static SEEN: RefCell<Seen>;
    /// Most bytes of a body that says no length: an endless one would fill the memory.
    pub(super) static MOST: u64;
}

fn note(change: impl FnOnce(&mut Seen)) {
    // Outside of an attempt there is no one to tell.
    let _ = SEEN.try_with(|seen| change(&mut seen.borrow_mut()));
}

/// Makes clients whose answers are watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whether the services that give credentials to the programs of a machine may be asked: elsewhere their addresses
    /// are a wait for nothing.
    pub(super) metadata: Metadata,
    /// How long a body may bring less than the slowest.
    pub(super) stall: Duration,
}

/// Whether metadata services are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metadata {
    Asked,
    Never,
}

impl HttpConnector for Watch {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { inner, metadata: self.metadata, stall: self.stall }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: HttpClient,
    metadata: Metadata,
    stall: Duration,
}

/// A body that is given up when it comes too slowly: one that trickles never meets a time-out between two pieces.
#[derive(Debug)]
struct Paced {
    inner: HttpResponseBody,
    stall: Duration,
    since: Instant,
    /// Bytes that came since.
    came: u64,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let next = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let Some(Ok(frame)) = &next else { return Poll::Ready(next) };
        self.came += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        if self.since.elapsed() > self.stall {
            if self.came < SLOWEST * self.stall.as_secs().max(1) && !self.inner.is_end_stream() {
                note(|seen| seen.transport = Some(HttpErrorKind::Timeout));
                return Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, Slow(self.stall)))));
            }
            (self.since, self.came) = (Instant::now(), 0);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer brought less than {SLOWEST} bytes per second for {:.1} s", .0.as_secs_f64())]
struct Slow(Duration);

/// Names and addresses of metadata services.
fn is_metadata(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.starts_with("169.254.") || host == "metadata.google.internal" || host == "fd00:ec2::254"
}

#[derive(Debug, thiserror::Error)]
#[error("asking a metadata service is not allowed without `--storage instance_metadata=true`")]
struct NoMetadata;

#[async_trait::async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if self.metadata == Metadata::Never && request.uri().host().is_some_and(is_metadata) {
            note(|seen| *seen = Seen { transport: Some(HttpErrorKind::Unknown), ..Seen::default() });
            return Err(HttpError::new(HttpErrorKind::Unknown, NoMetadata));
        }
        let method = request.method().clone();
        let of_part = request.headers().contains_key(RANGE);
        let response = match self.inner.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                note(|seen| *seen = Seen { transport: Some(error.kind()), ..Seen::default() });
                return Err(error);
            }
        };
        let (mut parts, body) = response.into_parts();
        let body = Paced { inner: body, stall: self.stall, since: Instant::now(), came: 0 };
        let body = HttpResponseBody::new(body);
        let (status, headers) = (parts.status, &parts.headers);
        note(|seen| {
            *seen = Seen {
                status: Some(status),
                retry_after: retry_after(headers),
                size: size_of_refused(headers),
                ..Seen::default()
            };
        });
        if status.is_success() {
            // Answers in pieces of unknown number say no length; that the last has come, HTTP checks.
            if method == Method::GET && !headers.contains_key(CONTENT_LENGTH) {
                // All where a part was asked for is no answer, and is not read.
                let bytes = match of_part && status != StatusCode::PARTIAL_CONTENT {
                    true => Bytes::new(),
                    false => unmeasured(body).await?,
                };
                parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
                return Ok(HttpResponse::from_parts(parts, bytes.into()));
            }
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let bytes = beginning(body).await;
        let (code, message) = said(&bytes);
        let code = code.or_else(|| text(&parts.headers, "x-ms-error-code"));
        note(|seen| (seen.code, seen.message) = (code, message));
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {0} bytes")]
struct TooMany(u64);

/// A body of unknown length, as far as it may go.
async fn unmeasured(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    use futures_util::StreamExt as _;
    let most = MOST.try_with(|most| *most).unwrap_or(UNASKED);
    let mut stream = body.bytes_stream();
    let mut found = Vec::new();
    while let Some(bytes) = stream.next().await {
        found.extend_from_slice(&bytes?);
        let came = found.len() as u64;
        if came > most {
            note(|seen| seen.too_many = Some(came));
            return Err(HttpError::new(HttpErrorKind::Decode, TooMany(most)));
        }
    }
    Ok(found.into())
}

/// The beginning of a body that tells of an error; what cannot be read of it is left out.
async fn beginning(body: HttpResponseBody) -> Bytes {
    use futures_util::StreamExt as _;
    let mut stream = body.bytes_stream();
    let mut found = Vec::new();
    while let Some(Ok(bytes)) = stream.next().await {
        found.extend_from_slice(&bytes);
        if found.len() > SAID {
            found.truncate(SAID);
            break;
        }
    }
    found.into()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// The size in `Content-Range: bytes */SIZE`.
fn size_of_refused(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes */")?.trim().parse().ok()
}

/// Code and message of an error as services write them: XML, or JSON.
fn said(body: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let error = json.get("error").unwrap_or(&json);
        let field = |name: &str| error.get(name).and_then(|v| v.as_str()).map(short);
        return (field("code").or_else(|| field("status")), field("message"));
    }
    let element = |name: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let from = text.find(&open)? + open.len();
        let len = text[from..].find(&close)?;
        Some(short(&text[from..from + len]))
    };
    (element("Code"), element("Message"))
}

/// The first line, shortened.
fn short(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_messages_are_read_from_xml_and_json() {
        let xml =
            b"<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>no such bucket\nx</Message></Error>";
        assert_eq!(said(xml), (Some("NoSuchBucket".into()), Some("no such bucket".into())));
        let json = br#"{"error": {"code": 404, "message": "Not Found", "status": "notFound"}}"#;
        assert_eq!(said(json), (Some("notFound".into()), Some("Not Found".into())));
        assert_eq!(said(b"<html>sorry"), (None, None));
    }

    #[test]
    fn metadata_services_are_known_by_their_addresses() {
        for host in ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "[fd00:ec2::254]"] {
            assert!(is_metadata(host), "{host}");
        }
        assert!(!is_metadata("s3.amazonaws.com") && !is_metadata("127.0.0.1"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("later"), None);
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(of(&soon).is_some_and(|d| (90..=100).contains(&d.as_secs())));
    }
}
