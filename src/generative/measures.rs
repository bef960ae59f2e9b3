//! Measures that several models share: of reconstructed pixels ([`pixels`]), in comparison with a linear model of the
//! same size ([`pca`]), of codes ([`probe`]), of generated images, on features of a
//! classifier ([`judge`]), and of images of other data ([`novelty`]).

pub(crate) mod distance;
pub(crate) mod judge;
pub(crate) mod manifold;
pub(crate) mod memorisation;
pub(crate) mod modes;
pub(crate) mod novelty;
pub(crate) mod pca;
pub(crate) mod pixels;
pub(crate) mod probe;
