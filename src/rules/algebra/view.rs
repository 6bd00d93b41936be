//! The e-graph of an island, to look at: as DOT for Graphviz, and as one HTML page that needs nothing else.

use super::cost::CostModel;
use super::extract::Node;
use super::import::islands;
use super::language::{Coefficient, Label, Term};
use super::plan::letters;
use super::solve::{Explored, explore};
use crate::error::Result;
use crate::trace::Jaxpr;
use egg::Language;
use std::fmt::Write;

/// The e-graph of an island after the search: all that was found to be equal, and what was chosen.
#[derive(Debug, Clone)]
pub struct EGraph {
    /// What the island costs as written and as planned.
    pub title: String,
    /// The plan in the notation of einsum.
    pub plan: String,
    /// The classes: terms that are equal.
    pub classes: Vec<EClass>,
}

/// A class of the e-graph: a tensor, and all the ways to compute it that were found.
#[derive(Debug, Clone)]
pub struct EClass {
    /// The sizes of its axes.
    pub shape: Vec<usize>,
    /// Whether a result of the island is in it.
    pub is_root: bool,
    /// Whether the plan computes it.
    pub is_chosen: bool,
    /// The ways to compute it, cheapest first.
    pub nodes: Vec<ENode>,
}

/// A way to compute a class.
#[derive(Debug, Clone)]
pub struct ENode {
    /// What it does, in the notation of einsum; `#3` is the class of that number.
    pub text: String,
    /// What that step alone costs, in microseconds.
    pub cost: f64,
    /// The numbers of the classes that it reads.
    pub children: Vec<usize>,
    /// Whether the plan computes the class so.
    pub is_chosen: bool,
}

/// The e-graphs of a program's islands, in order. An island that has no plan, or is too large to be searched, has none.
///
/// # Errors
///
/// Where [`super::plans`] has one.
pub fn egraphs(program: &Jaxpr) -> Result<Vec<EGraph>> {
    let islands = islands(&super::report::prepared(program)?)?;
    let graphs = islands.iter().filter_map(|island| {
        let explored = explore(&island.problem, &CostModel::current()).ok()?;
        EGraph::new(explored)
    });
    Ok(graphs.collect())
}

impl EGraph {
    fn new(explored: Explored) -> Option<EGraph> {
        let (graph, classes, choice) = explored.found?;
        let mut chosen = vec![false; classes.ids.len()];
        for class in classes.sorted(&choice)? {
            chosen[class] = true;
        }
        let number = |id: &egg::Id| {
            let id = graph.find(*id);
            classes
                .ids
                .iter()
                .position(|known| *known == id)
                .unwrap_or(0)
        };
        let of_class = |class: usize| EClass {
            shape: graph[classes.ids[class]].data.shape.to_vec(),
            is_root: classes.roots.contains(&class),
            is_chosen: chosen[class],
            nodes: classes.nodes[class]
                .iter()
                .enumerate()
                .map(|(k, node)| ENode {
                    text: text(node, number),
                    cost: node.cost,
                    children: node.children.to_vec(),
                    is_chosen: chosen[class] && choice[class] == Some(k),
                })
                .collect(),
        };
        let solution = &explored.solution;
        Some(EGraph {
            title: format!(
                "{} classes, {} nodes: {:.1} µs as written, {:.1} µs planned{}",
                classes.ids.len(),
                classes.nodes.iter().map(Vec::len).sum::<usize>(),
                solution.cost_as_written,
                solution.cost,
                match solution.proven {
                    true => ", the cheapest in the graph",
                    false => "",
                }
            ),
            plan: solution.plan.to_string(),
            classes: (0..classes.ids.len()).map(of_class).collect(),
        })
    }

    /// The graph in the language of Graphviz: a box for each class, what the plan computes in colour.
    pub fn dot(&self) -> String {
        let mut dot = String::from("digraph egraph {\n  compound=true; rankdir=TB;\n");
        dot.push_str(
            "  node [shape=box, style=filled, fillcolor=white, fontname=\"monospace\"];\n",
        );
        for (number, class) in self.classes.iter().enumerate() {
            let colour = if class.is_chosen {
                "#d8f0d8"
            } else {
                "#f2f2f2"
            };
            let _ = writeln!(
                dot,
                "  subgraph cluster_{number} {{\n    label=\"#{number} {:?}{}\"; style=filled; color=\"{colour}\";",
                class.shape,
                if class.is_root { " result" } else { "" }
            );
            for (k, node) in class.nodes.iter().enumerate() {
                let colour = if node.is_chosen { "#7ac77a" } else { "white" };
                let label = node.text.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = writeln!(
                    dot,
                    "    n{number}_{k} [label=\"{label}\\n{:.1} µs\", fillcolor=\"{colour}\"];",
                    node.cost
                );
            }
            dot.push_str("  }\n");
        }
        for (number, class) in self.classes.iter().enumerate() {
            for (k, node) in class.nodes.iter().enumerate() {
                for child in &node.children {
                    let width = if node.is_chosen { 2 } else { 1 };
                    let _ = writeln!(
                        dot,
                        "  n{number}_{k} -> n{child}_0 [lhead=cluster_{child}, penwidth={width}];"
                    );
                }
            }
        }
        dot.push_str("}\n");
        dot
    }

