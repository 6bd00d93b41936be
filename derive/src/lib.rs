//! Derive macros of Quaxide. Use them through the `quaxide` crate, which exports them beside their traits.

mod attributes;
mod bounds;
mod pytree;

/// Makes a struct or an enum a tree of arrays, by implementing `quaxide::tree::PyTree` for it.
///
/// Every field is a child: an array, or something that is a tree itself. A field that holds no arrays is marked
/// `#[pytree(meta)]`: it is part of the tree's *structure*, as a static field is in Equinox. Transformations do not
/// see it, copies keep it, and a function under `jit` is traced anew when it changes. Its type must be `Clone`, `Debug`, `Eq` and `Hash`
/// (so no `f64`: two programs would differ by a number that no one can see; make it an array, or mark a type that
/// compares its bits).
///
/// ```
/// use quaxide::prelude::*;
///
/// #[derive(Clone, PyTree)]
/// struct Linear {
///     weight: Array,
///     bias: Option<Array>,
///     #[pytree(meta)]
///     out_features: usize,
/// }
///
/// let linear = Linear { weight: Array::ones([3, 2], DType::F32), bias: None, out_features: 3 };
/// let gradient = grad(|l: &Linear, x: &Array| l.weight.matmul(x).sum(()))(&linear, &Array::from([1f32, 2.0]))?;
/// assert_eq!(gradient.weight.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
/// assert_eq!(gradient.out_features, 3);
/// # Ok::<(), Error>(())
/// ```
///
/// # What it expands to
///
/// Nothing happens behind the scenes: two methods that name the fields in their order, and no registry. For the
/// struct above:
///
/// ```text
/// impl ::quaxide::tree::PyTree for Linear {
///     fn flatten(&self, out: &mut ::quaxide::tree::Flat<'_>) {
///         out.node("Linear");
///         out.child("weight", &self.weight);
///         out.child("bias", &self.bias);
///         out.meta("out_features", &self.out_features);
///     }
///
///     fn unflatten(&self, leaves: &mut ::quaxide::tree::Leaves<'_>) -> Self {
///         if let Some(new) = leaves.replacement(self) {
///             return new;
///         }
///         Self {
///             weight: ::quaxide::tree::PyTree::unflatten(&self.weight, leaves),
///             bias: ::quaxide::tree::PyTree::unflatten(&self.bias, leaves),
///             out_features: ::core::clone::Clone::clone(&self.out_features),
///         }
///     }
/// }
/// ```
///
/// `unflatten` rebuilds from a prototype, `self`: it runs no constructor, so a check that a constructor makes is not
/// made again when a transformation puts other leaves into the fields. An enum does the same in a `match`; its
/// node is named `"Activation::Relu"`, so that two variants are two structures. The fields of a tuple are labelled by
/// their index.
///
/// # Generics
///
/// A type parameter is bounded by what the fields that mention it need: `PyTree` for a child, `Meta` and `Clone` for
/// a field marked `meta`, `Clone + Send + Sync + 'static` where it stands only in a `PhantomData` or in no field at
/// all. Bounds and `where` clauses of the type are kept. A type with a lifetime is refused: trees own what they hold.
///
/// # Attributes
///
/// | written on | attribute | meaning |
/// |---|---|---|
/// | a field | `#[pytree(meta)]` | part of the structure, not of the data |
/// | the type | `#[pytree(crate = "path")]` | where the crate `quaxide` is found, if not at `::quaxide` |
#[proc_macro_derive(PyTree, attributes(pytree))]
pub fn derive_pytree(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    pytree::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
