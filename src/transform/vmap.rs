//! `vmap`.

use super::{
    Args, Call, DynTree, FlatArgs, Fun, Function, batch, paths, rebuild, run, stage, view,
};
use crate::{
    array::Aval,
    error::{Error, Result},
    trace::op::BatchAxis,
    tree::{PyTree, View},
};
use std::{fmt, ops::Deref, sync::Arc};

/// The axis of each leaf of an argument, by its path. `None`: the same for every example.
pub type AxisOf = Arc<dyn Fn(&str) -> Option<i32> + Send + Sync>;

/// The axis of one argument to map over: a number (negative ones count from the end), `None`, or [`by_path`] for each of its leaves.
pub trait Axis {
    /// The axis of the leaf at a path.
    fn axis(&self) -> AxisOf;
}
impl Axis for i32 {
    fn axis(&self) -> AxisOf {
        let axis = Some(*self);
        Arc::new(move |_| axis)
    }
}
impl Axis for Option<i32> {
    fn axis(&self) -> AxisOf {
        let axis = *self;
        Arc::new(move |_| axis)
    }
}

/// An axis for each leaf, by the leaf's path in the argument. Components of array-ish values are leaves.
///
/// ```
/// use quaxide::prelude::*;
/// let scale = |(w, b): &(Array, Array), x: &Array| w * x + b;
/// let params = (Array::from([2f32, 3.]), Array::from(1.0));
/// let mapped = vmap(scale).in_axes((by_path(|path| (path == "[0]").then_some(0)), None));
/// let y = mapped(&params, &Array::from([1f32, 10.])).unwrap();
/// assert_eq!(y.shape(), [2, 2]);
/// ```
pub fn by_path<F>(axis: F) -> ByPath<F>
where
    F: Fn(&str) -> Option<i32> + Clone + Send + Sync + 'static,
{
    ByPath(axis)
}

/// What [`by_path`] makes.
#[derive(Clone)]
pub struct ByPath<F>(F);
impl<F: Fn(&str) -> Option<i32> + Clone + Send + Sync + 'static> Axis for ByPath<F> {
    fn axis(&self) -> AxisOf {
        Arc::new(self.0.clone())
    }
}

/// An axis for each argument: `(0, None)`.
#[diagnostic::on_unimplemented(
    message = "`in_axes` takes one axis for each argument: `(0, None, ..)`",
    label = "this does not fit the function's arguments `{A}`"
)]
pub trait Axes<A> {
    /// One entry for each argument.
    fn axes(&self) -> Vec<AxisOf>;
}
macro_rules! axes {
    ($($T:ident $X:ident $i:tt),+) => {
        #[diagnostic::do_not_recommend]
        impl<$($T, $X: Axis),+> Axes<($($T,)+)> for ($($X,)+) {
            fn axes(&self) -> Vec<AxisOf> {
                vec![$(self.$i.axis()),+]
            }
        }
    };
}
axes!(A T 0);
axes!(A T 0, B U 1);
axes!(A T 0, B U 1, C V 2);
axes!(A T 0, B U 1, C V 2, D W 3);
axes!(A T 0, B U 1, C V 2, D W 3, E X 4);
axes!(A T 0, B U 1, C V 2, D W 3, E X 4, F Y 5);

#[derive(Clone)]
struct Options {
    in_axes: Option<Vec<AxisOf>>,
    out_axes: AxisOf,
    axis_name: Option<Arc<str>>,
    axis_size: Option<usize>,
}

/// What [`vmap`] returns: callable, with options.
pub struct Vmap<'f, A: Args, R: 'f> {
    inner: Fun<'f>,
    options: Options,
    call: Call<'f, A, R>,
}

/// A function of one example as a function of many: `vmap(f)(&xs)?` maps axis 0 of every leaf of every argument.
///
/// ```
/// use quaxide::prelude::*;
/// let xs = Array::from([[1f32, 2.], [3., 4.]]);
/// let y = vmap(|a: &Array, b: &Array| a.dot(b)).in_axes((0, None))(&xs, &Array::from([1f32, 1.])).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 7.0]);
/// ```
#[track_caller]
pub fn vmap<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Vmap<'f, A, F::Out> {
    let options = Options {
        in_axes: None,
        out_axes: Some(0).axis(),
        axis_name: None,
        axis_size: None,
    };
    Vmap::new(f.erase(), options)
}

impl<'f, A: Args, R: PyTree> Vmap<'f, A, R> {
    #[track_caller]
    fn new(inner: Fun<'f>, options: Options) -> Self {
        Vmap {
            call: Call::new(vmap_dyn(inner.clone(), options.clone())),
            options,
            inner,
        }
    }

    /// Which axis of each argument to map over; `None`: the argument is the same for every example.
    #[must_use]
    #[track_caller]
    pub fn in_axes(self, axes: impl Axes<A>) -> Self {
        let in_axes = Some(axes.axes());
        Vmap::new(
            self.inner,
            Options {
                in_axes,
                ..self.options
            },
        )
    }

