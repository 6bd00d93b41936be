//! Array-ish values, as an [`Array`](super::Array) holds them: without their type.

use super::{Array, Aval};
use crate::{
    error::Result,
    tree::{Flat, Leaves},
};
use std::{any::Any, sync::Arc};

/// The side of an array-ish value that needs no type. Implemented for every `dispatch::ArrayValue`, and only there.
pub(crate) trait DynValue: Send + Sync {
    /// The name of the type, without its path.
    fn type_name(&self) -> &'static str;
    /// The type as messages and `traced` programs write it: `LoraArray(f32[12,10])`.
    fn describe(&self) -> String;
    /// Shape and element type of the array that the value equals.
    fn aval_dyn(&self) -> Result<Aval>;
    /// The array that the value equals, from its components as they are.
    fn materialise_dyn(&self) -> Result<Array>;
    /// May a plan hold the array that the value equals?
    fn may_materialise_dyn(&self) -> bool;
    /// Is its tangent a value of its kind, of the components' tangents?
    fn is_own_tangent_dyn(&self) -> bool;
    /// A value of the kind of its cotangent.
    fn cotangent_dyn(&self) -> Arc<dyn DynValue>;
    /// The cotangent of a plain array that the value is.
    fn as_cotangent_dyn(&self) -> Result<Array>;
    /// What the value is the sum of, if it says so.
    fn terms_dyn(&self) -> Option<Vec<Array>>;
    /// Visit the components.
    fn flatten_dyn(&self, out: &mut Flat<'_>);
    /// The value with other components.
    fn unflatten_dyn(&self, leaves: &mut Leaves<'_>) -> Arc<dyn DynValue>;
    /// For looking its type up.
    fn as_any(&self) -> &dyn Any;
    /// What dispatch keeps of the type: its rules and its default.
    fn table_dyn(&self) -> Arc<dyn Any + Send + Sync>;
}