    /// A page to walk through in a browser: each class with its nodes and their costs, the plan lit, classes linked.
    pub fn html(&self) -> String {
        let mut page = String::from(PAGE_START);
        let _ = write!(
            page,
            "<p>{}</p>\n<details open><summary>the plan</summary><pre>{}</pre></details>\n",
            escaped(&self.title),
            escaped(&self.plan)
        );
        for (number, class) in self.classes.iter().enumerate() {
            let kind = match (class.is_chosen, class.is_root) {
                (true, true) => "class lit root",
                (true, false) => "class lit",
                (false, true) => "class root",
                (false, false) => "class",
            };
            let _ = write!(
                page,
                "<section id=\"c{number}\" class=\"{kind}\"><h2><a href=\"#c{number}\">#{number}</a> {:?}{}</h2>\n<table>",
                class.shape,
                if class.is_root { " · a result" } else { "" }
            );
            for node in &class.nodes {
                let _ = writeln!(
                    page,
                    "<tr class=\"{}\"><td>{}</td><td class=\"cost\">{:.2} µs</td></tr>",
                    if node.is_chosen { "lit" } else { "" },
                    linked(&node.text),
                    node.cost
                );
            }
            page.push_str("</table></section>\n");
        }
        page.push_str(PAGE_END);
        page
    }
}

const PAGE_START: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>e-graph</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222; background: #fff; }
pre, td, h2 { font-family: ui-monospace, monospace; }
h2 { font-size: 1rem; margin: .2rem 0; }
section { border: 1px solid #ccc; border-radius: 6px; padding: .4rem .8rem; margin: .6rem 0; }
section.lit { border-color: #3a9a3a; background: #f2faf2; }
section:target { outline: 3px solid #f0b429; }
tr.lit td { background: #c9ebc9; font-weight: 600; }
td { padding: .1rem .6rem; } td.cost { text-align: right; white-space: nowrap; }
table { border-collapse: collapse; }
body.plan section:not(.lit) { display: none; }
</style>
<h1>What was found to be equal</h1>
<p><label><input type=\"checkbox\" onchange=\"document.body.classList.toggle('plan', this.checked)\"> only what the plan computes</label></p>
";
const PAGE_END: &str = "</html>\n";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Text with each `#3` as a link to that class.
fn linked(text: &str) -> String {
    let mut linked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('#') {
        let digits = after.chars().take_while(char::is_ascii_digit).count();
        let (number, tail) = after.split_at(digits);
        let _ = write!(
            linked,
            "{}<a href=\"#c{number}\">#{number}</a>",
            escaped(before)
        );
        rest = tail;
    }
    linked + &escaped(rest)
}

fn text(node: &Node, number: impl Fn(&egg::Id) -> usize) -> String {
    let term = &node.term;
    let operand = |place: usize| {
        let id = term.children().get(place);
        let labels = term.labels().get(place);
        let id = id.map_or_else(String::new, |id| format!("#{}", number(id)));
        match labels {
            Some(labels) if !labels.is_empty() => {
                format!("{id}[{}]", letters(labels.iter().copied()))
            }
            _ => id,
        }
    };
    let axes = |rank: Label| letters(0..rank);
    let operands = |joint: &str, coefficient: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..term.children().len())
            .map(|place| coefficient(place) + &operand(place))
            .collect();
        all.join(joint)
    };
    match term {
        Term::Leaf(leaf) => format!("x{leaf}"),
        Term::Ones(size) => format!("ones[{size}]"),
        Term::Band(band) => band.to_string(),
        Term::Prod(product) | Term::Dot(product) => {
            let body = operands("·", &|_| String::new());
            format!(
                "[{}] = {}",
                axes(product.outputs),
                if body.is_empty() { "1" } else { &body }
            )
        }
        Term::Add(sum) => {
            let coefficient = |place: usize| match sum.coefficients.get(place) {
                Some(Coefficient(c)) if *c != 1.0 => format!("{c}·"),
                _ => String::new(),
            };
            format!(
                "[{}] = {}",
                axes(sum.outputs),
                operands(" + ", &coefficient)
            )
        }
    }
}
