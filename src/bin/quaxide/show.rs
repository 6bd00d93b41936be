//! `quaxide show` and `quaxide grad`: programs as text and as drawings.

use crate::{
    inputs::{self, Lora},
    json,
    output::Output,
    program::{Program, load},
};
use quaxide::{
    Array, Error, Jaxpr, Result, grad, make_jaxpr, quaxify,
    rules::algebra,
    trace::{Atom, Var},
};
use std::{collections::HashMap, path::Path};

/// How far a program has come on its way.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    Traced,
    Dispatched,
    Rewritten,
    /// The e-graphs of its islands.
    EGraph,
}

/// How a program is written.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Jaxpr,
    Dot,
    Html,
    Json,
}

/// Show a program; with `lora`, as it is on low-rank updates of its inputs.
pub(crate) fn show(
    file: &Path,
    stage: Stage,
    format: Format,
    lora: Option<&Lora<'_>>,
    out: &mut Output,
) -> Result<()> {
    let program = load(file)?;
    if stage == Stage::EGraph {
        let dispatched = staged(&program, Stage::Dispatched, lora)?;
        return egraphs(&dispatched, format, out);
    }
    let jaxpr = match (stage, lora) {
        (Stage::Traced, None) => program.jaxpr,
        _ => staged(&program, stage, lora)?,
    };
    write(&jaxpr, format, out)
}

fn staged(program: &Program, stage: Stage, lora: Option<&Lora<'_>>) -> Result<Jaxpr> {
    let mut x = zeros(&program.jaxpr)?;
    if let Some(lora) = lora {
        inputs::adapt(program, &mut x, lora)?;
    }
    let jaxpr = &program.jaxpr;
    let stages = quaxify(move |x: &Vec<Array>| jaxpr.eval(x)).stages((&x,))?;
    Ok(match stage {
        Stage::Traced => stages.traced,
        Stage::Dispatched => stages.dispatched,
        Stage::Rewritten | Stage::EGraph => stages.rewritten,
    })
}

/// All that was found to be equal: a page of all islands, or one after the other.
fn egraphs(program: &Jaxpr, format: Format, out: &mut Output) -> Result<()> {
    let graphs = algebra::egraphs(program)?;
    match format {
        Format::Html => return out.line(algebra::page(&graphs).trim_end()),
        Format::Json => {
            let all: Vec<String> = graphs.iter().map(algebra::EGraph::json).collect();
            return out.line(&format!("[{}]", all.join(",\n")));
        }
        Format::Jaxpr | Format::Dot => {}
    }
    if graphs.is_empty() {
        let nothing = "no island of linear algebra is worth a search";
        return match format {
            Format::Dot => out.line(&format!("digraph egraph {{ label=\"{nothing}\" }}")),
            _ => out.line(nothing),
        };
    }
    for graph in graphs {
        match format {
            Format::Dot => out.line(graph.dot().trim_end())?,
            _ => out.line(&graph.to_string())?,
        }
    }
    Ok(())
}

/// Arrays of the types of the inputs: to stage a program, their numbers do not matter.
fn zeros(j: &Jaxpr) -> Result<Vec<Array>> {
    j.in_avals()
        .map(|a| {
            let x = Array::zeros(&a.shape, a.dtype);
            x.ok()?;
            Ok(x)
        })
        .collect()
}

/// Print the derivative of a program's only result, a real number, in its real inputs.
pub(crate) fn gradient(file: &Path, sum: bool, format: Format, out: &mut Output) -> Result<()> {
    let Program { jaxpr, .. } = load(file)?;
    let outs = jaxpr.out_avals();
    let scalar = matches!(&outs[..], [y] if y.ndim() == 0 && y.dtype.is_float());
    if !scalar && !sum {
        let types: Vec<String> = outs.iter().map(ToString::to_string).collect();
        return Err(Error::argument(format!(
            "the program gives {}, and only of one real number there is a gradient",
            types.join(", ")
        ))
        .note("--sum differentiates the sum of all results that are real numbers"));
    }
    let real: Vec<bool> = jaxpr.in_avals().map(|a| a.dtype.is_float()).collect();
    if !real.contains(&true) {
        return Err(Error::argument("the program has no input of real numbers"));
    }
    let pick = |wanted: bool| -> Result<Vec<Array>> {
        let all = zeros(&jaxpr)?.into_iter().zip(&real);
        Ok(all.filter(|(_, r)| **r == wanted).map(|(x, _)| x).collect())
    };
    let (floats, others) = (pick(true)?, pick(false)?);
    let f = |x: &Vec<Array>, rest: &Vec<Array>| -> Result<Array> {
        let (mut x, mut rest) = (x.iter(), rest.iter());
        let all: Vec<Array> = real
            .iter()
            .filter_map(|r| if *r { x.next() } else { rest.next() })
            .cloned()
            .collect();
        let mut total: Option<Array> = None;
        for y in jaxpr.eval(&all)? {
            if y.dtype()?.is_float() {
                let y = y.sum(());
                total = Some(total.map_or(y.clone(), |t| t + y));
            }
        }
        total.ok_or_else(|| Error::argument("the program gives no real numbers"))
    };
    write(&make_jaxpr(grad(f))(&floats, &others)?, format, out)
}

