//! Fits of generative models: the moving parts of one ([`session`]), its loop ([`run_loop`]), where the classifier
//! comes from that judges samples ([`judges`]), and how a fit begins or is opened ([`open`](mod@open)).

pub(crate) mod judges;
pub(crate) mod open;
pub(crate) mod run_loop;
pub(crate) mod session;
