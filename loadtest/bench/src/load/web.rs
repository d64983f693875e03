//! IssueCoupon in the protocols of scripts and browsers, over connections as those of gRPC.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use coupon_proto::v1;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use prost::Message as _;
use serde::Deserialize;
use serde_json::json;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};

use crate::cell::Load;
use crate::load::audit::Audit;
use crate::load::call::Call;
use crate::load::requests::Requests;

const PATH: &str = "/coupon.v1.CouponService/IssueCoupon";

/// Size of the head of a frame, in bytes.
const FRAME_HEAD_BYTES: usize = 5;

/// Issues one coupon per call.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    channel: Channel,
    is_json: bool,
    requests: Requests,
    audit: Arc<Mutex<Audit>>,
}

/// What is read of an answer in JSON.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    coupon: Coupon<'a>,
}

#[derive(Deserialize)]
struct Coupon<'a> {
    sequence: &'a str,
}

impl Web {
    /// One caller for each of the calls in flight, spread over the connections: in JSON of Connect, or in gRPC-Web.
    pub(crate) fn callers(
        channels: &[Channel],
        load: Load,
        in_flight: usize,
        requests: &Requests,
        audit: &Arc<Mutex<Audit>>,
    ) -> Vec<Self> {
        let one = |channel: &Channel| Self {
            channel: channel.clone(),
            is_json: load == Load::ConnectJson,
            requests: requests.clone(),
            audit: Arc::clone(audit),
        };
        channels.iter().cycle().take(in_flight).map(one).collect()
    }

    fn request(&self) -> Request<Body> {
        let message = self.requests.next();
        let (content_type, body) = if self.is_json {
            let json = json!({
                "campaignId": message.campaign_id,
                "recipient": message.recipient,
                "requestId": message.request_id,
            });
            ("application/json", Bytes::from(json.to_string()))
        } else {
            ("application/grpc-web+proto", frame(&message))
        };
        let request = Request::post(PATH).header(CONTENT_TYPE, content_type);
        request.body(Body::new(Full::new(body))).expect("path and header are valid")
    }
}

impl Call for Web {
    async fn call(&mut self) -> Result<u64, String> {
        let request = self.request();
        let channel = self.channel.ready().await.map_err(|error| error.to_string())?;
        let answer = channel.call(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let body = body.to_bytes();
        let sequence = if self.is_json { of_json(&body) } else { of_frames(&body) };
        let sequence =
            sequence.ok_or_else(|| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
        self.audit.lock().note(sequence);
        Ok(1)
    }
}

fn frame(message: &v1::IssueCouponRequest) -> Bytes {
    let bytes = message.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + bytes);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes).expect("a request has some hundreds of bytes"));
    message.encode(&mut frame).expect("there is room");
    frame.freeze()
}

/// The sequence number in an answer; `None` when it is no coupon.
fn of_json(body: &[u8]) -> Option<i64> {
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    answer.coupon.sequence.parse().ok()
}

/// The same of frames: the message, and then the trailers.
fn of_frames(body: &[u8]) -> Option<i64> {
    let (head, rest) = body.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let [0, a, b, c, d] = *head else { return None };
    let bytes = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let (message, trailers) = rest.split_at_checked(bytes)?;
    let status = trailers.get(FRAME_HEAD_BYTES..)?;
    let is_ok = status.windows(14).any(|text| text == b"grpc-status: 0")
        || status.windows(13).any(|text| text == b"grpc-status:0");
    let coupon = v1::IssueCouponResponse::decode(message).ok()?.coupon?;
    is_ok.then_some(coupon.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::requests::usual_answer;

    #[test]
    fn answers_are_read_only_when_they_are_whole() {
        let message = usual_answer().encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let trailers = b"\x80\0\0\0\x10grpc-status: 0\r\n";
        let body = [&[0][..], &length, &message, trailers].concat();
        assert_eq!(of_frames(&body), Some(100_000));
        assert_eq!(of_frames(&body[..body.len() - trailers.len()]), None);
        assert_eq!(of_frames(b"\x80\0\0\0\x10grpc-status: 9\r\n"), None);
        assert_eq!(of_json(br#"{"coupon":{"code":"x","sequence":"7"}}"#), Some(7));
        assert_eq!(of_json(br#"{"code":"unavailable"}"#), None);
    }
}
