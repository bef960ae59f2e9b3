//! Fits of generative models: the moving parts of one ([`session`]), its loop ([`run_loop`]), where the classifier
//! comes from that judges samples ([`judges`]), and how a fit begins or is opened ([`open`](mod@open)).

pub mod judges;
pub mod open;
pub mod run_loop;
pub mod session;
