//! The load generator: kinds of calls, and loops that repeat them.

pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod closed_loop;
pub(crate) mod connect;
pub(crate) mod open_loop;
pub(crate) mod put;
pub(crate) mod refusal;
pub(crate) mod requests;
pub(crate) mod resp;
pub(crate) mod script;
pub(crate) mod tally;
pub(crate) mod unary;
pub(crate) mod web;
