//! Request bodies: read with a limit and a deadline, as JSON whatever their content type says, with every fault named.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::members::members;
use super::problem::{FieldProblem, Problem};

/// What most routes take.
pub const MIB: usize = 1024 * 1024;
/// What routes take that have batches.
pub const BATCH_BYTES: usize = 16 * MIB;
/// What routes take that have policies.
pub const POLICY_BYTES: usize = 4 * MIB;
/// How deep JSON may be nested.
const MAX_DEPTH: usize = 128;
/// Faults of one body that are named.
pub const MAX_FAULTS: usize = 16;
/// What is read and thrown away of a body that nobody wants.
const DRAIN_BYTES: usize = 64 * MIB;

/// When a body has to be there, whoever reads it.
#[derive(Debug, Clone, Copy)]
pub struct Due(pub Instant);

/// The body as text that is JSON, of at most [`MIB`] bytes; where it may have `events`, of 16 MiB.
#[derive(Debug)]
pub struct Events(pub Box<RawValue>);

/// The body as a `T`, of at most `LIMIT` bytes.
#[derive(Debug)]
pub struct Json<T, const LIMIT: usize = MIB>(pub T);

impl<S: Send + Sync> FromRequest<S> for Events {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Events, Problem> {
        let bytes = read(request, BATCH_BYTES).await?;
        let may_have_events = || std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("\"events\""));
        // Reading all of it as JSON takes many times as long.
        if bytes.len() > MIB && !may_have_events() {
            return Err(Problem::too_large(MIB));
        }
        Ok(Events(json(bytes)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + PartialSchema, const LIMIT: usize> FromRequest<S>
    for Json<T, LIMIT>
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Json<T, LIMIT>, Problem> {
        let text = json(read(request, LIMIT).await?)?;
        parse(&text).map(Json)
    }
}

/// A value of the documented type, or every reason why it is none.
pub fn parse<T: DeserializeOwned + PartialSchema>(text: &RawValue) -> Result<T, Problem> {
    if !text.get().starts_with('{') {
        return Err(Problem::field("", "must be a JSON object"));
    }
    let fault = match read_as::<T>(text.get()) {
        Ok(value) => return Ok(value),
        Err(fault) => fault,
    };
    let mut errors = missing_fields(text, &T::schema());
    add_unless_named(&mut errors, fault);
    // The reader stops at the first fault: without the member that has it, it finds the next one.
    if let Ok(mut rest) = members(text) {
        while errors.len() < MAX_FAULTS {
            let named = |name: &str| errors.iter().any(|error| error.field.split('.').next() == Some(name));
            rest.retain(|(name, _)| !named(name));
            let Err(fault) = read_as::<T>(&object(&rest)) else { break };
            if !add_unless_named(&mut errors, fault) {
                break;
            }
        }
    }
    Err(Problem::invalid(errors))
}

fn read_as<T: DeserializeOwned>(text: &str) -> Result<T, FieldProblem> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = without_place(&error.inner().to_string());
        let path = error.path().to_string().replace("[", ".").replace(']', "");
        let field = if path == "." { quoted_name(&message).unwrap_or_default() } else { path };
        let detail = match message {
            message if message.starts_with("unknown field") => "is not known here".to_owned(),
            message if message.starts_with("missing field") => "is required".to_owned(),
            message => without_value(&message),
        };
        FieldProblem::new(field, detail)
    })
}

/// Adds a fault, unless its member is named already. Tells whether it was new.
fn add_unless_named(errors: &mut Vec<FieldProblem>, fault: FieldProblem) -> bool {
    let member = |field: &str| field.split('.').next().unwrap_or_default().to_owned();
    let is_new = errors.iter().all(|error| member(&error.field) != member(&fault.field));
    if is_new {
        errors.push(fault);
    }
    is_new
}

fn object(members: &[(Cow<'_, str>, &RawValue)]) -> String {
    let member = |(name, value): &(Cow<'_, str>, &RawValue)| {
        format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get())
    };
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

/// The required members of the documented type that the object lacks.
fn missing_fields(text: &RawValue, schema: &RefOr<Schema>) -> Vec<FieldProblem> {
    let (RefOr::T(Schema::Object(object)), Ok(members)) = (schema, members(text)) else {
        return Vec::new();
    };
    let is_missing =
        |name: &&String| !members.iter().any(|(member, value)| member == *name && value.get() != "null");
    object
        .required
        .iter()
        .filter(is_missing)
        .map(|name| FieldProblem::new(name.clone(), "is required"))
        .collect()
}

/// The name that a message of the JSON reader has in backticks.
fn quoted_name(message: &str) -> Option<String> {
    message.split('`').nth(1).filter(|_| message.contains("field `")).map(str::to_owned)
}

/// What is wrong, without the text that was sent: it may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    let (Some(begin), Some(end)) = (message.find(" string \""), message.rfind("\", expected")) else {
        return message.to_owned();
    };
    let (before, after) =
        (message.get(..begin).unwrap_or_default(), message.get(end + 1..).unwrap_or_default());
    format!("{before} text{after}")
}

/// What is wrong, without line and column of a text that its author may never have seen.
pub fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// Text that is JSON, and not nested too deeply.
pub fn json(bytes: Bytes) -> Result<Box<RawValue>, Problem> {
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::not_json("the body is not UTF-8"))?;
    refuse_deep(text)?;
    serde_json::from_str(text).map_err(|error| Problem::not_json(error.to_string()))
}

