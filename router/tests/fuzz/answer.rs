//! Answers, read in the form that the protocol of the request has.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::client::Answered;
use crate::request::Form;

/// What an answer says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// A sentence of plain HTTP.
    Plain,
    /// What was asked for, or the beginning of it.
    Success,
    Error {
        code: Code,
        message: String,
    },
}

/// Codes, what Connect calls them, and their statuses of HTTP: those that a router uses.
const CODES: [(Code, &str, u16); 11] = [
    (Code::Unknown, "unknown", 500),
    (Code::InvalidArgument, "invalid_argument", 400),
    (Code::DeadlineExceeded, "deadline_exceeded", 504),
    (Code::NotFound, "not_found", 404),
    (Code::AlreadyExists, "already_exists", 409),
    (Code::FailedPrecondition, "failed_precondition", 400),
    (Code::Aborted, "aborted", 409),
    (Code::OutOfRange, "out_of_range", 400),
    (Code::Unimplemented, "unimplemented", 501),
    (Code::Unavailable, "unavailable", 503),
    (Code::DataLoss, "data_loss", 500),
];

/// Reads an answer.
///
/// # Errors
/// When it is not of the form that it must have, or an error that does not say what is wrong.
pub(crate) fn read(form: Form, answered: &Answered) -> Result<Said, String> {
    let content_type = answered.headers.get("content-type").ok_or("there is no content type")?;
    if content_type == "text/plain; charset=utf-8" {
        let is_refusal = answered.status.is_client_error() || answered.status == 505;
        let says = answered.body.len() > 10;
        return if is_refusal && says { Ok(Said::Plain) } else { Err("it says nothing".into()) };
    }
    let said = match form {
        Form::Connect => return unary(answered),
        Form::ConnectStream => connect_end(&answered.body, answered.is_whole)?,
        Form::Grpc if answered.trailers.is_empty() => of_status(&answered.headers),
        Form::Grpc => of_status(&answered.trailers),
        Form::GrpcWeb | Form::GrpcWebText if answered.headers.contains_key("grpc-status") => {
            of_status(&answered.headers)
        }
        Form::GrpcWeb => web_end(&answered.body, answered.is_whole)?,
        Form::GrpcWebText => web_end(&pieces(&answered.body)?, answered.is_whole)?,
    };
    if answered.status != 200 {
        return Err("the status of HTTP is not 200".into());
    }
    match said {
        Some(said) => said,
        None if answered.is_whole => Err("it has no end".into()),
        None => Ok(Said::Success),
    }
}

type End = Option<Result<Said, String>>;

fn unary(answered: &Answered) -> Result<Said, String> {
    if answered.status == 200 {
        return Ok(Said::Success);
    }
    let mut body = answered.body.clone();
    if answered.headers.contains_key("content-encoding") {
        body.clear();
        GzDecoder::new(&*answered.body)
            .read_to_end(&mut body)
            .map_err(|error| error.to_string())?;
    }
    let error: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let said = of_json(&error)?;
    let Said::Error { code, .. } = said else { return Err("it is no error".into()) };
    let known = CODES.iter().find(|(known, ..)| *known == code).map_or(500, |(.., status)| *status);
    let is_unknown_path = code == Code::Unimplemented && answered.status == 404;
    if answered.status == known || is_unknown_path {
        Ok(said)
    } else {
        Err("the status of HTTP is that of another code".into())
    }
}

fn of_json(error: &Value) -> Result<Said, String> {
    let name = error["code"].as_str().ok_or("there is no code")?;
    let known = CODES.iter().find(|(_, known, _)| *known == name);
    let code = known.ok_or_else(|| format!("no router says {name}"))?.0;
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    let reason = info.and_then(|info| info["debug"]["reason"].as_str());
    of_error(code, reason, error["message"].as_str().unwrap_or_default())
}

/// An error, if it says what is wrong.
fn of_error(code: Code, reason: Option<&str>, message: &str) -> Result<Said, String> {
    let is_known = CODES.iter().any(|(known, ..)| *known == code);
    // That there is no such method or compression is said by libraries as well.
    let is_told = reason.is_some() || code == Code::Unimplemented;
    if !is_known || !is_told || reason == Some("INTERNAL") {
        return Err(format!("{code:?} with reason {reason:?}"));
    }
    if message.is_empty() && reason.is_some() {
        return Err("there is no message".into());
    }
    Ok(Said::Error { code, message: message.to_owned() })
}

/// What trailers of gRPC say; `None` when there is no status.
fn of_status(trailers: &HeaderMap) -> End {
    let status = Status::from_header_map(trailers)?;
    if status.code() == Code::Ok {
        return Some(Ok(Said::Success));
    }
    let info = status.get_details_error_info();
    let reason = info.as_ref().map(|info| info.reason.as_str());
    Some(of_error(status.code(), reason, status.message()))
}

/// Frames, of which each has flags and a message; what is not whole may be the beginning of one.
fn frames(body: &[u8], is_whole: bool) -> Result<Vec<(u8, &[u8])>, String> {
    let (mut frames, mut rest) = (Vec::new(), body);
    while let Some((header, more)) = rest.split_at_checked(5) {
        let bytes = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let Some((message, more)) = more.split_at_checked(bytes) else { break };
        frames.push((header[0], message));
        rest = more;
    }
    if is_whole && !rest.is_empty() { Err("it ends within a frame".into()) } else { Ok(frames) }
}

fn connect_end(body: &[u8], is_whole: bool) -> Result<End, String> {
    let frames = frames(body, is_whole)?;
    let Some((2, end)) = frames.last() else { return Ok(None) };
    let end: Value = serde_json::from_slice(end).map_err(|error| error.to_string())?;
    Ok(Some(end.get("error").map_or(Ok(Said::Success), of_json)))
}

fn web_end(body: &[u8], is_whole: bool) -> Result<End, String> {
    let frames = frames(body, is_whole)?;
    let Some((0x80, end)) = frames.last() else { return Ok(None) };
    let mut trailers = HeaderMap::new();
    for line in String::from_utf8_lossy(end).split_terminator("\r\n") {
        let (name, value) = line.split_once(':').ok_or("a trailer has no value")?;
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
        trailers.append(name, value);
    }
    Ok(of_status(&trailers))
}

/// Text of gRPC-Web: groups of four, of which each may end in padding.
fn pieces(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    for group in text.chunks_exact(4) {
        STANDARD.decode_vec(group, &mut read).map_err(|error| error.to_string())?;
    }
    Ok(read)
}