    /// Where the results' new axis is to stand; `None` for a result that is the same for every example.
    #[must_use]
    #[track_caller]
    pub fn out_axes(self, axis: impl Axis) -> Self {
        let out_axes = axis.axis();
        Vmap::new(
            self.inner,
            Options {
                out_axes,
                ..self.options
            },
        )
    }

    /// A name by which `psum` and other collectives mean the axis.
    #[must_use]
    #[track_caller]
    pub fn axis_name(self, name: &str) -> Self {
        let axis_name = Some(name.into());
        Vmap::new(
            self.inner,
            Options {
                axis_name,
                ..self.options
            },
        )
    }

    /// The number of examples, where no argument tells it.
    #[must_use]
    #[track_caller]
    pub fn axis_size(self, n: usize) -> Self {
        Vmap::new(
            self.inner,
            Options {
                axis_size: Some(n),
                ..self.options
            },
        )
    }
}
impl<'f, A: Args, R: 'f> Clone for Vmap<'f, A, R> {
    fn clone(&self) -> Self {
        Vmap {
            inner: self.inner.clone(),
            options: self.options.clone(),
            call: self.call.clone(),
        }
    }
}
impl<'f, A: Args, R: 'f> fmt::Debug for Vmap<'f, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vmap({:?})", self.call)
    }
}
impl<'f, A: Args, R: 'f> Deref for Vmap<'f, A, R> {
    type Target = A::Dyn<'f, R>;
    fn deref(&self) -> &Self::Target {
        &self.call
    }
}
#[diagnostic::do_not_recommend]
impl<'c, A: Args, R: PyTree> Function<A> for Vmap<'c, A, R> {
    type Out = R;
    fn erase<'f>(self) -> Fun<'f>
    where
        Self: Send + Sync + 'f,
    {
        self.call.fun
    }
}

/// The axis of every leaf, checked against its rank, and the number of examples.
fn resolve(
    args: &[&dyn DynTree],
    flat: &FlatArgs,
    options: &Options,
    view: View,
) -> Result<(Vec<Option<usize>>, Vec<Aval>, usize)> {
    let default = Some(0).axis();
    let mut dims = vec![];
    let mut inner = vec![];
    let mut size: Option<(usize, String)> = options.axis_size.map(|n| (n, "axis_size".into()));
    let mut leaves = flat.leaves.iter();
    for (i, of) in paths(args, view).into_iter().enumerate() {
        let axis = match &options.in_axes {
            None => &default,
            Some(all) => all.get(i).unwrap_or(&default),
        };
        for path in of {
            let Some(x) = leaves.next() else { continue };
            let mut a = x.aval()?;
            let place = || format!("argument {i}{path}");
            let dim = match axis(&path) {
                None => None,
                Some(d) => Some(
                    crate::array::normalise_axis(i128::from(d), a.ndim()).map_err(|_| {
                        Error::index(format!("vmap: {} is {a}, which has no axis {d}", place()))
                            .note("`.in_axes` says which axis of each argument is mapped; `None` for none")
                    })?,
                ),
            };
            if let Some(d) = dim {
                let n = a.shape.remove(d);
                match &size {
                    Some((m, first)) if *m != n => {
                        return Err(Error::shape(format!(
                            "vmap: the mapped axes have different sizes: {m} ({first}) and {n} ({})",
                            place()
                        )));
                    }
                    Some(_) => {}
                    None => size = Some((n, place())),
                }
            }
            dims.push(dim);
            inner.push(a);
        }
    }
    let (size, _) = size.ok_or_else(|| {
        Error::argument("vmap: no argument has an axis to map over")
            .note("give `.in_axes(..)` with at least one axis, or `.axis_size(n)`")
    })?;
    Ok((dims, inner, size))
}

fn vmap_dyn(f: Fun<'_>, options: Options) -> Fun<'_> {
    Arc::new(move |args| {
        let view = view();
        let flat = FlatArgs::new(args, view);
        let (dims, avals, size) = resolve(args, &flat, &options, view)?;
        let axis = BatchAxis {
            size,
            name: options.axis_name.clone(),
        };
        let (program, like) = batch::within(&axis, || stage(&f, args, &avals, None, view))?;
        let mut wanted = vec![];
        let outs = program.out_avals();
        for (path, a) in paths(&[&*like], view).into_iter().flatten().zip(&outs) {
            wanted.push(match (options.out_axes)(&path) {
                None => None,
                Some(d) => Some(
                    crate::array::normalise_axis(i128::from(d), a.ndim() + 1).map_err(|e| {
                        e.note(format!("in `out_axes`, for the result at `{path}`"))
                    })?,
                ),
            });
        }
        let (batched, at) = batch::batch(&program, &dims, &axis, Some(&wanted))?;
        if let Some(i) = at
            .iter()
            .zip(&wanted)
            .position(|(a, w)| a.is_some() && w.is_none())
        {
            return Err(Error::argument(format!(
                "vmap: result {i} differs between examples, but `out_axes` says `None`"
            )));
        }
        Ok(rebuild(&*like, view, run(batched, &flat.leaves)?))
    })
}
