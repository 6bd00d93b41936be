//! The e-graph of an island, to look at: as DOT for Graphviz, and as one HTML page that needs nothing else.

use super::account::{law, written};
use super::cost::CostModel;
use super::import::islands;
use super::solve::{Explored, explore};
use crate::error::Result;
use crate::trace::Jaxpr;
use std::fmt::{self, Write};

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
    /// What it costs with the cheapest ways to all that it reads, as if nothing else read that.
    pub total: f64,
    /// The numbers of the classes that it reads.
    pub children: Vec<usize>,
    /// Whether the plan computes the class so.
    pub is_chosen: bool,
    /// The law that gave it; `None` if the program has it as written.
    pub law: Option<&'static str>,
}

/// The e-graphs of a program's islands, in order. An island that has no plan, or is too large to be searched, has none.
///
/// # Errors
///
/// Where [`super::plans`] has one.
pub fn egraphs(program: &Jaxpr) -> Result<Vec<EGraph>> {
    let islands = islands(&super::report::prepared(program)?)?;
    let graphs = islands.iter().filter_map(|island| {
        let explored = explore(&island.problem, &CostModel::current(), true).ok()?;
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
        let least = classes.least();
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
                    text: written(&graph, &node.term, &|id| format!("#{}", number(&id))),
                    law: law(&graph, classes.ids[class], &node.term),
                    cost: node.cost,
                    total: node.children.iter().map(|c| least[*c]).sum::<f64>() + node.cost,
                    children: node.children.to_vec(),
                    is_chosen: chosen[class] && choice[class] == Some(k),
                })
                .collect(),
        };
        let solution = &explored.solution;
        Some(EGraph {
            title: format!(
                "{} classes, {} nodes: {:.1} µs as written{}, {:.1} µs planned{}",
                classes.ids.len(),
                classes.nodes.iter().map(Vec::len).sum::<usize>(),
                solution.cost_as_written,
                match solution.written_is_forbidden {
                    true => " (refused)",
                    false => "",
                },
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

    /// A page to walk through in a browser, which needs nothing else: classes as a graph, the plan lit, and for the class that is
    /// picked all its nodes with their costs and the laws that gave them.
    pub fn html(&self) -> String {
        page(std::slice::from_ref(self))
    }

    /// All that the page shows, as JSON: title, plan, and the classes with their nodes.
    pub fn json(&self) -> String {
        let class = |class: &EClass| {
            let node = |node: &ENode| {
                format!(
                    "{{\"text\":{},\"cost\":{:.4},\"total\":{:.4},\"children\":{:?},\"lit\":{},\"law\":{}}}",
                    quoted(&node.text),
                    node.cost,
                    node.total,
                    node.children,
                    node.is_chosen,
                    node.law.map_or("null".into(), quoted)
                )
            };
            let nodes: Vec<String> = class.nodes.iter().map(node).collect();
            format!(
                "{{\"shape\":{:?},\"root\":{},\"lit\":{},\"nodes\":[{}]}}",
                class.shape,
                class.is_root,
                class.is_chosen,
                nodes.join(",")
            )
        };
        let classes: Vec<String> = self.classes.iter().map(class).collect();
        format!(
            "{{\"title\":{},\"plan\":{},\"classes\":[\n{}]}}",
            quoted(&self.title),
            quoted(&self.plan),
            classes.join(",\n")
        )
    }
}

impl fmt::Display for EGraph {
    /// The title, the plan, and each class with its nodes; `*` stands before what is chosen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.title, self.plan.trim_end())?;
        for (number, class) in self.classes.iter().enumerate() {
            let result = if class.is_root { " result" } else { "" };
            writeln!(f, "#{number} {:?}{result}", class.shape)?;
            for node in &class.nodes {
                let chosen = if node.is_chosen { '*' } else { ' ' };
                let law = node.law.map_or(String::new(), |law| format!("  by {law}"));
                writeln!(f, "  {chosen} {}  {:.2} µs{law}", node.text, node.cost)?;
            }
        }
        Ok(())
    }
}

/// One page for several e-graphs, as [`EGraph::html`] is for one.
pub fn page(graphs: &[EGraph]) -> String {
    let all: Vec<String> = graphs.iter().map(EGraph::json).collect();
    PAGE.replacen("/*DATA*/", &format!("[{}]", all.join(",\n")), 1)
}

const PAGE: &str = include_str!("egraph.html");

/// Text as a literal of JSON that may stand in a script.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            // No text may end the script.
            '<' => quoted.push_str("\\u003c"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
