//! `custom_linear_solve`: the solution of a linear system that is given by what multiplies and by what solves.

use super::zero;
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{
        Program, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive,
            Pruned, Split, Tangent, batch_to_front, check_call, not_linear,
        },
    },
    transform::{batch, jvp::eval_jvp},
};

/// `custom_linear_solve`
pub const CUSTOM_LINEAR_SOLVE: Prim<CustomLinearSolve> = Prim::new("custom_linear_solve");

/// A program, and how many of the operands are arrays that it captured.
#[derive(Clone, PartialEq, Debug)]
pub struct Captured {
    /// From what it captured and a vector to a vector of the same type.
    pub jaxpr: Program,
    /// How many arrays it captured.
    pub num_consts: usize,
}

/// The `x` with `matvec(x) = b`, as `solve` finds it; its derivative is that of the solution, however it is found. The operands are
/// what `matvec`, `vecmat`, `solve` and `transpose_solve` captured, in this order, and then `b`, of any number of arrays.
#[derive(Clone, PartialEq, Debug)]
pub struct CustomLinearSolve {
    /// The system's linear map.
    pub matvec: Captured,
    /// Its transpose, if there is a way to solve with that.
    pub vecmat: Option<Captured>,
    /// From `b` to the solution.
    pub solve: Captured,
    /// From `b` to the solution of the transposed system.
    pub transpose_solve: Option<Captured>,
}

/// The operands of a [`CustomLinearSolve`] by what they are for.
pub(crate) struct SolveOperands<'a, T> {
    pub(crate) matvec: &'a [T],
    pub(crate) vecmat: &'a [T],
    pub(crate) solve: &'a [T],
    pub(crate) transpose_solve: &'a [T],
    pub(crate) b: &'a [T],
}

impl CustomLinearSolve {
    fn lengths(&self) -> [usize; 4] {
        let length = |p: &Option<Captured>| p.as_ref().map_or(0, |p| p.num_consts);
        [
            self.matvec.num_consts,
            length(&self.vecmat),
            self.solve.num_consts,
            length(&self.transpose_solve),
        ]
    }

    /// The operands by what they are for.
    pub(crate) fn split<'a, T>(&self, x: &'a [T]) -> SolveOperands<'a, T> {
        let mut rest = x;
        let mut next = |n: usize| {
            let (part, others) = rest.split_at(n.min(rest.len()));
            rest = others;
            part
        };
        let [matvec, vecmat, solve, transpose_solve] = self.lengths().map(&mut next);
        SolveOperands {
            matvec,
            vecmat,
            solve,
            transpose_solve,
            b: next(usize::MAX),
        }
    }

    /// The operands of `solve`.
    pub(crate) fn solve_operands<T: Clone>(&self, x: &[T]) -> Vec<T> {
        let parts = self.split(x);
        [parts.solve, parts.b].concat()
    }

    /// The transposed system.
    fn transposed(&self) -> Result<CustomLinearSolve> {
        match (&self.vecmat, &self.transpose_solve) {
            (Some(vecmat), Some(transpose_solve)) => Ok(CustomLinearSolve {
                matvec: vecmat.clone(),
                vecmat: Some(self.matvec.clone()),
                solve: transpose_solve.clone(),
                transpose_solve: Some(self.solve.clone()),
            }),
            _ => Err(Error::unsupported(
                "`custom_linear_solve` cannot be differentiated in reverse without a way to solve the transposed system",
            )
            .note("give it `TransposeSolve::By`, or `Symmetric` if the map is its own transpose")),
        }
    }

    fn programs(&self) -> [Option<&Captured>; 4] {
        [
            Some(&self.matvec),
            self.vecmat.as_ref(),
            Some(&self.solve),
            self.transpose_solve.as_ref(),
        ]
    }

    /// The same with each program changed.
    fn each(
        &self,
        mut f: impl FnMut(usize, &Captured) -> Result<Program>,
    ) -> Result<CustomLinearSolve> {
        let mut change = |i: usize, p: &Captured| -> Result<Captured> {
            Ok(Captured {
                jaxpr: f(i, p)?,
                num_consts: p.num_consts,
            })
        };
        Ok(CustomLinearSolve {
            matvec: change(0, &self.matvec)?,
            vecmat: self.vecmat.as_ref().map(|p| change(1, p)).transpose()?,
            solve: change(2, &self.solve)?,
            transpose_solve: self
                .transpose_solve
                .as_ref()
                .map(|p| change(3, p))
                .transpose()?,
        })
    }
}

const FIELDS: [&str; 4] = ["matvec", "vecmat", "solve", "transpose_solve"];

