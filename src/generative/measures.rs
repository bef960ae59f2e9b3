//! How good a model is, by measures that several models share: of pixels ([`pixels`]), against the linear model of the same
//! size ([`pca`]), and of its code ([`probe`]).

pub mod pca;
pub mod pixels;
pub mod probe;
