//! The extension module `carom_envs._core`: environments of `carom-envs`, stepped together, with numpy's arrays.
//!
//! The package's Python part builds Gymnasium's classes on it. `carom_envs/_core.pyi` documents it for Python.

mod arrays;
mod failures;
mod games;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use super::PyResult;
    use super::failures::value_error;
    #[pymodule_export]
    use super::games::Games;
    use carom_envs::{registry, serde_json};
    use pyo3::pyfunction;

    /// Returns id, description and settings of every environment. The settings are a list in JSON.
    #[pyfunction]
    fn environments() -> PyResult<Vec<(&'static str, &'static str, String)>> {
        let describe = |entry: carom_envs::EnvEntry| {
            let settings = serde_json::to_string(&(entry.schema.list)()).map_err(value_error)?;
            Ok((entry.id, entry.summary, settings))
        };
        registry::all().into_iter().map(describe).collect()
    }
}