/// Names the outermost member that is nested too deeply. Works on any text, JSON or not.
fn refuse_deep(text: &str) -> Result<(), Problem> {
    let bytes = text.as_bytes();
    // No text is deeper than it has brackets; most have few.
    if text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let (mut string_start, mut name) = (0, 0..0);
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => {
                if in_string && depth == 1 {
                    name = string_start..place;
                }
                in_string = !in_string;
                string_start = place + 1;
            }
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let field = text.get(name).unwrap_or_default();
                    return Err(Problem::field(field, format!("is nested deeper than {MAX_DEPTH} levels")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let (parts, mut body) = request.into_parts();
    read_of(&parts, &mut body, limit).await
}

/// The body of a request before its route reads it, of as many bytes as any route may take.
pub async fn read_ahead(request: Request, limit: usize) -> Result<(Parts, Bytes), Problem> {
    let (parts, mut body) = request.into_parts();
    let bytes = read_of(&parts, &mut body, limit).await?;
    Ok((parts, bytes))
}

async fn read_of(parts: &Parts, body: &mut Body, limit: usize) -> Result<Bytes, Problem> {
    let due = *parts.extensions.get::<Due>().ok_or_else(Problem::internal)?;
    whole(body, announced(&parts.headers), limit, due).await
}

/// Whether a body is not sent as it is. Nothing is unpacked here: a few bytes could become any number.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.into_iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// How long a body will be, if its sender says so.
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// A body to its end, in time.
pub async fn whole<B>(
    body: &mut B,
    announced: Option<usize>,
    limit: usize,
    Due(due): Due,
) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let reading = async {
        if announced.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        let mut first = Bytes::new();
        let mut more = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::not_json("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len().max(more.len()) + data.len() > limit {
                return Err(Problem::too_large(limit));
            }
            // A small body comes in one piece, which need not be copied.
            if first.is_empty() && more.is_empty() {
                first = data;
                continue;
            }
            if more.is_empty() {
                more.reserve(announced.unwrap_or(0).min(limit));
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
        Ok(if more.is_empty() { first } else { Bytes::from(more) })
    };
    let mut reading = pin!(reading);
    // What is there already needs no clock.
    match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout_at(due, reading).await.unwrap_or_else(|_| Err(Problem::timeout())),
    }
}

/// What nobody read of a request's body.
///
/// A sender that is cut off while it sends does not read the answer, so what is left is read and thrown away first.
#[derive(Debug)]
pub struct Unread(Arc<Mutex<Body>>);

impl Unread {
    /// The request, and a hold on its body.
    pub fn hold(request: Request) -> (Request, Unread) {
        let (parts, body) = request.into_parts();
        let body = Arc::new(Mutex::new(body));
        (Request::from_parts(parts, Body::new(Held(Arc::clone(&body)))), Unread(body))
    }

    /// Reads what is left. Tells whether that was all of it.
    pub async fn drain(self, Due(due): Due) -> bool {
        if body_is_over(&self.0) {
            return true;
        }
        let mut body = Held(self.0);
        let reading = async {
            let mut drained = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                drained += frame.data_ref().map_or(0, Bytes::len);
                if drained > DRAIN_BYTES {
                    return false;
                }
            }
            true
        };
        timeout_at(due, reading).await.unwrap_or(false)
    }
}

fn body_is_over(body: &Mutex<Body>) -> bool {
    body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
}

/// A body that somebody else holds as well.
struct Held(Arc<Mutex<Body>>);

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        body_is_over(&self.0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Shape {
        name: String,
        source: String,
        count: Option<u32>,
        list: Option<Vec<String>>,
    }

    fn faults(text: &str) -> Vec<String> {
        let raw = serde_json::from_str::<&RawValue>(text).unwrap();
        let body = parse::<Shape>(raw).unwrap_err().body("r");
        body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_missing_and_wrong_field_is_named() {
        assert_eq!(faults("{}"), ["name", "source"]);
        assert_eq!(faults(r#"{"name": 5}"#), ["source", "name"]);
        assert_eq!(faults(r#"{"name": "a", "source": "b", "count": "c"}"#), ["count"]);
        assert_eq!(faults(r#"{"name": "a", "source": "b", "list": ["c", 5]}"#), ["list.1"]);
        assert_eq!(faults(r#"{"name": "a", "source": "b", "extra": 1}"#), ["extra"]);
        assert_eq!(faults(r#"{"name": "a", "name": "a", "source": "b"}"#), ["name"]);
        assert_eq!(faults(r#"{"name": null, "source": "b"}"#), ["name"]);
        let several = r#"{"name": 5, "source": 6, "count": "c", "list": ["c", 5], "extra": 1}"#;
        assert_eq!(faults(several), ["name", "source", "count", "list.1", "extra"]);
        let many: Vec<_> = (0..100).map(|number| format!("\"x{number}\":1")).collect();
        assert_eq!(faults(&format!("{{{}}}", many.join(","))).len(), MAX_FAULTS);
        assert_eq!(faults("[1]"), [""]);
    }

    #[test]
    fn a_text_in_the_wrong_place_is_not_repeated() {
        for sent in ["secret", "a\\\", expected b", ""] {
            let text = format!(r#"{{"name": "a", "source": "b", "count": "{sent}"}}"#);
            let raw = serde_json::from_str::<&RawValue>(&text).unwrap();
            let body = parse::<Shape>(raw).unwrap_err().body("r");
            assert_eq!(body["errors"][0]["detail"], "invalid type: text, expected u32", "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_the_member_named() {
        let deep = |levels: usize| format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(refuse_deep(&deep(MAX_DEPTH - 1)).is_ok());
        let problem = refuse_deep(&deep(100_000)).unwrap_err().body("r");
        assert_eq!(problem["errors"][0]["field"], "b");
        assert!(refuse_deep(&format!("{{\"a\":\"{}\"}}", "[".repeat(1000))).is_ok());
        assert!(refuse_deep(&"}".repeat(1000)).is_ok());
    }
}
