//! Calls about coupons that are held while a customer pays.

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;

use crate::call_error::CallError;
use crate::call_state::CallState;
use crate::client::{Client, fill_in};

impl Client {
    /// Holds a coupon. An empty request id, which is also the id of the hold, is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn hold_coupon(
        &self,
        mut request: v1::HoldCouponRequest,
    ) -> Result<v1::HoldCouponResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).hold_coupon(request).await
        })
        .await
    }

    /// Turns a hold into a coupon. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn confirm_hold(
        &self,
        mut request: v1::ConfirmHoldRequest,
    ) -> Result<v1::ConfirmHoldResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).confirm_hold(request).await
        })
        .await
    }

    /// Gives up a hold. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn release_hold(
        &self,
        mut request: v1::ReleaseHoldRequest,
    ) -> Result<v1::ReleaseHoldResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).release_hold(request).await
        })
        .await
    }
}
