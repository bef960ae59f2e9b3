//! Measures of models that several models share: of pixels ([`pixels`]), against the linear model of the same
//! size ([`pca`]), of its code ([`probe`]), and of the images it generates, on features of a classifier ([`judge`]).

pub mod distance;
pub mod judge;
pub mod manifold;
pub mod modes;
pub mod pca;
pub mod pixels;
pub mod probe;
