//! Which deliberate fault is on: only in programs built with the feature `mutants`.

use coupon_node::mutants::{self, Mutant};

use crate::failure::UsageError;

/// Names the fault; none is on without it.
const VARIABLE: &str = "COUPON_MUTANT";

/// Turns the fault on that the environment names, and says so.
///
/// # Errors
/// [`UsageError`] when no mutant has that name.
pub(crate) fn activate() -> anyhow::Result<()> {
    let Some(name) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let Some(mutant) = Mutant::ALL.into_iter().find(|mutant| *mutant.name() == *name) else {
        let names = Mutant::ALL.map(Mutant::name).join(", ");
        let why = format!("{VARIABLE}={}: the mutants are {names}", name.display());
        return Err(UsageError(why).into());
    };
    mutants::activate(mutant);
    eprintln!("MUTANT {}: this process breaks a promise on purpose", mutant.name());
    Ok(())
}
