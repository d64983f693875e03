//! Calls about coupons that were issued.

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;

use crate::call_error::CallError;
use crate::call_state::CallState;
use crate::client::{Client, fill_in};

impl Client {
    /// Redeems a coupon. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn redeem_coupon(
        &self,
        mut request: v1::RedeemCouponRequest,
    ) -> Result<v1::RedeemCouponResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).redeem_coupon(request).await
        })
        .await
    }

    /// Reverses the redemption of a coupon. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reverse_redemption(
        &self,
        mut request: v1::ReverseRedemptionRequest,
    ) -> Result<v1::ReverseRedemptionResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).reverse_redemption(request).await
        })
        .await
    }

    /// Voids a coupon. An empty request id is replaced by a new one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn void_coupon(
        &self,
        mut request: v1::VoidCouponRequest,
    ) -> Result<v1::VoidCouponResponse, CallError> {
        let state = CallState::new(Some(fill_in(&mut request.request_id)));
        self.call(state, request, |channel, request| async move {
            CouponServiceClient::new(channel).void_coupon(request).await
        })
        .await
    }

    /// Says whether a coupon can be redeemed now.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn validate_coupon(
        &self,
        request: v1::ValidateCouponRequest,
    ) -> Result<v1::ValidateCouponResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CouponServiceClient::new(channel).validate_coupon(request).await
        })
        .await
    }

    /// Reads one coupon of a campaign.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_coupon(
        &self,
        request: v1::GetCouponRequest,
    ) -> Result<v1::GetCouponResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CouponServiceClient::new(channel).get_coupon(request).await
        })
        .await
    }

    /// Reads what is public about the coupon of a code.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lookup_coupon(
        &self,
        request: v1::LookupCouponRequest,
    ) -> Result<v1::LookupCouponResponse, CallError> {
        self.call(CallState::new(None), request, |channel, request| async move {
            CouponServiceClient::new(channel).lookup_coupon(request).await
        })
        .await
    }
}
