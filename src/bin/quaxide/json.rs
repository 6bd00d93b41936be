//! Programs and arrays as JSON, for scripts.

use crate::output::quoted;
use quaxide::{
    Array, DType, Jaxpr, Result,
    array::{Aval, Scalar},
    op::Param,
    trace::{Atom, Var},
};

fn list(items: impl IntoIterator<Item = String>) -> String {
    let all: Vec<String> = items.into_iter().collect();
    format!("[{}]", all.join(","))
}

fn kind(a: &Aval) -> String {
    format!(
        "\"dtype\":\"{}\",\"shape\":{}",
        a.dtype.name(),
        list(a.shape.iter().map(usize::to_string))
    )
}

/// A number; what JSON has no number for is a text, and a complex number is two.
fn number(x: Scalar) -> String {
    match x {
        Scalar::Float(x) if !x.is_finite() => quoted(&x.to_string()),
        Scalar::Complex(z) => list([Scalar::Float(z.re), Scalar::Float(z.im)].map(number)),
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(x) => format!("{x:?}"),
    }
}

fn variable(j: &Jaxpr, v: Var) -> String {
    format!("{{\"name\":\"v{}\",{}}}", v.index(), kind(j.aval(v)))
}

fn atom(j: &Jaxpr, a: &Atom) -> String {
    match a {
        Atom::Var(v) => format!("{{\"name\":\"v{}\"}}", v.index()),
        Atom::Lit(l) => format!(
            "{{\"value\":{},{}}}",
            number(l.value()),
            kind(j.atom_aval(a))
        ),
    }
}

/// A program: what it captured, what it takes, its equations, and what it gives.
pub(crate) fn program(j: &Jaxpr) -> String {
    let parameter = |(key, value): (&'static str, Param)| {
        let value = match value {
            Param::Text(t) => quoted(&t),
            Param::Program(p) => program(&p),
            Param::Programs(all) => list(all.iter().map(|p| program(p))),
        };
        format!("{}:{value}", quoted(key))
    };
    let equation = |e: &quaxide::trace::Eqn| {
        let params: Vec<String> = e.op.params().into_iter().map(parameter).collect();
        format!(
            "{{\"primitive\":{},\"params\":{{{}}},\"inputs\":{},\"outputs\":{}}}",
            quoted(e.op.name()),
            params.join(","),
            list(e.inputs.iter().map(|a| atom(j, a))),
            list(e.outputs.iter().map(|v| variable(j, *v)))
        )
    };
    format!(
        "{{\"constants\":{},\"inputs\":{},\"equations\":{},\"results\":{}}}",
        list(j.consts().iter().map(|(v, _)| variable(j, *v))),
        list(j.invars().iter().map(|v| variable(j, *v))),
        list(j.eqns().iter().map(equation)),
        list(j.outs().iter().map(|a| atom(j, a)))
    )
}

/// An array under its name, its elements in row-major order.
pub(crate) fn array(name: &str, x: &Array) -> Result<String> {
    Ok(format!(
        "{{\"name\":{},{},\"elements\":{}}}",
        quoted(name),
        kind(&x.aval()?),
        list(elements(x)?)
    ))
}

fn elements(x: &Array) -> Result<Vec<String>> {
    let float = |text: String, finite: bool| if finite { text } else { quoted(&text) };
    let dtype = x.dtype()?;
    Ok(match dtype {
        DType::Bool => x.to_vec::<bool>()?.iter().map(bool::to_string).collect(),
        d if d.is_unsigned() => {
            let all = x.astype(DType::U64).to_vec::<u64>()?;
            all.iter().map(u64::to_string).collect()
        }
        d if d.is_integer() => {
            let all = x.astype(DType::I64).to_vec::<i64>()?;
            all.iter().map(i64::to_string).collect()
        }
        d if d.is_complex() => {
            let parts = elements(&x.real())?.into_iter().zip(elements(&x.imag())?);
            parts.map(|(a, b)| list([a, b])).collect()
        }
        DType::F64 => {
            let all = x.to_vec::<f64>()?;
            all.iter()
                .map(|x| float(format!("{x:?}"), x.is_finite()))
                .collect()
        }
        _ => {
            let all = x.astype(DType::F32).to_vec::<f32>()?;
            all.iter()
                .map(|x| float(format!("{x:?}"), x.is_finite()))
                .collect()
        }
    })
}
