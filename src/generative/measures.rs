//! Measures of models that several models share: of pixels ([`pixels`]), against the linear model of the same
//! size ([`pca`]), of its code ([`probe`]), and of the images it generates, on features of a classifier ([`judge`]).

pub(crate) mod distance;
pub(crate) mod judge;
pub(crate) mod manifold;
pub(crate) mod modes;
pub(crate) mod pca;
pub(crate) mod pixels;
pub(crate) mod probe;