fn write(j: &Jaxpr, format: Format, out: &mut Output) -> Result<()> {
    match format {
        Format::Jaxpr => out.line(&j.to_string()),
        Format::Dot => dot(j, out),
        Format::Html => html(j, out),
        Format::Json => out.line(&json::program(j)),
    }
}

/// A name for each variable, in the order of definition.
fn name(v: Var) -> String {
    format!("v{}", v.index())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn short(params: quaxide::op::Params) -> String {
    let text = |(key, value): (&'static str, quaxide::op::Param)| match value {
        quaxide::op::Param::Text(t) if t != "None" => Some(format!("{key}={t}")),
        _ => None,
    };
    params
        .into_iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The graph of a program, for Graphviz.
fn dot(j: &Jaxpr, out: &mut Output) -> Result<()> {
    let quoted = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
    out.line("digraph program {")?;
    out.line("  node [shape=box, fontname=\"monospace\", fontsize=10]; edge [fontname=\"monospace\", fontsize=9];")?;
    let mut from: HashMap<Var, String> = HashMap::new();
    let consts = j.consts().iter().map(|(v, _)| *v);
    for v in consts.chain(j.invars().iter().copied()) {
        let id = format!("in_{}", name(v));
        out.line(&format!("  {id} [shape=ellipse, label=\"{}\"];", j.aval(v)))?;
        from.insert(v, id);
    }
    for (i, e) in j.eqns().iter().enumerate() {
        let id = format!("eqn_{i}");
        let params = short(e.op.params());
        let label = if params.is_empty() {
            quoted(e.op.name())
        } else {
            format!("{}\\n{}", quoted(e.op.name()), quoted(&params))
        };
        out.line(&format!("  {id} [label=\"{label}\"];"))?;
        edges(j, &e.inputs, &id, &from, out)?;
        for v in &e.outputs {
            from.insert(*v, id.clone());
        }
    }
    for (i, a) in j.outs().iter().enumerate() {
        let id = format!("out_{i}");
        out.line(&format!(
            "  {id} [shape=ellipse, style=bold, label=\"{}\"];",
            j.atom_aval(a)
        ))?;
        edges(j, std::slice::from_ref(a), &id, &from, out)?;
    }
    out.line("}")
}

fn edges(
    j: &Jaxpr,
    inputs: &[Atom],
    to: &str,
    from: &HashMap<Var, String>,
    out: &mut Output,
) -> Result<()> {
    for a in inputs {
        if let Atom::Var(v) = a
            && let Some(source) = from.get(v)
        {
            out.line(&format!("  {source} -> {to} [label=\"{}\"];", j.aval(*v)))?;
        }
    }
    Ok(())
}

/// A page on which a variable lights up wherever it stands.
fn html(j: &Jaxpr, out: &mut Output) -> Result<()> {
    out.line("<!doctype html><meta charset=\"utf-8\"><title>program</title>")?;
    out.line("<style>body{font:14px monospace;margin:2em}td{padding:.1em .8em;vertical-align:top}b{cursor:default}b.on{background:#fd6}i{color:#777;font-style:normal}</style>")?;
    out.line("<table>")?;
    let variable = |v: Var| {
        format!(
            "<b class=\"{0}\">{0}</b><i>:{1}</i>",
            name(v),
            escaped(&j.aval(v).to_string())
        )
    };
    let row = |what: &str, left: String, right: String| {
        format!("<tr><td><i>{what}</i><td>{left}<td>{right}")
    };
    for (v, _) in j.consts() {
        out.line(&row("constant", variable(*v), String::new()))?;
    }
    for v in j.invars() {
        out.line(&row("input", variable(*v), String::new()))?;
    }
    let atom = |a: &Atom| match a {
        Atom::Var(v) => format!("<b class=\"{0}\">{0}</b>", name(*v)),
        Atom::Lit(l) => escaped(&l.to_string()),
    };
    for e in j.eqns() {
        let left: Vec<String> = e.outputs.iter().map(|v| variable(*v)).collect();
        let inputs: Vec<String> = e.inputs.iter().map(atom).collect();
        let params = short(e.op.params());
        let right = format!(
            "{} {} <i>{}</i>",
            e.op.name(),
            inputs.join(" "),
            escaped(&params)
        );
        out.line(&row("", left.join(" "), right))?;
    }
    for a in j.outs() {
        out.line(&row("result", atom(a), String::new()))?;
    }
    out.line("</table>")?;
    out.line("<script>document.querySelectorAll('b').forEach(b=>{const all=document.getElementsByClassName(b.classList[0]);b.onmouseover=()=>[...all].forEach(x=>x.classList.add('on'));b.onmouseout=()=>[...all].forEach(x=>x.classList.remove('on'))})</script>")
}
