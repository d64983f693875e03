//! What a load consists of.

/// A caller that repeats one kind of call. Each worker of a load has its own.
pub(crate) trait Call: Send + 'static {
    /// Makes one call and returns how many coupons, or other units of work, it brought.
    ///
    /// # Errors
    /// What was answered instead of what the measurement expects.
    fn call(&mut self) -> impl Future<Output = Result<u64, String>> + Send;
}

/// A gRPC status in a few words, the same for equal faults, so that faults can be counted.
pub(crate) fn fault(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
