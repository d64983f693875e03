//! `CodeNumber`.

use coupon_cluster::{KeyId, TenantId};
use coupon_ledger::CodeNumber;
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::code::scheme_from_pb;
use coupon_wire::ids::shard_id;

/// What a code stands for, from a command or a question.
///
/// # Errors
///
/// When it is missing, or a part of it is malformed.
pub fn from_pb(code: Option<&pb::CodeNumber>) -> Result<CodeNumber, Malformed> {
    let code = code.ok_or(Malformed("code number"))?;
    Ok(CodeNumber {
        tenant: TenantId::parse(&code.tenant).map_err(|_| Malformed("tenant"))?,
        shard: shard_id(code.shard_id)?,
        key: KeyId(code.key_id),
        counter: code.counter,
        scheme: scheme_from_pb(code.code_scheme.as_ref())?,
    })
}