impl Primitive for CustomLinearSolve {
    fn name(&self) -> &'static str {
        CUSTOM_LINEAR_SOLVE.name
    }

    fn params(&self) -> Params {
        let tuple = |items: Vec<String>| {
            let named = FIELDS.iter().zip(items);
            let all: Vec<String> = named.map(|(name, x)| format!("{name}={x}")).collect();
            Param::text(format!("_LinearSolveTuple({})", all.join(", ")))
        };
        let lengths = self.lengths().iter().map(usize::to_string).collect();
        let text = |p: &Option<&Captured>| p.map_or("None".into(), |p| p.jaxpr.to_string());
        let programs = self.programs().iter().map(text).collect();
        vec![
            ("const_lengths", tuple(lengths)),
            ("jaxprs", tuple(programs)),
        ]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let parts = self.split(x);
        let consts = [
            parts.matvec,
            parts.vecmat,
            parts.solve,
            parts.transpose_solve,
        ];
        for (p, consts) in self.programs().into_iter().zip(consts) {
            let Some(p) = p else { continue };
            check_call(self.name(), &p.jaxpr, &[consts, parts.b].concat())?;
            let outs = p.jaxpr.out_avals();
            let fits = outs.len() == parts.b.len()
                && outs.iter().zip(parts.b).all(|(y, b)| y.same_type(b));
            if !fits {
                return Err(Error::shape(format!(
                    "`custom_linear_solve` maps vectors of type {} to vectors of another type",
                    parts
                        .b
                        .iter()
                        .map(|b| b.to_string())
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
        }
        Ok(parts.b.iter().map(|b| b.strong()).collect())
    }

    /// From `A x = b`: `A x' = b' − A' x`.
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let solution = bind_all(self.clone(), x)?;
        let (parts, tangents) = (self.split(x), self.split(t));
        let mut rhs = tangents.b.to_vec();
        if tangents.matvec.iter().any(Option::is_some) {
            let args = [parts.matvec, &solution].concat();
            let mut along = tangents.matvec.to_vec();
            along.resize(args.len(), None);
            let (_, moved) = eval_jvp(&self.matvec.jaxpr, args, along)?;
            for (rhs, moved) in rhs.iter_mut().zip(moved) {
                if let Some(moved) = moved {
                    *rhs = Some(match rhs.take() {
                        Some(db) => db - moved,
                        None => -moved,
                    });
                }
            }
        }
        if rhs.iter().all(Option::is_none) {
            let none = vec![None; solution.len()];
            return Ok((solution, none));
        }
        let consts = x.len() - parts.b.len();
        let mut args = x.get(..consts).unwrap_or_default().to_vec();
        for (rhs, b) in rhs.into_iter().zip(parts.b) {
            args.push(match rhs {
                Some(rhs) => rhs,
                None => zero(&b.aval()?),
            });
        }
        let tangents = bind_all(self.clone(), &args)?;
        Ok((solution, tangents.into_iter().map(Some).collect()))
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let back = self.transposed()?;
        let parts = self.split(x);
        let mut args = vec![];
        for part in [
            parts.vecmat,
            parts.matvec,
            parts.transpose_solve,
            parts.solve,
        ] {
            for a in part {
                match a {
                    Arg::Known(x) => args.push(x.clone()),
                    Arg::Linear(_) => return Err(not_linear(self.name())),
                }
            }
        }
        let mut all = vec![None; x.len() - parts.b.len()];
        if ct.iter().all(Option::is_none) {
            all.resize(x.len(), None);
            return Ok(all);
        }
        for (ct, b) in ct.iter().zip(parts.b) {
            args.push(match ct {
                Some(ct) => ct.clone(),
                None => zero(&b.aval()?),
            });
        }
        let given = bind_all(back, &args)?.into_iter().zip(parts.b);
        all.extend(given.map(|(ct, b)| b.is_linear().then_some(ct)));
        Ok(all)
    }

    /// Every vector is batched; what the programs captured is as it is.
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (parts, dims) = (self.split(x), self.split(d));
        let consts = [dims.matvec, dims.vecmat, dims.solve, dims.transpose_solve];
        let vectors = vec![Some(0); parts.b.len()];
        let op = self.each(|i, p| {
            let own = consts.get(i).copied().unwrap_or_default();
            let dims = [own, &vectors].concat();
            Ok(batch::batch(&p.jaxpr, &dims, axis, Some(&vectors))?
                .0
                .into())
        })?;
        let mut args = x
            .get(..x.len() - parts.b.len())
            .unwrap_or_default()
            .to_vec();
        let each = parts.b.iter().zip(dims.b);
        args.extend(each.map(|(b, d)| batch_to_front(b, *d, axis.size)));
        Ok((bind_all(op, &args)?, vectors))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for CustomLinearSolve {
    fn programs(&self) -> Vec<&Program> {
        self.programs()
            .into_iter()
            .flatten()
            .map(|p| &p.jaxpr)
            .collect()
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        let mut programs = programs.into_iter();
        let op = self.each(|_, _| {
            programs
                .next()
                .ok_or_else(|| Error::internal("`custom_linear_solve` lacks a program"))
        })?;
        Ok(op.into())
    }

    fn partial_eval(&self, _: &[bool], operands: &[&Aval]) -> Result<Split> {
        Split::nothing_known(self.clone().into(), operands)
    }

    fn prune(&self, _: &[bool]) -> Option<Pruned> {
        None
    }
}
