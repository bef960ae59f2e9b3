//! Fits of generative models: their state ([`session`]), their loop ([`run_loop`]), the classifiers that judge samples
//! ([`judges`]), and opening them from run directories ([`open`](mod@open)).

pub(crate) mod judges;
pub(crate) mod open;
pub(crate) mod revision;
pub(crate) mod run_loop;
pub(crate) mod session;
